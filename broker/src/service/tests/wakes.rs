//! Who is at work, how an idle agent is woken, and what came of it.

use super::*;
use pb::PeerActivity::{Idle, Unspecified, Working};
use pb::WakeOutcome::{Failed, Taken};

async fn update(caller: &Caller, info: pb::PeerInfo, mask: &[&str]) -> pb::PeerInfo {
    let update_mask = Some(prost_types::FieldMask { paths: texts(mask) });
    let request = pb::UpdatePeerRequest { info: Some(info), update_mask, ..Default::default() };
    caller.peers().update_peer(request).await.unwrap().into_inner().peer.unwrap().info.unwrap()
}

fn at(activity: pb::PeerActivity, wake: &str) -> pb::PeerInfo {
    pb::PeerInfo { activity: activity.into(), wake: wake.into(), ..Default::default() }
}

fn child(id: &str) -> pb::ChildAgent {
    pb::ChildAgent { id: id.into(), kind: "explore".into(), focus: "the tests".into() }
}

fn report(via: &str, outcome: pb::WakeOutcome, up_to_revision: u64) -> pb::ReportWakeRequest {
    pb::ReportWakeRequest { via: via.into(), outcome: outcome.into(), note: String::new(), up_to_revision }
}

async fn woken(caller: &Caller, via: &str, outcome: pb::WakeOutcome, up_to: u64) {
    caller.messages().report_wake(report(via, outcome, up_to)).await.unwrap();
}

/// What the sender is told of the first recipient.
async fn receipt(caller: &Caller, sent: &pb::SendResponse) -> pb::Delivery {
    let request = pb::GetReceiptsRequest { message_id: sent.message_id.clone() };
    caller.messages().get_receipts(request).await.unwrap().into_inner().deliveries.remove(0)
}

async fn outcome(caller: &Caller, sent: &pb::SendResponse) -> (pb::WakeOutcome, String) {
    let receipt = receipt(caller, sent).await;
    assert_eq!(receipt.wake_time.is_some(), receipt.wake_outcome() != pb::WakeOutcome::Unspecified);
    (receipt.wake_outcome(), receipt.wake_via)
}

fn nothing() -> (pb::WakeOutcome, String) {
    (pb::WakeOutcome::Unspecified, String::new())
}

async fn acknowledge(caller: &Caller, up_to_revision: u64) {
    let request = pb::AcknowledgeMessagesRequest { up_to_revision, ..Default::default() };
    caller.messages().acknowledge_messages(request).await.unwrap();
}

#[tokio::test]
async fn a_peer_tells_what_it_is_at_and_it_ends_with_the_session() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let info = pb::PeerInfo { children: vec![child("a")], focus: "ignored".into(), ..at(Idle, "monitor") };
    let told = update(&fox, info.clone(), &["activity", "wake", "children"]).await;
    assert_eq!(told, pb::PeerInfo { focus: String::new(), ..info.clone() });
    let told = update(&fox, at(Working, "ignored"), &["activity"]).await;
    assert_eq!((told.activity(), told.wake.as_str(), told.children.len()), (Working, "monitor", 1));

    let events = pb::ListEventsRequest { start_revision: 2, ..Default::default() };
    let events = fox.events().list_events(events).await.unwrap().into_inner();
    let change = |event: &pb::Event| {
        let Some(pb::event::Event::PeerUpdated(updated)) = &event.event else { panic!("{event:?}") };
        (updated.changed.join(" "), updated.started_children.clone())
    };
    let changes: Vec<_> = events.batches.iter().map(|batch| change(&batch.events[0])).collect();
    assert_eq!(changes, [("activity wake children".into(), texts(&["a"])), ("activity".into(), texts(&[]))]);

    fox.leave().await;
    let request = pb::ListPeersRequest { include_offline: true, ..Default::default() };
    let peers = broker.nobody().peers().list_peers(request).await.unwrap().into_inner().peers;
    assert_eq!(peers[0].info, Some(pb::PeerInfo::default()));
}

#[tokio::test]
async fn a_sender_is_told_what_its_recipients_are_at() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    broker.join("gone").await.leave().await;
    update(&lynx, at(Idle, "monitor"), &["activity", "wake"]).await;
    let request = pb::SendRequest {
        to: texts(&["bold-lynx", "gone"]),
        body: "hi".into(),
        request_id: "1".into(),
        ..Default::default()
    };
    let sent = fox.messages().send(request.clone()).await.unwrap().into_inner();
    let told = |answer: &pb::SendResponse| -> Vec<(pb::PeerActivity, String)> {
        answer.deliveries.iter().map(|told| (told.activity(), told.wake.clone())).collect()
    };
    assert_eq!(told(&sent), [(Idle, "monitor".into()), (Unspecified, String::new())]);
    update(&lynx, at(Working, ""), &["activity"]).await;
    let again = fox.messages().send(request).await.unwrap().into_inner();
    assert_eq!(told(&again), told(&sent), "a repeat gets the first answer");
    let now = receipt(&fox, &sent).await;
    assert_eq!((now.activity(), now.wake.as_str()), (Working, "monitor"), "receipts tell what is");
    acknowledge(&lynx, sent.revision).await;
    assert_eq!(receipt(&fox, &sent).await.activity(), Working, "also of who has read it");
    lynx.leave().await;
    let now = receipt(&fox, &sent).await;
    assert_eq!((now.activity(), now.wake.as_str()), (Unspecified, ""));
}

#[tokio::test]
async fn receipts_tell_the_last_wake_that_was_for_the_message() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let first = fox.tell(&["bold-lynx"], "one").await;
    let second = fox.tell(&["bold-lynx"], "two").await;
    assert_eq!(outcome(&fox, &first).await, nothing());

    let before = broker.revision();
    let failed =
        pb::ReportWakeRequest { note: "no socket".into(), ..report("socket", Failed, first.revision) };
    let answer = lynx.messages().report_wake(failed).await.unwrap().into_inner();
    assert_eq!((revision(&answer.header), broker.revision()), (before, before), "nothing happened");
    assert_eq!(outcome(&fox, &first).await, (Failed, "socket".into()));
    assert_eq!(receipt(&fox, &first).await.wake_note, "no socket");
    assert_eq!(outcome(&fox, &second).await, nothing(), "it was not for this one");

    woken(&lynx, "monitor", Taken, second.revision).await;
    assert_eq!(outcome(&fox, &first).await, (Taken, "monitor".into()));
    assert_eq!(outcome(&fox, &second).await, (Taken, "monitor".into()));

    acknowledge(&lynx, second.revision).await;
    let third = fox.tell(&["bold-lynx"], "three").await;
    woken(&lynx, "socket", Failed, third.revision).await;
    assert_eq!(outcome(&fox, &second).await, (Taken, "monitor".into()), "it was read by then");
    assert_eq!(outcome(&fox, &third).await, (Failed, "socket".into()));
    lynx.leave().await;
    assert_eq!(outcome(&fox, &third).await.0, Failed, "what was, was");
}

#[tokio::test]
async fn only_so_many_reports_are_remembered() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let mut sent = Vec::new();
    for _ in 0..=mesh_core::limits::WAKES_PER_PEER {
        let message = fox.tell(&["bold-lynx"], "x").await;
        woken(&lynx, "monitor", Failed, message.revision).await;
        woken(&lynx, "monitor", Taken, message.revision).await;
        acknowledge(&lynx, message.revision).await;
        sent.push(message);
    }
    assert_eq!(outcome(&fox, &sent[0]).await, nothing());
    for message in &sent[1..] {
        assert_eq!(outcome(&fox, message).await.0, Taken);
    }
}

#[tokio::test]
async fn a_report_is_bounded_and_needs_a_session() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let good = || report("monitor", Taken, 1);
    let table = [
        ("via", report("", Taken, 1)),
        ("via", report(&"x".repeat(33), Taken, 1)),
        ("via", report("a\u{1b}", Taken, 1)),
        ("outcome", report("monitor", pb::WakeOutcome::Unspecified, 1)),
        ("outcome", pb::ReportWakeRequest { outcome: 3, ..good() }),
        ("note", pb::ReportWakeRequest { note: "x".repeat(257), ..good() }),
        ("note", pb::ReportWakeRequest { note: "a\nb".into(), ..good() }),
        ("up_to_revision", report("monitor", Taken, 0)),
        ("up_to_revision", report("monitor", Taken, 2)),
    ];
    for (named, request) in table {
        assert_eq!(field(fox.messages().report_wake(request).await), named);
    }
    fox.messages().report_wake(pb::ReportWakeRequest { note: "x".repeat(256), ..good() }).await.unwrap();
    assert_eq!(reason(broker.nobody().messages().report_wake(good()).await), "SESSION_REQUIRED");
    fox.leave().await;
    assert_eq!(reason(fox.messages().report_wake(good()).await), "SESSION_EXPIRED");
}
