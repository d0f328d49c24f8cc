//! An agent without a terminal, from its start to its end.

use std::io::Read;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::sync::watch;

use crate::wait::STUCK;

/// How much of an output a failure shows.
const TAIL: usize = 4_000;

/// A process whose output is collected while it runs; it is killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Output,
    err: Output,
}

/// How a process ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

#[derive(Debug, Clone)]
struct Output {
    text: Arc<Mutex<String>>,
    /// True once nothing more comes.
    news: Arc<watch::Sender<bool>>,
}

impl Running {
    /// Starts a command with pipes.
    pub(super) fn start(mut command: Command) -> Self {
        use std::process::Stdio;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let mut child = command.kill_on_drop(true).spawn().expect("the agent starts");
        let stdin = child.stdin.take();
        let out = Output::collect(child.stdout.take().expect("piped stdout"));
        let err = Output::collect(child.stderr.take().expect("piped stderr"));
        Self { child, stdin, out, err }
    }

    /// With its standard input closed, for an agent that would wait for the end of it.
    pub(super) fn without_input(mut self) -> Self {
        drop(self.stdin.take());
        self
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Writes a line to its standard input.
    pub async fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it reads");
    }

    /// Waits for something that happens while it runs; if it does not, the panic shows what the agent said.
    pub async fn meanwhile<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        match tokio::time::timeout(STUCK, future).await {
            Ok(value) => value,
            Err(_) => panic!("stuck waiting for {what}; the agent said\n{}", self.said()),
        }
    }

    /// Waits for a line of its standard output, as JSON, that fits. Lines seen before count.
    pub async fn line(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut news = self.out.news.subscribe();
        let found = async {
            loop {
                news.mark_unchanged();
                let text = self.out.text();
                if let Some(found) = json_lines(&text).find(|line| fits(line)) {
                    return found;
                }
                assert!(!*news.borrow(), "{what} never came; the agent said\n{}", self.said());
                let _ = news.changed().await;
            }
        };
        self.meanwhile(what, found).await
    }

    /// Closes its standard input and waits for its end.
    pub async fn finish(mut self) -> Finished {
        drop(self.stdin.take());
        let code = match tokio::time::timeout(STUCK, self.child.wait()).await {
            Ok(status) => status.expect("it was started").code(),
            Err(_) => panic!("the agent does not end; it said\n{}", self.said()),
        };
        // A child of it may hold the pipes for longer, and is of no interest.
        Finished { code, stdout: self.out.whole().await, stderr: self.err.whole().await }
    }

    fn said(&self) -> String {
        format!("{}\n-- stderr --\n{}", tail(&self.out.text()), tail(&self.err.text()))
    }
}

impl Finished {
    /// Runs a command to its end at once, without input.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn of(mut command: Command) -> Self {
        use std::process::Stdio;
        // A file, not a pipe: what the command leaves running may keep a pipe open for ever.
        let (mut out, mut err) =
            (tempfile::tempfile().expect("a file"), tempfile::tempfile().expect("a file"));
        let (stdout, stderr) = (out.try_clone().expect("a file"), err.try_clone().expect("a file"));
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let mut child = command.spawn().expect("the agent starts");
        let (pid, (ended, end)) = (child.id(), std::sync::mpsc::channel::<()>());
        let watchdog = std::thread::spawn(move || {
            let stuck = end.recv_timeout(STUCK) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if stuck {
                crate::kill(pid);
            }
            stuck
        });
        let status = child.wait();
        drop(ended);
        assert!(!watchdog.join().expect("it only waits"), "it did not end: {command:?}");
        let status = status.expect("it was started");
        let read = |file: &mut std::fs::File| {
            use std::io::Seek;
            let mut text = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut text)).expect("its output");
            String::from_utf8_lossy(&text).into_owned()
        };
        Self { code: status.code(), stdout: read(&mut out), stderr: read(&mut err) }
    }

    /// Itself, if it ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(
            self.code == Some(0),
            "ended with {:?}\n{}\n-- stderr --\n{}",
            self.code,
            tail(&self.stdout),
            tail(&self.stderr)
        );
        self
    }

    /// The lines of its standard output that are JSON.
    #[must_use]
    pub fn json_lines(&self) -> Vec<Value> {
        json_lines(&self.stdout).collect()
    }
}

impl Output {
    fn collect(mut source: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let output = Self { text: Arc::default(), news: Arc::new(watch::Sender::new(false)) };
        let own = output.clone();
        tokio::spawn(async move {
            let mut chunk = Vec::new();
            while source.read_buf(&mut chunk).await.is_ok_and(|length| length > 0) {
                // A character may come in two parts.
                let whole = match std::str::from_utf8(&chunk) {
                    Ok(text) => text.len(),
                    Err(error) => error.valid_up_to(),
                };
                let rest = chunk.split_off(whole);
                let text = String::from_utf8_lossy(&chunk);
                own.text.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                chunk = rest;
                own.news.send_replace(false);
            }
            own.news.send_replace(true);
        });
        output
    }

    fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn whole(&self) -> String {
        let mut news = self.news.subscribe();
        let ended = tokio::time::timeout(STUCK, news.wait_for(|ended| *ended)).await;
        assert!(ended.is_ok(), "somebody keeps the output open; so far it is\n{}", tail(&self.text()));
        self.text()
    }
}

fn json_lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(TAIL);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    &text[start..]
}
