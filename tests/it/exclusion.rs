//! At no revision do two peers hold conflicting locks; a set is granted all or nothing; tokens rise.

mod contention;
mod fencing;
mod making_way;
mod queue;

use std::time::Duration;

use mesh_client::proto::{
    ListLocksRequest, Lock, LockConflict, LockMode, LockState, PeerInfo, RenewLocksRequest,
};
use mesh_client::{Acquired, ErrorReason, Session};
use mesh_tests::{Mesh, lock, refused, seconds, share};
use tonic::Code;

async fn granted(session: &Session, request: mesh_client::proto::AcquireLocksRequest) -> Vec<Lock> {
    match session.acquire(request).await.unwrap() {
        Acquired::Granted(locks) => locks,
        Acquired::Refused(conflicts) => panic!("refused: {conflicts:?}"),
    }
}

async fn conflicts(session: &Session, request: mesh_client::proto::AcquireLocksRequest) -> Vec<LockConflict> {
    match session.acquire(request).await.unwrap() {
        Acquired::Refused(conflicts) => conflicts,
        Acquired::Granted(locks) => panic!("granted: {locks:?}"),
    }
}

#[tokio::test]
async fn locks_conflict_when_a_file_belongs_to_both_and_one_is_exclusive() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (holder, other) = (mesh.join_unattended("holder").await, mesh.join_unattended("other").await);
    let table = [
        ("src/a.rs", "src/a.rs", true),
        ("src/a.rs", "src/b.rs", false),
        ("src/", "src/a.rs", true),
        ("src/a.rs", "src/", true),
        ("src/", "src/deep/er/", true),
        ("src/", "src2/a.rs", false),
        ("src/auth/", "src/auth", false),
        ("src/auth/", "src/auth0/x", false),
        ("/", "anything/at/all", true),
        ("anything/at/all", "/", true),
        ("/", "/", true),
        ("caf\u{e9}.rs", "cafe\u{301}.rs", true),
        ("src/**/*_test.rs", "src/a/b_test.rs", true),
        ("src/*.rs", "src/a/b.rs", false),
        ("src/a*", "src/*b", true),
        ("src/[ab].rs", "src/[bc].rs", true),
        ("src/{lib,main}.rs", "src/bin.rs", false),
        ("docs/*/x", "docs/y/*", true),
        ("app/[slug]/page.tsx", "app/[slug]/", true),
        ("src/auth.ts#Session", "src/auth.ts#Session::refresh", true),
        ("src/auth.ts#Session::refresh", "src/auth.ts#Session::end", false),
        ("src/auth.ts#Session", "src/auth.ts", true),
        ("src/*.ts", "src/auth.ts#Session", true),
        ("api:billing", "api:billing/v2", true),
        ("api:billing/v2", "api:billing/v1", false),
        ("task:ABC-12", "/", false),
    ];
    for (held, asked, overlap) in table {
        for (mine, theirs) in [
            (lock(&[held]), lock(&[asked])),
            (lock(&[held]), share(&[asked])),
            (share(&[held]), lock(&[asked])),
            (share(&[held]), share(&[asked])),
        ] {
            let shared = mine.mode() == LockMode::Shared && theirs.mode() == LockMode::Shared;
            granted(&holder, mine).await;
            if overlap && !shared {
                let conflicts = conflicts(&other, theirs).await;
                assert_eq!(conflicts[0].lock.as_ref().unwrap().holder, "holder", "{held} and {asked}");
            } else {
                granted(&other, theirs).await;
                other.release(vec![]).await.unwrap();
            }
            holder.release(vec![]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_refusal_names_holder_reason_doing_and_the_time_left() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (holder, other) = (mesh.join_unattended("holder").await, mesh.join_unattended("other").await);
    let info = PeerInfo { focus: "rewriting the parser".into(), ..PeerInfo::default() };
    holder.update(info, &["focus"]).await.unwrap();
    let mut request = lock(&["src/parser/"]);
    request.reason = "moving files".into();
    request.ttl = seconds(600);
    let token = granted(&holder, request).await[0].fencing_token;
    let conflict = conflicts(&other, lock(&["src/parser/lexer.rs"])).await.remove(0);
    assert_eq!(conflict.path, "src/parser/lexer.rs");
    assert_eq!(conflict.holder_focus, "rewriting the parser");
    let held = conflict.lock.unwrap();
    assert_eq!((held.path.as_str(), held.holder.as_str()), ("src/parser/", "holder"));
    assert_eq!((held.reason.as_str(), held.fencing_token), ("moving files", token));
    assert_eq!((held.mode(), held.state()), (LockMode::Exclusive, LockState::Held));
    let remaining = Duration::try_from(held.remaining.unwrap()).unwrap();
    assert!(remaining > Duration::from_secs(400) && remaining <= Duration::from_secs(600), "{remaining:?}");
}

#[tokio::test]
async fn a_set_is_granted_all_or_nothing() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (holder, other) = (mesh.join_unattended("holder").await, mesh.join_unattended("other").await);
    granted(&holder, lock(&["b"])).await;
    let conflicts = conflicts(&other, lock(&["a", "b", "c"])).await;
    assert_eq!(conflicts.iter().map(|conflict| conflict.path.as_str()).collect::<Vec<_>>(), ["b"]);
    let listed = other.list_locks(ListLocksRequest::default()).await.unwrap().locks;
    assert_eq!(listed.iter().map(|lock| lock.path.as_str()).collect::<Vec<_>>(), ["b"]);
    holder.release(vec!["b".into()]).await.unwrap();
    let locks = granted(&other, lock(&["a", "b", "c"])).await;
    assert_eq!(locks.iter().map(|lock| lock.path.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(locks.iter().all(|lock| lock.fencing_token == locks[0].fencing_token), "one grant, one token");
}

#[tokio::test]
async fn every_grant_of_a_target_has_a_larger_token_and_a_renewal_keeps_it() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (one, two) = (mesh.join_unattended("one").await, mesh.join_unattended("two").await);
    let mut last = 0;
    for round in 0..3 {
        for (session, path) in [(&one, "src/"), (&two, "src/a"), (&one, "/")] {
            let token = granted(session, lock(&[path])).await[0].fencing_token;
            assert!(token > last, "round {round}: {token} after {last}");
            assert_eq!(
                granted(session, lock(&[path])).await[0].fencing_token,
                token,
                "its own lock, renewed"
            );
            let renewed = session.renew(RenewLocksRequest { ttl: seconds(90), ..Default::default() }).await;
            let renewed = renewed.unwrap().locks.remove(0);
            assert_eq!((renewed.fencing_token, renewed.ttl), (token, seconds(90)));
            last = token;
            session.release(vec![path.into()]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_shared_lock_is_upgraded_when_nobody_else_is_in_the_way() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (one, two) = (mesh.join_unattended("one").await, mesh.join_unattended("two").await);
    let first = granted(&one, share(&["doc"])).await[0].fencing_token;
    granted(&two, share(&["doc"])).await;
    assert_eq!(conflicts(&one, lock(&["doc"])).await[0].lock.as_ref().unwrap().holder, "two");
    two.release(vec![]).await.unwrap();
    let upgraded = granted(&one, lock(&["doc"])).await.remove(0);
    assert!(upgraded.fencing_token > first && upgraded.mode() == LockMode::Exclusive);
    conflicts(&two, share(&["doc"])).await;
}

#[tokio::test]
async fn only_the_holder_renews_and_releases_and_one_missing_lock_refuses_the_set() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (one, two) = (mesh.join_unattended("one").await, mesh.join_unattended("two").await);
    granted(&one, lock(&["a"])).await;
    for session in [&one, &two] {
        let paths = vec!["a".to_owned(), "b".to_owned()];
        let renewal = RenewLocksRequest { paths: paths.clone(), ..Default::default() };
        for refusal in [refused(session.renew(renewal).await), refused(session.release(paths).await)] {
            assert_eq!((refusal.code, refusal.reason), (Code::FailedPrecondition, ErrorReason::LockNotHeld));
        }
    }
    assert_eq!(refused(two.release(vec!["a".into()]).await).metadata["path"], "a");
    assert_eq!(two.list_locks(ListLocksRequest::default()).await.unwrap().locks.len(), 1);
}
