//! Receipts, replies that are waited for, and messages sent twice.

use std::time::Duration;

use mesh_client::proto::{
    AskRequest, DeliveryStatus, GetReceiptsRequest, MessageIntent, PeerActivity, PeerInfo, ReportWakeRequest,
    SendRequest, WakeOutcome,
};
use mesh_client::{ErrorReason, Session};
use mesh_tests::{Mesh, kill, message, refused, seconds, unattended, within};
use tonic::Code;

use super::{bodies, inbox};

#[tokio::test]
async fn receipts_say_what_is_known_and_only_to_the_sender() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let [fox, owl, elk] = [
        mesh.join_unattended("fox").await,
        mesh.join_unattended("owl").await,
        mesh.join_unattended("elk").await,
    ];
    elk.leave().await.unwrap();
    let mut to_both = message("owl", "hello");
    to_both.to.push("elk".into());
    let sent = fox.send(to_both).await.unwrap();
    let request = GetReceiptsRequest { message_id: sent.message_id.clone() };
    let statuses = async || {
        let answer = fox.receipts(request.clone()).await.unwrap();
        (answer.deliveries.iter().map(|to| to.status()).collect::<Vec<_>>(), answer.read, answer.recipients)
    };
    assert_eq!(statuses().await, (vec![DeliveryStatus::Queued, DeliveryStatus::Offline], 0, 2));
    let cursor = inbox(&owl).await.next_after_revision;
    assert_eq!(statuses().await.0[0], DeliveryStatus::Delivered);
    owl.ack(cursor).await.unwrap();
    assert_eq!(statuses().await, (vec![DeliveryStatus::Read, DeliveryStatus::Offline], 1, 2));
    let refusal = refused(owl.receipts(request).await);
    assert_eq!((refusal.code, refusal.reason), (Code::NotFound, ErrorReason::MessageNotFound));
}

#[tokio::test]
async fn what_was_reported_of_a_wake_is_forgotten_with_the_broker_and_the_mail_is_not() {
    let mesh = Mesh::new();
    let client = mesh.starting_client();
    let fox = Session::join(&client, unattended("fox")).await.unwrap();
    let owl = Session::join(&client, unattended("owl")).await.unwrap();
    let idle =
        PeerInfo { activity: PeerActivity::Idle.into(), wake: "monitor".into(), ..PeerInfo::default() };
    owl.update(idle, &["activity", "wake"]).await.unwrap();
    let sent = fox.send(message("owl", "hello")).await.unwrap();
    assert_eq!(sent.deliveries[0].wake, "monitor");
    let report = ReportWakeRequest {
        via: "monitor".into(),
        outcome: WakeOutcome::Failed.into(),
        note: "nobody reads it".into(),
        up_to_revision: sent.revision,
    };
    owl.report_wake(report).await.unwrap();
    let told = async || {
        let request = GetReceiptsRequest { message_id: sent.message_id.clone() };
        let told = fox.receipts(request).await.unwrap().deliveries.remove(0);
        (told.status(), told.activity(), told.wake_outcome(), told.wake_note)
    };
    let queued = |outcome, note: &str| (DeliveryStatus::Queued, PeerActivity::Idle, outcome, note.to_owned());
    assert_eq!(told().await, queued(WakeOutcome::Failed, "nobody reads it"));
    kill(mesh.broker_pid().unwrap());
    assert_eq!(told().await, queued(WakeOutcome::Unspecified, ""));
}

#[tokio::test]
async fn a_reply_is_waited_for_and_lands_also_when_the_asker_is_gone() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    let ask = |body: &str| AskRequest { message: Some(message("owl", body)), wait: seconds(60) };
    let asking = tokio::spawn({
        let (fox, ask) = (fox.clone(), ask("which port?"));
        async move { fox.ask(ask).await }
    });
    let question = within("the question", async {
        owl.inbox(mesh_client::proto::ListMessagesRequest { wait: seconds(60), ..Default::default() }).await
    });
    let question = question.await.unwrap().messages.remove(0);
    assert_eq!(question.intent(), MessageIntent::Request);
    let answer = |text: &str| SendRequest { reply_to: question.message_id.clone(), ..message("fox", text) };
    owl.send(answer("7070")).await.unwrap();
    let answered = within("the reply", asking).await.unwrap().unwrap();
    assert_eq!(answered.reply.unwrap().body, "7070");
    assert_eq!(bodies(&inbox(&fox).await), ["7070"], "it is mail as well");

    let unheard = AskRequest { wait: Duration::from_millis(200).try_into().ok(), ..ask("and the host?") };
    let unheard = fox.ask(unheard).await.unwrap();
    assert!(unheard.reply.is_none());
    let late = SendRequest { reply_to: unheard.sent.unwrap().message_id, ..message("fox", "localhost") };
    owl.send(late).await.unwrap();
    assert_eq!(bodies(&inbox(&fox).await), ["7070", "localhost"]);
}

#[tokio::test]
async fn a_message_sent_twice_under_its_id_is_one_message() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let (fox, owl) = (mesh.join_unattended("fox").await, mesh.join_unattended("owl").await);
    let id = "0190f5a0-7b1c-7000-8000-000000000001";
    let request = SendRequest { message_id: id.into(), ..message("owl", "once") };
    let first = fox.send(request.clone()).await.unwrap();
    assert!(!first.duplicate && first.message_id == id);
    broker.kill();
    let _broker = mesh.serve(&[]);
    let second = fox.send(request.clone()).await.unwrap();
    assert!(second.duplicate && second.revision == first.revision);
    assert_eq!(bodies(&inbox(&owl).await), ["once"]);
    let other = SendRequest { body: "twice".into(), ..request };
    assert_eq!(refused(fox.send(other).await).reason, ErrorReason::MessageIdReused);
}
