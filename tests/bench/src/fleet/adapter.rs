//! The MCP server of an agent, spoken to as its host does.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::claude::Claude;

/// A running `meshctl mcp`; it ends with its input.
#[derive(Debug)]
pub(super) struct Adapter {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    calls: u64,
}

impl Adapter {
    pub(super) fn start(claude: &Claude) -> Result<Self> {
        let mut command = claude.command(&claude.meshctl);
        command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start meshctl mcp")?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut adapter = Self { child, stdin, stdout, calls: 0 };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {},
                           "clientInfo": {"name": "claude-code", "version": "2.1.329"}});
        adapter.ask("initialize", &hello)?;
        adapter.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(adapter)
    }

    /// Calls a tool: whether it did it, and what it says.
    pub(super) fn call(&mut self, tool: &str, arguments: &Value) -> Result<(bool, String)> {
        let answer = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        let text = answer["content"][0]["text"].as_str().context("an answer without text")?;
        Ok((answer["isError"] != true, text.to_owned()))
    }

    /// Closes its input, and waits for its end.
    pub(super) fn close(mut self) -> Result<()> {
        drop(self.stdin.take());
        self.child.wait()?;
        Ok(())
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.calls += 1;
        let id = self.calls;
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(self.stdout.read_line(&mut line)? > 0, "the adapter has ended");
            let mut answer: Value = serde_json::from_str(&line)?;
            if answer["id"] == id {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].take());
            }
        }
    }

    fn write(&mut self, message: &Value) -> Result<()> {
        writeln!(self.stdin.as_mut().context("closed")?, "{message}").context("the adapter does not read")
    }
}
