//! A broker process of a test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::Mesh;

/// A running broker, killed when it is dropped.
#[derive(Debug)]
pub struct Broker {
    child: Child,
}

impl Broker {
    pub(crate) fn start(mesh: &Mesh, arguments: &[&str]) -> Self {
        Self::start_logging(mesh, None, arguments)
    }

    pub(crate) fn start_logging(mesh: &Mesh, filter: Option<&str>, arguments: &[&str]) -> Self {
        // `--auto` says when it is ready; the idle time is longer than any test.
        let mut command = mesh.meshctl(&["serve", "--auto", "--idle-exit", "3600"]);
        if let Some(filter) = filter {
            command.env("RUST_LOG", filter);
        }
        let log = std::fs::File::options().create(true).append(true).open(mesh.home().log_path());
        command.args(arguments).stdout(Stdio::piped()).stderr(log.expect("log of the broker"));
        let mut child = command.spawn().expect("meshctl starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line from the broker");
        if line.trim() != "ready" {
            let log = std::fs::read_to_string(mesh.home().log_path()).unwrap_or_default();
            panic!("the broker said {line:?} in place of `ready`; its log:\n{log}");
        }
        Self { child }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(mut self) {
        self.end(Signal::KILL);
    }

    /// Waits until it has ended by itself.
    #[must_use]
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("the broker ends").code()
    }

    /// Asks it to end with SIGTERM and waits; the exit code tells whether it was orderly.
    #[must_use]
    pub fn terminate(mut self) -> Option<i32> {
        self.end(Signal::TERM)
    }

    /// Stops it in its tracks, as a debugger would.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, which: Signal) {
        signal(self.child.id(), which);
    }

    fn end(&mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.child.wait().expect("the broker ends").code()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills a process that may be anyone's child, or gone. It is waited for by whoever started it: to take its end from a
/// client that waits for it to be ready would make that client's start fail.
pub fn kill(pid: u32) {
    let Some(id) = process(pid) else { return };
    let _ = kill_process(id, Signal::KILL);
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: Signal) {
    kill_process(process(pid).expect("a process id"), signal).expect("signal");
}

/// Whether a process exists; one that has ended and was not waited for does not count.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name in parentheses, which may hold anything, comes the state.
    state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn process(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}
