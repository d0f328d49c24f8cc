//! No silent overwrite: what counts as read, and what a refusal tells.

use pb::operation::Operation as Op;
use pb::precondition::Condition;
use pb::watch_response::Payload;

use super::*;

fn when(condition: Condition) -> Option<pb::Precondition> {
    Some(pb::Precondition { condition: Some(condition) })
}

/// A broker where fox wrote `k` and lynx has not read it.
async fn fox_and_lynx() -> (Broker, Caller, Caller) {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.put("k", "theirs").await;
    (broker, fox, lynx)
}

#[tokio::test]
async fn a_value_of_another_peer_is_not_overwritten_unread_and_the_refusal_shows_it() {
    let (_broker, fox, lynx) = fox_and_lynx().await;
    let refused = lynx.try_put("k", "mine").await;
    let told = ["key", "revision", "version", "writer"];
    let (code, reason, metadata) = refusal(refused.clone());
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "OVERWRITE_NEEDS_VERSION"));
    assert_eq!(metadata.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), told);
    let shown = conflict(refused);
    assert_eq!((shown.base, shown.values_omitted), (None, false));
    let theirs = shown.theirs.unwrap();
    assert_eq!((theirs.value.as_str(), theirs.writer.as_str(), theirs.version), ("theirs", "amber-fox", 1));

    let merged = lynx.try_put("k", "theirs and mine").await.expect("it was shown, so it was read");
    assert_eq!(merged.version, 2);
    lynx.try_put("k", "mine again").await.expect("its own value is free to overwrite");
    let refused = conflict(fox.try_put("k", "fox again").await);
    assert_eq!(refused.base.unwrap().value, "theirs", "its own write is the last that it has read");
    assert_eq!(refused.theirs.unwrap().value, "mine again");
}

#[tokio::test]
async fn whatever_shows_a_value_lets_it_be_overwritten() {
    type Reading = fn(&Caller) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
    let readings: [(&str, Reading); 6] = [
        ("Get", |lynx| {
            Box::pin(async move {
                lynx.read("k").await;
            })
        }),
        ("Get of the present version", |lynx| {
            Box::pin(async move {
                let request = pb::GetRequest { key: "k".into(), version: 1, ..Default::default() };
                lynx.state().get(request).await.unwrap();
            })
        }),
        ("ListEntries", |lynx| {
            Box::pin(async move {
                lynx.state().list_entries(pb::ListEntriesRequest::default()).await.unwrap();
            })
        }),
        ("SearchEntries", |lynx| {
            Box::pin(async move {
                let request = pb::SearchEntriesRequest { query: "theirs".into(), ..Default::default() };
                lynx.state().search_entries(request).await.unwrap();
            })
        }),
        ("ListVersions", |lynx| {
            Box::pin(async move {
                let request = pb::ListVersionsRequest { key: "k".into(), ..Default::default() };
                lynx.state().list_versions(request).await.unwrap();
            })
        }),
        ("the initial state of a Watch", |lynx| {
            Box::pin(async move {
                let request = pb::WatchRequest { send_initial_state: true, ..Default::default() };
                let mut stream = lynx.events().watch(request).await.unwrap().into_inner();
                let mut payload = None;
                while !matches!(payload, Some(Payload::InitialStateEnd(_))) {
                    payload = soon(stream.message()).await.unwrap().unwrap().payload;
                }
            })
        }),
    ];
    for (name, read) in readings {
        let (_broker, fox, lynx) = fox_and_lynx().await;
        read(&lynx).await;
        fox.put("k", "newer").await;
        assert_eq!(
            reason(lynx.try_put("k", "mine").await),
            "OVERWRITE_NEEDS_VERSION",
            "{name}: no longer so"
        );

        let (_broker, _fox, lynx) = fox_and_lynx().await;
        read(&lynx).await;
        assert!(lynx.try_put("k", "mine").await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn what_was_not_sent_was_not_read() {
    let (broker, fox, lynx) = fox_and_lynx().await;
    broker
        .nobody()
        .state()
        .get(pb::GetRequest { scope: SCOPE.into(), key: "k".into(), version: 0 })
        .await
        .unwrap();
    let list = pb::ListEntriesRequest { prefix: "j".into(), ..Default::default() };
    lynx.state().list_entries(list).await.unwrap();
    fox.put("k", "newer").await;
    let old = pb::GetRequest { key: "k".into(), version: 1, ..Default::default() };
    assert_eq!(lynx.state().get(old).await.unwrap().into_inner().entry.unwrap().value, "theirs");
    assert_eq!(reason(lynx.try_put("k", "mine").await), "OVERWRITE_NEEDS_VERSION");
}

#[tokio::test]
async fn a_value_too_long_for_a_refusal_must_be_read_first() {
    let (_broker, fox, lynx) = fox_and_lynx().await;
    fox.put("k", &"x".repeat(5_000)).await;
    for _ in 0..2 {
        let told = conflict(lynx.try_put("k", "mine").await);
        assert!(told.values_omitted);
        assert_eq!(told.theirs.unwrap().value, "");
    }
    assert_eq!(lynx.read("k").await.value.len(), 5_000);
    lynx.try_put("k", "mine").await.unwrap();
}

#[tokio::test]
async fn a_new_session_of_a_peer_has_read_nothing() {
    let (broker, _fox, lynx) = fox_and_lynx().await;
    lynx.read("k").await;
    lynx.leave().await;
    let lynx = broker.join("bold-lynx").await;
    assert_eq!(reason(lynx.try_put("k", "mine").await), "OVERWRITE_NEEDS_VERSION");
}

#[tokio::test]
async fn an_explicit_precondition_takes_the_place_of_what_was_read() {
    let (_broker, _fox, lynx) = fox_and_lynx().await;
    let put =
        |condition| pb::PutRequest { key: "k".into(), precondition: when(condition), ..Default::default() };
    let stale = lynx.state().put(put(Condition::Version(7))).await.unwrap_err();
    assert_eq!(reason::<()>(Err(stale.clone())), "VERSION_MISMATCH");
    assert_eq!(conflict::<()>(Err(stale)).theirs.unwrap().value, "theirs");
    lynx.state().put(put(Condition::Overwrite(true))).await.unwrap();
    for nonsense in [Condition::Overwrite(false), Condition::MustNotExist(false)] {
        assert!(field(lynx.state().put(put(nonsense)).await).starts_with("precondition."));
    }
}

#[tokio::test]
async fn a_repeat_is_the_same_request_whatever_was_read_meanwhile() {
    let (_broker, _fox, lynx) = fox_and_lynx().await;
    lynx.read("k").await;
    let request = pb::PutRequest {
        key: "k".into(),
        value: "mine".into(),
        request_id: "once".into(),
        ..Default::default()
    };
    let first = lynx.state().put(request.clone()).await.unwrap().into_inner();
    lynx.read("k").await;
    assert_eq!(lynx.state().put(request.clone()).await.unwrap().into_inner(), first);
    lynx.leave().await;
    assert_eq!(lynx.state().put(request).await.unwrap().into_inner(), first, "its session is over");
}

#[tokio::test]
async fn a_deletion_and_a_restoration_need_what_is_there_to_be_read() {
    let (_broker, fox, lynx) = fox_and_lynx().await;
    let delete = pb::DeleteRequest { key: "k".into(), ..Default::default() };
    let restore = pb::RestoreRequest { key: "k".into(), version: 1, ..Default::default() };
    fox.put("k", "second").await;
    assert_eq!(reason(lynx.state().restore(restore.clone()).await), "OVERWRITE_NEEDS_VERSION");
    let restored = lynx.state().restore(restore.clone()).await.expect("the refusal showed it").into_inner();
    let meta = restored.entry.unwrap();
    assert_eq!((meta.version, meta.writer.as_str(), meta.value.as_str()), (3, "bold-lynx", ""));
    assert_eq!(fox.read("k").await.value, "theirs");

    fox.put("k", "fourth").await;
    assert_eq!(reason(lynx.state().delete(delete.clone()).await), "OVERWRITE_NEEDS_VERSION");
    lynx.state().delete(delete).await.unwrap();
    let back = fox.state().restore(pb::RestoreRequest { version: 4, ..restore.clone() }).await.unwrap();
    assert_eq!(back.into_inner().entry.unwrap().version, 5, "a deleted key goes on counting");

    let gone = fox.state().restore(pb::RestoreRequest { version: 99, ..restore.clone() }).await;
    let told = [("key".to_owned(), "k".to_owned()), ("version".to_owned(), "99".to_owned())];
    assert_eq!(refusal(gone), (Code::NotFound, "VERSION_NOT_FOUND".into(), told.to_vec()));
    assert_eq!(field(fox.state().restore(pb::RestoreRequest { version: 0, ..restore }).await), "version");
}

#[tokio::test]
async fn former_versions_are_told_newest_first() {
    let (broker, fox, lynx) = fox_and_lynx().await;
    lynx.read("k").await;
    lynx.put("k", "second").await;
    let ask = pb::ListVersionsRequest { key: "k".into(), ..Default::default() };
    let told = fox.state().list_versions(ask.clone()).await.unwrap().into_inner();
    let shown: Vec<_> =
        told.versions.iter().map(|v| (v.version, v.value.as_str(), v.writer.as_str())).collect();
    assert_eq!(shown, [(2, "second", "bold-lynx"), (1, "theirs", "amber-fox")]);
    assert!(!told.deleted);
    assert_eq!(revision(&told.header), broker.revision());

    lynx.state().delete(pb::DeleteRequest { key: "k".into(), ..Default::default() }).await.unwrap();
    let told = fox.state().list_versions(ask.clone()).await.unwrap().into_inner();
    assert!(told.deleted && told.versions[0].version == 2);
    let get = |version| pb::GetRequest { key: "k".into(), version, ..Default::default() };
    assert_eq!(fox.state().get(get(1)).await.unwrap().into_inner().entry.unwrap().value, "theirs");
    assert_eq!(reason(fox.state().get(get(0)).await), "KEY_NOT_FOUND");
    assert_eq!(reason(fox.state().get(get(3)).await), "VERSION_NOT_FOUND");
    let never = pb::ListVersionsRequest { key: "never".into(), ..ask };
    assert_eq!(reason(fox.state().list_versions(never).await), "KEY_NOT_FOUND");
}

fn put(key: &str, value: &str) -> Op {
    Op::Put(pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() })
}

fn delete(key: &str) -> Op {
    Op::Delete(pb::DeleteRequest { key: key.into(), ..Default::default() })
}

fn check(key: &str, condition: Condition) -> Op {
    Op::Check(pb::Check { key: key.into(), precondition: when(condition) })
}

async fn transact(caller: &Caller, operations: Vec<Op>) -> Result<pb::TransactResponse, Status> {
    let operations = operations.into_iter().map(|operation| pb::Operation { operation: Some(operation) });
    let request = pb::TransactRequest { operations: operations.collect(), ..Default::default() };
    caller.state().transact(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_transaction_happens_in_whole_or_not_at_all() {
    let (broker, fox, lynx) = fox_and_lynx().await;
    let refused = transact(&lynx, vec![put("a", "1"), put("k", "mine")]).await;
    assert_eq!(reason(refused.clone()), "OVERWRITE_NEEDS_VERSION");
    assert_eq!(conflict(refused).theirs.unwrap().key, "k");
    let list = lynx.state().list_entries(pb::ListEntriesRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.entries.len(), 1);

    let none = Condition::MustNotExist(true);
    let done = transact(&lynx, vec![put("a", "1"), put("k", "mine"), check("z", none)]).await.unwrap();
    let keys: Vec<_> = done.entries.iter().map(|entry| (entry.key.as_str(), entry.version)).collect();
    assert_eq!(keys, [("a", 1), ("k", 2)]);
    assert_eq!(revision(&done.header), broker.revision());
    let stale = transact(&fox, vec![put("b", "1"), check("a", Condition::Version(7))]).await;
    assert_eq!(reason(stale), "VERSION_MISMATCH");
    transact(&lynx, vec![put("a", "2"), delete("k")]).await.expect("it has read what it wrote");
    assert_eq!(fox.read("a").await.value, "2");
}

#[tokio::test]
async fn a_transaction_is_bounded_and_its_operations_are_plain() {
    let (_broker, fox, _lynx) = fox_and_lynx().await;
    let alone = |request: pb::PutRequest| vec![Op::Put(pb::PutRequest { key: "a".into(), ..request })];
    let many = (0..33).map(|n| put(&n.to_string(), "")).collect();
    let table = [
        vec![],
        many,
        vec![put("a", "1"), delete("a")],
        vec![check("a", Condition::Version(1)), put("a", "1")],
        vec![check("a", Condition::Overwrite(true))],
        vec![Op::Check(pb::Check { key: "a".into(), precondition: None })],
        vec![put("", "1")],
        alone(pb::PutRequest { scope: SCOPE.into(), ..Default::default() }),
        alone(pb::PutRequest { request_id: "x".into(), ..Default::default() }),
        alone(pb::PutRequest { value: "x".repeat(65_537), ..Default::default() }),
    ];
    for operations in table {
        assert_eq!(field(transact(&fox, operations).await), "operations");
    }
    let empty = pb::TransactRequest { operations: vec![pb::Operation::default()], ..Default::default() };
    assert_eq!(field(fox.state().transact(empty).await), "operations");
    let wrong = transact(&fox, vec![put("a", "1"), put("b\n", "1")]).await.unwrap_err();
    assert_eq!(wrong.message(), "operations [1]: key holds a control character");
    let most = transact(&fox, (0..32).map(|n| put(&n.to_string(), "")).collect()).await.unwrap();
    assert_eq!(most.entries.len(), 32);
    let large = (0..32).map(|n| put(&n.to_string(), &"x".repeat(65_536))).collect();
    assert_eq!(reason(transact(&fox, large).await), "LIMIT_REACHED");
}

#[tokio::test]
async fn a_policy_says_otherwise_for_the_keys_of_its_prefix() {
    let (broker, fox, lynx) = fox_and_lynx().await;
    let set = |prefix: &str, kind: pb::PolicyKind| {
        let request = pb::SetPolicyRequest { prefix: prefix.into(), kind: kind.into(), ..Default::default() };
        let mut client = fox.state();
        async move { client.set_policy(request).await }
    };
    let policies = || async {
        let request = pb::ListPoliciesRequest { scope: SCOPE.into() };
        let told = broker.nobody().state().list_policies(request).await.unwrap().into_inner();
        assert_eq!(revision(&told.header), broker.revision());
        told.policies.into_iter().map(|policy| (policy.prefix.clone(), policy.kind())).collect::<Vec<_>>()
    };
    set("status/", pb::PolicyKind::LastWriteWins).await.unwrap();
    set("log/", pb::PolicyKind::Append).await.unwrap();
    let expected = [("log/", pb::PolicyKind::Append), ("status/", pb::PolicyKind::LastWriteWins)];
    assert_eq!(policies().await, expected.map(|(prefix, kind)| (prefix.to_owned(), kind)));
    for peer in [&fox, &lynx, &fox] {
        peer.try_put("status/build", "mine").await.unwrap();
        peer.try_put("log/day", "a line").await.unwrap();
    }
    assert_eq!(fox.read("log/day").await.value, "a line\na line\na line");
    set("status/", pb::PolicyKind::Unspecified).await.unwrap();
    assert_eq!(policies().await.len(), 1);
    assert_eq!(reason(lynx.try_put("status/build", "mine").await), "OVERWRITE_NEEDS_VERSION");

    assert_eq!(field(set(&"x".repeat(513), pb::PolicyKind::Append).await), "prefix");
    assert_eq!(field(set("a\n", pb::PolicyKind::Append).await), "prefix");
    let unknown = pb::SetPolicyRequest { kind: 99, ..Default::default() };
    assert_eq!(field(fox.state().set_policy(unknown).await), "kind");
    let nowhere = pb::ListPoliciesRequest::default();
    assert_eq!(field(broker.nobody().state().list_policies(nowhere).await), "scope");
}

#[tokio::test]
async fn a_field_merged_in_does_not_count_as_reading_the_others() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let policy = pb::SetPolicyRequest { kind: pb::PolicyKind::MergePatch.into(), ..Default::default() };
    fox.state().set_policy(policy).await.unwrap();
    fox.put("k", r#"{"port": 1, "host": "a"}"#).await;
    lynx.read("k").await;
    fox.put("k", r#"{"port": 2}"#).await;
    lynx.try_put("k", r#"{"host": "b"}"#).await.expect("another field is no conflict");
    let refused = lynx.try_put("k", r#"{"port": 3}"#).await;
    assert_eq!(reason(refused.clone()), "OVERWRITE_NEEDS_VERSION", "fox's port was never shown");
    assert_eq!(conflict(refused).fields, ["/port"]);
    lynx.try_put("k", r#"{"port": 3}"#).await.expect("it was shown");
    lynx.try_put("k", r#"{"port": 4}"#).await.expect("all of what it wrote upon was read");
}
