//! Calls that wait: tasks where the client takes them, signs of life elsewhere, and the end of both.

use mesh_client::proto::{ListLockWaitersRequest, WakeOutcome};
use mesh_tests::{Mesh, lock, message, within};
use rmcp::model::{
    CallToolResponse, CallToolResult, CancelTaskParams, ClientCapabilities, GetTaskParams, TaskPayload,
};
use serde_json::{Value, json};

use super::agent::{Agent, ERAS, Era};
use super::host::{Host, Note, done, is_woken_by, woken};

fn takes_tasks() -> ClientCapabilities {
    ClientCapabilities::builder().enable_tasks().build()
}

async fn host(mesh: &Mesh, name: &str) -> Host {
    let host = Host::start(mesh.meshctl(&["mcp"]), Era::Modern, "test-host", takes_tasks()).await;
    host.does("mesh_checkin", json!({"name": name})).await;
    host
}

/// Begins a task, and returns its id.
async fn task(host: &Host, tool: &'static str, arguments: Value) -> String {
    match host.ask(tool, &arguments).await {
        CallToolResponse::Task(created) => created.task.task_id,
        other => panic!("no task: {other:?}"),
    }
}

/// How a task ends.
async fn outcome(host: &Host, id: &str) -> TaskPayload {
    within("the end of a task", async {
        loop {
            let got = host.client.get_task(GetTaskParams::new(id)).await.unwrap();
            if !matches!(got.task.payload, TaskPayload::Working) {
                return got.task.payload;
            }
        }
    })
    .await
}

/// The text of a task that ends well.
async fn text(host: &Host, id: &str) -> String {
    let TaskPayload::Completed { result } = outcome(host, id).await else { panic!("it did not end well") };
    done(&serde_json::from_value::<CallToolResult>(result.into()).unwrap())
}

/// Waits until that many requests are in the queue.
async fn queued(mesh: &Mesh, number: usize) {
    let request =
        ListLockWaitersRequest { scope: mesh_tests::SCOPE.into(), ..ListLockWaitersRequest::default() };
    let client = mesh.client();
    let waiters = || async {
        client.locks().list_lock_waiters(request.clone()).await.unwrap().into_inner().waiters.len()
    };
    within("requests in the queue", async { while waiters().await != number {} }).await;
}

#[tokio::test]
async fn waiting_for_mail_in_a_task_wakes_the_agent_when_it_comes() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join("owl").await;
    let fox = host(&mesh, "fox").await;
    // Far longer than a call may take.
    let waits = task(&fox, "mesh_inbox", json!({"wait_seconds": 3000})).await;
    is_woken_by(&owl, "fox", "task").await;
    let sent = owl.send(message("fox", "wake\nup")).await.unwrap();
    let mail = text(&fox, &waits).await;
    assert!(mail.contains("from owl") && mail.contains("\n> wake\n> up\n"), "{mail}");
    let delivery = woken(&owl, &sent.message_id).await;
    assert_eq!((delivery.wake_via.as_str(), delivery.wake_outcome()), ("task", WakeOutcome::Taken));
    is_woken_by(&owl, "fox", "").await;
    fox.end().await;
}

#[tokio::test]
async fn what_is_there_at_once_is_no_task() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join("owl").await;
    let fox = host(&mesh, "fox").await;
    owl.send(message("fox", "hello")).await.unwrap();
    let waits = json!({"wait_seconds": 50});
    // A machine that is busy with other tests may make it one all the same, not always.
    let mail = within("an answer at once", async {
        loop {
            match fox.ask("mesh_inbox", &waits).await {
                CallToolResponse::Complete(result) => return done(&result),
                CallToolResponse::Task(_) => {}
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert!(mail.contains("> hello"), "{mail}");
    fox.end().await;
}

#[tokio::test]
async fn every_wait_may_be_a_task_and_can_be_given_up() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join("owl").await;
    owl.acquire(lock(&["src/a.rs"])).await.unwrap();
    let fox = host(&mesh, "fox").await;
    let claim = json!({"paths": ["src/a.rs"], "wait_seconds": 600});
    let given_up = task(&fox, "mesh_lock", claim.clone()).await;
    queued(&mesh, 1).await;
    fox.client.cancel_task(CancelTaskParams::new(given_up.clone())).await.unwrap();
    assert_eq!(outcome(&fox, &given_up).await, TaskPayload::Cancelled);
    queued(&mesh, 0).await;

    let claim = task(&fox, "mesh_lock", claim).await;
    let gate = task(&fox, "mesh_events", json!({"until": "key gate"})).await;
    let touched = task(&fox, "mesh_events", json!({"types": ["state_changed"], "wait_seconds": 600})).await;
    let asked = json!({"to": "owl", "body": "May I?", "wait_reply_seconds": 600});
    let asked = task(&fox, "mesh_send", asked).await;
    queued(&mesh, 1).await;
    owl.release(vec!["src/a.rs".into()]).await.unwrap();
    owl.put(mesh_tests::put("gate", "open")).await.unwrap();
    let question = owl.inbox(Default::default()).await.unwrap().messages.remove(0);
    let reply = mesh_client::proto::SendRequest { reply_to: question.message_id, ..message("fox", "Yes.") };
    owl.send(reply).await.unwrap();
    for (task, part) in [
        (&claim, "locked src/a.rs for 30m"),
        (&gate, "now: key gate"),
        (&touched, "state_changed gate"),
        (&asked, "\n> Yes."),
    ] {
        let text = text(&fox, task).await;
        assert!(text.contains(part), "{text}");
    }
    let unknown = fox.client.get_task(GetTaskParams::new("none")).await;
    assert!(unknown.is_err());
    fox.end().await;
}

#[tokio::test]
async fn without_tasks_a_call_that_waits_tells_that_it_does_until_it_is_answered() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join("owl").await;
    for (name, era) in ["fox", "elk"].into_iter().zip(ERAS) {
        let can = ClientCapabilities::default();
        let mut host = Host::start(mesh.meshctl(&["mcp"]), era, "test-host", can).await;
        host.does("mesh_checkin", json!({"name": name})).await;
        let mut told = Vec::new();
        let waits = json!({"wait_seconds": 50});
        let client = host.client.peer().clone();
        let call = tokio::spawn(async move {
            let call = rmcp::model::CallToolRequestParams::new("mesh_inbox");
            client.call_tool(call.with_arguments(waits.as_object().unwrap().clone())).await
        });
        while told.len() < 3 {
            let Note::Progress(progress) = host.note().await else { panic!("something else") };
            told.push(progress);
        }
        owl.send(message(name, "hello")).await.unwrap();
        let mail = done(&within("the answer", call).await.unwrap().unwrap());
        assert!(mail.contains("> hello"), "{mail}");
        // Whatever was said before the next answer has come by then.
        host.does("mesh_locks", json!({})).await;
        while let Some(note) = host.unseen() {
            let Note::Progress(progress) = note else { panic!("{note:?}") };
            told.push(progress);
        }
        assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
        host.end().await;
    }
}

#[tokio::test]
async fn a_call_that_its_client_cancels_waits_no_longer() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let owl = mesh.join("owl").await;
    owl.acquire(lock(&["src/a.rs"])).await.unwrap();
    for era in ERAS {
        let mut fox = Agent::start(&mesh, era).await;
        let claim = json!({"name": "mesh_lock", "arguments": {"paths": ["src/a.rs"], "wait_seconds": 50}});
        let id = fox.send("tools/call", claim).await;
        queued(&mesh, 1).await;
        let cancelled =
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        fox.write(&cancelled.to_string()).await;
        queued(&mesh, 0).await;
        assert!(fox.call("mesh_locks", json!({})).await.done().contains("held by owl"));
    }
}
