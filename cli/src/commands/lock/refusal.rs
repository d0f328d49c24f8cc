//! What to say when somebody else is in the way.

use std::time::Duration;

use mesh_client::Session;
use mesh_client::display::printable_line;
use mesh_client::proto::{Lock, LockConflict, LockMode, LockState, LockWaiter, ReleaseRequest};

use crate::context::Context;
use crate::duration;
use crate::error::{CliError, Detail};
use crate::exit::Exit;
use crate::render::{lock_left, quoted, some_paths, waiter_left};

/// Nothing is locked, and nobody waits.
pub(super) fn refused(
    ctx: &Context,
    session: &Session,
    conflicts: Vec<LockConflict>,
    requests: Option<Vec<ReleaseRequest>>,
) -> CliError {
    let first = conflicts.first().and_then(|conflict| conflict.lock.as_ref());
    let hint = match first {
        Some(lock) if lock.state() == LockState::Lingering => "wait for it: --wait 15s".to_owned(),
        Some(lock) if lock.holder == ctx.name() && lock.holder != session.peer().name => {
            format!("that is you; give it up with `meshctl unlock {}`", lock.path)
        }
        Some(_) if requests.is_some() => "wait until they make way: --wait 5m".to_owned(),
        Some(_) => "stand in line: --wait 5m; or ask them to make way: --ask='…'".to_owned(),
        None => "stand in line behind them: --wait 5m".to_owned(),
    };
    CliError::new(Exit::Conflict, "LOCKED", in_the_way(&conflicts))
        .hint(hint)
        .detail(Detail::Locks { conflicts, requests })
}

/// Others were in the way for all that time.
pub(super) fn timed_out(
    wait: Duration,
    conflicts: Vec<LockConflict>,
    requests: Option<Vec<ReleaseRequest>>,
) -> CliError {
    let message = format!("not unlocked within {}: {}", duration::show(wait), in_the_way(&conflicts));
    let hint = match requests {
        Some(_) => "wait longer, or choose other work first",
        None => "wait longer, ask them to make way with --ask, or choose other work first",
    };
    CliError::new(Exit::Timeout, "TIMEOUT", message).hint(hint).detail(Detail::Locks { conflicts, requests })
}

/// Who is in the way of what is asked for, what they do, why, and for how long: of the first, a lock if there is one,
/// and how many more there are.
pub(super) fn in_the_way(conflicts: &[LockConflict]) -> String {
    let by_lock = conflicts.iter().find_map(|c| Some((c, held(c, c.lock.as_ref()?))));
    let by_waiter = || conflicts.iter().find_map(|c| Some((c, wanted(c, c.waiter.as_ref()?))));
    let Some((_, text)) = by_lock.or_else(by_waiter) else {
        return "somebody else holds it".to_owned();
    };
    match conflicts.len() {
        0 | 1 => text,
        count => format!("{text} (and {} more in the way)", count - 1),
    }
}

fn held(conflict: &LockConflict, lock: &Lock) -> String {
    let (path, holder) = (printable_line(&conflict.path), printable_line(&lock.holder));
    let mut text = match lock.path == conflict.path {
        true => format!("{path} is locked by {holder}"),
        false => format!("{path} is locked by {holder}, who holds {}", printable_line(&lock.path)),
    };
    if lock.mode() == LockMode::Shared {
        text.push_str(" (shared)");
    }
    text.push_str(&told(&lock.reason, &conflict.holder_focus));
    match lock.state() {
        LockState::Lingering => text.push_str(", whose process is gone;"),
        LockState::Unspecified | LockState::Held => text.push(','),
    }
    format!("{text} for at most {}", duration::show(lock_left(lock)))
}

fn wanted(conflict: &LockConflict, waiter: &LockWaiter) -> String {
    let (path, peer) = (printable_line(&conflict.path), printable_line(&waiter.peer));
    let for_what = match waiter.paths.as_slice() {
        [one] if *one == conflict.path => String::new(),
        paths => format!(" for {}", some_paths(paths.iter().map(String::as_str))),
    };
    format!(
        "{path}: {peer} stands in line before you{for_what}{}, for at most {}",
        told(&waiter.reason, &conflict.holder_focus),
        duration::show(waiter_left(waiter))
    )
}

fn told(reason: &str, focus: &str) -> String {
    let mut text = String::new();
    if !reason.is_empty() {
        text.push_str(&format!(", reason {}", quoted(reason)));
    }
    if !focus.is_empty() {
        text.push_str(&format!(", doing {}", quoted(focus)));
    }
    text
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
            waiter: None,
        };
        insta::assert_snapshot!(in_the_way(&[conflict.clone(), conflict]), @r#"
        src/auth.rs is locked by amber-fox, who holds src/, reason "refactor␊login", doing "␛[1mauth", for at most 28m (and 1 more in the way)
        "#);
    }

    #[test]
    fn who_stands_in_line_before_is_named_when_no_lock_is_in_the_way() {
        let waiter = LockWaiter {
            peer: "blue-owl".to_owned(),
            paths: vec!["src/".to_owned(), "docs/".to_owned()],
            reason: "release".to_owned(),
            remaining: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            ..LockWaiter::default()
        };
        let conflict =
            LockConflict { path: "src/auth.rs".to_owned(), waiter: Some(waiter), ..LockConflict::default() };
        insta::assert_snapshot!(in_the_way(&[conflict]), @r#"
        src/auth.rs: blue-owl stands in line before you for src/ docs/, reason "release", for at most 1m
        "#);
        assert_eq!(in_the_way(&[]), "somebody else holds it");
    }
}
