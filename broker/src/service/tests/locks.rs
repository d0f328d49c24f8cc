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

#[tokio::test]
async fn holders_are_asked_and_answer() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["src/", "b"]).await;
    let ask = pb::RequestReleaseRequest {
        paths: texts(&["src/a", "c"]),
        reason: "to fix the login".into(),
        urgent: true,
        ..Default::default()
    };
    let asked = lynx.locks().request_release(ask.clone()).await.unwrap().into_inner();
    let [request] = asked.requests.as_slice() else { panic!("{asked:?}") };
    assert_eq!((request.from.as_str(), request.holder.as_str()), ("bold-lynx", "amber-fox"));
    assert_eq!((&request.paths, &request.lock_paths), (&texts(&["src/a", "c"]), &texts(&["src/"])));
    assert_eq!((request.reason.as_str(), request.urgent), ("to fix the login", true));
    assert_eq!(request.id, revision(&asked.header));
    let again = lynx.locks().request_release(ask.clone()).await.unwrap().into_inner();
    assert_eq!((again.requests, broker.revision()), (asked.requests.clone(), request.id));
    let free = pb::RequestReleaseRequest { paths: texts(&["c"]), ..ask.clone() };
    assert_eq!(lynx.locks().request_release(free).await.unwrap().into_inner().requests, []);

    let list = |holder: &str, from: &str| {
        let request =
            pb::ListReleaseRequestsRequest { holder: holder.into(), from: from.into(), ..Default::default() };
        let mut client = fox.locks();
        async move { client.list_release_requests(request).await.unwrap().into_inner().requests }
    };
    assert_eq!(list("", "").await, asked.requests);
    assert_eq!(list("amber-fox", "bold-lynx").await, asked.requests);
    assert_eq!(list("bold-lynx", "").await, []);
    assert_eq!(list("", "amber-fox").await, []);

    let narrow = pb::AnswerReleaseRequest {
        id: request.id,
        answer: pb::ReleaseAnswer::Narrow.into(),
        keep: texts(&["src/b"]),
        note: "the rest is yours".into(),
        ..Default::default()
    };
    let missing = refusal(lynx.locks().answer_release(narrow.clone()).await);
    let id = vec![("id".to_owned(), request.id.to_string())];
    assert_eq!(missing, (Code::NotFound, "RELEASE_REQUEST_NOT_FOUND".into(), id));
    let answered = fox.locks().answer_release(narrow).await.unwrap().into_inner();
    assert_eq!(answered.paths, ["src/"]);
    assert_eq!(answered.kept[0].path, "src/b");
    assert_eq!(list("", "").await, []);
    assert_eq!(lynx.lock(&["src/a"]).await.conflicts, []);
}

#[tokio::test]
async fn a_request_to_make_way_may_be_declined() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let ask = pb::RequestReleaseRequest { paths: texts(&["a"]), ..Default::default() };
    let asked = lynx.locks().request_release(ask).await.unwrap().into_inner();
    let keep = pb::AnswerReleaseRequest {
        id: asked.requests[0].id,
        answer: pb::ReleaseAnswer::Keep.into(),
        ..Default::default()
    };
    let answered = fox.locks().answer_release(keep).await.unwrap().into_inner();
    assert_eq!((answered.paths, answered.kept), (vec![], vec![]));
    assert_eq!(lynx.lock(&["a"]).await.conflicts.len(), 1);
}

#[tokio::test]
async fn locks_are_forced_with_a_reason() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let held = fox.lock(&["src/a", "b"]).await;
    lynx.lock(&["src/c"]).await;
    let force = pb::ForceReleaseRequest {
        paths: texts(&["src/"]),
        reason: "no answer for an hour".into(),
        ..Default::default()
    };
    assert_eq!(reason(broker.nobody().locks().force_release(force.clone()).await), "SESSION_REQUIRED");
    let silent = pb::ForceReleaseRequest { reason: String::new(), ..force.clone() };
    assert_eq!(field(lynx.locks().force_release(silent).await), "reason");

    let forced = lynx.locks().force_release(force).await.unwrap().into_inner();
    let [lock] = forced.locks.as_slice() else { panic!("{forced:?}") };
    assert_eq!((lock.path.as_str(), lock.holder.as_str()), ("src/a", "amber-fox"));
    assert_eq!((lock.fencing_token, forced.remaining), (held.locks[0].fencing_token, 0));
    assert_eq!(list(&lynx, pb::ListLocksRequest::default()).await.0, ["b amber-fox", "src/c bold-lynx"]);
    let check = pb::CheckFenceRequest {
        path: "src/a".into(),
        fencing_token: lock.fencing_token,
        ..Default::default()
    };
    assert!(!fox.locks().check_fence(check).await.unwrap().into_inner().valid, "it is fenced");
}

#[tokio::test]
async fn a_token_is_good_for_what_its_lock_covers() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let token = fox.lock(&["src/"]).await.locks[0].fencing_token;
    let check = |path: &str, fencing_token| {
        let request = pb::CheckFenceRequest { scope: SCOPE.into(), path: path.into(), fencing_token };
        let mut client = broker.nobody().locks();
        async move {
            let answer = client.check_fence(request).await.unwrap().into_inner();
            (answer.valid, answer.lock.map(|lock| lock.fencing_token))
        }
    };
    assert_eq!(check("src/a", token).await, (true, Some(token)));
    assert_eq!(check("src/a", token - 1).await, (false, Some(token)), "who holds it instead");
    assert_eq!(check("b", token).await, (false, None));
    let somewhere = pb::CheckFenceRequest { path: "a".into(), ..Default::default() };
    assert_eq!(field(broker.nobody().locks().check_fence(somewhere).await), "scope");
}

#[tokio::test]
async fn what_is_asked_of_locks_is_bounded() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let many = |n: usize| (0..n).map(|n| format!("f{n}")).collect::<Vec<_>>();
    let lock = || pb::AcquireLocksRequest { paths: texts(&["a"]), ..Default::default() };
    let contract = |text: String, paths| Some(pb::Contract { text, paths });
    let on = |paths: &[&str]| pb::AcquireLocksRequest {
        paths: texts(paths),
        contract: contract("x".into(), vec![]),
        ..lock()
    };
    let shared = pb::LockMode::Shared.into();
    let table = [
        ("wait", pb::AcquireLocksRequest { wait: seconds(3_601), ..lock() }),
        ("paths", pb::AcquireLocksRequest { paths: many(33), wait: seconds(1), ..lock() }),
        (
            "contract.text",
            pb::AcquireLocksRequest { contract: contract("x".repeat(16_385), vec![]), ..lock() },
        ),
        ("contract.paths", pb::AcquireLocksRequest { contract: contract("x".into(), many(33)), ..lock() }),
        ("contract", on(&["a"])),
        ("contract", on(&["task:a", "task:b"])),
        ("contract", pb::AcquireLocksRequest { mode: shared, ..on(&["task:a"]) }),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.locks().acquire_locks(request).await), named);
    }
    let ask = || pb::RequestReleaseRequest { paths: texts(&["a"]), ..Default::default() };
    let table = [
        ("paths", pb::RequestReleaseRequest { paths: vec![], ..ask() }),
        ("paths", pb::RequestReleaseRequest { paths: many(33), ..ask() }),
        ("reason", pb::RequestReleaseRequest { reason: "a".repeat(513), ..ask() }),
        ("mode", pb::RequestReleaseRequest { mode: 9, ..ask() }),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.locks().request_release(request).await), named);
    }
    let answer = || pb::AnswerReleaseRequest { answer: pb::ReleaseAnswer::Keep.into(), ..Default::default() };
    let narrow = pb::ReleaseAnswer::Narrow.into();
    let table = [
        ("answer", pb::AnswerReleaseRequest { answer: 0, ..answer() }),
        ("answer", pb::AnswerReleaseRequest { answer: 9, ..answer() }),
        ("keep", pb::AnswerReleaseRequest { keep: texts(&["a"]), ..answer() }),
        ("keep", pb::AnswerReleaseRequest { answer: narrow, ..answer() }),
        ("keep", pb::AnswerReleaseRequest { answer: narrow, keep: many(33), ..answer() }),
        ("note", pb::AnswerReleaseRequest { note: "a".repeat(513), ..answer() }),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.locks().answer_release(request).await), named);
    }
    let force = || pb::ForceReleaseRequest { paths: texts(&["a"]), reason: "x".into(), ..Default::default() };
    let table = [
        ("paths", pb::ForceReleaseRequest { paths: vec![], ..force() }),
        ("paths", pb::ForceReleaseRequest { paths: many(33), ..force() }),
        ("reason", pb::ForceReleaseRequest { reason: "a".repeat(513), ..force() }),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.locks().force_release(request).await), named);
    }
}
