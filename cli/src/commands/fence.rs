//! `meshctl fence`: whether a fencing token is good.

use std::path::PathBuf;

use mesh_client::display::printable_line;
use mesh_client::proto::{CheckFenceRequest, CheckFenceResponse, Lock};
use serde::Serialize;

use crate::context::Context;
use crate::error::{CliError, Detail};
use crate::exit::Exit;
use crate::identity::{self, read};
use crate::json;
use crate::target;

/// Check a fencing token; exit code 4 if it is not good
///
/// Good means that somebody present holds a lock with this token that covers all of the target. For scripts that guard
/// what the lock is about: a deployment that began under a lock which was lost meanwhile must not go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl fence prod:db \"$MESH_LOCK_TOKEN\" && ./migrate
  meshctl fence Cargo.lock 4711 --json")]
pub(crate) struct Args {
    /// What is about to be touched
    path: PathBuf,

    /// The token; `meshctl lock … -- COMMAND` gives it to the command in MESH_LOCK_TOKEN
    token: u64,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    valid: bool,
    lock: Option<json::Lock<'a>>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let path = target::one(ctx, &args.path)?;
    let request = CheckFenceRequest { scope: ctx.scope()?, path: path.clone(), fencing_token: args.token };
    let reader = identity::reader(ctx).await?;
    let answer = read!(reader, locks.check_fence(request))?;
    if !answer.valid {
        let message = fenced(&path, args.token, answer.lock.as_ref());
        let error = CliError::new(Exit::Conflict, "FENCED", message);
        let detail = Detail::Fenced(answer.lock.map(Box::new));
        return Err(error
            .hint(format_args!("stop, and take the lock anew: meshctl lock {path}"))
            .detail(detail));
    }
    if ctx.out.is_json() {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        let lock = answer.lock.as_ref().map(json::Lock::from);
        return ctx.out.json(&Answer { revision, valid: true, lock });
    }
    ctx.out.text(&good(&path, &answer))
}

fn good(path: &str, answer: &CheckFenceResponse) -> String {
    let holder = answer.lock.as_ref().map_or("", |lock| &lock.holder);
    format!("good: {} is locked by {} with this token\n", printable_line(path), printable_line(holder))
}

fn fenced(path: &str, token: u64, instead: Option<&Lock>) -> String {
    let path = printable_line(path);
    match instead {
        None => format!("token {token} is fenced: nobody holds a lock on {path}"),
        Some(lock) => format!(
            "token {token} is fenced for {path}: {} holds {} with token {}",
            printable_line(&lock.holder),
            printable_line(&lock.path),
            lock.fencing_token
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_token_says_who_holds_it_instead() {
        let lock = Lock {
            path: "src/".to_owned(),
            holder: "amber-fox".to_owned(),
            fencing_token: 12,
            ..Lock::default()
        };
        assert_eq!(
            fenced("src/a.rs", 7, Some(&lock)),
            "token 7 is fenced for src/a.rs: amber-fox holds src/ with token 12"
        );
        assert_eq!(fenced("src/a.rs", 7, None), "token 7 is fenced: nobody holds a lock on src/a.rs");
    }
}
