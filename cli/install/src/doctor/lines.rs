//! A program that is asked and answers in lines of JSON, on its standard input and output.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Instant;

use serde_json::{Value, json};

use super::Probing;

/// Lines that wait to be read.
const LINES: usize = 64;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It could not be started.
    #[error("cannot start {0}: {1}")]
    Start(String, std::io::Error),
    /// It ended without an answer.
    #[error("ended without an answer{0}")]
    Ended(String),
    /// It took too long.
    #[error("gave no answer within {0} s")]
    Silent(u64),
    /// It answered with an error.
    #[error("refused: {0}")]
    Refused(String),
}

/// A program that runs for as long as this.
#[derive(Debug)]
pub(super) struct Conversation {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    began: Instant,
    patience: std::time::Duration,
}

impl Conversation {
    /// Starts a program in a directory.
    pub(super) fn start(
        program: &OsStr,
        arguments: &[String],
        directory: &Path,
        probing: &Probing,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).envs(probing.variables.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let failed = |error| Failure::Start(program.to_string_lossy().into_owned(), error);
        let mut child = command.spawn().map_err(failed)?;
        let (sender, lines) = sync_channel(LINES);
        if let Some(stdout) = child.stdout.take() {
            // Ends with the child, which this owns.
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, lines, began: Instant::now(), patience: probing.patience })
    }

    /// Says something that needs no answer.
    pub(super) fn tell(&mut self, method: &str, parameters: &Value) -> Result<(), Failure> {
        self.write(&json!({"jsonrpc": "2.0", "method": method, "params": parameters}))
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&mut self, id: u32, method: &str, parameters: &Value) -> Result<Value, Failure> {
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters}))?;
        loop {
            let left = self.patience.saturating_sub(self.began.elapsed());
            let line = self.lines.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => Failure::Silent(self.patience.as_secs()),
                RecvTimeoutError::Disconnected => self.ended(),
            })?;
            let Ok(mut answer) = serde_json::from_str::<Value>(&line) else { continue };
            if answer["id"] != id {
                continue;
            }
            if let Some(error) = answer.get("error") {
                let text = error["message"].as_str().unwrap_or("an error without a message");
                return Err(Failure::Refused(text.to_owned()));
            }
            return Ok(answer["result"].take());
        }
    }

    fn write(&mut self, message: &Value) -> Result<(), Failure> {
        let line = format!("{message}\n");
        let written =
            self.stdin.as_mut().map(|stdin| stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()));
        match written {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(self.ended()),
        }
    }

    fn ended(&mut self) -> Failure {
        let status = self.child.wait().map(|status| format!(" ({status})"));
        Failure::Ended(status.unwrap_or_default())
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Its input ends, which is how hosts end it; what does not go by itself is ended.
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
