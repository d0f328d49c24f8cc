//! Server processes: started, waited for, measured from outside, ended.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// A server that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts it, and waits until it says `ready` on its standard output.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let mut server = Self { child };
        let mut line = String::new();
        let stdout = server.child.stdout.take().context("no pipe to the server")?;
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("{program} said {line:?} in place of `ready`");
        }
        Ok(server)
    }

    /// Starts it, and waits until something listens on the port of loopback.
    pub(crate) fn start_listening(mut command: Command, port: u16) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let mut server = Self { child };
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{program} ended with {status}");
            }
            ensure!(start.elapsed() < START, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, and waits for its end.
    pub(crate) fn end(mut self, how: End) -> Result<()> {
        match how {
            End::Kill => self.child.kill()?,
            End::Stop => kill_process(Pid::from_child(&self.child), Signal::TERM)?,
        }
        self.child.wait()?;
        Ok(())
    }
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Asked to, with time to close its store.
    Stop,
    /// At once.
    Kill,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process and the whole machine have used of the processors so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    server: Duration,
    /// Load and server together.
    ours: Duration,
    all: Duration,
    idle: Duration,
}

impl Usage {
    pub(crate) fn of(server: u32) -> Result<Self> {
        let server = cpu_of(server)?;
        let ours = server + cpu_of(std::process::id())?;
        let (all, idle) = machine()?;
        Ok(Self { server, ours, all, idle })
    }

    /// The server's part since then, and the share of the machine that others had meanwhile.
    pub(crate) fn since(&self, before: &Self) -> (Duration, f64) {
        let all = self.all.saturating_sub(before.all);
        let others = all
            .saturating_sub(self.idle.saturating_sub(before.idle))
            .saturating_sub(self.ours.saturating_sub(before.ours));
        (self.server.saturating_sub(before.server), others.as_secs_f64() / all.as_secs_f64())
    }
}

/// Processor time of a process, in ticks of 10 ms.
pub(crate) fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = read(Path::new(&format!("/proc/{pid}/stat")))?;
    // The second field is the program's name, which may hold anything.
    let (_, after) = stat.rsplit_once(')').context("odd /proc/PID/stat")?;
    let fields: Vec<_> = after.split_whitespace().collect();
    let ticks =
        |index: usize| -> Result<u64> { Ok(fields.get(index).context("short /proc/PID/stat")?.parse()?) };
    Ok(of_ticks(ticks(11)? + ticks(12)?))
}

/// All processor time of the machine, and what of it was idle.
pub(crate) fn machine() -> Result<(Duration, Duration)> {
    let stat = read(Path::new("/proc/stat"))?;
    let line = stat.lines().next().context("empty /proc/stat")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
    let idle = ticks.get(3).copied().unwrap_or_default() + ticks.get(4).copied().unwrap_or_default();
    Ok((of_ticks(ticks.iter().sum()), of_ticks(idle)))
}

/// The kernel counts hundredths of a second for all that it tells about processes.
fn of_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

/// A size in KiB that the kernel tells of a process, in `status` or `smaps_rollup`.
pub(crate) fn kib_of(pid: u32, file: &str, field: &str) -> Result<u64> {
    let text = read(Path::new(&format!("/proc/{pid}/{file}")))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.with_context(|| format!("no {field} in /proc/PID/{file}"))?.parse()?)
}

/// How long the threads of a process have run, more finely than [`cpu_of`] tells; those that have ended do not count.
pub(crate) fn run_time_of(pid: u32) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while it is looked at.
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
        sum += Duration::from_nanos(nanos.unwrap_or_default());
    }
    Ok(sum)
}

/// How often the threads of a process went to sleep or were put to sleep.
pub(crate) fn switches_of(pid: u32) -> Result<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))?;
    let mut sum = 0;
    for task in tasks {
        let status = read(&task?.path().join("status"))?;
        let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
        sum += counts.filter_map(|line| line.rsplit_once('\t')?.1.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(sum)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Lets this process, and the servers that it starts, open as many files as the system allows: each subscriber has a
/// connection of its own.
pub(crate) fn raise_open_files() -> Result<()> {
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    setrlimit(Resource::Nofile, raised).context("cannot raise the number of open files")
}

/// What else the machine is, for the record.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) model: String,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            cpuinfo.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processors: std::thread::available_parallelism().map_or(0, Into::into),
            model: model.unwrap_or("unknown processor").to_owned(),
            kernel: kernel.trim().to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}, Linux {}", self.processors, self.model, self.kernel)
    }
}
