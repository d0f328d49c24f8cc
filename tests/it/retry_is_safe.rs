//! Every change carries a `request_id`; a repeat gets the first answer and changes nothing.

use std::pin::Pin;

use mesh_client::proto::{
    AcknowledgeMessagesRequest, AcquireLocksRequest, AcquireLocksResponse, DeleteRequest, GetStatusRequest,
    JoinRequest, JoinResponse, LeaveRequest, Lock, PeerInfo, PutRequest, ReleaseLocksRequest,
    RenewLocksRequest, RenewLocksResponse, SendRequest, UpdatePeerRequest, UpdatePeerResponse,
};
use mesh_client::{Acquired, Client, ErrorReason, Refusal, Session};
use mesh_tests::{Mesh, SCOPE, get, history, lock, message, put, refused, seconds, share, unattended};
use prost_types::FieldMask;
use tonic::Code;

/// The revision of an answer, and the whole of it but for what depends on the moment it is given.
type Answer = Result<(u64, String), Refusal>;
/// Makes a call under a request id, with the content of the first time or with other content.
type Call = fn(Client, &'static str, bool) -> Pin<Box<dyn Future<Output = Answer>>>;

macro_rules! call {
    ($service:ident.$method:ident($first:expr, or $other:expr)) => {
        call!($service.$method($first, or $other), without (|_| ()))
    };
    ($service:ident.$method:ident($first:expr, or $other:expr), without $moment:expr) => {
        (stringify!($method), |client, request_id, changed| {
            Box::pin(async move {
                let mut request = if changed { $other } else { $first };
                request.request_id = request_id.to_owned();
                let answer = client.call(|client| {
                    let request = request.clone();
                    async move { client.$service().$method(request).await }
                });
                match answer.await {
                    Ok(mut answer) => {
                        ($moment)(&mut answer);
                        Ok((answer.header.clone().unwrap().revision, format!("{answer:?}")))
                    }
                    Err(error) => Err(refused::<()>(Err(error))),
                }
            })
        })
    };
}

fn focus(focus: &str) -> UpdatePeerRequest {
    UpdatePeerRequest {
        info: Some(PeerInfo { focus: focus.into(), ..PeerInfo::default() }),
        update_mask: Some(FieldMask { paths: vec!["focus".into()] }),
        ..UpdatePeerRequest::default()
    }
}

fn joining(name: &str) -> JoinRequest {
    JoinRequest { scope: SCOPE.into(), name: name.into(), ..JoinRequest::default() }
}

fn delete(key: &str) -> DeleteRequest {
    DeleteRequest { key: key.into(), ..DeleteRequest::default() }
}

fn global(value: &str) -> PutRequest {
    PutRequest { scope: "global".into(), ..put("shared", value) }
}

/// A lock as it was granted: what is left of it is told anew.
fn as_granted(lock: &mut Lock) {
    lock.remaining = None;
    lock.state = 0;
}

/// Every call that changes something, in an order in which each succeeds, leaving last.
fn calls() -> Vec<(&'static str, Call)> {
    vec![
        call!(peers.join(joining("elk"), or joining("emu")), without |answer: &mut JoinResponse| {
            answer.peer.as_mut().unwrap().last_seen_time = None;
        }),
        call!(peers.update_peer(focus("one"), or focus("two")), without |answer: &mut UpdatePeerResponse| {
            answer.peer.as_mut().unwrap().last_seen_time = None;
        }),
        call!(state.put(put("k", "v"), or put("k", "w"))),
        call!(state.put(global("v"), or global("w"))),
        call!(state.delete(delete("k"), or delete("l"))),
        call!(locks.acquire_locks(lock(&["a", "b"]), or lock(&["a"])), without |answer: &mut AcquireLocksResponse| {
            answer.locks.iter_mut().for_each(as_granted);
        }),
        call!(locks.renew_locks(
            RenewLocksRequest { ttl: seconds(90), ..Default::default() },
            or RenewLocksRequest { ttl: seconds(91), ..Default::default() }
        ), without |answer: &mut RenewLocksResponse| {
            answer.locks.iter_mut().for_each(as_granted);
        }),
        call!(locks.release_locks(
            ReleaseLocksRequest { paths: vec!["a".into()], ..Default::default() },
            or ReleaseLocksRequest { paths: vec!["b".into()], ..Default::default() }
        )),
        call!(messages.send(message("owl", "hello"), or message("owl", "hallo"))),
        call!(messages.acknowledge_messages(
            AcknowledgeMessagesRequest { up_to_revision: 3, ..Default::default() },
            or AcknowledgeMessagesRequest { up_to_revision: 2, ..Default::default() }
        )),
        call!(peers.leave(LeaveRequest::default(), or LeaveRequest::default())),
    ]
}

const IDS: [&str; 11] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "leave"];

async fn head(client: &Client) -> u64 {
    client.admin().get_status(GetStatusRequest {}).await.unwrap().into_inner().header.unwrap().revision
}

#[tokio::test]
async fn every_change_repeated_gets_its_first_answer_and_happens_once_also_after_a_restart() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let fox = mesh.join_unattended("fox").await;
    let owl = mesh.join_unattended("owl").await;
    owl.send(message("fox", "to be acknowledged")).await.unwrap();
    let (plain, of_fox, of_owl) = (mesh.client(), fox.client(), owl.client());
    let client_of = |method: &str| if method == "join" { plain.clone() } else { of_fox.clone() };
    let mut first = Vec::new();
    for ((method, call), id) in calls().into_iter().zip(IDS) {
        let client = client_of(method);
        let before = head(&plain).await;
        let answer = call(client.clone(), id, false).await.unwrap();
        assert_eq!((answer.0, head(&plain).await), (before + 1, before + 1), "{method} is one transaction");
        assert_eq!(call(client, id, false).await.unwrap(), answer, "{method} at once");
        first.push(answer);
    }
    let all = head(&plain).await;
    broker.kill();
    let _broker = mesh.serve(&[]);
    for ((method, call), (id, first)) in calls().into_iter().zip(IDS.into_iter().zip(&first)) {
        assert_eq!(call(client_of(method), id, false).await.unwrap(), *first, "{method} after a restart");
        if method != "leave" {
            let reused = call(client_of(method), id, true).await.unwrap_err();
            assert_eq!(
                (reused.code, reused.reason),
                (Code::InvalidArgument, ErrorReason::RequestIdReused),
                "{method}"
            );
            assert_eq!(reused.field_violations[0].field, "request_id");
        }
        if method != "join" {
            let foreign = call(of_owl.clone(), id, false).await.unwrap_err();
            assert_eq!(foreign.reason, ErrorReason::RequestIdReused, "{method} by another peer");
        }
    }
    let again = mesh.join_unattended("fox").await.client();
    for ((method, call), (id, first)) in calls().into_iter().zip(IDS.into_iter().zip(&first)) {
        if !["join", "leave"].contains(&method) {
            assert_eq!(
                call(again.clone(), id, false).await.unwrap(),
                *first,
                "{method} by the peer's next session"
            );
        }
    }
    assert_eq!(head(&plain).await, all + 1, "that session, and nothing else");
    let log = history(&plain, 1).await;
    for ((method, _), id) in calls().into_iter().zip(IDS) {
        let batches = log.iter().filter(|batch| batch.request_id == id).count();
        let silent = ["renew_locks", "acknowledge_messages"].contains(&method);
        assert_eq!(batches, usize::from(!silent), "{method}");
    }
}

#[tokio::test]
async fn a_repeated_join_is_the_same_session_with_the_same_token() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let client = mesh.client();
    let request = JoinRequest { request_id: "join".into(), ..joining("") };
    let join = |client: Client| {
        let request = request.clone();
        async move { client.peers().join(request).await }
    };
    let first = client.call(join).await.unwrap();
    broker.kill();
    let _broker = mesh.serve(&[]);
    let second = client.call(join).await.unwrap();
    assert_eq!(first.session_token, second.session_token);
    let (first, second) = (first.peer.unwrap(), second.peer.unwrap());
    assert_eq!((first.name, first.session_id), (second.name, second.session_id));
    assert_eq!(history(&client, 1).await.len(), 1);
}

#[tokio::test]
async fn a_refusal_is_no_answer_to_be_remembered() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    fox.acquire(lock(&["src/"])).await.unwrap();
    let claim = AcquireLocksRequest { request_id: "claim".into(), ..share(&["src/a"]) };
    assert!(matches!(owl.acquire(claim.clone()).await.unwrap(), Acquired::Refused(_)));
    let letter = SendRequest { request_id: "letter".into(), ..message("elk", "hello") };
    assert_eq!(refused(fox.send(letter.clone()).await).reason, ErrorReason::PeerNotFound);
    fox.release(vec![]).await.unwrap();
    Session::join(&mesh.client(), unattended("elk")).await.unwrap();
    assert!(matches!(owl.acquire(claim).await.unwrap(), Acquired::Granted(_)));
    fox.send(letter).await.unwrap();
}

#[tokio::test]
async fn without_an_id_a_repeat_is_a_new_request() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let fox = mesh.join_unattended("fox").await;
    for version in 1..4 {
        let written = fox.client().state().put(put("k", "v")).await.unwrap().into_inner();
        assert_eq!(written.entry.unwrap().version, version);
    }
    assert_eq!(fox.get(get("k")).await.unwrap().entry.unwrap().version, 3);
}
