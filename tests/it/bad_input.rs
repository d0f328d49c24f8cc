//! Bad input on every call: a precise refusal, no change, and a broker that goes on.

mod wire;

use std::fmt::Debug;

use mesh_client::proto::precondition::Condition;
use mesh_client::proto::*;
use mesh_client::{Client, ErrorReason};
use mesh_tests::{Mesh, SCOPE, lock, message, put, status_refused};
use prost_types::{Duration, FieldMask};
use tonic::{Code, Response, Status};

/// Paths that leave the scope, hide something, or are no paths.
const BAD_PATHS: [&str; 12] =
    ["", "..", "../x", "a/../b", "a/..", "./a", "a//b", "/etc/passwd", "//", "a\\b", "a\u{1b}[2Jb", "a\nb"];
const BAD_NAMES: [&str; 6] = ["Fox", "-fox", "a b", "f\u{f6}x", "fox\n", "a/b"];
const BAD_SCOPES: [&str; 7] = ["/", "a//b", "a/..", "A", "a b", "a\u{0}", "caf\u{e9}"];
/// Spans that are none, too short, or beyond every bound.
const BAD_SPANS: [Duration; 6] = [
    Duration { seconds: 0, nanos: 0 },
    Duration { seconds: 0, nanos: 999_000_000 },
    Duration { seconds: -1, nanos: 0 },
    Duration { seconds: i64::MAX, nanos: 0 },
    Duration { seconds: 1, nanos: -1 },
    Duration { seconds: 1, nanos: i32::MAX },
];

/// A mesh of which nothing may change but by what is accepted.
struct Probe {
    mesh: Mesh,
    _broker: mesh_tests::Broker,
    /// On behalf of a peer.
    client: Client,
    revision: u64,
}

impl Probe {
    async fn new() -> Self {
        let mesh = Mesh::new();
        let broker = mesh.serve(&[]);
        let client = mesh.join_unattended("fox").await.client();
        mesh.join_unattended("owl").await;
        Self { mesh, _broker: broker, client, revision: 2 }
    }

    /// A refusal that names the field.
    fn refuses<T: Debug>(&self, field: &str, what: &impl Debug, answer: Result<Response<T>, Status>) {
        let refusal = match answer {
            Ok(answer) => panic!("{field} was accepted: {answer:?} to {what:?}"),
            Err(status) => status_refused::<()>(&self.client, Err(status)),
        };
        assert_eq!(
            (refusal.code, refusal.reason),
            (Code::InvalidArgument, ErrorReason::InvalidField),
            "{what:?}"
        );
        let named: Vec<_> =
            refusal.field_violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, [field], "{what:?}: {refusal:?}");
        assert!(
            refusal.message.len() < 300,
            "a refusal does not repeat what it refuses: {}",
            refusal.message
        );
        assert!(!refusal.message.chars().any(char::is_control), "{:?}", refusal.message);
    }

    /// Nothing has changed, and the broker lives.
    async fn unchanged(&mut self) {
        assert_eq!(self.head().await, self.revision);
    }

    /// Something was accepted.
    async fn changed(&mut self) {
        let head = self.head().await;
        assert!(head > self.revision);
        self.revision = head;
    }

    async fn head(&self) -> u64 {
        let status = self.client.admin().get_status(GetStatusRequest {}).await.unwrap().into_inner();
        status.header.unwrap().revision
    }
}

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

fn many<T: Clone>(item: &T, count: usize) -> Vec<T> {
    vec![item.clone(); count]
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("p{number}")).collect()
}

/// Every field of what a peer says of itself, one over its bound or with a character that it may not hold.
fn child() -> ChildAgent {
    ChildAgent { id: "a1".into(), ..ChildAgent::default() }
}

fn children(count: usize) -> Vec<ChildAgent> {
    let id = |number| format!("{number:03}{}", long(125));
    (0..count).map(|number| ChildAgent { id: id(number), kind: long(64), focus: long(512) }).collect()
}

fn bad_infos() -> Vec<(&'static str, PeerInfo)> {
    let info = PeerInfo::default;
    let mut table = vec![
        ("info.agent_kind", PeerInfo { agent_kind: long(65), ..info() }),
        ("info.agent_version", PeerInfo { agent_version: long(65), ..info() }),
        ("info.host", PeerInfo { host: long(257), ..info() }),
        ("info.worktree", PeerInfo { worktree: long(4_097), ..info() }),
        ("info.branch", PeerInfo { branch: long(257), ..info() }),
        ("info.head", PeerInfo { head: long(65), ..info() }),
        ("info.focus", PeerInfo { focus: long(513), ..info() }),
        ("info.focus", PeerInfo { focus: "a\u{1b}]0;title\u{7}".into(), ..info() }),
        ("info.branch", PeerInfo { branch: "a\nb".into(), ..info() }),
        ("info.files", PeerInfo { files: numbered(101), ..info() }),
        ("info.files", PeerInfo { files: vec![long(1_025)], ..info() }),
        ("info.activity", PeerInfo { activity: -1, ..info() }),
        ("info.wake", PeerInfo { wake: long(33), ..info() }),
        ("info.wake", PeerInfo { wake: "a\u{1b}[2J".into(), ..info() }),
        ("info.children", PeerInfo { children: children(33), ..info() }),
        ("info.children.id", PeerInfo { children: vec![ChildAgent::default()], ..info() }),
        (
            "info.children.kind",
            PeerInfo { children: vec![ChildAgent { kind: long(65), ..child() }], ..info() },
        ),
        (
            "info.children.focus",
            PeerInfo { children: vec![ChildAgent { focus: "a\nb".into(), ..child() }], ..info() },
        ),
    ];
    table.extend(BAD_PATHS.map(|path| ("info.files", PeerInfo { files: vec![path.into()], ..info() })));
    table
}

fn largest_info() -> PeerInfo {
    PeerInfo {
        agent_kind: long(64),
        agent_version: long(64),
        host: long(256),
        pid: u32::MAX,
        worktree: long(4_096),
        branch: long(256),
        head: long(64),
        focus: long(512),
        files: (0..100).map(|number| format!("{number:03}{}", long(1_021))).collect(),
        activity: PeerActivity::Idle.into(),
        wake: long(32),
        children: children(32),
    }
}

#[tokio::test]
async fn join_and_update() {
    let mut probe = Probe::new().await;
    let ok = || JoinRequest { scope: SCOPE.into(), name: "elk".into(), ..JoinRequest::default() };
    let mut table: Vec<(&str, JoinRequest)> = vec![
        ("scope", JoinRequest { scope: String::new(), ..ok() }),
        ("scope", JoinRequest { scope: long(257), ..ok() }),
        ("name", JoinRequest { name: long(65), ..ok() }),
        ("resume_key", JoinRequest { resume_key: long(257), ..ok() }),
        ("resume_key", JoinRequest { resume_key: "\u{0}".into(), ..ok() }),
        ("request_id", JoinRequest { request_id: long(129), ..ok() }),
        ("lease_ttl", JoinRequest { lease_ttl: Some(Duration { seconds: 86_401, nanos: 0 }), ..ok() }),
    ];
    table.extend(BAD_SCOPES.map(|scope| ("scope", JoinRequest { scope: scope.into(), ..ok() })));
    table.extend(BAD_NAMES.map(|name| ("name", JoinRequest { name: name.into(), ..ok() })));
    table.extend(BAD_SPANS.map(|span| ("lease_ttl", JoinRequest { lease_ttl: Some(span), ..ok() })));
    table.extend(
        bad_infos().into_iter().map(|(field, info)| (field, JoinRequest { info: Some(info), ..ok() })),
    );
    for (field, request) in table {
        probe.refuses(field, &request.clone(), probe.client.peers().join(request).await);
    }
    let update = |info, mask: &[&str]| UpdatePeerRequest {
        info: Some(info),
        update_mask: Some(FieldMask { paths: mask.iter().map(ToString::to_string).collect() }),
        ..UpdatePeerRequest::default()
    };
    let mut table: Vec<_> =
        bad_infos().into_iter().map(|(field, info)| (field, update(info, &["*"]))).collect();
    table.extend([
        ("update_mask", UpdatePeerRequest::default()),
        ("update_mask", update(PeerInfo::default(), &["name"])),
        ("update_mask", update(PeerInfo::default(), &["info.focus"])),
        (
            "request_id",
            UpdatePeerRequest { request_id: "a\nb".into(), ..update(PeerInfo::default(), &["*"]) },
        ),
    ]);
    for (field, request) in table {
        probe.refuses(field, &request.clone(), probe.client.peers().update_peer(request).await);
    }
    let leave = LeaveRequest { request_id: long(129) };
    probe.refuses("request_id", &leave.clone(), probe.client.peers().leave(leave).await);
    probe.unchanged().await;
    let largest = JoinRequest {
        scope: long(256),
        name: long(64),
        resume_key: long(256),
        info: Some(largest_info()),
        lease_ttl: Some(Duration { seconds: 86_400, nanos: 0 }),
        request_id: long(128),
    };
    let joined = probe.client.peers().join(largest).await.unwrap().into_inner().peer.unwrap();
    assert_eq!(joined.info, Some(largest_info()));
    let unnamed =
        update(PeerInfo { branch: long(300), focus: "ok".into(), ..PeerInfo::default() }, &["focus"]);
    probe.client.peers().update_peer(unnamed).await.expect("what the mask does not name is not looked at");
    probe.changed().await;
}

#[tokio::test]
async fn messages() {
    let mut probe = Probe::new().await;
    let ok = || message("owl", "hello");
    let mut table: Vec<(&str, SendRequest)> = vec![
        ("to", SendRequest { to: vec![], ..ok() }),
        ("to", SendRequest { broadcast: true, ..ok() }),
        ("to", SendRequest { to: numbered(33), ..ok() }),
        ("to", message("fox", "to myself")),
        ("body", message("owl", "")),
        ("body", message("owl", &long(65_537))),
        ("reply_to", SendRequest { reply_to: "the last one".into(), ..ok() }),
        ("intent", SendRequest { intent: 99, ..ok() }),
        ("request_id", SendRequest { request_id: long(129), ..ok() }),
    ];
    table.extend(BAD_NAMES.map(|name| ("to", message(name, "hello"))));
    for (field, request) in table {
        probe.refuses(field, &request.to.clone(), probe.client.messages().send(request).await);
    }
    let list = ListMessagesRequest::default;
    for (field, request) in [
        ("wait", ListMessagesRequest { wait: Some(Duration { seconds: 61, nanos: 0 }), ..list() }),
        ("wait", ListMessagesRequest { wait: Some(Duration { seconds: -1, nanos: 0 }), ..list() }),
        ("after_revision", ListMessagesRequest { after_revision: 3, ..list() }),
        ("after_revision", ListMessagesRequest { after_revision: u64::MAX, ..list() }),
    ] {
        probe.refuses(field, &request.clone(), probe.client.messages().list_messages(request).await);
    }
    for up_to_revision in [3, u64::MAX] {
        let request = AcknowledgeMessagesRequest { up_to_revision, ..Default::default() };
        let answer = probe.client.messages().acknowledge_messages(request).await;
        probe.refuses("up_to_revision", &up_to_revision, answer);
    }
    probe.unchanged().await;
    let body = "\u{1f98a}".repeat(65_536 / 4);
    probe.client.messages().send(message("owl", &body)).await.unwrap();
    let stray = SendRequest { reply_to: "00000000-0000-4000-8000-000000000000".into(), ..ok() };
    probe.client.messages().send(stray).await.expect("an id that is no longer stored is accepted");
    let controls = message("owl", "a body is free text:\n\t\u{1b}[31m\u{0}");
    probe.client.messages().send(controls.clone()).await.unwrap();
    let owl = probe.mesh.join_unattended("owl").await.inbox(list()).await.unwrap();
    assert_eq!((&owl.messages[0].body, &owl.messages[2].body), (&body, &controls.body));
    probe.changed().await;
}

#[tokio::test]
async fn entries() {
    let mut probe = Probe::new().await;
    let ok = || put("k", "v");
    let never = |condition| Some(Precondition { condition: Some(condition) });
    let mut table: Vec<(&str, PutRequest)> = vec![
        ("key", put("", "v")),
        ("key", put(&long(513), "v")),
        ("key", put("a\nb", "v")),
        ("key", put("a\u{9b}b", "v")),
        ("value", put("k", &long(65_537))),
        (
            "precondition.must_not_exist",
            PutRequest { precondition: never(Condition::MustNotExist(false)), ..ok() },
        ),
        ("ttl", PutRequest { ttl: Some(Duration { seconds: 365 * 86_400 + 1, nanos: 0 }), ..ok() }),
        ("paths", PutRequest { paths: numbered(33), ..ok() }),
        ("paths", PutRequest { paths: vec![long(1_025)], ..ok() }),
        ("tags", PutRequest { tags: numbered(17), ..ok() }),
        ("tags", PutRequest { tags: vec![long(65)], ..ok() }),
        ("tags", PutRequest { tags: vec!["\u{7}".into()], ..ok() }),
        ("request_id", PutRequest { request_id: long(129), ..ok() }),
    ];
    table.extend(BAD_SCOPES.map(|scope| ("scope", PutRequest { scope: scope.into(), ..ok() })));
    table.extend(BAD_SPANS.map(|span| ("ttl", PutRequest { ttl: Some(span), ..ok() })));
    table.extend(BAD_PATHS.map(|path| ("paths", PutRequest { paths: vec![path.into()], ..ok() })));
    for (field, request) in table {
        probe.refuses(field, &request.key.clone(), probe.client.state().put(request).await);
    }
    let delete = |key: &str, condition| DeleteRequest {
        key: key.into(),
        precondition: never(condition),
        ..DeleteRequest::default()
    };
    for (field, request) in [
        ("key", delete("", Condition::Version(1))),
        ("precondition.must_not_exist", delete("k", Condition::MustNotExist(true))),
    ] {
        probe.refuses(field, &request.clone(), probe.client.state().delete(request).await);
    }
    let plain = probe.mesh.client();
    let unscoped = plain.state().get(GetRequest { key: "k".into(), ..GetRequest::default() }).await;
    probe.refuses("scope", &"no scope and no session", unscoped);
    let list = ListEntriesRequest::default;
    for (field, request) in [
        ("prefix", ListEntriesRequest { prefix: long(513), ..list() }),
        ("path", ListEntriesRequest { path: "../x".into(), ..list() }),
        ("tags", ListEntriesRequest { tags: numbered(17), ..list() }),
        ("page_token", ListEntriesRequest { page_token: "garbage".into(), ..list() }),
        ("page_token", ListEntriesRequest { page_token: "ffffffffffffffffffff".into(), ..list() }),
        ("scope", ListEntriesRequest { scope: "A".into(), ..list() }),
    ] {
        probe.refuses(field, &request.clone(), probe.client.state().list_entries(request).await);
    }
    let search =
        |query: &str| SearchEntriesRequest { query: query.into(), ..SearchEntriesRequest::default() };
    for (field, request) in [
        ("query", search("")),
        ("query", search(&long(513))),
        ("path", SearchEntriesRequest { path: "/etc".into(), ..search("x") }),
    ] {
        probe.refuses(field, &request.clone(), probe.client.state().search_entries(request).await);
    }
    let missing = probe.client.state().get(GetRequest { key: "k".into(), ..Default::default() }).await;
    let missing = status_refused(&probe.client, missing);
    assert_eq!((missing.code, missing.reason), (Code::NotFound, ErrorReason::KeyNotFound));
    assert_eq!(missing.metadata["key"], "k");
    probe.unchanged().await;
    largest_entry(&mut probe).await;
}

async fn largest_entry(probe: &mut Probe) {
    let largest = PutRequest {
        ttl: Some(Duration { seconds: 365 * 86_400, nanos: 0 }),
        paths: (0..32).map(|number| format!("{number:02}{}", long(1_022))).collect(),
        tags: many(&long(64), 16),
        request_id: long(128),
        ..put(&long(512), &long(65_536))
    };
    probe.client.state().put(largest.clone()).await.unwrap();
    let read = GetRequest { key: largest.key.clone(), ..Default::default() };
    let entry = probe.client.state().get(read).await.unwrap().into_inner().entry.unwrap();
    assert_eq!((entry.value, entry.paths, entry.tags), (largest.value, largest.paths, largest.tags));
    let all = ListEntriesRequest { page_size: u32::MAX, ..Default::default() };
    assert_eq!(probe.client.state().list_entries(all).await.unwrap().into_inner().entries.len(), 1);
    probe.changed().await;
}

#[tokio::test]
async fn locks() {
    let mut probe = Probe::new().await;
    let ok = || lock(&["src/"]);
    let mut table: Vec<(&str, AcquireLocksRequest)> = vec![
        ("paths", lock(&[])),
        ("paths", AcquireLocksRequest { paths: numbered(101), ..ok() }),
        ("paths", lock(&[&long(1_025)])),
        ("mode", AcquireLocksRequest { mode: 3, ..ok() }),
        ("reason", AcquireLocksRequest { reason: long(513), ..ok() }),
        ("reason", AcquireLocksRequest { reason: "\u{1b}[1m".into(), ..ok() }),
        ("ttl", AcquireLocksRequest { ttl: Some(Duration { seconds: 86_401, nanos: 0 }), ..ok() }),
        ("request_id", AcquireLocksRequest { request_id: long(129), ..ok() }),
    ];
    table.extend(BAD_PATHS.map(|path| ("paths", lock(&["fine", path]))));
    table.extend(BAD_SPANS.map(|span| ("ttl", AcquireLocksRequest { ttl: Some(span), ..ok() })));
    for (field, request) in table {
        probe.refuses(field, &request.clone(), probe.client.locks().acquire_locks(request).await);
    }
    for path in BAD_PATHS {
        let request = RenewLocksRequest { paths: vec![path.into()], ..Default::default() };
        probe.refuses("paths", &path, probe.client.locks().renew_locks(request).await);
        let request = ReleaseLocksRequest { paths: vec![path.into()], ..Default::default() };
        probe.refuses("paths", &path, probe.client.locks().release_locks(request).await);
    }
    for span in BAD_SPANS {
        let request = RenewLocksRequest { ttl: Some(span), ..Default::default() };
        probe.refuses("ttl", &span, probe.client.locks().renew_locks(request).await);
    }
    let list = ListLocksRequest::default;
    for (field, request) in [
        ("scope", ListLocksRequest { scope: "/".into(), ..list() }),
        ("path", ListLocksRequest { path: "a/../b".into(), ..list() }),
        ("holder", ListLocksRequest { holder: "Fox".into(), ..list() }),
        ("page_token", ListLocksRequest { page_token: "zz".into(), ..list() }),
    ] {
        probe.refuses(field, &request.clone(), probe.client.locks().list_locks(request).await);
    }
    probe.unchanged().await;
    let largest = AcquireLocksRequest {
        paths: (0..100).map(|number| format!("{number:03}{}", long(1_021))).collect(),
        reason: long(512),
        ttl: Some(Duration { seconds: 86_400, nanos: 0 }),
        ..ok()
    };
    let granted = probe.client.locks().acquire_locks(largest).await.unwrap().into_inner();
    assert_eq!(granted.locks.len(), 100);
    probe.changed().await;
}

#[tokio::test]
async fn events_and_peers() {
    let mut probe = Probe::new().await;
    let ok = WatchRequest::default;
    let filter = |filter| Some(filter);
    let none = EventFilter::default;
    let table = [
        ("scopes", WatchRequest { scopes: numbered(101), ..ok() }),
        ("scopes", WatchRequest { scopes: vec!["A".into()], ..ok() }),
        ("filter.types", WatchRequest { filter: filter(EventFilter { types: vec![0], ..none() }), ..ok() }),
        ("filter.types", WatchRequest { filter: filter(EventFilter { types: vec![99], ..none() }), ..ok() }),
        (
            "filter.types",
            WatchRequest { filter: filter(EventFilter { types: vec![1; 33], ..none() }), ..ok() },
        ),
        (
            "filter.peers",
            WatchRequest { filter: filter(EventFilter { peers: numbered(101), ..none() }), ..ok() },
        ),
        (
            "filter.peers",
            WatchRequest { filter: filter(EventFilter { peers: vec!["Fox".into()], ..none() }), ..ok() },
        ),
        (
            "filter.paths",
            WatchRequest { filter: filter(EventFilter { paths: numbered(101), ..none() }), ..ok() },
        ),
        (
            "filter.paths",
            WatchRequest { filter: filter(EventFilter { paths: vec!["..".into()], ..none() }), ..ok() },
        ),
    ];
    for (field, request) in table {
        let listed = ListEventsRequest {
            scopes: request.scopes.clone(),
            filter: request.filter.clone(),
            start_revision: 1,
            ..Default::default()
        };
        probe.refuses(field, &listed.clone(), probe.client.events().list_events(listed).await);
        probe.refuses(field, &request.clone(), probe.client.events().watch(request).await);
    }
    let initial = WatchRequest { send_initial_state: true, start_revision: 1, ..ok() };
    probe.refuses("start_revision", &initial.clone(), probe.client.events().watch(initial).await);
    for seconds in [-1, 0, 301, i64::MAX] {
        let interval = Some(Duration { seconds, nanos: 0 });
        let request = WatchRequest { progress_interval: interval, ..ok() };
        probe.refuses("progress_interval", &seconds, probe.client.events().watch(request).await);
        if seconds != 0 {
            let request = ListEventsRequest { wait: interval, start_revision: 1, ..Default::default() };
            probe.refuses("wait", &seconds, probe.client.events().list_events(request).await);
        }
    }
    let unanchored =
        ListEventsRequest { wait: Some(Duration { seconds: 1, nanos: 0 }), ..Default::default() };
    probe.refuses("wait", &"no start", probe.client.events().list_events(unanchored).await);
    for (field, request) in [
        ("scope", ListPeersRequest { scope: "A".into(), ..Default::default() }),
        ("page_token", ListPeersRequest { page_token: "00ff".into(), ..Default::default() }),
        ("page_token", ListPeersRequest { page_token: "\u{1f98a}".into(), ..Default::default() }),
    ] {
        probe.refuses(field, &request.clone(), probe.client.peers().list_peers(request).await);
    }
    probe.unchanged().await;
}
