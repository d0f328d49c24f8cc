//! Messages and inboxes, as a client sees them.

use super::*;

async fn inbox(caller: &Caller, request: pb::ListMessagesRequest) -> pb::ListMessagesResponse {
    soon(caller.messages().list_messages(request)).await.unwrap().into_inner()
}

fn bodies(answer: &pb::ListMessagesResponse) -> Vec<&str> {
    answer.messages.iter().map(|message| message.body.as_str()).collect()
}

fn waiting() -> pb::ListMessagesRequest {
    pb::ListMessagesRequest { wait: seconds(60), ..Default::default() }
}

#[tokio::test]
async fn mail_is_offered_until_it_is_acknowledged() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    broker.join("gone").await.leave().await;
    let sent = fox.tell(&["bold-lynx", "gone", "bold-lynx"], "one").await;
    let known: Vec<_> = sent.deliveries.iter().map(|d| (d.peer.as_str(), d.status())).collect();
    assert_eq!(known, [("bold-lynx", pb::DeliveryStatus::Queued), ("gone", pb::DeliveryStatus::Offline)]);
    assert!(sent.deliveries[0].offline_since.is_none() && sent.deliveries[1].offline_since.is_some());
    assert_eq!(sent.online_recipients, 1);
    fox.tell(&[], "two").await;

    let ask = pb::ListMessagesRequest::default;
    let first = inbox(&lynx, pb::ListMessagesRequest { limit: 1, ..ask() }).await;
    assert_eq!((bodies(&first), first.unread), (vec!["one"], 2));
    assert_eq!(first.next_after_revision, revision(&sent.header));
    let message = &first.messages[0];
    assert_eq!((message.message_id.as_str(), message.from.as_str()), (sent.message_id.as_str(), "amber-fox"));
    assert_eq!((message.intent(), message.broadcast), (pb::MessageIntent::Inform, false));
    let more =
        inbox(&lynx, pb::ListMessagesRequest { after_revision: first.next_after_revision, ..ask() }).await;
    assert_eq!((bodies(&more), more.messages[0].broadcast), (vec!["two"], true));
    assert_eq!(bodies(&inbox(&fox, ask()).await), Vec::<&str>::new(), "not one's own");

    let acknowledge =
        pb::AcknowledgeMessagesRequest { up_to_revision: first.next_after_revision, ..Default::default() };
    let acknowledged = lynx.messages().acknowledge_messages(acknowledge.clone()).await.unwrap().into_inner();
    assert_eq!((acknowledged.acknowledged_revision, acknowledged.unread), (first.next_after_revision, 1));
    let rest = inbox(&lynx, ask()).await;
    assert_eq!((bodies(&rest), rest.acknowledged_revision), (vec!["two"], first.next_after_revision));

    let future = pb::AcknowledgeMessagesRequest { up_to_revision: 1_000, ..acknowledge };
    assert_eq!(field(lynx.messages().acknowledge_messages(future).await), "up_to_revision");
    let future = pb::ListMessagesRequest { after_revision: 1_000, ..ask() };
    assert_eq!(field(lynx.messages().list_messages(future).await), "after_revision");
}

#[tokio::test]
async fn a_wait_ends_with_the_message_that_it_waited_for() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let waiter = tokio::spawn(async move { inbox(&lynx, waiting()).await });
    tokio::task::yield_now().await;
    fox.put("k", "not a message").await;
    fox.tell(&["bold-lynx"], "hello").await;
    assert_eq!(bodies(&waiter.await.unwrap()), ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_mail_ends_when_its_time_is_over() {
    let broker = Broker::start();
    let lynx = broker.join("bold-lynx").await;
    let before = tokio::time::Instant::now();
    let answer = lynx.messages().list_messages(waiting()).await.unwrap().into_inner();
    assert_eq!(answer.messages, []);
    assert_eq!(answer.next_after_revision, answer.acknowledged_revision);
    assert_eq!(before.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn a_wait_ends_with_the_broker_and_with_the_session() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    fox.leave().await;
    assert_eq!(reason(fox.messages().list_messages(waiting()).await), "SESSION_EXPIRED");
    let lynx = broker.join("bold-lynx").await;
    let waiter = tokio::spawn(async move { lynx.messages().list_messages(waiting()).await });
    tokio::task::yield_now().await;
    broker.mesh.shutdown.cancel();
    assert_eq!(reason(soon(waiter).await.unwrap()), "DRAINING");
}

#[tokio::test]
async fn recipients_must_be_known_and_named_or_all() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let send = |to: &[&str], broadcast, body: &str| {
        let request = pb::SendRequest { to: texts(to), broadcast, body: body.into(), ..Default::default() };
        let mut client = fox.messages();
        async move { client.send(request).await }
    };
    let name = vec![("name".to_owned(), "who".to_owned())];
    assert_eq!(refusal(send(&["who"], false, "x").await), (Code::NotFound, "PEER_NOT_FOUND".into(), name));
    for (to, broadcast, body, named) in [
        (&[][..], false, "x", "to"),
        (&["a"], true, "x", "to"),
        (&["amber-fox"], false, "x", "to"),
        (&["Not a name"], false, "x", "to"),
        (&["a"], false, "", "body"),
    ] {
        assert_eq!(field(send(to, broadcast, body).await), named);
    }
}
