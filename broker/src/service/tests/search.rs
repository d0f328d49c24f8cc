//! Finding entries by words.

use super::*;

fn words(query: &str) -> pb::SearchEntriesRequest {
    pb::SearchEntriesRequest { query: query.into(), ..Default::default() }
}

async fn search(caller: &Caller, request: pb::SearchEntriesRequest) -> pb::SearchEntriesResponse {
    soon(caller.state().search_entries(request)).await.unwrap().into_inner()
}

async fn found(caller: &Caller, request: pb::SearchEntriesRequest) -> Vec<String> {
    let hits = search(caller, request).await.hits;
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score) && hits.iter().all(|hit| hit.score > 0.0));
    hits.into_iter().map(|hit| hit.entry.unwrap().key).collect()
}

#[tokio::test]
async fn the_best_match_comes_first_with_its_value() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    fox.put("auth", "Refreshing a token needs the session; see src/auth/session.rs").await;
    fox.put("style", "a token of style").await;
    fox.put("users", "sessions are listed by SessionStore::list_all").await;
    assert_eq!(found(&fox, words("refresh token")).await, ["auth", "style"]);
    assert_eq!(found(&fox, words("session.rs")).await[0], "auth");
    assert_eq!(found(&fox, words("session store")).await[0], "users");
    assert_eq!(found(&fox, words("list_all")).await, ["users"]);
    assert_eq!(found(&fox, words("nothing of this kind")).await, ["style"], "`of` is a word as well");
    assert_eq!(found(&fox, words("?!")).await, Vec::<String>::new());
    let answer = search(&fox, words("style")).await;
    assert_eq!(answer.hits[0].entry.as_ref().unwrap().value, "a token of style");
    assert_eq!(revision(&answer.header), broker.revision());
}

#[tokio::test]
async fn a_search_sees_every_write_that_came_before_it() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let other = broker.join_in("github.com/acme/other", "amber-fox").await;
    for n in 0..50 {
        fox.put("k", &format!("word{n}")).await;
        other.put("k", "elsewhere").await;
        assert_eq!(found(&fox, words(&format!("word{n}"))).await, ["k"]);
        if n > 0 {
            assert_eq!(found(&fox, words(&format!("word{}", n - 1))).await, Vec::<String>::new());
        }
    }
    fox.state().delete(pb::DeleteRequest { key: "k".into(), ..Default::default() }).await.unwrap();
    assert_eq!(found(&fox, words("word49")).await, Vec::<String>::new());
    fox.put("l", "word49").await;
    assert_eq!(found(&fox, words("word49")).await, ["l"]);
    assert_eq!(found(&other, words("elsewhere")).await, ["k"]);
}

#[tokio::test]
async fn an_index_that_is_too_far_behind_is_made_anew() {
    let history = WriterConfig { history_count: 8, ring: 4, ..WriterConfig::default() };
    let broker = Broker::with(history);
    let fox = broker.join("amber-fox").await;
    fox.put("a", "first").await;
    assert_eq!(found(&fox, words("first")).await, ["a"]);
    for n in 0..100 {
        fox.put(&format!("k{n:02}"), "later").await;
    }
    fox.put("a", "last").await;
    let all = pb::SearchEntriesRequest { limit: 1_000, ..words("later") };
    assert_eq!(found(&fox, all).await.len(), 100);
    assert_eq!(found(&fox, words("first")).await, Vec::<String>::new());
    assert_eq!(found(&fox, words("last")).await, ["a"]);
}

#[tokio::test]
async fn many_scopes_are_searched_though_few_indices_are_kept() {
    let broker = Broker::start();
    let mut peers = Vec::new();
    for n in 0..40 {
        let peer = broker.join_in(&format!("scope/{n}"), "fox").await;
        peer.put("k", &format!("word{n} shared")).await;
        peers.push(peer);
    }
    for _ in 0..2 {
        for (n, peer) in peers.iter().enumerate() {
            assert_eq!(found(peer, words(&format!("word{n}"))).await, ["k"]);
            assert_eq!(found(peer, words("word99 shared")).await, ["k"]);
        }
    }
}

#[tokio::test]
async fn searches_and_writes_at_the_same_time_agree() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    fox.put("k0", "word").await;
    let writer = tokio::spawn({
        let fox = fox.clone();
        async move {
            for n in 1..100 {
                fox.put(&format!("k{n}"), "word").await;
            }
        }
    });
    let mut seen = 0;
    while seen < 100 {
        let answer = search(&fox, pb::SearchEntriesRequest { limit: 100, ..words("word") }).await;
        assert!(answer.hits.len() >= seen, "nothing that was found is lost");
        seen = answer.hits.len();
        let newest = answer.hits.iter().map(|hit| hit.entry.as_ref().unwrap().revision).max();
        assert_eq!(newest, Some(revision(&answer.header)), "the answer shows its revision");
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_search_is_filtered_and_bounded() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let put = |key: &str, path: &str, tag: &str| {
        let request = pb::PutRequest {
            key: key.into(),
            value: "word".into(),
            paths: texts(&[path]),
            tags: texts(&[tag]),
            ..Default::default()
        };
        let mut client = fox.state();
        async move { client.put(request).await.unwrap() }
    };
    put("a/1", "src/auth/", "fact").await;
    put("a/2", "src/users.rs", "fact").await;
    put("b/1", "docs/", "open").await;
    let ask = || words("word");
    assert_eq!(found(&fox, pb::SearchEntriesRequest { prefix: "a/".into(), ..ask() }).await, ["a/1", "a/2"]);
    let at = pb::SearchEntriesRequest { path: "src/auth/x.rs".into(), ..ask() };
    assert_eq!(found(&fox, at).await, ["a/1"]);
    assert_eq!(found(&fox, pb::SearchEntriesRequest { tags: texts(&["open"]), ..ask() }).await, ["b/1"]);
    assert_eq!(found(&fox, pb::SearchEntriesRequest { limit: 2, ..ask() }).await, ["a/1", "a/2"]);

    assert_eq!(field(broker.nobody().state().search_entries(ask()).await), "scope");
    let named = pb::SearchEntriesRequest { scope: SCOPE.into(), ..ask() };
    assert_eq!(found(&broker.nobody(), named).await.len(), 3);
    let nowhere = pb::SearchEntriesRequest { scope: "no/where".into(), ..ask() };
    assert_eq!(found(&broker.nobody(), nowhere).await, Vec::<String>::new());
    let table = [
        ("query", words("")),
        ("query", words(&"x".repeat(513))),
        ("prefix", pb::SearchEntriesRequest { prefix: "x".repeat(513), ..ask() }),
        ("path", pb::SearchEntriesRequest { path: "a//b".into(), ..ask() }),
        ("tags", pb::SearchEntriesRequest { tags: vec!["a".into(); 17], ..ask() }),
        ("scope", pb::SearchEntriesRequest { scope: "A".into(), ..ask() }),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.state().search_entries(request).await), named);
    }
}

#[tokio::test]
async fn an_answer_to_a_search_holds_about_a_mebibyte_of_values() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    for n in 0..20 {
        fox.put(&format!("k{n}"), &"word ".repeat(13_000)).await;
    }
    let hits = search(&fox, words("word")).await.hits.len();
    assert!((14..=17).contains(&hits), "{hits}");
}
