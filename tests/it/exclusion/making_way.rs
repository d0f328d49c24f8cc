//! A holder is asked to make way, and answers; a person may take a lock away.

use mesh_client::proto::event::Event;
use mesh_client::proto::{
    AnswerReleaseRequest, CreateTokenRequest, ForceReleaseRequest, ListReleaseRequestsRequest, ReleaseAnswer,
    ReleaseLocksRequest, ReleaseRequest, RequestReleaseRequest, UnlockCause,
};
use mesh_client::{ErrorReason, Session};
use mesh_tests::{Mesh, follow, lock, refused};
use tonic::Code;

use super::{conflicts, granted};

fn ask(paths: &[&str], reason: &str) -> RequestReleaseRequest {
    let paths = paths.iter().map(ToString::to_string).collect();
    RequestReleaseRequest { paths, reason: reason.into(), urgent: true, ..RequestReleaseRequest::default() }
}

async fn open_requests(holder: &Session) -> Vec<ReleaseRequest> {
    let request = ListReleaseRequestsRequest { holder: holder.peer().name, ..Default::default() };
    holder.list_release_requests(request).await.unwrap().requests
}

fn answered(event: &Event) -> Option<(ReleaseAnswer, Vec<String>, String)> {
    match event {
        Event::LockReleaseAnswered(it) => Some((it.answer(), it.keep.clone(), it.note.clone())),
        _ => None,
    }
}

#[tokio::test]
async fn a_holder_is_asked_once_and_its_answer_is_told() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let (holder, asker) = (mesh.join_unattended("holder").await, mesh.join_unattended("asker").await);
    assert_eq!(asker.request_release(ask(&["src/"], "")).await.unwrap().requests, []);
    granted(&holder, lock(&["src/"])).await;
    let asked = asker.request_release(ask(&["src/a.rs"], "a hot fix")).await.unwrap().requests.remove(0);
    assert_eq!((asked.from.as_str(), asked.holder.as_str()), ("asker", "holder"));
    assert_eq!(
        (asked.paths.as_slice(), asked.lock_paths.as_slice()),
        (&["src/a.rs".to_owned()][..], &["src/".to_owned()][..])
    );
    let (_, request) = watch
        .until("the request", |event| match event {
            Event::LockReleaseRequested(it) => it.request.clone(),
            _ => None,
        })
        .await;
    assert_eq!((&request, request.urgent, request.reason.as_str()), (&asked, true, "a hot fix"));
    // Nagging changes nothing.
    assert_eq!(asker.request_release(ask(&["src/a.rs"], "please")).await.unwrap().requests[0].id, asked.id);
    assert_eq!(open_requests(&holder).await, std::slice::from_ref(&asked));

    let keep = AnswerReleaseRequest {
        id: asked.id,
        answer: ReleaseAnswer::Keep.into(),
        note: "ten more minutes".into(),
        ..AnswerReleaseRequest::default()
    };
    assert_eq!(
        refused(asker.answer_release(keep.clone()).await).reason,
        ErrorReason::ReleaseRequestNotFound,
        "only the holder answers"
    );
    holder.answer_release(keep).await.unwrap();
    let (_, answer) = watch.until("the answer", answered).await;
    assert_eq!(answer, (ReleaseAnswer::Keep, vec![], "ten more minutes".to_owned()));
    assert_eq!(open_requests(&holder).await, []);
}

#[tokio::test]
async fn a_holder_narrows_its_lock_and_the_asker_has_the_rest() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let (holder, asker) = (mesh.join_unattended("holder").await, mesh.join_unattended("asker").await);
    let token = granted(&holder, lock(&["src/"])).await[0].fencing_token;
    asker.request_release(ask(&["src/a.rs"], "a hot fix")).await.unwrap();
    let outside = ReleaseLocksRequest {
        paths: vec!["src/".into()],
        keep: vec!["docs/".into()],
        ..ReleaseLocksRequest::default()
    };
    assert_eq!(refused(holder.release_locks(outside.clone()).await).field_violations[0].field, "keep");
    let narrow =
        ReleaseLocksRequest { keep: vec!["src/auth/".into()], note: "the rest is yours".into(), ..outside };
    let answer = holder.release_locks(narrow).await.unwrap();
    assert_eq!((answer.paths, answer.remaining), (vec!["src/".to_owned()], 1));
    assert!(answer.kept[0].path == "src/auth/" && answer.kept[0].fencing_token > token);
    let (batch, cause) = watch.until_unlocked("src/").await;
    assert_eq!(cause, UnlockCause::Narrowed);
    let told = mesh_tests::events(&batch).find_map(answered).unwrap();
    assert_eq!(told, (ReleaseAnswer::Narrow, vec!["src/auth/".to_owned()], "the rest is yours".to_owned()));
    granted(&asker, lock(&["src/a.rs"])).await;
    assert_eq!(conflicts(&asker, lock(&["src/auth/x.rs"])).await[0].lock.as_ref().unwrap().path, "src/auth/");
}

#[tokio::test]
async fn a_plain_release_answers_who_asked() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let (holder, asker) = (mesh.join_unattended("holder").await, mesh.join_unattended("asker").await);
    granted(&holder, lock(&["a", "b"])).await;
    asker.request_release(ask(&["a"], "")).await.unwrap();
    holder.release(vec!["a".into()]).await.unwrap();
    let (_, (answer, ..)) = watch.until("the answer", answered).await;
    assert_eq!(answer, ReleaseAnswer::Release);
    assert_eq!(open_requests(&holder).await, []);
}

#[tokio::test]
async fn a_forced_lock_is_gone_its_token_is_fenced_and_all_is_on_record() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&["--listen", "127.0.0.1:0"]);
    let mut watch = follow(&mesh.client(), 0).await;
    let (holder, person) = (mesh.join_unattended("holder").await, mesh.join_unattended("person").await);
    let token = granted(&holder, lock(&["src/"])).await[0].fencing_token;
    let force = |reason: &str| ForceReleaseRequest {
        paths: vec!["src/a.rs".into()],
        reason: reason.into(),
        ..ForceReleaseRequest::default()
    };
    assert_eq!(refused(person.force_release(force("")).await).field_violations[0].field, "reason");
    let taken = person.force_release(force("it hangs")).await.unwrap();
    assert_eq!((taken.locks[0].path.as_str(), taken.locks[0].holder.as_str()), ("src/", "holder"));
    let (batch, ended) = watch
        .until("the end of the lock", |event| match event {
            Event::FileUnlocked(ended) => Some(ended.clone()),
            _ => None,
        })
        .await;
    assert_eq!((batch.actor.as_str(), ended.holder.as_str()), ("person", "holder"));
    assert_eq!((ended.cause(), ended.reason.as_str()), (UnlockCause::Forced, "it hangs"));
    assert!(!super::fencing::is_valid(&holder, "src/a.rs", token).await);
    granted(&person, lock(&["src/"])).await;
    drop(broker);
}

#[tokio::test]
async fn who_is_let_in_as_a_member_does_not_force() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--listen", "127.0.0.1:0"]);
    let status = mesh.client().admin().get_status(mesh_client::proto::GetStatusRequest {}).await.unwrap();
    let endpoints = status.into_inner().endpoints;
    let tcp = endpoints.iter().find(|endpoint| endpoint.starts_with("http")).unwrap();
    let token =
        mesh.client().tokens().create_token(CreateTokenRequest::default()).await.unwrap().into_inner();
    let client = mesh.tcp_client_with(tcp, &token.secret);
    let remote = Session::join(&client, mesh_tests::unattended("remote")).await.unwrap();
    let force = ForceReleaseRequest { paths: vec!["a".into()], reason: "why".into(), ..Default::default() };
    let refusal = refused(remote.force_release(force).await);
    assert_eq!((refusal.code, refusal.reason), (Code::PermissionDenied, ErrorReason::PermissionDenied));
}
