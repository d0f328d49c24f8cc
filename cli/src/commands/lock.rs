//! `meshctl lock`: takes locks, to keep or for as long as a command runs.

mod held;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use mesh_client::display::printable_line;
use mesh_client::proto::{AcquireLocksRequest, Lock, LockConflict, LockMode, LockState};
use mesh_client::{Acquired, Session};
use serde::Serialize;
use tokio::time::Instant;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::identity::{self, LOCK_TTL};
use crate::json;
use crate::output;
use crate::render::{lock_left, quoted, some_paths};
use crate::target::{self, Target};

/// Lock files or directories, all or none
///
/// Others are asked to stay off them until you unlock them, or their time is over. A directory means everything
/// below it. If somebody else holds one of them, nothing is locked and the exit code is 4 (6 after --wait).
///
/// With a command, holds the locks as a peer of its own while the command runs, so that two such invocations
/// exclude each other, and ends with the command's exit code (128 + N if signal N ended it, 127 if it cannot be
/// found). The command finds the fencing token in MESH_LOCK_TOKEN.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl lock src/auth/ --reason 'refactoring login'
  meshctl lock Cargo.lock --wait 5m -- cargo update")]
pub(crate) struct Args {
    /// Files or directories; they need not exist
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Let others hold shared locks at the same time
    #[arg(long)]
    shared: bool,

    /// How long to hold them, unless unlocked before; while a command runs they are renewed
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration::parse)]
    ttl: Duration,

    /// Why, shown to those who are refused
    #[arg(long)]
    reason: Option<String>,

    /// Wait so long for others to unlock them
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    wait: Option<Duration>,

    /// Run this command while holding them
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Serialize)]
struct Answer<'a> {
    holder: &'a str,
    locks: Vec<json::Lock<'a>>,
}

/// Returns the exit code.
pub(crate) async fn run(ctx: &Context, args: Args) -> Result<u8, CliError> {
    let targets = target::targets(ctx, &args.paths)?;
    tell_directories(&targets);
    let request = AcquireLocksRequest {
        paths: targets.into_iter().map(|target| target.path).collect(),
        mode: if args.shared { LockMode::Shared } else { LockMode::Exclusive }.into(),
        ttl: duration::to_proto(args.ttl),
        reason: args.reason.unwrap_or_default(),
        request_id: String::new(),
    };
    if let [program, arguments @ ..] = args.command.as_slice() {
        return held::run(ctx, request, args.wait, program, arguments).await;
    }
    let session = identity::act_holding(ctx, args.ttl).await?;
    let locks = acquire(ctx, &session, request, args.wait).await?;
    show(ctx, &session, &locks)?;
    Ok(0)
}

fn tell_directories(targets: &[Target]) {
    for target in targets.iter().filter(|target| target.completed) {
        output::note(format_args!("note: {} is a directory; this is about everything below it", target.path));
    }
}

fn show(ctx: &Context, session: &Session, locks: &[Lock]) -> Result<(), CliError> {
    if ctx.out.is_json() {
        let locks = locks.iter().map(json::Lock::from).collect();
        return ctx.out.json(&Answer { holder: &session.peer().name, locks });
    }
    let paths = some_paths(locks.iter().map(|lock| lock.path.as_str()));
    let left = locks.iter().map(lock_left).min().unwrap_or(LOCK_TTL);
    ctx.out.text(&format!("locked {paths} for {}\n", duration::show(left)))
}

/// Takes the locks, waiting for others if asked to.
async fn acquire(
    ctx: &Context,
    session: &Session,
    request: AcquireLocksRequest,
    wait: Option<Duration>,
) -> Result<Vec<Lock>, CliError> {
    let begun = Instant::now();
    let conflicts = match session.acquire(request.clone()).await? {
        Acquired::Granted(locks) => return Ok(locks),
        Acquired::Refused(conflicts) => conflicts,
    };
    let Some(wait) = wait else { return Err(refused(ctx, session, conflicts)) };
    output::note(format_args!("waiting: {}", in_the_way(&conflicts)));
    let left = wait.saturating_sub(begun.elapsed());
    match session.acquire_wait(request, left).await? {
        Acquired::Granted(locks) => Ok(locks),
        Acquired::Refused(conflicts) => Err(timed_out(wait, conflicts)),
    }
}

fn refused(ctx: &Context, session: &Session, conflicts: Vec<LockConflict>) -> CliError {
    let first = conflicts.first().and_then(|conflict| conflict.lock.as_ref());
    let hint = match first {
        Some(lock) if lock.state() == LockState::Lingering => "wait for it: --wait 15s".to_owned(),
        Some(lock) if lock.holder == ctx.name() && lock.holder != session.peer().name => {
            format!("that is you; give it up with `meshctl unlock {}`", lock.path)
        }
        Some(lock) => {
            format!("wait for it: --wait 5m; or ask: meshctl send {} --intent request '…'", lock.holder)
        }
        None => "try again".to_owned(),
    };
    let error = CliError::new(Exit::Conflict, "LOCKED", in_the_way(&conflicts)).hint(hint);
    CliError { conflicts, ..error }
}

fn timed_out(wait: Duration, conflicts: Vec<LockConflict>) -> CliError {
    let message = format!("not unlocked within {}: {}", duration::show(wait), in_the_way(&conflicts));
    let error =
        CliError::new(Exit::Timeout, "TIMEOUT", message).hint("wait longer, or choose other work first");
    CliError { conflicts, ..error }
}

/// Who holds what is asked for, what they do, why, and for how long: of the first, and how many more there are.
fn in_the_way(conflicts: &[LockConflict]) -> String {
    let Some((conflict, lock)) = conflicts.iter().find_map(|c| Some((c, c.lock.as_ref()?))) else {
        return "somebody else holds it".to_owned();
    };
    let path = printable_line(&conflict.path);
    let mut text = match lock.path == conflict.path {
        true => format!("{path} is locked by {}", printable_line(&lock.holder)),
        false => {
            format!(
                "{path} is locked by {}, who holds {}",
                printable_line(&lock.holder),
                printable_line(&lock.path)
            )
        }
    };
    if lock.mode() == LockMode::Shared {
        text.push_str(" (shared)");
    }
    if !lock.reason.is_empty() {
        text.push_str(&format!(", reason {}", quoted(&lock.reason)));
    }
    if !conflict.holder_focus.is_empty() {
        text.push_str(&format!(", doing {}", quoted(&conflict.holder_focus)));
    }
    match lock.state() {
        LockState::Lingering => text.push_str(", whose process is gone;"),
        LockState::Unspecified | LockState::Held => text.push(','),
    }
    text.push_str(&format!(" for at most {}", duration::show(lock_left(lock))));
    match conflicts.len() {
        0 | 1 => text,
        count => format!("{text} (and {} more in the way)", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_all_on_one_line() {
        let lock = Lock {
            path: "src/".to_owned(),
            holder: "amber-fox".to_owned(),
            reason: "refactor\nlogin".to_owned(),
            remaining: Some(prost_types::Duration { seconds: 1679, nanos: 1 }),
            ..Lock::default()
        };
        let conflict = LockConflict {
            path: "src/auth.rs".to_owned(),
            lock: Some(lock),
            holder_focus: "\u{1b}[1mauth".to_owned(),
        };
        insta::assert_snapshot!(in_the_way(&[conflict.clone(), conflict]), @r#"
        src/auth.rs is locked by amber-fox, who holds src/, reason "refactor␊login", doing "␛[1mauth", for at most 28m (and 1 more in the way)
        "#);
    }
}
