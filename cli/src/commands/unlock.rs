//! `meshctl unlock`: gives up locks, narrows them, or takes away those of others.

use std::path::PathBuf;

use mesh_client::Session;
use mesh_client::display::printable_line;
use mesh_client::proto::{ForceReleaseRequest, Lock, ReleaseLocksRequest};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity;
use crate::json;
use crate::render::some_paths;
use crate::target;

/// Release locks that you took with `meshctl lock`
///
/// With --keep, narrows them: what you keep stays yours at every moment, and the rest is free at once. Whoever stands
/// first in line gets what is free.
///
/// With --force, takes locks away from others: all that overlap these targets. For when a holder does not answer; the
/// former holders are told why, and their fencing tokens are no longer good.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl unlock src/auth.rs
  meshctl unlock src/ --keep src/auth.rs --note 'the rest is yours'
  meshctl unlock --all
  meshctl unlock --force src/auth.rs --reason 'its agent hangs since an hour'")]
pub(crate) struct Args {
    /// What to unlock, as it was locked
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// All that you hold in the project
    #[arg(long)]
    all: bool,

    /// Go on holding this, which is part of it; may be given several times
    #[arg(long, num_args = 1.., value_name = "PATH", conflicts_with = "all")]
    keep: Vec<PathBuf>,

    /// A word to those who asked for it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    /// Take them away from whoever holds them; needs --reason
    #[arg(long, conflicts_with_all = ["all", "keep", "note"], requires = "reason")]
    force: bool,

    /// With --force: why, told to those who held them
    #[arg(long, value_name = "WHY", requires = "force")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    holder: &'a str,
    paths: &'a [String],
    kept: Vec<json::Lock<'a>>,
}

#[derive(Serialize)]
struct ForcedAnswer<'a> {
    locks: Vec<json::Lock<'a>>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let paths = target::paths(ctx, &args.paths)?;
    if args.force {
        return force(ctx, paths, args.reason.unwrap_or_default()).await;
    }
    let request = ReleaseLocksRequest {
        paths,
        keep: target::paths(ctx, &args.keep)?,
        note: args.note.unwrap_or_default(),
        request_id: String::new(),
    };
    let session = identity::act(ctx).await?;
    let (released, kept) = release(&session, request).await?;
    identity::relax(ctx, &session).await?;
    if ctx.out.is_json() {
        let kept = kept.iter().map(json::Lock::from).collect();
        return ctx.out.json(&Answer { holder: &session.peer().name, paths: &released, kept });
    }
    ctx.out.text(&told(&released, &kept))
}

/// Releases what is named; all, in as many calls as it takes, if nothing is.
async fn release(
    session: &Session,
    request: ReleaseLocksRequest,
) -> Result<(Vec<String>, Vec<Lock>), CliError> {
    let (mut released, mut kept) = (Vec::new(), Vec::new());
    let mut left = u32::MAX;
    loop {
        let answer = session.release_locks(request.clone()).await?;
        // Fewer each time, or it would not end with a broker that always finds more.
        let fewer = answer.remaining < std::mem::replace(&mut left, answer.remaining);
        let more = request.paths.is_empty() && answer.remaining > 0 && fewer && !answer.paths.is_empty();
        released.extend(answer.paths);
        kept.extend(answer.kept);
        if !more {
            break;
        }
    }
    Ok((released, kept))
}

/// What was released, and what is held instead.
pub(super) fn told(released: &[String], kept: &[Lock]) -> String {
    let released_paths = some_paths(released.iter().map(String::as_str));
    let kept_paths = some_paths(kept.iter().map(|lock| lock.path.as_str()));
    match (released.is_empty(), kept.is_empty()) {
        (true, true) => "you held no locks\n".to_owned(),
        (false, true) => format!("unlocked {released_paths}\n"),
        (true, false) => format!("kept {kept_paths}\n"),
        (false, false) => format!("unlocked {released_paths}, kept {kept_paths}\n"),
    }
}

async fn force(ctx: &Context, paths: Vec<String>, reason: String) -> Result<(), CliError> {
    let session = identity::act(ctx).await?;
    let request = ForceReleaseRequest { paths, reason, request_id: String::new() };
    let mut taken = Vec::new();
    let mut left = u32::MAX;
    loop {
        let answer = session.force_release(request.clone()).await?;
        let fewer = answer.remaining < std::mem::replace(&mut left, answer.remaining);
        let more = answer.remaining > 0 && fewer && !answer.locks.is_empty();
        taken.extend(answer.locks);
        if !more {
            break;
        }
    }
    if ctx.out.is_json() {
        return ctx.out.json(&ForcedAnswer { locks: taken.iter().map(json::Lock::from).collect() });
    }
    if taken.is_empty() {
        return ctx.out.text("nobody else holds a lock on that\n");
    }
    let line =
        |lock: &Lock| format!("took {} from {}\n", printable_line(&lock.path), printable_line(&lock.holder));
    ctx.out.text(&taken.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told() {
        let kept = [Lock { path: "src/a.rs".to_owned(), ..Lock::default() }];
        let released = ["src/".to_owned()];
        for (released, kept, text) in [
            (&released[..], &kept[..], "unlocked src/, kept src/a.rs\n"),
            (&released, &[], "unlocked src/\n"),
            (&[], &kept, "kept src/a.rs\n"),
            (&[], &[], "you held no locks\n"),
        ] {
            assert_eq!(told(released, kept), text);
        }
    }
}
