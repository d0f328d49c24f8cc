//! Topics and notes: stored once, read by all who follow.

use mesh_client::Session;
use mesh_client::proto::list_feed_request::Feed;
use mesh_client::proto::{
    FollowTopicsRequest, ListFeedRequest, ListTopicsRequest, Message, MessageIntent, SendRequest,
};
use mesh_tests::{Mesh, broadcast, message, refused};
use tonic::Code;

use super::{bodies, inbox};

fn to_topic(topic: &str, body: &str) -> SendRequest {
    SendRequest { topic: topic.into(), body: body.into(), ..SendRequest::default() }
}

fn follow(topics: &[&str]) -> FollowTopicsRequest {
    let follow = topics.iter().map(ToString::to_string).collect();
    FollowTopicsRequest { follow, ..FollowTopicsRequest::default() }
}

async fn feed(session: &Session, feed: Feed) -> Vec<Message> {
    let request = ListFeedRequest { feed: Some(feed), ..ListFeedRequest::default() };
    session.list_feed(request).await.unwrap().messages
}

#[tokio::test]
async fn a_topic_reaches_its_followers_from_following_on() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let [fox, owl, elk] = [
        mesh.join_unattended("fox").await,
        mesh.join_unattended("owl").await,
        mesh.join_unattended("elk").await,
    ];
    fox.send(to_topic("#deploys", "before")).await.unwrap();
    let topics = owl.follow_topics(follow(&["#deploys"])).await.unwrap().topics;
    assert_eq!(topics, ["#deploys", "#notes"]);
    let sent = fox.send(to_topic("#deploys", "eu-1 is next")).await.unwrap();
    assert_eq!((sent.online_recipients, sent.deliveries[0].peer.as_str()), (1, "owl"));
    fox.send(broadcast("all")).await.unwrap();
    broker.kill();
    let _broker = mesh.serve(&[]);
    assert_eq!(bodies(&inbox(&owl).await), ["eu-1 is next", "all"]);
    assert_eq!(inbox(&owl).await.messages[0].topic, "#deploys");
    assert_eq!(bodies(&inbox(&elk).await), ["all"]);
    let all = feed(&elk, Feed::Topic("#deploys".into())).await;
    assert_eq!(
        all.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(),
        ["before", "eu-1 is next"]
    );
    let known = elk.list_topics(ListTopicsRequest::default()).await.unwrap().topics;
    let deploys = known.iter().find(|topic| topic.name == "#deploys").unwrap();
    assert_eq!((deploys.followers, deploys.messages), (1, 2));
    let unfollow =
        FollowTopicsRequest { unfollow: vec!["#deploys".into()], ..FollowTopicsRequest::default() };
    owl.follow_topics(unfollow).await.unwrap();
    fox.send(to_topic("#deploys", "unheard")).await.unwrap();
    assert_eq!(bodies(&inbox(&owl).await), ["all"]);
}

#[tokio::test]
async fn everybody_gets_the_notes_of_a_scope_and_who_comes_later_finds_them() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    fox.send(to_topic("#notes", "added a nav item, please account for it")).await.unwrap();
    assert_eq!(inbox(&owl).await.messages[0].topic, "#notes");
    let late = mesh.join_unattended("late").await;
    assert_eq!(inbox(&late).await.unread, 0, "what was said before is not mail");
    assert_eq!(feed(&late, Feed::Topic("#notes".into())).await.len(), 1, "and can be read");
    let unfollow = FollowTopicsRequest { unfollow: vec!["#notes".into()], ..FollowTopicsRequest::default() };
    assert_eq!(refused(owl.follow_topics(unfollow).await).code, Code::InvalidArgument);
    assert_eq!(refused(owl.send(to_topic("notes", "x")).await).field_violations[0].field, "topic");
}

#[tokio::test]
async fn a_thread_is_what_answers_what_and_only_its_members_read_it() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let [fox, owl, elk] = [
        mesh.join_unattended("fox").await,
        mesh.join_unattended("owl").await,
        mesh.join_unattended("elk").await,
    ];
    let root = fox.send(message("owl", "which port?")).await.unwrap().message_id;
    let answer = SendRequest { reply_to: root.clone(), ..message("fox", "7070") };
    let answer = owl.send(answer).await.unwrap().message_id;
    let thanks =
        SendRequest { reply_to: answer.clone(), intent: MessageIntent::Ack.into(), ..message("owl", "ok") };
    fox.send(thanks).await.unwrap();
    for reader in [&fox, &owl] {
        let thread = feed(reader, Feed::ThreadOf(answer.clone())).await;
        assert_eq!(
            thread.iter().map(|message| message.body.as_str()).collect::<Vec<_>>(),
            ["which port?", "7070", "ok"]
        );
        assert!(thread.iter().all(|message| message.thread_id == root));
    }
    let request = ListFeedRequest { feed: Some(Feed::ThreadOf(root)), ..ListFeedRequest::default() };
    assert_eq!(refused(elk.list_feed(request).await).code, Code::NotFound);
}
