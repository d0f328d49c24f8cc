//! MCP itself: what is listed, what is an error of the protocol, and that nothing else is ever said.

use mesh_tests::{Mesh, kill};
use serde_json::{Value, json};

use super::agent::{Agent, ERAS};

const TOOLS: [&str; 12] = [
    "mesh_checkin",
    "mesh_who",
    "mesh_checkout",
    "mesh_send",
    "mesh_inbox",
    "mesh_remember",
    "mesh_recall",
    "mesh_lock",
    "mesh_unlock",
    "mesh_locks",
    "mesh_events",
    "mesh_status",
];
/// Stands in for 1,000 tokens, of which these schemas have one for about four bytes.
const LIST_BYTES: usize = 4_150;

#[tokio::test]
async fn both_eras_list_the_same_twelve_tools_within_the_bound_without_a_broker() {
    let mesh = Mesh::new();
    let mut lists = Vec::new();
    for era in ERAS {
        let mut agent = Agent::start(&mesh, era).await;
        let tools = agent.ask("tools/list", json!({})).await["result"]["tools"].take();
        let names: Vec<_> = tools.as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
        assert_eq!(names, TOOLS);
        let bytes = tools.to_string().len();
        eprintln!("{era:?}: tools/list has {bytes} bytes");
        assert!(bytes <= LIST_BYTES, "{bytes}");
        lists.push(tools);
        agent.close().await;
    }
    assert_eq!(lists[0], lists[1]);
    assert!(!mesh.home().broker_lock_path().exists(), "no tool was called");
    assert_eq!(mesh.broker_pid(), None);
}

#[tokio::test]
async fn what_is_no_call_is_an_error_of_the_protocol_and_the_adapter_goes_on() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    for era in ERAS {
        let mut agent = Agent::start(&mesh, era).await;
        let table = [
            ("tools/call", json!({"name": "mesh_explode", "arguments": {}}), "mesh_explode"),
            ("tools/call", json!({"arguments": {}}), ""),
            ("tools/call", json!({"name": "mesh_status", "arguments": [1]}), ""),
            ("mesh_status", json!({}), ""),
        ];
        for (method, params, told) in table {
            let error = agent.ask(method, params.clone()).await["error"].take();
            // Parameters that do not fit a method make it another method to rmcp.
            let code = error["code"].as_i64();
            assert!(matches!(code, Some(-32602 | -32601)), "{era:?} {method} {params}: {error}");
            assert!(error["message"].as_str().unwrap().contains(told), "{error}");
        }
        for line in ["nonsense", "{\"jsonrpc\": \"2.0\"", "[]", "7", "", "{\"jsonrpc\":\"1.0\",\"id\":77}"] {
            agent.write(line).await;
        }
        assert!(agent.call("mesh_locks", json!({})).await.done().starts_with("no locks"));
        assert_eq!(agent.close().await.code(), Some(0));
    }
}

/// A call of every tool, in an order in which none of them fails.
fn calls() -> [(&'static str, Value); 12] {
    [
        ("mesh_checkin", json!({"name": "fox", "focus": "everything"})),
        ("mesh_who", json!({})),
        ("mesh_send", json!({"to": "*", "body": "hello"})),
        ("mesh_inbox", json!({"ack": true})),
        ("mesh_remember", json!({"key": "k", "value": "v"})),
        ("mesh_recall", json!({"key": "k"})),
        ("mesh_lock", json!({"paths": ["src/"]})),
        ("mesh_locks", json!({})),
        ("mesh_unlock", json!({})),
        ("mesh_events", json!({"after": 0})),
        ("mesh_status", json!({})),
        ("mesh_checkout", json!({})),
    ]
}

/// Each line is checked as it is read.
#[tokio::test]
async fn nothing_but_mcp_is_on_standard_output_whatever_happens_to_the_broker() {
    for era in ERAS {
        let mesh = Mesh::new();
        let mut agent = Agent::start(&mesh, era).await;
        for round in 0..2 {
            for (number, (tool, arguments)) in calls().into_iter().enumerate() {
                if number == 5 + round {
                    kill(mesh.broker_pid().unwrap());
                }
                let answer = agent.call(tool, arguments).await.done();
                assert!(!answer.is_empty() && !answer.contains("your session had ended"), "{tool}: {answer}");
            }
        }
        let unanswered = json!({"name": "mesh_events", "arguments": {"wait_seconds": 50}});
        agent.send("tools/call", unanswered).await;
        assert_eq!(agent.close().await.code(), Some(0));
    }
}
