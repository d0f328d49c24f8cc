//! Running a command while holding locks.
//!
//! What must hold: however this ends, the locks are given up, or end by themselves with this process; the command
//! gets each signal once; its exit code is passed on.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use mesh_client::display::printable_line;
use mesh_client::proto::{AcquireLocksRequest, Lock};
use mesh_client::{Acquired, Session, SessionEvents, SessionNews};
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::{Patience, acquire, in_the_way};
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::{self, LOCK_TTL};
use crate::output::{self, Output};
use crate::signals::Signals;

/// The variable in which the command finds its fencing token.
const TOKEN_VARIABLE: &str = "MESH_LOCK_TOKEN";
/// How long saying goodbye may take; the broker notices the end of the process anyway.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// What shells answer for a command that cannot be found or run.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// Takes the locks as a peer of its own, runs the command, gives them up; returns the exit code.
pub(super) async fn run(
    ctx: &Context,
    request: AcquireLocksRequest,
    patience: Patience,
    program: &OsStr,
    arguments: &[OsString],
) -> Result<u8, CliError> {
    let mut signals = Signals::forwarded()?;
    // The program only: arguments may hold secrets.
    let session = identity::ephemeral(ctx, format!("running {}", program.to_string_lossy())).await?;
    let locks = tokio::select! {
        locks = acquire(ctx, &session, request.clone(), patience) => locks,
        signal = signals.next() => {
            leave(&session, &request).await;
            return Ok(code_of_signal(signal.as_raw()));
        }
    };
    // Renewing must not announce it again.
    let request = AcquireLocksRequest { contract: None, ..request };
    let code = match locks {
        Ok(locks) => hold(ctx.out, &session, &request, locks, &mut signals, program, arguments).await,
        Err(error) => Err(error),
    };
    leave(&session, &request).await;
    code
}

/// Ends the peer, or, as that goes on, its locks.
async fn leave(session: &Session, request: &AcquireLocksRequest) {
    let end = async {
        if session.is_shared() {
            return session.release(request.paths.clone()).await.map(drop);
        }
        session.leave().await
    };
    match timeout(LEAVE_WITHIN, end).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot say goodbye; the locks end by themselves"),
        Err(_) => tracing::warn!("cannot say goodbye in time; the locks end by themselves"),
    }
}

async fn hold(
    out: Output,
    session: &Session,
    request: &AcquireLocksRequest,
    locks: Vec<Lock>,
    signals: &mut Signals,
    program: &OsStr,
    arguments: &[OsString],
) -> Result<u8, CliError> {
    let token = token(&locks);
    let spawned = Command::new(program).args(arguments).env(TOKEN_VARIABLE, token.to_string()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Ok(cannot_run(program, &error)),
    };
    let mut news = session.events();
    let ttl = request.ttl.as_ref().map_or(LOCK_TTL, |ttl| duration::from_proto(Some(ttl)));
    let mut renewal = interval_at(Instant::now() + ttl / 3, (ttl / 3).max(Duration::from_millis(100)));
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keeper = Keeper { out, session, request, token, lost: false };
    loop {
        tokio::select! {
            status = child.wait() => return Ok(code_of(status.map_err(CliError::failure)?)),
            signal = signals.next() => forward(&child, signal),
            _ = renewal.tick() => keeper.renew().await,
            () = joined_again(&mut news) => keeper.renew().await,
        }
    }
}

pub(super) fn token(locks: &[Lock]) -> u64 {
    locks.iter().map(|lock| lock.fencing_token).max().unwrap_or_default()
}

/// Keeps the locks for as long as the command runs.
struct Keeper<'a> {
    out: Output,
    session: &'a Session,
    request: &'a AcquireLocksRequest,
    token: u64,
    lost: bool,
}

impl Keeper<'_> {
    /// Taking one's own locks again renews them; if they were lost meanwhile it takes them anew, and says so. The
    /// command is left alone: half a deployment may be worse than two.
    async fn renew(&mut self) {
        match self.session.acquire(self.request.clone()).await {
            Ok(Acquired::Granted(locks)) => {
                self.lost = false;
                if token(&locks) != self.token {
                    self.token = token(&locks);
                    self.out.tell("warning: the locks were lost for a moment, and taken again");
                }
            }
            Ok(Acquired::Refused(conflicts)) => {
                if !std::mem::replace(&mut self.lost, true) {
                    self.out.tell(format_args!("warning: the locks are lost; {}", in_the_way(&conflicts)));
                }
            }
            Err(error) => tracing::warn!(%error, "cannot renew the locks"),
        }
    }
}

/// Returns when the session had ended and a new one of the same peer began.
async fn joined_again(news: &mut SessionEvents) {
    loop {
        match news.next().await {
            Some(Ok(SessionNews::Rejoined(_))) => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Hands a signal on, unless the terminal has given it to the command as well.
fn forward(child: &Child, signal: Signal) {
    let from_terminal = matches!(signal, Signal::INT | Signal::QUIT) && in_foreground();
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && !from_terminal
        && let Err(error) = rustix::process::kill_process(pid, signal)
    {
        tracing::debug!(%error, "cannot hand a signal on");
    }
}

/// Whether this process and the command are what the terminal sends its signals to.
fn in_foreground() -> bool {
    let foreground =
        File::open("/dev/tty").ok().and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok());
    foreground == Some(rustix::process::getpgrp())
}

fn cannot_run(program: &OsStr, error: &io::Error) -> u8 {
    output::note(format_args!("error: cannot run {}: {error}", printable_line(&program.to_string_lossy())));
    if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE }
}

fn code_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, Some(signal)) => code_of_signal(signal),
        (None, None) => 1,
    }
}

fn code_of_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(1)
}
