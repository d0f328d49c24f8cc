//! Entries, as a client sees them.

use super::*;
use pb::precondition::Condition;

async fn list(caller: &Caller, request: pb::ListEntriesRequest) -> (Vec<String>, String) {
    let page = caller.state().list_entries(request).await.unwrap().into_inner();
    (page.entries.into_iter().map(|entry| entry.key).collect(), page.next_page_token)
}

fn when(condition: Condition) -> Option<pb::Precondition> {
    Some(pb::Precondition { condition: Some(condition) })
}

#[tokio::test]
async fn a_write_is_answered_without_its_value_and_read_with_it() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let request = pb::PutRequest {
        key: "plan".into(),
        value: "one\ntwo".into(),
        paths: texts(&["src/", "src/", "a.rs"]),
        tags: texts(&["todo"]),
        ttl: seconds(60),
        request_id: "p1".into(),
        ..Default::default()
    };
    let put = fox.state().put(request.clone()).await.unwrap().into_inner();
    let meta = put.entry.clone().unwrap();
    assert_eq!((meta.value.as_str(), meta.version, meta.writer.as_str()), ("", 1, "amber-fox"));
    assert_eq!(meta.paths, ["src/", "a.rs"], "a repeated path counts once");
    assert_eq!(fox.state().put(request).await.unwrap().into_inner(), put, "a repeat changes nothing");

    let get = pb::GetRequest { key: "plan".into(), ..Default::default() };
    let got = fox.state().get(get.clone()).await.unwrap().into_inner();
    assert_eq!(got.entry.unwrap(), pb::Entry { value: "one\ntwo".into(), ..meta });
    assert_eq!(revision(&got.header), revision(&put.header));

    let elsewhere = pb::GetRequest { scope: "global".into(), ..get.clone() };
    let key = vec![("key".to_owned(), "plan".to_owned())];
    assert_eq!(refusal(fox.state().get(elsewhere).await), (Code::NotFound, "KEY_NOT_FOUND".into(), key));
    assert_eq!(field(broker.nobody().state().get(get.clone()).await), "scope");
    fox.leave().await;
    assert_eq!(reason(fox.state().get(get).await), "SESSION_EXPIRED", "its scope is not known any more");
}

#[tokio::test]
async fn preconditions_are_kept_and_their_refusals_tell_what_is_there() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let first = fox.put("k", "1").await.entry.unwrap();
    let put = |precondition| pb::PutRequest { key: "k".into(), precondition, ..Default::default() };
    let told = |more: &[(&str, String)]| {
        let mut told = vec![("key".to_owned(), "k".to_owned())];
        told.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        told.sort();
        told
    };
    let place = [("version", first.version.to_string()), ("revision", first.revision.to_string())];
    let exists = lynx.state().put(put(when(Condition::MustNotExist(true)))).await;
    assert_eq!(refusal(exists), (Code::AlreadyExists, "KEY_EXISTS".into(), told(&place)));
    let stale = lynx.state().put(put(when(Condition::Version(9)))).await;
    let place = [place.as_slice(), &[("writer", "amber-fox".to_owned())]].concat();
    assert_eq!(refusal(stale), (Code::Aborted, "VERSION_MISMATCH".into(), told(&place)));
    let next = lynx.state().put(put(when(Condition::Revision(first.revision)))).await.unwrap().into_inner();
    assert_eq!(next.entry.unwrap().version, 2);

    let delete = |precondition| pb::DeleteRequest { key: "k".into(), precondition, ..Default::default() };
    let senseless = lynx.state().delete(delete(when(Condition::MustNotExist(true)))).await;
    assert_eq!(field(senseless), "precondition.must_not_exist");
    lynx.state().delete(delete(when(Condition::Version(2)))).await.unwrap();
    assert_eq!(reason(lynx.state().delete(delete(None)).await), "KEY_NOT_FOUND");
    let foreign = pb::PutRequest { scope: "github.com/else/where".into(), ..put(None) };
    assert_eq!(refusal(fox.state().put(foreign).await).0, Code::PermissionDenied);
}

#[tokio::test]
async fn entries_are_found_by_all_that_is_asked() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let put = |key: &str, value: &str, paths: &[&str], tags: &[&str]| {
        let request = pb::PutRequest {
            key: key.into(),
            value: value.into(),
            paths: texts(paths),
            tags: texts(tags),
            ..Default::default()
        };
        let mut client = fox.state();
        async move { client.put(request).await.unwrap() }
    };
    put("api/auth", "Tokens are Opaque", &["src/auth/"], &["fact"]).await;
    put("api/users", "paging", &["src/users.rs"], &["fact", "open"]).await;
    put("todo", "document TOKENS", &[], &["open"]).await;
    let ask = pb::ListEntriesRequest::default;
    let found = |request| {
        let fox = fox.clone();
        async move { list(&fox, request).await.0 }
    };
    assert_eq!(found(ask()).await, ["api/auth", "api/users", "todo"]);
    assert_eq!(found(pb::ListEntriesRequest { prefix: "api/".into(), ..ask() }).await.len(), 2);
    assert_eq!(found(pb::ListEntriesRequest { path: "src/auth/x.rs".into(), ..ask() }).await, ["api/auth"]);
    assert_eq!(found(pb::ListEntriesRequest { path: "src/".into(), ..ask() }).await.len(), 2);
    assert_eq!(
        found(pb::ListEntriesRequest { tags: texts(&["open", "fact"]), ..ask() }).await,
        ["api/users"]
    );
}

#[tokio::test]
async fn pages_of_entries_are_complete_whatever_is_looked_at() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    for n in 0..7 {
        let request = pb::PutRequest { key: format!("k/{n}"), tags: texts(&["fact"]), ..Default::default() };
        fox.state().put(request).await.unwrap();
    }
    for tags in [&[][..], &["fact"]] {
        let (mut keys, mut token) = (Vec::new(), String::new());
        for _ in 0..4 {
            let request = pb::ListEntriesRequest {
                tags: texts(tags),
                prefix: "k/".into(),
                page_size: 2,
                page_token: token,
                ..Default::default()
            };
            let (page, next) = list(&fox, request).await;
            keys.extend(page);
            token = next;
        }
        assert_eq!(keys, (0..7).map(|n| format!("k/{n}")).collect::<Vec<_>>());
        assert_eq!(token, "");
    }
}

#[tokio::test]
async fn an_answer_holds_about_a_mebibyte_of_values() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    for n in 0..20 {
        fox.put(&format!("k/{n:02}"), &"x".repeat(65_536)).await;
    }
    let (first, token) = list(&fox, pb::ListEntriesRequest::default()).await;
    assert!((14..=16).contains(&first.len()), "{}", first.len());
    let (rest, end) = list(&fox, pb::ListEntriesRequest { page_token: token, ..Default::default() }).await;
    assert_eq!((first.len() + rest.len(), end.as_str()), (20, ""));
}
