//! Finds the broker of a home, or starts it.
//!
//! Owns `start.lock`. What must hold: however many clients look at the same instant, one starts a broker and
//! all connect to it. A client that finds no socket takes the lock and looks again; only then does it start
//! one, and it keeps the lock until the broker says `ready`. The kernel drops the lock with its process, so
//! nothing is left to clean up after a crash.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType, sockopt};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::{Autostart, ClientError, Config, Home};

/// How long a broker may take from its start to `ready`.
const READY_WITHIN: Duration = Duration::from_secs(15);
/// How long to wait for another client that is starting one: a little longer than it may take.
const LOCK_WITHIN: Duration = Duration::from_secs(20);
/// How long a connect may wait for its place in the listener's queue.
const QUEUE_WITHIN: Duration = Duration::from_secs(5);
/// What a starting broker may print before `ready`.
const MAX_GREETING: u64 = 64 << 10;
/// How much of the log an error carries.
const TAIL_BYTES: u64 = 4 << 10;
const TAIL_LINES: usize = 10;

/// Connects to the broker of the configured home, starting one if none listens and the configuration says so.
pub(crate) async fn find_or_start(config: &Config) -> Result<UnixStream, ClientError> {
    let socket = config.home.socket_path();
    let refused = match connect_unix(&socket).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    let command = match &config.autostart {
        Autostart::Command(command) if nobody_listens(&refused) => command,
        Autostart::Command(_) | Autostart::Never => {
            return Err(ClientError::unreachable(config.endpoint_name(), refused));
        }
    };
    let failed = |error: io::Error| start_error(&config.home, &error);
    config.home.create().map_err(failed)?;
    let lock = lock_file(config.home.start_lock_path()).await.map_err(failed)?;
    let stream = match connect_unix(&socket).await {
        Ok(stream) => stream,
        Err(error) if nobody_listens(&error) => start(&config.home, command).await?,
        Err(error) => return Err(ClientError::unreachable(config.endpoint_name(), error)),
    };
    drop(lock);
    Ok(stream)
}

/// Connects to a Unix socket of this user's, waiting for a place in the listener's queue if it is full.
pub(crate) async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    trusted(connect(path).await?)
}

/// Whoever listens may be another user, who has put a socket where ours should be to hear what is said: root and this
/// user are spoken to.
pub(crate) fn trusted(stream: UnixStream) -> io::Result<UnixStream> {
    let uid = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    if uid == own || uid == 0 {
        return Ok(stream);
    }
    let why = format!(
        "what listens there belongs to user {uid}, and you are user {own}: it may pose as your broker, so nothing was \
         said to it; remove its socket, or choose another"
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    match UnixStream::connect(path).await {
        // A non-blocking connect says EAGAIN when the queue is full; a blocking one waits its turn.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let path = path.to_owned();
            let stream = in_thread(QUEUE_WITHIN, move || connect_blocking(&path)).await?;
            UnixStream::from_std(stream)
        }
        result => result,
    }
}

fn connect_blocking(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    let socket = net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(QUEUE_WITHIN))?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, None)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket.into())
}

fn nobody_listens(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Opens the file and waits for its exclusive lock, which lasts as long as the result.
async fn lock_file(path: PathBuf) -> io::Result<File> {
    in_thread(LOCK_WITHIN, move || {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true).mode(0o600).custom_flags(no_follow());
        let file = options.open(path)?;
        file.lock()?;
        Ok(file)
    })
    .await
    .map_err(|error| {
        if error.kind() == io::ErrorKind::TimedOut {
            io::Error::new(error.kind(), "another client has been starting it for 20 s; try again")
        } else {
            error
        }
    })
}

/// Runs something that blocks in a thread of its own: unlike tokio's, it does not hold up the runtime's end.
async fn in_thread<T: Send + 'static>(
    within: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    // A result that comes too late is dropped here, and with it its lock or socket.
    let work = move || drop(done.send(work()));
    std::thread::Builder::new().name("mesh-wait".into()).spawn(work)?;
    match timeout(within, result).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(io::Error::other("the waiting thread is gone")),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Starts a broker, waits until it is ready, and connects. The caller holds `start.lock`.
async fn start(home: &Home, command: &[OsString]) -> Result<UnixStream, ClientError> {
    let mut log = open_log(&home.log_path()).map_err(|error| start_error(home, &error))?;
    let start_of_tail = log.seek(SeekFrom::End(0)).unwrap_or(0);
    let started = match spawn(home, command, log) {
        Ok(child) => ready(child).await,
        Err(error) => Err(error.into()),
    };
    // Even if ours failed: somebody may have started one by hand meanwhile, and ours made way for it.
    match (started, connect_unix(&home.socket_path()).await) {
        (_, Ok(stream)) => Ok(stream),
        (Ok(()), Err(error)) => Err(start_error(home, &format!("it is ready, but: {error}"))),
        (Err(NotReady::Stopped(status)), Err(_)) => {
            let endpoint = home.socket_path();
            let cause = format!("one was started, and somebody stopped it before it was ready ({status})");
            Err(ClientError::unreachable(format_args!("unix://{}", endpoint.display()), cause))
        }
        (Err(NotReady::Failed(error)), Err(_)) => Err(ClientError::Start {
            cause: error.to_string(),
            log: home.log_path().display().to_string(),
            log_tail: tail(&home.log_path(), start_of_tail).unwrap_or_default(),
        }),
    }
}

fn spawn(home: &Home, command: &[OsString], log: File) -> io::Result<Child> {
    let [program, arguments @ ..] = command else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command to start it is empty"));
    };
    Command::new(program)
        .args(arguments)
        // The broker serves this home whatever the environment says, and needs none of the client's secrets.
        .env("MESH_HOME", home.path())
        .env_remove("MESH_ENDPOINT")
        .env_remove("MESH_TOKEN")
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| {
            let program = program.to_string_lossy();
            io::Error::new(error.kind(), format!("{program}: {error}; is meshctl installed and on PATH?"))
        })
}

/// Why a broker that was started is not ready.
#[derive(Debug)]
enum NotReady {
    /// Somebody stopped it: nothing is wrong with it, and the next one may come to it.
    Stopped(ExitStatus),
    /// It could not, and another could not either.
    Failed(io::Error),
}

impl From<io::Error> for NotReady {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether a program ended because it was told to, by a signal that is for that.
fn was_stopped(status: ExitStatus) -> bool {
    let asked = [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP].map(Signal::as_raw);
    status.success() || status.signal().is_some_and(|signal| asked.contains(&signal))
}

/// Waits for the line `ready`. A broker that takes longer is left alone: it may be recovering a large store.
async fn ready(mut child: Child) -> Result<(), NotReady> {
    let Some(stdout) = child.stdout.take() else {
        return Err(io::Error::other("its output is not connected").into());
    };
    let wait = async {
        let mut lines = BufReader::new(stdout.take(MAX_GREETING)).lines();
        while let Some(line) = lines.next_line().await? {
            if line.trim() == "ready" {
                return Ok(());
            }
        }
        let status = child.wait().await?;
        if was_stopped(status) {
            return Err(NotReady::Stopped(status));
        }
        Err(io::Error::other(format!("it ended before it was ready ({status})")).into())
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it was not ready within 15 s; try again");
    timeout(READY_WITHIN, wait).await.map_err(late)?
}

fn open_log(path: &Path) -> io::Result<File> {
    let log =
        OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(no_follow()).open(path)?;
    if log.metadata()?.mode() & 0o077 != 0 {
        log.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(log)
}

/// A link at the end of a path is an error: nobody has a reason to put one into a home but to have something else
/// written to.
fn no_follow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

/// The last lines of a file that were written after `from`.
fn tail(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

fn start_error(home: &Home, cause: &dyn fmt::Display) -> ClientError {
    ClientError::Start {
        cause: cause.to_string(),
        log: home.log_path().display().to_string(),
        log_tail: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_of_connections_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        net::listen(&listener, 1).unwrap();
        let path = &path;
        let connects = (0..8).map(|_| {
            let path = path.clone();
            tokio::spawn(async move { connect_unix(&path).await.map(|_| ()) })
        });
        let connects: Vec<_> = connects.collect();
        while UnixStream::connect(path).await.is_ok() {}
        std::thread::spawn(move || while net::accept(&listener).is_ok() {});
        for connect in connects {
            connect.await.unwrap().unwrap();
        }
    }

    #[test]
    fn the_tail_is_the_last_lines_since_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lines = |range: std::ops::Range<u32>| range.map(|n| format!("{n}\n")).collect::<String>();
        std::fs::write(&path, lines(0..5_000)).unwrap();
        let from = std::fs::metadata(&path).unwrap().len();
        assert_eq!(tail(&path, from).unwrap(), "");
        assert_eq!(tail(&path, from - 10).unwrap(), "4998\n4999");
        assert_eq!(tail(&path, 0).unwrap().lines().count(), TAIL_LINES);
    }
}
