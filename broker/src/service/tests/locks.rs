//! Locks, as a client sees them.

use super::*;

async fn list(caller: &Caller, request: pb::ListLocksRequest) -> (Vec<String>, String) {
    let page = caller.locks().list_locks(request).await.unwrap().into_inner();
    let names = page.locks.iter().map(|lock| format!("{} {}", lock.path, lock.holder)).collect();
    (names, page.next_page_token)
}

#[tokio::test]
async fn an_answer_is_a_grant_or_a_refusal() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let granted = fox.lock(&["src/auth/", "b.rs", "b.rs"]).await;
    let paths: Vec<_> = granted.locks.iter().map(|lock| lock.path.as_str()).collect();
    assert_eq!(paths, ["src/auth/", "b.rs"], "in the order asked, none twice");
    let lock = &granted.locks[0];
    assert_eq!((lock.mode(), lock.state()), (pb::LockMode::Exclusive, pb::LockState::Held));
    assert_eq!((lock.fencing_token, lock.ttl), (revision(&granted.header), seconds(1800)));
    assert!((1790..=1800).contains(&lock.remaining.unwrap().seconds));

    let refused = lynx.lock(&["c.rs", "src/auth/x.rs"]).await;
    assert_eq!(refused.locks, []);
    assert_eq!(refused.conflicts.len(), 1);
    assert_eq!(refused.conflicts[0].path, "src/auth/x.rs");
    let in_the_way = refused.conflicts[0].lock.as_ref().unwrap();
    assert_eq!((in_the_way.path.as_str(), in_the_way.holder.as_str()), ("src/auth/", "amber-fox"));

    let renew = pb::RenewLocksRequest { paths: texts(&["b.rs"]), ttl: seconds(5), ..Default::default() };
    let renewed = fox.locks().renew_locks(renew).await.unwrap().into_inner();
    assert_eq!((renewed.locks[0].ttl, renewed.locks[0].fencing_token), (seconds(5), lock.fencing_token));
    let release = |paths: &[&str]| pb::ReleaseLocksRequest { paths: texts(paths), ..Default::default() };
    let path = vec![("path".to_owned(), "b.rs".to_owned())];
    let not_held = refusal(lynx.locks().release_locks(release(&["b.rs"])).await);
    assert_eq!(not_held, (Code::FailedPrecondition, "LOCK_NOT_HELD".into(), path));
    let released = fox.locks().release_locks(release(&["b.rs", "b.rs"])).await.unwrap().into_inner();
    assert_eq!((released.paths, released.remaining), (texts(&["b.rs"]), 1));
    assert_eq!(lynx.lock(&["b.rs"]).await.conflicts, []);
}

#[tokio::test]
async fn a_repeat_returns_the_first_grant_as_it_stands() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let request = pb::AcquireLocksRequest {
        paths: texts(&["a"]),
        mode: pb::LockMode::Shared.into(),
        request_id: "l1".into(),
        ..Default::default()
    };
    let first = fox.locks().acquire_locks(request.clone()).await.unwrap().into_inner();
    fox.locks().release_locks(pb::ReleaseLocksRequest::default()).await.unwrap();
    let again = fox.locks().acquire_locks(request).await.unwrap().into_inner();
    assert_eq!(again.header, first.header);
    assert_eq!(again.locks[0].fencing_token, first.locks[0].fencing_token);
    assert_eq!(again.locks[0].remaining, seconds(0), "the lock is gone");
}

#[tokio::test]
async fn locks_are_listed_by_target_holder_and_scope_completely_and_in_order() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let far = broker.join_in("global", "far").await;
    let share = |caller: &Caller, paths: &[&str]| {
        let request = pb::AcquireLocksRequest {
            paths: texts(paths),
            mode: pb::LockMode::Shared.into(),
            ..Default::default()
        };
        let mut client = caller.locks();
        async move { client.acquire_locks(request).await.unwrap() }
    };
    share(&fox, &["/", ".github/", ".github/x", "src/a"]).await;
    share(&lynx, &["/", ".github/x", "zoo"]).await;
    share(&far, &[".github/x"]).await;

    let all = pb::ListLocksRequest::default;
    let on = |path: &str| pb::ListLocksRequest { path: path.into(), ..all() };
    let expected =
        [".github/ amber-fox", ".github/x amber-fox", ".github/x bold-lynx", "/ amber-fox", "/ bold-lynx"];
    assert_eq!(list(&fox, on(".github/x")).await.0, expected);
    assert_eq!(list(&broker.nobody(), on(".github/x")).await.0.len(), 6, "every scope");
    let of = |holder: &str, path: &str| pb::ListLocksRequest { holder: holder.into(), ..on(path) };
    assert_eq!(
        list(&fox, of("bold-lynx", "")).await.0,
        [".github/x bold-lynx", "/ bold-lynx", "zoo bold-lynx"]
    );
    assert_eq!(list(&fox, of("bold-lynx", "zoo")).await.0, ["/ bold-lynx", "zoo bold-lynx"]);
    assert_eq!(list(&broker.nobody(), of("far", "")).await.0, [".github/x far"]);

    for query in [on(".github/x"), of("bold-lynx", ""), all()] {
        let whole = list(&fox, query.clone()).await.0;
        let (mut names, mut token) = (Vec::new(), String::new());
        loop {
            let page = pb::ListLocksRequest { page_size: 2, page_token: token, ..query.clone() };
            let (found, next) = list(&fox, page).await;
            names.extend(found);
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(names, whole);
    }
    assert_eq!(field(fox.locks().list_locks(of("Not A Name", "")).await), "holder");
    fox.leave().await;
    assert_eq!(reason(fox.locks().list_locks(all()).await), "SESSION_EXPIRED", "not every scope");
}
