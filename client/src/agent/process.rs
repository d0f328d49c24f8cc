//! A process, told apart from a later one with the same number.
//!
//! Reads `/proc`; where there is none, a process is known by its number alone, and only a direct parent is found.

use std::fs;

use rustix::process::{Pid, getppid, test_kill_process};
use serde::{Deserialize, Serialize};

/// How far up an agent is looked for.
const GENERATIONS: usize = 8;
/// What stands between an agent and the commands it runs.
const BETWEEN: [&str; 13] =
    ["sh", "bash", "dash", "zsh", "fish", "ash", "ksh", "busybox", "env", "timeout", "nice", "setsid", "npx"];

/// One process of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot; 0 when unknown.
    pub started: u64,
}

/// What `/proc/PID/stat` tells.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    parent: u32,
    started: u64,
    zombie: bool,
}

/// What tells this machine from others, and this container from others on it: numbers of processes mean something in it
/// only.
pub(super) fn this_machine() -> String {
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", rustix::system::uname().nodename().to_string_lossy(), space.display())
}

impl Process {
    /// The process with this number; `None` when it is known that there is none.
    pub fn of(pid: u32) -> Option<Self> {
        match Stat::read(pid) {
            Some(stat) => Some(Self { pid, started: stat.started }),
            None => exists(pid).then_some(Self { pid, started: 0 }),
        }
    }

    /// The agent above this process: its nearest ancestor that is no shell.
    pub fn above() -> Option<Self> {
        let mut pid = u32::try_from(getppid()?.as_raw_nonzero().get()).ok()?;
        for _ in 0..GENERATIONS {
            let Some(stat) = Stat::read(pid) else { break };
            if !BETWEEN.contains(&stat.name.as_str()) {
                break;
            }
            pid = stat.parent;
        }
        if pid > 1 { Self::of(pid) } else { None }
    }

    /// Those above this process, the nearest first, as far as an agent is looked for.
    pub(super) fn ancestors() -> Vec<Self> {
        let parent = getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
        let above = std::iter::successors(parent, |pid| Some(Stat::read(*pid)?.parent));
        above.take(GENERATIONS).take_while(|pid| *pid > 0).filter_map(Self::of).collect()
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        match Stat::read(self.pid) {
            Some(stat) => !stat.zombie && (self.started == 0 || stat.started == self.started),
            None => exists(self.pid),
        }
    }
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `4242 (name) S 4200 …`, where a name may hold spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once('(')?;
        let (name, rest) = rest.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            name: name.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            zombie: matches!(*fields.first()?, "Z" | "X"),
        })
    }
}

/// Asks the kernel; a process that may not be signalled exists all the same.
fn exists(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn names_with_parentheses_are_read() {
        let mut line = "7 (a) b (c) S 5 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0".to_owned();
        line.push_str(" 99 0 0\n");
        let stat = Stat { name: "a) b (c".into(), parent: 5, started: 99, zombie: false };
        assert_eq!(Stat::parse(&line), Some(stat));
        for bad in ["", "7 (a S 5", "7 (a) S x", "7 (a) S 5 1"] {
            assert_eq!(Stat::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_process_is_alive_until_it_ends() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        assert!(process.is_alive());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert_eq!(Process::of(u32::MAX), None);
    }

    #[test]
    fn a_number_taken_by_another_process_is_another_one() {
        let this = Process::of(std::process::id()).unwrap();
        assert!(this.is_alive());
        if this.started > 0 {
            assert!(!Process { started: this.started + 1, ..this }.is_alive());
        }
    }
}
