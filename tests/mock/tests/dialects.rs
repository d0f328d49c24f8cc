//! Each protocol as a host speaks it: what is asked is kept, what is scripted is answered.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_mock::{Dialect, Model, Purpose, Turn};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a request and returns the body of the answer.
async fn post(model: &Model, path: &str, headers: &str, body: &Value) -> String {
    let address = model.url().replace("http://", "");
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    body.to_owned()
}

/// The values of a stream of events.
fn events(body: &str) -> Vec<Value> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn anthropic_streams_what_it_says_and_calls() {
    let model = Model::start().await;
    model.script([Turn::say("I look.").and_call("Read", json!({"file_path": "a"}))]);
    let body = json!({
        "model": "m", "stream": true, "tools": [{"name": "Read"}], "system": [{"type": "text", "text": "be good"}],
        "messages": [
            {"role": "user", "content": "first"}, {"role": "assistant", "content": "answer"},
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "found"}]}]},
        ],
    });
    let headers = "X-Claude-Code-Session-Id: s1\r\nx-claude-code-agent-id: a1\r\n";
    let subagents = post(&model, "/v1/messages?beta=true", headers, &body).await;
    assert!(!subagents.contains("I look."), "the script is for the session itself");
    let answer =
        events(&post(&model, "/v1/messages?beta=true", "X-Claude-Code-Session-Id: s1\r\n", &body).await);
    assert_eq!(answer[2]["delta"]["text"], "I look.");
    assert_eq!(answer[4]["content_block"]["name"], "Read");
    assert_eq!(answer[5]["delta"]["partial_json"], r#"{"file_path":"a"}"#);
    assert_eq!(answer[7]["delta"]["stop_reason"], "tool_use");

    let [first, second] = &model.requests()[..] else { panic!("two requests") };
    assert_eq!((first.subagent.as_deref(), first.is_main(), first.scripted), (Some("a1"), false, false));
    assert_eq!((second.dialect, second.session.as_str(), second.scripted), (Dialect::Anthropic, "s1", true));
    assert_eq!(
        (second.count("be good"), second.count("first"), second.last_result()),
        (1, 1, "found".into())
    );
    assert!(second.news().contains("found") && !second.news().contains("answer"));
    assert_eq!(second.tools(), ["Read"]);
}

#[tokio::test]
async fn what_a_host_asks_on_its_own_account_takes_nothing_from_the_script() {
    let model = Model::start().await;
    model.script([Turn::say("scripted")]);
    let plain = json!({"model": "m", "messages": [{"role": "user", "content": "a title, please"}]});
    let mut summary = plain.clone();
    summary["tools"] = json!([{"name": "Read"}]);
    summary["messages"][0]["content"] = json!("CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.");
    for (path, body) in
        [("/v1/messages", &plain), ("/v1/messages/count_tokens", &plain), ("/v1/messages", &summary)]
    {
        post(&model, path, "", body).await;
    }
    let title = "x-codex-turn-metadata: {\"thread_source\":\"thread_title\"}\r\n";
    let tools = json!({"tools": [{"type": "custom", "name": "apply_patch"}], "input": []});
    post(&model, "/v1/responses", title, &tools).await;
    post(&model, "/v1beta/models/m:countTokens", "", &json!({"contents": []})).await;
    let requests = model.requests();
    assert_eq!(requests.len(), 5);
    assert!(requests.iter().all(|request| request.purpose == Purpose::Background && !request.scripted));
}

#[tokio::test]
async fn responses_tell_functions_free_text_and_namespaces_apart() {
    let model = Model::start().await;
    let patch = Turn::call("apply_patch", json!("*** Begin Patch"));
    model.script([patch
        .and_call("mcp__mesh__mesh_who", json!({}))
        .and_call("exec_command", json!({"cmd": "ls"}))]);
    let within = json!([{"name": "functions", "tools": [{"name": "exec"}]}]);
    let body = json!({
        "stream": true, "tools": [{"type": "web_search"}],
        "input": [
            {"type": "additional_tools", "tools": within},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]},
            {"type": "custom_tool_call", "input": "x"},
            {"type": "custom_tool_call_output", "output": [{"type": "input_text", "text": "done"}]},
        ],
    });
    let answer = events(&post(&model, "/v1/responses", "session-id: s\r\nthread-id: s\r\n", &body).await);
    let items = answer.last().unwrap()["response"]["output"].clone();
    assert_eq!(
        (&items[0]["type"], &items[0]["input"]),
        (&json!("custom_tool_call"), &json!("*** Begin Patch"))
    );
    assert_eq!((&items[1]["namespace"], &items[1]["name"]), (&json!("mcp__mesh"), &json!("mesh_who")));
    assert_eq!(
        (&items[2]["name"], &items[2]["arguments"]),
        (&json!("exec_command"), &json!(r#"{"cmd":"ls"}"#))
    );

    let request = &model.requests()[0];
    assert!(request.is_main() && request.last_result().contains("done"));
    assert!(request.news().contains("done") && !request.news().contains("go"));
    assert_eq!(request.tools(), ["web_search", "functions__exec"]);
    assert!(!request.holds("functions"), "declared tools are no text of the conversation");
}

#[tokio::test]
async fn gemini_streams_or_answers_at_once() {
    let model = Model::start().await;
    model.script([Turn::call("read_file", json!({"file_path": "a"})), Turn::say("Done.")]);
    let body = json!({
        "tools": [{"functionDeclarations": [{"name": "read_file"}]}], "systemInstruction": {"parts": [{"text": "be good"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "go"}]}, {"role": "model", "parts": [{"text": "I go"}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "found"}}}]},
        ],
    });
    let path = "/v1beta/models/m:streamGenerateContent?alt=sse";
    let streamed = events(&post(&model, path, "", &body).await);
    assert_eq!(streamed[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["name"], "read_file");
    let whole: Value =
        serde_json::from_str(&post(&model, "/v1beta/models/m:generateContent", "", &body).await).unwrap();
    assert_eq!(whole["candidates"][0]["content"]["parts"][0]["text"], "Done.");
    let request = &model.requests()[0];
    assert_eq!((request.last_result(), request.count("be good")), ("found".into(), 1));
    assert_eq!(request.tools(), ["read_file"]);
}

#[tokio::test]
async fn chat_completions_know_children_by_their_parents() {
    let model = Model::start().await;
    model.script([Turn::say("I look.").and_call("read", json!({"filePath": "a"}))]);
    model.script_subagents([Turn::say("A child answers.")]);
    let body = json!({
        "stream": true, "tools": [{"type": "function", "function": {"name": "read"}}],
        "messages": [{"role": "tool", "content": "found"}],
    });
    let child = "x-session-id: child\r\nx-parent-session-id: own\r\n";
    let answer = events(&post(&model, "/v1/chat/completions", child, &body).await);
    assert_eq!(answer[0]["choices"][0]["delta"]["content"], "A child answers.");
    let answer = events(&post(&model, "/v1/chat/completions", "x-session-id: own\r\n", &body).await);
    assert_eq!(answer[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"], "read");
    assert_eq!(answer[1]["choices"][0]["finish_reason"], "tool_calls");
    let [child, own] = &model.requests()[..] else { panic!("two requests") };
    assert_eq!((child.session.as_str(), child.subagent.as_deref()), ("own", Some("child")));
    assert_eq!(
        (own.is_main(), own.last_result(), own.tools()),
        (true, "found".into(), vec!["read".to_owned()])
    );
}

#[tokio::test]
async fn a_held_turn_waits_and_its_request_is_seen_meanwhile() {
    let model = Model::start().await;
    let (turn, hold) = Turn::say("late").held();
    model.script([turn]);
    let body = json!({"tools": [{"name": "Read"}], "messages": [{"role": "user", "content": "go"}]});
    let asked = post(&model, "/v1/messages", "", &body);
    let seen = async {
        let request = model.request(|request| request.holds("go")).await;
        hold.release();
        request
    };
    let (answer, request) = tokio::join!(asked, seen);
    assert!(answer.contains("late") && request.scripted);
}

#[tokio::test]
async fn a_script_for_certain_requests_is_used_for_those_only() {
    let model = Model::start().await;
    model.script_when(|request| request.news().contains("weather"), [Turn::say("Rain.")]);
    model.script([Turn::say("Other.")]);
    let ask =
        |text: &str| json!({"tools": [{"name": "Read"}], "messages": [{"role": "user", "content": text}]});
    for (text, expected) in [("the time?", "Other."), ("the weather?", "Rain."), ("the weather?", "ok")] {
        let answer = post(&model, "/v1/messages", "", &ask(text)).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["content"][0]["text"], expected, "{text}");
    }
}
