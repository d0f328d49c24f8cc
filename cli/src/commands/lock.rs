//! `meshctl lock`: takes locks, to keep or for as long as a command runs.

mod ask;
mod held;
mod refusal;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use mesh_client::display::printable_line;
use mesh_client::proto::{AcquireLocksRequest, Contract, Lock, LockMode};
use mesh_client::{Acquired, Session};
use serde::Serialize;
use tokio::time::Instant;

use self::ask::Asking;
use self::refusal::{in_the_way, refused, timed_out};
use super::text_or_stdin;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::{self, LOCK_TTL};
use crate::json;
use crate::render::{lock_left, some_paths};
use crate::target::{self, Target, is_subject};

/// Lock files or anything else, all or none
///
/// Others are asked to stay off them until you unlock them, or their time is over. A directory means everything
/// below it; a pattern such as 'src/**/*_test.rs' (quote it) all files that fit, also later ones; src/auth.ts#Session
/// a symbol inside a file; task:ABC-12 or api:billing no file at all but something you agree on. If somebody else
/// holds one of them, nothing is locked and the exit code is 4 (6 after --wait).
///
/// With --wait you stand in a fair queue, and get the locks the moment they are free; --ask asks whoever holds them to
/// make way. Waiting that would never end, as others wait for you, is refused with code 4.
///
/// With a command, holds the locks as a peer of its own while the command runs, so that two such invocations
/// exclude each other, and ends with the command's exit code (128 + N if signal N ended it, 127 if it cannot be
/// found). The command finds the fencing token in MESH_LOCK_TOKEN.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl lock src/auth/ --reason 'refactoring login'
  meshctl lock 'src/**/*_test.rs' src/auth.ts#Session::refresh --wait 5m
  meshctl lock src/auth/ --ask='need it for the release' --urgent --wait 10m
  meshctl lock api:billing --contract 'charge(amount, currency) from now on'
  meshctl lock api:billing --shared --reason 'I depend on it'
  meshctl lock Cargo.lock --wait 5m -- cargo update")]
pub(crate) struct Args {
    /// Files, directories, patterns, symbols or subjects; they need not exist
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

    /// Wait so long in the queue for others to unlock them
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    wait: Option<Duration>,

    /// Ask whoever holds them to make way, and say why [default: the --reason]
    #[arg(long, value_name = "WHY", num_args = 0..=1, require_equals = true)]
    ask: Option<Option<String>>,

    /// With --ask: the holder should look before going on
    #[arg(long, requires = "ask")]
    urgent: bool,

    /// With one subject: what you change about it, for those who depend on it; `-` reads it from stdin
    #[arg(long, value_name = "TEXT", conflicts_with = "shared")]
    contract: Option<String>,

    /// Run this command while holding them
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Serialize)]
struct Answer<'a> {
    holder: &'a str,
    locks: Vec<json::Lock<'a>>,
}

/// What to do when others are in the way.
struct Patience {
    /// Wait in the queue for so long.
    wait: Option<Duration>,
    /// Ask them to make way.
    ask: Option<Asking>,
}

/// Returns the exit code.
pub(crate) async fn run(ctx: &Context, args: Args) -> Result<u8, CliError> {
    let targets = target::targets(ctx, &args.paths)?;
    tell_directories(ctx, &targets);
    let paths: Vec<_> = targets.into_iter().map(|target| target.path).collect();
    let contract = args.contract.map(|text| contract(text, &paths)).transpose()?;
    let subject = contract.as_ref().and_then(|_| paths.iter().find(|path| is_subject(path))).cloned();
    let reason = args.reason.unwrap_or_default();
    let ask = args.ask.map(|why| Asking { why: why.unwrap_or_else(|| reason.clone()), urgent: args.urgent });
    let patience = Patience { wait: args.wait, ask };
    let request = AcquireLocksRequest {
        paths,
        mode: if args.shared { LockMode::Shared } else { LockMode::Exclusive }.into(),
        ttl: duration::to_proto(args.ttl),
        reason,
        contract,
        ..AcquireLocksRequest::default()
    };
    if let [program, arguments @ ..] = args.command.as_slice() {
        return held::run(ctx, request, patience, program, arguments).await;
    }
    let session = identity::act_holding(ctx, args.ttl).await?;
    let locks = acquire(ctx, &session, request, patience).await?;
    show(ctx, &session, &locks, subject.as_deref())?;
    Ok(0)
}

/// A contract also concerns the files that are locked with its subject.
fn contract(text: String, targets: &[String]) -> Result<Contract, CliError> {
    let (subjects, paths): (Vec<_>, Vec<_>) = targets.iter().cloned().partition(|target| is_subject(target));
    if subjects.len() != 1 {
        let error =
            CliError::usage("--contract is about one subject, such as api:billing, among what is locked");
        return Err(error.hint("name exactly one"));
    }
    Ok(Contract { text: text_or_stdin(text)?, paths })
}

fn tell_directories(ctx: &Context, targets: &[Target]) {
    for target in targets.iter().filter(|target| target.completed) {
        ctx.out.tell(format_args!("{} is a directory; this is about everything below it", target.path));
    }
}

/// `locked a b for 30m (token 41)`, and where the contract is.
fn show(ctx: &Context, session: &Session, locks: &[Lock], subject: Option<&str>) -> Result<(), CliError> {
    if ctx.out.is_json() {
        let locks = locks.iter().map(json::Lock::from).collect();
        return ctx.out.json(&Answer { holder: &session.peer().name, locks });
    }
    let paths = some_paths(locks.iter().map(|lock| lock.path.as_str()));
    let left = locks.iter().map(lock_left).min().unwrap_or(LOCK_TTL);
    let token = held::token(locks);
    ctx.out.text(&format!("locked {paths} for {} (token {token})\n", duration::show(left)))?;
    subject.map_or(Ok(()), |subject| {
        ctx.out.text(&format!("the contract is remembered as contract/{}\n", printable_line(subject)))
    })
}

/// Takes the locks; if others are in the way, asks them or waits for them as told.
async fn acquire(
    ctx: &Context,
    session: &Session,
    request: AcquireLocksRequest,
    patience: Patience,
) -> Result<Vec<Lock>, CliError> {
    let begun = Instant::now();
    let conflicts = match session.acquire(request.clone()).await? {
        Acquired::Granted(locks) => return Ok(locks),
        Acquired::Refused(conflicts) => conflicts,
    };
    let asked = match &patience.ask {
        Some(asking) => Some(asking.ask(ctx.out, session, &request).await?),
        None => None,
    };
    let requests = asked.as_ref().map(|asked| asked.requests.clone());
    let Some(wait) = patience.wait else { return Err(refused(ctx, session, conflicts, requests)) };
    ctx.out.tell(format_args!("waiting: {}", in_the_way(&conflicts)));
    let left = wait.saturating_sub(begun.elapsed());
    let verdict = tokio::select! {
        verdict = session.acquire_wait(request, left) => verdict?,
        never = ask::tell_answers(ctx.out, session, asked.as_ref()) => match never {},
    };
    match verdict {
        Acquired::Granted(locks) => Ok(locks),
        Acquired::Refused(conflicts) => Err(timed_out(wait, conflicts, requests)),
    }
}
