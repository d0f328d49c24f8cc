//! Asking and being answered, and what is known of a message's way.

use super::*;
use pb::DeliveryStatus as Status_;

fn question(to: &str, body: &str) -> pb::SendRequest {
    pb::SendRequest { to: texts(&[to]), body: body.into(), ..Default::default() }
}

fn ask(message: pb::SendRequest, wait: i64) -> pb::AskRequest {
    pb::AskRequest { message: Some(message), wait: seconds(wait) }
}

async fn inbox(caller: &Caller, after_revision: u64, limit: u32) -> pb::ListMessagesResponse {
    let request = pb::ListMessagesRequest { after_revision, limit, ..Default::default() };
    caller.messages().list_messages(request).await.unwrap().into_inner()
}

/// Waits until a message has come, and answers it.
async fn answer_next(caller: &Caller, body: &str) -> pb::SendResponse {
    let request = pb::ListMessagesRequest { wait: seconds(60), ..Default::default() };
    let mail = soon(caller.messages().list_messages(request)).await.unwrap().into_inner();
    let asked = mail.messages.last().expect("a question").clone();
    assert_eq!(asked.intent(), pb::MessageIntent::Request);
    let reply = pb::SendRequest { reply_to: asked.message_id, ..question(&asked.from, body) };
    caller.messages().send(reply).await.unwrap().into_inner()
}

async fn receipts(caller: &Caller, message_id: &str) -> pb::GetReceiptsResponse {
    let request = pb::GetReceiptsRequest { message_id: message_id.into() };
    caller.messages().get_receipts(request).await.unwrap().into_inner()
}

async fn statuses(caller: &Caller, message_id: &str) -> Vec<Status_> {
    receipts(caller, message_id).await.deliveries.iter().map(pb::Delivery::status).collect()
}

#[tokio::test]
async fn a_question_is_answered_with_its_reply() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let asking = tokio::spawn({
        let fox = fox.clone();
        async move { fox.messages().ask(ask(question("bold-lynx", "why?"), 60)).await }
    });
    let replied = answer_next(&lynx, "because").await;
    let answer = soon(asking).await.unwrap().unwrap().into_inner();
    let reply = answer.reply.unwrap();
    assert_eq!((reply.body.as_str(), reply.from.as_str()), ("because", "bold-lynx"));
    assert_eq!(reply.reply_to, answer.sent.as_ref().unwrap().message_id);
    assert_eq!(revision(&answer.header), replied.revision, "the reply's place");
    assert_eq!(inbox(&fox, 0, 0).await.messages.len(), 1, "it is in the inbox as well");
    assert_eq!(statuses(&lynx, &replied.message_id).await, [Status_::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn a_question_without_a_reply_is_over_in_time() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    broker.join("bold-lynx").await;
    let before = tokio::time::Instant::now();
    let request = pb::AskRequest { wait: None, ..ask(question("bold-lynx", "why?"), 0) };
    let answer = fox.messages().ask(request).await.unwrap().into_inner();
    assert_eq!((answer.reply, before.elapsed().as_secs()), (None, 60));
    let sent = answer.sent.unwrap();
    assert_eq!(revision(&answer.header), sent.revision);
    assert_eq!(sent.deliveries[0].peer, "bold-lynx");
    let at_once = fox.messages().ask(ask(question("bold-lynx", "why?"), 0)).await.unwrap().into_inner();
    assert!(at_once.reply.is_none());
    assert_eq!(before.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn a_repeated_question_goes_on_waiting() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let message = pb::SendRequest { request_id: "q".into(), ..question("bold-lynx", "why?") };
    let first = fox.messages().ask(ask(message.clone(), 0)).await.unwrap().into_inner();
    assert!(first.reply.is_none());
    answer_next(&lynx, "because").await;
    let again = soon(fox.messages().ask(ask(message.clone(), 60))).await.unwrap().into_inner();
    assert_eq!(again.sent, first.sent, "it was sent once");
    assert_eq!(again.reply.unwrap().body, "because");
    assert_eq!(inbox(&lynx, 0, 0).await.messages.len(), 1);
    let other = pb::SendRequest { body: "what?".into(), ..message };
    assert_eq!(reason(fox.messages().ask(ask(other, 0)).await), "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn an_ask_ends_with_the_broker_and_with_the_session() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let asking = |caller: &Caller, to: &str| {
        let (caller, request) = (caller.clone(), ask(question(to, "why?"), 60));
        tokio::spawn(async move { caller.messages().ask(request).await })
    };
    let left = asking(&fox, "bold-lynx");
    let request = pb::ListMessagesRequest { wait: seconds(60), ..Default::default() };
    soon(lynx.messages().list_messages(request)).await.unwrap();
    fox.leave().await;
    assert_eq!(reason(soon(left).await.unwrap()), "SESSION_EXPIRED");
    let stopped = asking(&lynx, "amber-fox");
    while broker.mesh.view.read().messages.count() < 2 {
        tokio::task::yield_now().await;
    }
    broker.mesh.shutdown.cancel();
    assert_eq!(reason(soon(stopped).await.unwrap()), "DRAINING");
}

#[tokio::test]
async fn an_ask_is_bounded() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let good = || question("amber-fox", "x");
    assert_eq!(field(fox.messages().ask(ask(good(), 3_601)).await), "wait");
    assert_eq!(field(fox.messages().ask(pb::AskRequest::default()).await), "message");
    assert_eq!(
        field(fox.messages().ask(ask(pb::SendRequest { body: String::new(), ..good() }, 1)).await),
        "body"
    );
    assert_eq!(field(fox.messages().ask(ask(good(), 1)).await), "to");
    assert_eq!(reason(fox.messages().ask(ask(question("who", "x"), 1)).await), "PEER_NOT_FOUND");
    assert_eq!(reason(broker.nobody().messages().ask(ask(good(), 1)).await), "SESSION_REQUIRED");
}

#[tokio::test]
async fn receipts_tell_queued_delivered_and_read() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    broker.join("gone").await.leave().await;
    let sent = fox.tell(&["bold-lynx", "gone"], "one").await;
    assert_eq!(statuses(&fox, &sent.message_id).await, [Status_::Queued, Status_::Offline]);
    inbox(&lynx, 0, 0).await;
    let told = receipts(&fox, &sent.message_id).await;
    assert_eq!(told.deliveries[0].status(), Status_::Delivered);
    assert!(told.deliveries[1].offline_since.is_some());
    assert_eq!((told.read, told.recipients), (0, 2));
    let acknowledge = pb::AcknowledgeMessagesRequest { up_to_revision: sent.revision, ..Default::default() };
    lynx.messages().acknowledge_messages(acknowledge).await.unwrap();
    let told = receipts(&fox, &sent.message_id).await;
    assert_eq!(told.deliveries[0].status(), Status_::Read);
    assert_eq!((told.read, told.recipients), (1, 2));
    assert_eq!(revision(&told.header), broker.revision());
}

#[tokio::test]
async fn only_what_was_in_an_answer_counts_as_delivered() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let mut sent = Vec::new();
    for body in ["one", "two", "three"] {
        sent.push(fox.tell(&["bold-lynx"], body).await);
    }
    inbox(&lynx, sent[1].revision, 0).await;
    let known = async |at: usize| statuses(&fox, &sent[at].message_id).await[0];
    assert_eq!(known(2).await, Status_::Delivered);
    assert_eq!((known(0).await, known(1).await), (Status_::Queued, Status_::Queued), "it was skipped");
    inbox(&lynx, 0, 1).await;
    assert_eq!((known(0).await, known(1).await), (Status_::Delivered, Status_::Queued));
    inbox(&lynx, 0, 2).await;
    assert_eq!(known(1).await, Status_::Delivered);
}

#[tokio::test]
async fn only_the_sender_gets_receipts() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let namesake = broker.join_in("github.com/acme/other", "amber-fox").await;
    let sent = fox.tell(&["bold-lynx"], "one").await;
    let request = pb::GetReceiptsRequest { message_id: sent.message_id.clone() };
    let told = vec![("message_id".to_owned(), sent.message_id)];
    for caller in [&lynx, &namesake] {
        let refused = caller.messages().get_receipts(request.clone()).await;
        assert_eq!(refusal(refused), (Code::NotFound, "MESSAGE_NOT_FOUND".into(), told.clone()));
    }
    let nonsense = pb::GetReceiptsRequest { message_id: "x".into() };
    assert_eq!(field(fox.messages().get_receipts(nonsense).await), "message_id");
    assert_eq!(reason(broker.nobody().messages().get_receipts(request).await), "SESSION_REQUIRED");
}

#[tokio::test]
async fn a_message_sent_again_under_its_id_is_a_duplicate() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let message =
        pb::SendRequest { message_id: Uuid::from_u128(9).to_string(), ..question("bold-lynx", "one") };
    let first = fox.messages().send(message.clone()).await.unwrap().into_inner();
    let again = fox.messages().send(message.clone()).await.unwrap().into_inner();
    assert_eq!((first.duplicate, again.duplicate), (false, true));
    assert_eq!((first.message_id, first.revision), (again.message_id, again.revision));
    assert_eq!(inbox(&lynx, 0, 0).await.messages.len(), 1);
    let other = pb::SendRequest { body: "two".into(), ..message };
    assert_eq!(reason(fox.messages().send(other).await), "MESSAGE_ID_REUSED");
}

#[tokio::test]
async fn a_message_mentions_what_its_sender_names_and_what_its_text_holds() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let named = pb::SendRequest {
        paths: texts(&["docs/", "src/a.rs"]),
        ..question("bold-lynx", "see src/b.rs and src/a.rs")
    };
    fox.messages().send(named.clone()).await.unwrap();
    assert_eq!(inbox(&lynx, 0, 0).await.messages[0].paths, ["docs/", "src/a.rs", "src/b.rs"]);
    let many: Vec<String> = (0..32).map(|n| format!("p/{n}.rs")).collect();
    let full = pb::SendRequest { paths: many.clone(), ..named.clone() };
    let sent = fox.messages().send(full).await.unwrap().into_inner();
    assert_eq!(inbox(&lynx, sent.revision - 1, 0).await.messages[0].paths, many);
    let over = pb::SendRequest { paths: (0..33).map(|n| n.to_string()).collect(), ..named };
    assert_eq!(field(fox.messages().send(over).await), "paths");
}
