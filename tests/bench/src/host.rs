//! An MCP server, started and spoken to as a host of agents does.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The server, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Host {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    calls: u64,
}

impl Host {
    /// Starts it and says hello as this client, without waiting for more than the answer to that.
    pub(crate) fn start(mut command: Command, name: &str, version: &str) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start the adapter")?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let Some((stdin, stdout)) = pipes else {
            child.kill()?;
            anyhow::bail!("no pipes to the adapter");
        };
        let mut host = Self { child, stdin: Some(stdin), stdout: BufReader::new(stdout), calls: 0 };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": name, "version": version}});
        host.ask("initialize", &hello)?;
        host.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(host)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Calls a tool: whether it did it, and what it says.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Result<(bool, String)> {
        let answer = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))?;
        let text = answer["content"][0]["text"].as_str().context("an answer without text")?;
        Ok((answer["isError"] != true, text.to_owned()))
    }

    /// Calls a tool that needs no arguments and must work.
    pub(crate) fn run(&mut self, tool: &str) -> Result<()> {
        let (done, text) = self.call(tool, &json!({}))?;
        ensure!(done, "{tool}: {text}");
        Ok(())
    }

    /// Closes its input, and waits for its end.
    pub(crate) fn close(mut self) -> Result<()> {
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

impl Drop for Host {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
