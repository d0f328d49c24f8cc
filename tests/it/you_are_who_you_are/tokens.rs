//! Tokens over real TCP: what each role may do, what is not to be seen, and how a token ends.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mesh_client::proto::event::Event;
use mesh_client::proto::*;
use mesh_client::{Client, ErrorReason, JoinOptions, Refusal, Session};
use mesh_tests::{
    Broker, Mesh, SCOPE, events, follow, history, lock, put, refused, seconds, status_refused, unattended,
    within,
};
use tonic::Code;

use super::tcp_endpoint;

const OTHER: &str = "example.com/other/app";

/// A broker that listens on TCP, and what is in it: a peer of the owner, with a lock and an entry, in two scopes.
struct Team {
    mesh: Mesh,
    broker: Broker,
    endpoint: String,
}

impl Team {
    async fn start() -> Self {
        let mesh = Mesh::new();
        let broker = mesh.serve(&["--listen", "127.0.0.1:0"]);
        let endpoint = tcp_endpoint(&mesh.client()).await;
        Self { mesh, broker, endpoint }
    }

    async fn issue(&self, request: CreateTokenRequest) -> (AccessToken, Client, String) {
        let answer = self.mesh.client().tokens().create_token(request).await.unwrap().into_inner();
        let client = self.mesh.tcp_client_with(&self.endpoint, &answer.secret);
        (answer.token.unwrap(), client, answer.secret)
    }

    async fn client(&self, role: Role, scopes: &[&str]) -> Client {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.issue(CreateTokenRequest { role: role.into(), scopes, ..Default::default() }).await.1
    }

    async fn revoke(&self, id: &str) {
        let request = RevokeTokenRequest { id: id.to_owned(), ..Default::default() };
        self.mesh.client().tokens().revoke_token(request).await.unwrap();
    }

    /// A peer of another scope, with something of everything.
    async fn elsewhere(&self) -> Session {
        let options = JoinOptions { scope: OTHER.into(), ..unattended("hidden") };
        let hidden = Session::join(&self.mesh.client(), options).await.unwrap();
        hidden.put(put("secret/key", "hidden")).await.unwrap();
        hidden.acquire(lock(&["hidden/"])).await.unwrap();
        hidden
    }
}

async fn join(client: &Client, name: &str) -> Session {
    Session::join(client, unattended(name)).await.unwrap()
}

/// Joins, and tells whether as a peer that was there before.
async fn resumes(client: &Client, name: &str) -> bool {
    let resume_key = format!("test:{name}");
    let request = JoinRequest { scope: SCOPE.into(), name: name.into(), resume_key, ..Default::default() };
    client.peers().join(request).await.unwrap().into_inner().resumed
}

fn denied(refusal: &Refusal) {
    assert_eq!((refusal.code, refusal.reason), (Code::PermissionDenied, ErrorReason::PermissionDenied));
}

fn force() -> ForceReleaseRequest {
    ForceReleaseRequest { paths: vec!["src/".into()], reason: "it hangs".into(), ..Default::default() }
}

fn policy() -> SetPolicyRequest {
    SetPolicyRequest { prefix: "log/".into(), kind: PolicyKind::Append.into(), ..Default::default() }
}

#[tokio::test]
async fn each_role_may_what_those_before_it_may_and_no_more() {
    let team = Team::start().await;
    let fox = team.mesh.join_unattended("fox").await;
    fox.acquire(lock(&["src/a"])).await.unwrap();
    fox.put(put("k", "v")).await.unwrap();

    let observer = team.client(Role::Observer, &[]).await;
    let peers = ListPeersRequest { scope: SCOPE.into(), ..Default::default() };
    assert_eq!(observer.peers().list_peers(peers).await.unwrap().into_inner().peers.len(), 1);
    let get = GetRequest { scope: SCOPE.into(), key: "k".into(), ..Default::default() };
    assert_eq!(observer.state().get(get).await.unwrap().into_inner().entry.unwrap().value, "v");
    follow(&observer, 1).await;
    denied(&refused(Session::join(&observer, unattended("owl")).await));
    denied(&status_refused(&observer, observer.locks().acquire_locks(lock(&["x"])).await));
    denied(&status_refused(&observer, observer.state().put(put("k", "w")).await));

    let member = join(&team.client(Role::Member, &[]).await, "owl").await;
    member.put(put("mine", "v")).await.unwrap();
    denied(&status_refused(&member.client(), member.client().state().set_policy(policy()).await));
    denied(&status_refused(&member.client(), member.client().locks().force_release(force()).await));

    let maintainer = join(&team.client(Role::Maintainer, &[]).await, "elk").await;
    maintainer.client().state().set_policy(policy()).await.unwrap();
    let forced = maintainer.client().locks().force_release(force()).await.unwrap().into_inner();
    assert_eq!(forced.locks.len(), 1);

    let admin = team.client(Role::Admin, &[]).await;
    for client in [observer, member.client(), maintainer.client()] {
        let list = client.tokens().list_tokens(ListTokensRequest {}).await;
        denied(&status_refused(&client, list));
        denied(&status_refused(&client, client.admin().stop(StopRequest {}).await));
        let create = client.tokens().create_token(CreateTokenRequest::default()).await;
        denied(&status_refused(&client, create));
    }
    assert_eq!(admin.tokens().list_tokens(ListTokensRequest {}).await.unwrap().into_inner().tokens.len(), 4);
    denied(&status_refused(&admin, admin.admin().stop(StopRequest {}).await));
}

/// What a client is told of a scope, by every call that reads one.
async fn told_of(client: &Client, scope: &str) -> String {
    let scope = || scope.to_owned();
    let mut told = Vec::new();
    macro_rules! ask {
        ($service:ident.$method:ident($request:expr)) => {
            told.push(match client.$service().$method($request).await {
                // Revisions are the mesh's, and say nothing of a scope.
                Ok(answer) => {
                    let mut answer = answer.into_inner();
                    answer.header = None;
                    format!("{answer:?}")
                }
                Err(status) => format!("{:?}", client.decode(&status)),
            })
        };
    }
    ask!(peers.list_peers(ListPeersRequest { scope: scope(), include_offline: true, ..Default::default() }));
    ask!(state.get(GetRequest { scope: scope(), key: "secret/key".into(), ..Default::default() }));
    ask!(state.list_entries(ListEntriesRequest { scope: scope(), ..Default::default() }));
    ask!(state.search_entries(SearchEntriesRequest {
        scope: scope(),
        query: "hidden".into(),
        ..Default::default()
    }));
    ask!(state.list_versions(ListVersionsRequest { scope: scope(), key: "secret/key".into() }));
    ask!(state.list_policies(ListPoliciesRequest { scope: scope() }));
    ask!(locks.list_locks(ListLocksRequest { scope: scope(), ..Default::default() }));
    ask!(locks.list_lock_waiters(ListLockWaitersRequest { scope: scope(), ..Default::default() }));
    ask!(locks.list_release_requests(ListReleaseRequestsRequest { scope: scope(), ..Default::default() }));
    ask!(locks.check_fence(CheckFenceRequest { scope: scope(), path: "hidden/".into(), fencing_token: 3 }));
    ask!(messages.list_topics(ListTopicsRequest { scope: scope() }));
    ask!(paths.describe_path(DescribePathRequest {
        scope: scope(),
        path: "hidden/file".into(),
        ..Default::default()
    }));
    ask!(events.wait(WaitRequest {
        scope: scope(),
        timeout: seconds(0),
        conditions: vec![WaitCondition {
            condition: Some(wait_condition::Condition::Peer(PeerCondition {
                name: "hidden".into(),
                gone: false
            })),
        }],
    }));
    let listed = client
        .events()
        .list_events(ListEventsRequest { scopes: vec![scope()], start_revision: 1, ..Default::default() })
        .await
        .unwrap();
    told.push(format!("{:?}", listed.into_inner().batches));
    let joined = Session::join(client, JoinOptions { scope: scope(), ..unattended("spy") }).await;
    told.push(joined.map_or_else(|error| format!("{error:?}"), |_| "joined".to_owned()));
    told.join("\n")
}

#[tokio::test]
async fn a_scope_that_is_not_to_be_seen_is_as_one_that_is_not_there() {
    let team = Team::start().await;
    let hidden = team.elsewhere().await;
    let owl_client = team.client(Role::Member, &["example.com/acme/*"]).await;
    let foreign = told_of(&owl_client, OTHER).await;
    let absent = "example.com/never/was";
    assert_eq!(foreign, told_of(&owl_client, absent).await.replace(absent, OTHER));
    assert!(foreign.contains("SCOPE_NOT_FOUND") || foreign.contains("ScopeNotFound"), "{foreign}");
    let all = told_of(&team.client(Role::Member, &[]).await, OTHER).await;
    assert_ne!(foreign, all, "who may see it sees something");
    told_of(&owl_client, "~admin").await;

    // What shows several scopes, or none that is named, shows nothing of it either.
    let owl = join(&owl_client, "owl").await;
    let peers = owl_client.peers().list_peers(ListPeersRequest::default()).await.unwrap().into_inner().peers;
    assert_eq!(peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(), ["owl"]);
    assert!(
        owl_client
            .locks()
            .list_locks(ListLocksRequest::default())
            .await
            .unwrap()
            .into_inner()
            .locks
            .is_empty()
    );
    assert!(history(&owl_client, 1).await.iter().all(|batch| batch.scope == SCOPE));
    let newest = owl_client.events().list_events(ListEventsRequest::default()).await.unwrap().into_inner();
    assert!(newest.batches.iter().all(|batch| batch.scope == SCOPE), "{newest:?}");
    let status = owl_client.admin().get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.scopes, status.peers_known, status.locks, status.entries), (1, 1, 0, 0));
    assert!(status.store_path.is_empty() && status.endpoints.is_empty(), "{status:?}");
    let mut stream = owl_client
        .events()
        .watch(WatchRequest { send_initial_state: true, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    hidden.put(put("secret/key", "again")).await.unwrap();
    owl.put(put("mine", "v")).await.unwrap();
    let seen = within("the own change", async {
        let mut seen = String::new();
        while !seen.contains("\"mine\"") {
            seen.push_str(&format!("{:?}", stream.message().await.unwrap().unwrap()));
        }
        seen
    })
    .await;
    assert!(!seen.contains("hidden") && !seen.contains("secret/key"), "{seen}");
    let global = PutRequest { scope: "global".into(), ..put("k", "v") };
    assert_eq!(refused(owl.put(global).await).reason, ErrorReason::ScopeNotFound);
}

#[tokio::test]
async fn a_peer_is_called_what_its_token_allows_and_is_nobody_elses() {
    let team = Team::start().await;
    let request = CreateTokenRequest { peers: "ci-*".into(), ..Default::default() };
    let (one, client, _) = team.issue(request.clone()).await;
    let refusal = refused(Session::join(&client, unattended("fox")).await);
    assert_eq!((refusal.code, refusal.reason), (Code::InvalidArgument, ErrorReason::InvalidField));
    let given = Session::join(&client, JoinOptions { name: None, ..unattended("any") }).await.unwrap();
    assert!(given.peer().name.starts_with("ci-"), "{}", given.peer().name);

    let first = join(&client, "ci-1").await;
    let (_, other, _) = team.issue(request).await;
    let stolen = other.with_session(&first.token()).unwrap();
    let refusal = status_refused(&stolen, stolen.state().put(put("k", "v")).await);
    assert_eq!((refusal.code, refusal.reason), (Code::Unauthenticated, ErrorReason::Unauthenticated));
    let owners = team.mesh.client().with_session(&first.token()).unwrap();
    owners.state().put(put("k", "v")).await.unwrap();
    first.leave().await.unwrap();
    denied(&refused(Session::join(&other, unattended("ci-1")).await));
    team.revoke(&one.id).await;
    assert!(resumes(&other, "ci-1").await, "what a token that is over has left is anybody's");
}

/// Makes a call of each kind that waits or streams, and returns how each ended.
async fn end_of_everything(session: &Session, over: impl Future<Output = ()>) -> Vec<Refusal> {
    let client = session.client();
    let mut watch = client.events().watch(WatchRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let head = client.admin().get_status(GetStatusRequest {}).await.unwrap().into_inner().header.unwrap();
    let kinds = vec![EventType::PolicyChanged.into()];
    let filter = Some(EventFilter { types: kinds, ..Default::default() });
    let (events, wait) = (client.clone(), client.clone());
    let (locks, mail) = (client.clone(), client.clone());
    let list =
        ListEventsRequest { start_revision: head.revision, filter, wait: seconds(60), ..Default::default() };
    let condition = wait_condition::Condition::Entry(EntryCondition {
        key: "never".into(),
        state: Some(entry_condition::State::Exists(true)),
    });
    let condition = WaitCondition { condition: Some(condition) };
    let until = WaitRequest { conditions: vec![condition], timeout: seconds(600), ..Default::default() };
    let acquire = AcquireLocksRequest { wait: seconds(600), ..lock(&["held"]) };
    let inbox = ListMessagesRequest { wait: seconds(60), ..Default::default() };
    let calls = async {
        let last = async {
            loop {
                match watch.message().await {
                    Ok(Some(_)) => {}
                    other => break other,
                }
            }
        };
        let (watched, listed, waited, locked, mailed) = tokio::join!(
            last,
            async { events.events().list_events(list).await },
            async { wait.events().wait(until).await },
            async { locks.locks().acquire_locks(acquire).await },
            async { mail.messages().list_messages(inbox).await },
        );
        vec![
            status_refused(&client, watched),
            status_refused(&client, listed),
            status_refused(&client, waited),
            status_refused(&client, locked),
            status_refused(&client, mailed),
        ]
    };
    let (ended, ()) = within("the end of all calls", async { tokio::join!(calls, over) }).await;
    ended
}

/// Everything that a token has going ends, its session too, and it lets nobody in any longer.
async fn everything_ends(team: &Team, token: &AccessToken, client: &Client, over: impl Future<Output = ()>) {
    let fox = team.mesh.join("fox").await;
    fox.acquire(lock(&["held"])).await.unwrap();
    let mut watch = follow(&team.mesh.client(), 0).await;
    let owl = join(client, "owl").await;
    owl.acquire(lock(&["owls"])).await.unwrap();
    for refusal in end_of_everything(&owl, over).await {
        assert_eq!((refusal.code, refusal.reason), (Code::Unauthenticated, ErrorReason::Unauthenticated));
    }
    assert_eq!(watch.until_left("owl").await.1, LeaveCause::Revoked);
    let next = client.peers().list_peers(ListPeersRequest::default()).await;
    assert_eq!(status_refused(client, next).reason, ErrorReason::Unauthenticated);
    // That a wait is given up whose caller is gone is the broker's doing.
    let given_up = |batch: &&EventBatch| events(batch).any(|event| matches!(event, Event::LockWaitEnded(_)));
    let by_owl: Vec<_> =
        watch.seen.iter().filter(|batch| batch.actor == "owl").filter(|batch| !given_up(batch)).collect();
    assert!(by_owl.len() > 1 && by_owl.iter().all(|batch| batch.credential == token.id), "{by_owl:?}");
}

#[tokio::test]
async fn what_is_going_on_under_a_token_ends_when_it_is_revoked() {
    let team = Team::start().await;
    let (token, client, _) = team.issue(CreateTokenRequest::default()).await;
    // The calls are there once the one that queues for a lock is seen to wait.
    let over = async {
        let mut watch = follow(&team.mesh.client(), 1).await;
        watch.until("a call that waits", |event| matches!(event, Event::LockQueued(_)).then_some(())).await;
        team.revoke(&token.id).await;
    };
    everything_ends(&team, &token, &client, over).await;
}

#[tokio::test]
async fn what_is_going_on_under_a_token_ends_when_it_expires() {
    let team = Team::start().await;
    let ends = SystemTime::now() + Duration::from_secs(8);
    let request = CreateTokenRequest { expire_time: Some(ends.into()), ..Default::default() };
    let (token, client, _) = team.issue(request).await;
    everything_ends(&team, &token, &client, async {}).await;
    assert!(SystemTime::now() >= ends, "never early");
    let listed = team.mesh.client().tokens().list_tokens(ListTokensRequest {}).await.unwrap().into_inner();
    assert!(listed.tokens[0].expired && listed.tokens[0].last_used_time.is_some(), "{listed:?}");
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

#[tokio::test]
async fn a_secret_is_nowhere_on_the_disk_and_a_token_outlives_the_broker() {
    let team = Team::start().await;
    let (token, client, secret) = team.issue(CreateTokenRequest::default()).await;
    join(&client, "owl").await;
    let last = if secret.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &secret[..secret.len() - 1]);
    let stranger = team.mesh.tcp_client_with(&team.endpoint, &wrong);
    let refusal = status_refused(&stranger, stranger.admin().get_status(GetStatusRequest {}).await);
    assert_eq!(refusal.reason, ErrorReason::Unauthenticated);
    let list = ListTokensRequest {};
    let shown = format!("{:?}", team.mesh.client().tokens().list_tokens(list).await.unwrap());
    let told = format!("{:?}", history(&team.mesh.client(), 1).await);
    let (_, half) = secret.rsplit_once('_').unwrap();
    let half = &half[..32];
    assert!(!shown.contains(half) && !told.contains(half));
    let Team { mesh, broker, .. } = team;
    broker.kill();
    let mut looked_at = 0;
    for file in files(mesh.path()) {
        let bytes = std::fs::read(&file).unwrap();
        looked_at += bytes.len();
        assert!(!bytes.windows(half.len()).any(|at| at == half.as_bytes()), "{}", file.display());
    }
    assert!(looked_at > 0);
    let log = std::fs::read_to_string(mesh.home().log_path()).unwrap();
    assert!(log.contains("was not let in") && log.contains(&token.id), "{log}");

    let _broker = mesh.serve(&["--listen", "127.0.0.1:0"]);
    let client = mesh.tcp_client_with(&tcp_endpoint(&mesh.client()).await, &secret);
    assert!(resumes(&client, "owl").await);
}

#[tokio::test]
async fn who_did_what_with_which_credential_is_in_the_history() {
    let team = Team::start().await;
    let (token, client, _) = team.issue(CreateTokenRequest { note: "ci".into(), ..Default::default() }).await;
    join(&client, "owl").await;
    join(&team.mesh.tcp_client(&team.endpoint), "elk").await;
    join(&team.mesh.client(), "fox").await;
    team.revoke(&token.id).await;
    let mut watch = follow(&team.mesh.client(), 1).await;
    watch.until_left("owl").await;
    let batches = history(&team.mesh.client(), 1).await;
    let told: Vec<_> = batches
        .iter()
        .map(|batch| (batch.scope.as_str(), batch.actor.as_str(), batch.credential.as_str()))
        .collect();
    let id = token.id.as_str();
    assert_eq!(
        told,
        [
            ("~admin", "", "unix"),
            (SCOPE, "owl", id),
            (SCOPE, "elk", "home"),
            (SCOPE, "fox", "unix"),
            ("~admin", "", "unix"),
            (SCOPE, "", ""),
        ]
    );
    let created = events(&batches[0]).next().unwrap();
    assert!(matches!(created, Event::TokenCreated(created) if created.token.as_ref().unwrap().note == "ci"));
    assert!(matches!(events(&batches[4]).next().unwrap(), Event::TokenRevoked(revoked) if revoked.id == id));
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_token_without_its_secret() {
    let team = Team::start().await;
    let request = CreateTokenRequest { request_id: "once".into(), ..Default::default() };
    let (first, ..) = team.issue(request.clone()).await;
    let again = team.mesh.client().tokens().create_token(request).await.unwrap().into_inner();
    assert_eq!((again.token.unwrap().id, again.secret), (first.id.clone(), String::new()));
    let listed = team.mesh.client().tokens().list_tokens(ListTokensRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.tokens.len(), 1);
    let bad = [
        CreateTokenRequest { scopes: vec!["A".into()], ..Default::default() },
        CreateTokenRequest { scopes: vec!["*".into(); 33], ..Default::default() },
        CreateTokenRequest { scopes: vec!["x".into()], role: Role::Admin.into(), ..Default::default() },
        CreateTokenRequest { role: 9, ..Default::default() },
        CreateTokenRequest { note: "n".repeat(257), ..Default::default() },
        CreateTokenRequest { peers: "[a]".into(), ..Default::default() },
        CreateTokenRequest { expire_time: Some(SystemTime::UNIX_EPOCH.into()), ..Default::default() },
    ];
    let client = team.mesh.client();
    for request in bad {
        let refusal = status_refused(&client, client.tokens().create_token(request).await);
        assert_eq!(refusal.reason, ErrorReason::InvalidField);
    }
    let unknown = RevokeTokenRequest { id: "t-00000000".into(), ..Default::default() };
    let refusal = status_refused(&client, client.tokens().revoke_token(unknown).await);
    assert_eq!((refusal.code, refusal.reason), (Code::NotFound, ErrorReason::TokenNotFound));
}

#[tokio::test]
async fn the_command_issues_lists_and_revokes_tokens() {
    let team = Team::start().await;
    let told = |arguments: &[&str]| {
        let output = team.mesh.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let create = ["token", "create", "--scope", "example.com/*", "--peer", "ci-*", "--expires", "30d"];
    let created = told(&[&create[..], &["--note", "build machine", "--json"]].concat());
    let created: serde_json::Value = serde_json::from_str(&created).unwrap();
    let (id, secret) = (created["token"]["id"].as_str().unwrap(), created["secret"].as_str().unwrap());
    assert!(secret.starts_with(&format!("mesh_{id}_")), "{created}");
    let listed = told(&["token", "list"]);
    for shown in [id, "member", "example.com/*", "ci-*", "build machine"] {
        assert!(listed.contains(shown), "{shown} in {listed}");
    }
    assert!(!listed.contains(secret));
    let text = told(&["token", "create", "--role", "observer"]);
    assert!(text.contains("observer") && text.contains("export MESH_TOKEN=mesh_t-"), "{text}");
    let mut who = team.mesh.meshctl(&["who"]);
    who.env("MESH_ENDPOINT", &team.endpoint).env("MESH_TOKEN", secret);
    assert!(who.output().unwrap().status.success());
    assert_eq!(told(&["token", "revoke", id]), format!("revoked {id}\n"));
    assert!(!who.output().unwrap().status.success());
    let again = team.mesh.run(&["token", "revoke", id]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    let events = told(&["events", "--all-scopes"]);
    assert!(events.contains("issued") && events.contains("revoked"), "{events}");
    assert!(told(&["events", "--all-scopes", "--json"]).contains("\"credential\":\"unix\""));
}
