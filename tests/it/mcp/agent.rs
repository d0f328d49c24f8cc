//! An agent as its host sees it: an adapter process, spoken to line by line.
//!
//! What must hold, checked for every line of every test: the adapter writes MCP on its standard output and nothing
//! else.

use std::process::{Command, ExitStatus, Stdio};

use mesh_tests::{Mesh, Signal, signal, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// The two protocols that clients speak: with a handshake, or with all that is needed in each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

pub(crate) const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

/// What a tool answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) failed: bool,
    pub(crate) text: String,
}

impl Answer {
    /// The text of an answer that must not be a failure.
    pub(crate) fn done(self) -> String {
        assert!(!self.failed, "{}", self.text);
        self.text
    }

    /// The text of an answer that must be a failure.
    pub(crate) fn refused(self) -> String {
        assert!(self.failed, "{}", self.text);
        self.text
    }
}

/// An adapter process and its client. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    era: Era,
    client: &'static str,
    process: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    requests: u64,
}

impl Agent {
    /// An agent that has connected to its adapter, and called nothing.
    pub(crate) async fn start(mesh: &Mesh, era: Era) -> Self {
        Self::spawn(mesh.meshctl(&["mcp"]), era).await
    }

    /// An agent that has checked in under a name.
    pub(crate) async fn named(mesh: &Mesh, era: Era, name: &str) -> Self {
        let mut agent = Self::start(mesh, era).await;
        agent.call("mesh_checkin", json!({"name": name})).await.done();
        agent
    }

    /// As [`Agent::start`], with an environment and a directory of its own.
    pub(crate) async fn spawn(command: Command, era: Era) -> Self {
        Self::spawn_as(command, era, "raw").await
    }

    /// As [`Agent::spawn`], with a client of this name.
    pub(crate) async fn spawn_as(command: Command, era: Era, client: &'static str) -> Self {
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut agent = Self { era, client, process, input, output, requests: 0 };
        agent.connect().await;
        agent
    }

    async fn connect(&mut self) {
        match self.era {
            Era::Legacy => {
                let client = json!({"name": self.client, "version": "1"});
                let hello =
                    json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
                let answer = self.ask("initialize", hello).await;
                assert_eq!(answer["result"]["protocolVersion"], "2025-06-18", "{answer}");
                self.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string())
                    .await;
            }
            Era::Modern => {
                let answer = self.ask("server/discover", json!({})).await;
                let versions = &answer["result"]["supportedVersions"];
                assert!(versions.as_array().unwrap().contains(&json!("2026-07-28")), "{answer}");
            }
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id().unwrap()
    }

    /// Sends a line, whatever it says.
    pub(crate) async fn write(&mut self, line: &str) {
        self.input.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Sends a request without waiting for its answer, and returns its id.
    pub(crate) async fn send(&mut self, method: &str, mut params: Value) -> u64 {
        self.requests += 1;
        if self.era == Era::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": self.client, "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        let request = json!({"jsonrpc": "2.0", "id": self.requests, "method": method, "params": params});
        self.write(&request.to_string()).await;
        self.requests
    }

    /// Sends a request, and returns the whole response.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        self.response(id).await
    }

    /// The response to a request.
    pub(crate) async fn response(&mut self, id: u64) -> Value {
        within("a response of the adapter", async {
            loop {
                let line = self.output.next_line().await.unwrap().expect("the adapter is alive");
                let message = mcp(&line);
                if message["id"] == id {
                    return message;
                }
            }
        })
        .await
    }

    /// Calls a tool.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Answer {
        let response = self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        let result = &response["result"];
        let content = result["content"].as_array().unwrap_or_else(|| panic!("{response}"));
        assert_eq!((content.len(), &content[0]["type"]), (1, &json!("text")), "{response}");
        assert_eq!(result.get("structuredContent"), None, "one copy only");
        let text = content[0]["text"].as_str().unwrap().to_owned();
        Answer { failed: result["isError"] == json!(true), text }
    }

    /// Kills the process, as a crash would.
    pub(crate) async fn kill(mut self) {
        signal(self.pid(), Signal::KILL);
        self.process.wait().await.unwrap();
    }

    /// Closes the adapter's input, as a host does that ends.
    pub(crate) fn hang_up(&mut self) {
        drop(self.input.take());
    }

    /// Closes the adapter's input and waits for its end.
    pub(crate) async fn close(mut self) -> ExitStatus {
        self.hang_up();
        self.ended().await
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        within("the end of the adapter", async {
            while let Some(line) = self.output.next_line().await.unwrap() {
                mcp(&line);
            }
            self.process.wait().await.unwrap()
        })
        .await
    }
}

/// The message of a line, which must be one of JSON-RPC.
fn mcp(line: &str) -> Value {
    let message: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not MCP: {line}"));
    let has = |name: &str| message.get(name).is_some();
    // An error need not say what it answers, if that was no request.
    let answers = has("result") != has("error") && (has("id") || has("error"));
    assert!(message["jsonrpc"] == "2.0" && (answers || message["method"].is_string()), "not MCP: {line}");
    message
}
