//! Topics and threads.

use pb::list_feed_request::Feed;

use super::*;

async fn follow(caller: &Caller, follow: &[&str], unfollow: &[&str]) -> Vec<String> {
    let request =
        pb::FollowTopicsRequest { follow: texts(follow), unfollow: texts(unfollow), ..Default::default() };
    caller.messages().follow_topics(request).await.unwrap().into_inner().topics
}

async fn post(caller: &Caller, topic: &str, body: &str) -> pb::SendResponse {
    let request = pb::SendRequest { topic: topic.into(), body: body.into(), ..Default::default() };
    caller.messages().send(request).await.unwrap().into_inner()
}

fn feed(feed: Feed, after_revision: u64, limit: u32) -> pb::ListFeedRequest {
    pb::ListFeedRequest { feed: Some(feed), after_revision, limit }
}

async fn read(caller: &Caller, request: pb::ListFeedRequest) -> (Vec<String>, u64) {
    let answer = caller.messages().list_feed(request).await.unwrap().into_inner();
    (answer.messages.into_iter().map(|message| message.body).collect(), answer.next_after_revision)
}

async fn mail(caller: &Caller) -> Vec<String> {
    let answer = caller.messages().list_messages(pb::ListMessagesRequest::default()).await.unwrap();
    answer.into_inner().messages.into_iter().map(|message| message.body).collect()
}

#[tokio::test]
async fn who_follows_a_topic_finds_its_messages_in_the_inbox() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let hare = broker.join("calm-hare").await;
    post(&fox, "#deploys", "before").await;
    assert_eq!(follow(&lynx, &["#deploys", "#a", "#deploys"], &[]).await, ["#a", "#deploys", "#notes"]);
    let sent = post(&fox, "#deploys", "after").await;
    assert_eq!((sent.online_recipients, sent.deliveries[0].peer.as_str()), (1, "bold-lynx"));
    post(&fox, "#notes", "for all").await;
    assert_eq!(mail(&lynx).await, ["after", "for all"]);
    assert_eq!(mail(&hare).await, ["for all"]);
    assert_eq!(mail(&fox).await, Vec::<String>::new());
    assert_eq!(follow(&lynx, &[], &["#deploys"]).await, ["#a", "#notes"]);
    post(&fox, "#deploys", "too late").await;
    assert!(!mail(&lynx).await.contains(&"too late".to_owned()));
}

#[tokio::test]
async fn a_wait_for_mail_ends_with_a_message_to_a_topic() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    follow(&lynx, &["#deploys"], &[]).await;
    let waiter = tokio::spawn(async move {
        let request = pb::ListMessagesRequest { wait: seconds(60), ..Default::default() };
        soon(lynx.messages().list_messages(request)).await.unwrap().into_inner()
    });
    tokio::task::yield_now().await;
    post(&fox, "#other", "not for it").await;
    post(&fox, "#deploys", "done").await;
    let messages = waiter.await.unwrap().messages;
    assert_eq!((messages[0].body.as_str(), messages[0].topic.as_str()), ("done", "#deploys"));
}

#[tokio::test]
async fn a_feed_is_read_from_its_end_and_on_from_there() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let topic = || Feed::Topic("#log".into());
    let (none, from) = read(&lynx, feed(topic(), 0, 0)).await;
    assert_eq!((none.len(), from), (0, broker.revision()));
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(post(&fox, "#log", &n.to_string()).await);
    }
    assert_eq!(read(&lynx, feed(topic(), from, 0)).await.0.len(), 5);
    let (newest, next) = read(&lynx, feed(topic(), 0, 2)).await;
    assert_eq!((newest, next), (texts(&["3", "4"]), sent[4].revision));
    assert_eq!(read(&lynx, feed(topic(), sent[0].revision, 2)).await.0, ["1", "2"]);
    assert_eq!(read(&lynx, feed(topic(), next, 2)).await, (vec![], broker.revision()));
    assert_eq!(mail(&lynx).await, Vec::<String>::new(), "it does not follow it");
}

#[tokio::test]
async fn a_thread_is_read_by_those_who_are_in_it() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let hare = broker.join("calm-hare").await;
    let first = fox.tell(&["bold-lynx"], "question").await;
    let reply = pb::SendRequest {
        to: texts(&["amber-fox"]),
        body: "answer".into(),
        reply_to: first.message_id.clone(),
        ..Default::default()
    };
    let reply = lynx.messages().send(reply).await.unwrap().into_inner();
    let thread = |of: &pb::SendResponse| feed(Feed::ThreadOf(of.message_id.clone()), 0, 0);
    for peer in [&fox, &lynx] {
        for of in [&first, &reply] {
            assert_eq!(read(peer, thread(of)).await.0, ["question", "answer"]);
        }
    }
    let refused = hare.messages().list_feed(thread(&first)).await;
    let told = vec![("message_id".to_owned(), first.message_id.clone())];
    assert_eq!(refusal(refused), (Code::NotFound, "MESSAGE_NOT_FOUND".into(), told));
}

#[tokio::test]
async fn topics_are_told_with_their_followers_and_messages() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    broker.join_in("github.com/acme/other", "x").await;
    follow(&fox, &["#quiet", "#deploys"], &[]).await;
    follow(&lynx, &["#deploys"], &[]).await;
    let last = post(&fox, "#deploys", "one").await;
    let list = |caller: &Caller, scope: &str| {
        let (mut client, request) = (caller.messages(), pb::ListTopicsRequest { scope: scope.into() });
        async move { client.list_topics(request).await.map(tonic::Response::into_inner) }
    };
    let told = list(&fox, "").await.unwrap();
    let topics: Vec<_> = told
        .topics
        .iter()
        .map(|topic| (topic.name.as_str(), topic.followers, topic.messages, topic.last_revision))
        .collect();
    let deploys = ("#deploys", 2, 1, last.revision);
    assert_eq!(topics, [deploys, ("#notes", 2, 0, 0), ("#quiet", 1, 0, 0)]);
    assert_eq!(revision(&told.header), broker.revision());
    assert_eq!(list(&broker.nobody(), SCOPE).await.unwrap().topics.len(), 3);
    assert_eq!(list(&broker.nobody(), "no/where").await.unwrap().topics.len(), 0);
    assert_eq!(field(list(&broker.nobody(), "").await), "scope");
}

#[tokio::test]
async fn names_of_topics_and_feeds_are_checked() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let many: Vec<String> = (0..65).map(|n| format!("#t{n}")).collect();
    let it = pb::FollowTopicsRequest::default;
    let table = [
        ("follow", pb::FollowTopicsRequest { follow: texts(&["deploys"]), ..it() }),
        ("follow", pb::FollowTopicsRequest { follow: many.clone(), ..it() }),
        ("unfollow", pb::FollowTopicsRequest { unfollow: texts(&["#"]), ..it() }),
        ("unfollow", pb::FollowTopicsRequest { unfollow: many, ..it() }),
        ("request_id", pb::FollowTopicsRequest { request_id: "x".repeat(129), ..it() }),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.messages().follow_topics(request).await), named);
    }
    let table = [
        ("feed", pb::ListFeedRequest::default()),
        ("topic", feed(Feed::Topic("Deploys".into()), 0, 0)),
        ("thread_of", feed(Feed::ThreadOf("x".into()), 0, 0)),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.messages().list_feed(request).await), named);
    }
    let unknown = feed(Feed::ThreadOf(Uuid::nil().to_string()), 0, 0);
    assert_eq!(reason(fox.messages().list_feed(unknown).await), "MESSAGE_NOT_FOUND");
    let topic = || feed(Feed::Topic("#a".into()), 0, 0);
    assert_eq!(reason(broker.nobody().messages().list_feed(topic()).await), "SESSION_REQUIRED");
}
