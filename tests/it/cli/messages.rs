//! Talking: replies, receipts, topics, notes.

use mesh_client::proto::{
    ChildAgent, ListMessagesRequest, MessageIntent, PeerActivity, PeerInfo, ReportWakeRequest, WakeOutcome,
};
use mesh_tests::{Mesh, message, within};
use serde_json::{Value, json};

use super::{failure, keys, object};

#[tokio::test]
async fn a_reply_is_waited_for_and_printed() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join("owl").await;
    let asking = mesh.spawn(&["send", "owl", "may I?", "--wait-reply", "1m", "--json"]);
    let wait = ListMessagesRequest { wait: mesh_tests::seconds(60), ..ListMessagesRequest::default() };
    let asked = owl.inbox(wait).await.unwrap().messages.remove(0);
    assert_eq!((asked.body.as_str(), asked.intent()), ("may I?", MessageIntent::Request));
    let mut reply = message("tester", "yes");
    reply.reply_to.clone_from(&asked.message_id);
    owl.send(reply).await.unwrap();
    let output = within("the reply", asking.wait_with_output()).await.unwrap();
    assert!(output.status.success());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["message_id"], asked.message_id);
    assert_eq!((&answer["reply"]["from"], &answer["reply"]["body"]), (&json!("owl"), &json!("yes")));
    let thread = object(&mesh, &["inbox", "--thread", &asked.message_id]);
    let bodies: Vec<_> =
        thread["messages"].as_array().unwrap().iter().map(|message| &message["body"]).collect();
    assert_eq!(bodies, ["may I?", "yes"]);
}

#[tokio::test]
async fn options_stand_anywhere_and_names_may_have_commas() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let _owl = mesh.join_unattended("owl").await;
    let _elm = mesh.join_unattended("elm").await;
    assert_eq!(object(&mesh, &["send", "*", "--urgent", "main is broken"])["online_recipients"], 2);
    let sent = object(&mesh, &["send", "owl,elm", "--intent", "ack", "thanks"]);
    assert_eq!(sent["deliveries"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_reply_that_comes_late_still_lands() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    let (code, error) = failure(&mesh, &["send", "owl", "may I?", "--wait-reply", "1s"]);
    assert_eq!((code, error["reason"].as_str()), (6, Some("TIMEOUT")));
    let id = error["message_id"].as_str().unwrap();
    let waiting = mesh.spawn(&["wait", "reply", id, "--json"]);
    let mut reply = message("tester", "yes, now");
    reply.reply_to = id.into();
    owl.send(reply).await.unwrap();
    let output = within("the reply", waiting.wait_with_output()).await.unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["reply"]["body"], "yes, now");
    assert_eq!(object(&mesh, &["inbox"])["messages"][0]["body"], "yes, now");
}

#[tokio::test]
async fn receipts_tell_who_has_read_it() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    let sent = object(&mesh, &["send", "owl", "hello"]);
    let id = sent["message_id"].as_str().unwrap();
    let receipts = object(&mesh, &["receipts", id]);
    assert_eq!(keys(&receipts), ["deliveries", "read", "recipients", "revision"]);
    assert_eq!((&receipts["read"], &receipts["recipients"]), (&json!(0), &json!(1)));
    owl.ack(sent["revision"].as_u64().unwrap()).await.unwrap();
    let receipts = object(&mesh, &["receipts", id]);
    assert_eq!((&receipts["deliveries"][0]["status"], &receipts["read"]), (&json!("read"), &json!(1)));
}

#[tokio::test]
async fn a_sender_is_told_who_is_at_work_and_who_was_woken() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    let child = ChildAgent { id: "a1".into(), kind: "explore".into(), focus: "the tests".into() };
    let info = PeerInfo {
        activity: PeerActivity::Idle.into(),
        wake: "monitor".into(),
        children: vec![child],
        ..PeerInfo::default()
    };
    owl.update(info, &["activity", "wake", "children"]).await.unwrap();
    let peer = &object(&mesh, &["who"])["peers"][0];
    assert_eq!(peer["info"]["activity"], "idle");
    assert_eq!(peer["info"]["children"], json!([{"id": "a1", "kind": "explore", "focus": "the tests"}]));
    let who = mesh.run(&["who"]);
    assert!(String::from_utf8_lossy(&who.stdout).contains("\n└ a1  explore"), "{who:?}");
    let sent = mesh.run(&["send", "owl", "hello"]);
    assert_eq!(String::from_utf8_lossy(&sent.stdout), "owl: queued, idle; will be woken (monitor)\n");

    let sent = object(&mesh, &["send", "owl", "hello again"]);
    let report = ReportWakeRequest {
        via: "monitor".into(),
        outcome: WakeOutcome::Taken.into(),
        up_to_revision: sent["revision"].as_u64().unwrap(),
        ..ReportWakeRequest::default()
    };
    owl.report_wake(report).await.unwrap();
    let id = sent["message_id"].as_str().unwrap();
    let told = &object(&mesh, &["receipts", id])["deliveries"][0];
    assert_eq!((&told["wake_outcome"], &told["wake_via"]), (&json!("taken"), &json!("monitor")));
    let told = mesh.run(&["receipts", id]);
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(
        told.contains("here, has not looked; woken via monitor") && told.contains("ago, taken"),
        "{told}"
    );
    let tail = mesh.run(&["events", "--type", "peer_updated"]);
    let tail = String::from_utf8_lossy(&tail.stdout);
    let lines: Vec<_> =
        tail.lines().filter_map(|line| line.split_once("owl")).map(|at| at.1.trim()).collect();
    assert_eq!(lines[..2], ["is idle", "started     a sub-agent: explore  \"the tests\""], "{tail}");
}

#[tokio::test]
async fn a_message_with_an_id_is_sent_once() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    let id = "0191f0c2-7a55-7e0e-b5bb-9d3c2d8b5a10";
    let first = object(&mesh, &["send", "owl", "hello", "--message-id", id]);
    let again = object(&mesh, &["send", "owl", "hello", "--message-id", id]);
    assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(first["revision"], again["revision"]);
    assert_eq!(owl.inbox(ListMessagesRequest::default()).await.unwrap().messages.len(), 1);
    let (code, error) = failure(&mesh, &["send", "owl", "another", "--message-id", id]);
    assert_eq!((code, error["reason"].as_str()), (4, Some("MESSAGE_ID_REUSED")));
}

#[tokio::test]
async fn notes_reach_everybody_and_stay_to_be_read() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    object(&mesh, &["note", "added a nav item", "--path", "src/nav.rs"]);
    object(&mesh, &["note", "and another"]);
    let inbox = owl.inbox(ListMessagesRequest::default()).await.unwrap().messages;
    assert_eq!((inbox.len(), inbox[0].topic.as_str()), (2, "#notes"));
    let notes = object(&mesh, &["notes", "--as", "somebody-new"]);
    assert_eq!(keys(&notes), ["messages", "next_after_revision", "revision"]);
    assert_eq!(
        (&notes["messages"][0]["body"], &notes["messages"][0]["paths"]),
        (&json!("added a nav item"), &json!(["src/nav.rs"]))
    );
    let last = object(&mesh, &["notes", "--limit", "1"]);
    assert_eq!(last["messages"][0]["body"], "and another");
    let after = notes["messages"][0]["revision"].to_string();
    assert_eq!(object(&mesh, &["notes", "--after", &after])["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn topics_reach_those_who_follow_them() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    let mut deploy = message("", "v42 is out");
    (deploy.to, deploy.topic) = (Vec::new(), "#deploys".into());
    owl.send(deploy.clone()).await.unwrap();
    assert_eq!(
        object(&mesh, &["follow", "deploys", "#releases"])["topics"],
        json!(["#deploys", "#notes", "#releases"])
    );
    deploy.body = "v43 is out".into();
    owl.send(deploy).await.unwrap();
    let inbox = object(&mesh, &["inbox"]);
    let bodies: Vec<_> =
        inbox["messages"].as_array().unwrap().iter().map(|message| &message["body"]).collect();
    assert_eq!(bodies, ["v43 is out"], "from following on");
    let feed = object(&mesh, &["inbox", "--topic", "#deploys"]);
    assert_eq!(feed["messages"].as_array().unwrap().len(), 2);
    let topics = object(&mesh, &["topics"]);
    let deploys =
        topics["topics"].as_array().unwrap().iter().find(|topic| topic["name"] == "#deploys").unwrap();
    assert_eq!((&deploys["followers"], &deploys["messages"]), (&json!(1), &json!(2)));
    object(&mesh, &["send", "#deploys", "rolled back"]);
    assert_eq!(object(&mesh, &["unfollow", "#deploys"])["topics"], json!(["#notes", "#releases"]));
}
