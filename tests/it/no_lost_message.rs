//! Accepted means stored until it is read or expired, offered again until it is acknowledged.

mod replies;
mod topics;

use std::time::{Duration, Instant};

use mesh_client::proto::event::Event;
use mesh_client::proto::{
    DeliveryStatus, ListMessagesRequest, ListMessagesResponse, MessageIntent, SendRequest,
};
use mesh_client::{ErrorReason, Session};
use mesh_tests::{Mesh, broadcast, follow, message, refused, seconds, within};
use tonic::Code;

async fn inbox(session: &Session) -> ListMessagesResponse {
    session.inbox(ListMessagesRequest::default()).await.unwrap()
}

fn bodies(inbox: &ListMessagesResponse) -> Vec<&str> {
    inbox.messages.iter().map(|message| message.body.as_str()).collect()
}

#[tokio::test]
async fn a_message_arrives_as_it_was_sent_with_the_sender_set_by_the_broker() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    let question = SendRequest {
        intent: MessageIntent::Request.into(),
        urgent: true,
        ..message("owl", "may I touch src/auth?\nIt is \u{1f98a}.")
    };
    let sent = fox.send(question.clone()).await.unwrap();
    assert_eq!(sent.online_recipients, 1);
    assert_eq!(
        (sent.deliveries[0].peer.as_str(), sent.deliveries[0].status()),
        ("owl", DeliveryStatus::Queued)
    );
    let read = inbox(&owl).await.messages.remove(0);
    assert_eq!(
        (read.from.as_str(), read.to.as_slice(), read.broadcast),
        ("fox", &["owl".to_owned()][..], false)
    );
    assert_eq!((&read.body, read.intent(), read.urgent), (&question.body, MessageIntent::Request, true));
    assert_eq!((&read.message_id, read.revision), (&sent.message_id, sent.header.unwrap().revision));
    let reply = SendRequest { reply_to: read.message_id.clone(), ..message("fox", "go on") };
    owl.send(reply).await.unwrap();
    assert_eq!(inbox(&fox).await.messages[0].reply_to, read.message_id);
    let (batch, envelope) = watch
        .until("the envelope", |event| match event {
            Event::MessageSent(sent) => Some(sent.clone()),
            _ => None,
        })
        .await;
    assert_eq!((batch.revision, envelope.message_id), (read.revision, read.message_id));
    assert_eq!(envelope.preview, "may I touch src/auth? It is \u{1f98a}.");
    assert_eq!(usize::try_from(envelope.size).unwrap(), question.body.len());
}

#[tokio::test]
async fn a_broadcast_reaches_all_but_its_sender_and_a_direct_message_only_those_it_names() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let [fox, owl, elk] = [
        mesh.join_unattended("fox").await,
        mesh.join_unattended("owl").await,
        mesh.join_unattended("elk").await,
    ];
    let sent = fox.send(broadcast("all")).await.unwrap();
    assert_eq!(sent.online_recipients, 2);
    let mut direct = message("owl", "owl only");
    direct.to.push("owl".into());
    assert_eq!(fox.send(direct).await.unwrap().deliveries.len(), 1, "a repeated name counts once");
    assert_eq!(bodies(&inbox(&owl).await), ["all", "owl only"]);
    assert_eq!(bodies(&inbox(&elk).await), ["all"]);
    assert!(inbox(&fox).await.messages.is_empty());
}

#[tokio::test]
async fn an_unknown_recipient_refuses_the_whole_message() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    let mut request = message("owl", "hello");
    request.to.push("nobody".into());
    let refusal = refused(fox.send(request).await);
    assert_eq!((refusal.code, refusal.reason), (Code::NotFound, ErrorReason::PeerNotFound));
    assert_eq!(refusal.metadata["name"], "nobody");
    assert!(inbox(&owl).await.messages.is_empty());
}

#[tokio::test]
async fn mail_to_an_offline_peer_waits_for_it_across_restarts() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    owl.leave().await.unwrap();
    let sent = fox.send(message("owl", "when you are back")).await.unwrap();
    assert_eq!((sent.online_recipients, sent.deliveries[0].status()), (0, DeliveryStatus::Offline));
    assert!(sent.deliveries[0].offline_since.is_some());
    fox.send(broadcast("to whom it may concern")).await.unwrap();
    broker.kill();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    assert_eq!(owl.unread_at_join(), 2);
    assert_eq!(bodies(&inbox(&owl).await), ["when you are back", "to whom it may concern"]);
}

#[tokio::test]
async fn mail_is_offered_again_until_acknowledged_and_the_cursor_never_goes_back() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    let mut revisions = Vec::new();
    for body in ["one", "two", "three"] {
        revisions.push(fox.send(message("owl", body)).await.unwrap().header.unwrap().revision);
    }
    for _ in 0..2 {
        let read = inbox(&owl).await;
        assert_eq!(
            (bodies(&read), read.unread),
            (vec!["one", "two", "three"], 3),
            "reading does not consume"
        );
    }
    let page = ListMessagesRequest { limit: 2, ..Default::default() };
    let page = owl.inbox(page).await.unwrap();
    assert_eq!((bodies(&page), page.unread, page.next_after_revision), (vec!["one", "two"], 3, revisions[1]));
    let rest = ListMessagesRequest { after_revision: page.next_after_revision, ..Default::default() };
    assert_eq!(bodies(&owl.inbox(rest).await.unwrap()), ["three"]);
    let acknowledged = owl.ack(revisions[1]).await.unwrap();
    assert_eq!((acknowledged.acknowledged_revision, acknowledged.unread), (revisions[1], 1));
    let back = owl.ack(revisions[0]).await.unwrap();
    assert_eq!(back.acknowledged_revision, revisions[1]);
    broker.kill();
    let _broker = mesh.serve(&[]);
    let read = inbox(&owl).await;
    assert_eq!((bodies(&read), read.acknowledged_revision), (vec!["three"], revisions[1]));
    let refusal = refused(owl.ack(1_000_000).await);
    assert_eq!(
        (refusal.reason, refusal.field_violations[0].field.as_str()),
        (ErrorReason::InvalidField, "up_to_revision")
    );
}

#[tokio::test]
async fn a_waiting_reader_is_answered_by_the_message_or_by_the_end_of_its_patience() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    let wait = ListMessagesRequest { wait: seconds(60), ..Default::default() };
    let reader = owl.clone();
    let waiting = tokio::spawn(async move { reader.inbox(wait).await.unwrap() });
    // Others' mail and other news do not wake it.
    fox.put(mesh_tests::put("k", "v")).await.unwrap();
    fox.send(message("owl", "wake up")).await.unwrap();
    assert_eq!(bodies(&within("mail", waiting).await.unwrap()), ["wake up"]);
    owl.ack(fox.send(message("owl", "again")).await.unwrap().header.unwrap().revision).await.unwrap();
    let begun = Instant::now();
    let wait = ListMessagesRequest { wait: seconds(1), ..Default::default() };
    assert!(owl.inbox(wait).await.unwrap().messages.is_empty());
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_full_inbox_refuses_direct_mail_until_some_is_read() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--durability", "process"]);
    let [fox, owl, elk] = [
        mesh.join_unattended("fox").await,
        mesh.join_unattended("owl").await,
        mesh.join_unattended("elk").await,
    ];
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let fox = fox.clone();
        senders.spawn(async move {
            for _ in 0..20 {
                fox.send(message("owl", "again")).await.unwrap();
            }
        });
    }
    within("the senders", senders.join_all()).await;
    let mut both = message("elk", "one too many");
    both.to.push("owl".into());
    for request in [message("owl", "one too many"), both] {
        let refusal = refused(fox.send(request).await);
        assert_eq!((refusal.code, refusal.reason), (Code::ResourceExhausted, ErrorReason::InboxFull));
        assert_eq!(refusal.metadata["name"], "owl");
    }
    assert!(inbox(&elk).await.messages.is_empty(), "all or none");
    fox.send(broadcast("broadcasts are not counted")).await.unwrap();
    let page = owl.inbox(ListMessagesRequest { limit: 1, ..Default::default() }).await.unwrap();
    assert_eq!(page.unread, 1_001);
    owl.ack(page.next_after_revision).await.unwrap();
    fox.send(message("owl", "one more")).await.unwrap();
}
