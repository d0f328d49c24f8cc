//! Claims on files: `mesh_lock`, `mesh_unlock`, `mesh_locks`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use mesh_client::proto::{AcquireLocksRequest, ListLocksRequest, Lock, LockConflict, LockMode, LockState};
use mesh_client::{Acquired, ErrorReason, Session};

use crate::args::{Answer, Failure};
use crate::member::Joined;
use crate::news::{SharedNews, held_list};
use crate::render::{Page, age, count, duration, left, quoted, span, word, words};
use crate::server::{Call, LONGEST_WAIT};

/// Conflicts told in a refusal.
const CONFLICTS: usize = 5;
/// Longest reason that the contract takes, in bytes.
const REASON: usize = 512;

/// Takes locks on paths, all or none.
pub(crate) async fn lock(joined: &Joined, call: &Call) -> Answer {
    let args = &call.args;
    let paths = joined.place.paths(&args.list("paths")?).await?;
    if paths.is_empty() {
        return Err(Failure::new("paths: name the files or directories (src/) to lock"));
    }
    let reason = args.text("reason")?.unwrap_or_default();
    let ttl = args.span("ttl_seconds")?;
    let request = AcquireLocksRequest {
        paths: paths.clone(),
        mode: if args.flag("shared")? { LockMode::Shared } else { LockMode::Exclusive }.into(),
        ttl: ttl.and_then(|ttl| ttl.try_into().ok()),
        reason: reason[..reason.floor_char_boundary(REASON)].to_owned(),
        ..AcquireLocksRequest::default()
    };
    let wait = call.wait()?;
    match call.unless_stopped(joined.session.acquire_wait(request, wait)).await {
        None => {
            give_up(&joined.session, &joined.news, paths).await;
            Err(Failure::new("not locked: stopped waiting"))
        }
        Some(Ok(Acquired::Granted(locks))) => {
            joined.news.lock().granted(&locks);
            Ok(granted(&locks))
        }
        Some(Ok(Acquired::Refused(conflicts))) => Err(Failure::new(refused(&conflicts, wait))),
        Some(Err(error)) => Err(error.into()),
    }
}

/// A grant may have been on its way when waiting was stopped; nobody would know of that lock.
async fn give_up(session: &Session, news: &SharedNews, mut paths: Vec<String>) {
    paths.retain(|path| !news.lock().locks().contains_key(path));
    if !paths.is_empty()
        && let Err(error) = session.release(paths).await
    {
        tracing::debug!(%error, "nothing to give up");
    }
}

/// Gives up own locks: those named, or all.
pub(crate) async fn unlock(joined: &Joined, call: &Call) -> Answer {
    let paths = joined.place.paths(&call.args.list("paths")?).await?;
    match joined.session.release(paths).await {
        Ok(released) => {
            let left = {
                let mut news = joined.news.lock();
                news.released(&released);
                held_list(news.locks())
            };
            let left = if left.is_empty() { String::new() } else { format!("; you still hold {left}") };
            Ok(match released.len() {
                0 => "you hold no locks".into(),
                _ => format!("unlocked {}{left}", words(&released, 20)),
            })
        }
        Err(error) if error.reason() == Some(ErrorReason::LockNotHeld) => {
            let path = error.refusal().and_then(|refusal| refusal.metadata.get("path"));
            let path = path.map_or_else(|| "one of them".into(), |path| word(path));
            let held = held_list(joined.news.lock().locks());
            let held = if held.is_empty() { "no locks".into() } else { held };
            Err(Failure::new(format!("nothing unlocked: you hold no lock on {path}. You hold {held}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Lists locks, or those that overlap a path.
pub(crate) async fn locks(joined: &Joined, call: &Call) -> Answer {
    let given = call.args.list("path")?;
    let path = joined.place.paths(&given).await?.into_iter().next().unwrap_or_default();
    let request = ListLocksRequest {
        scope: joined.session.scope(),
        path: path.clone(),
        page_size: 200,
        ..ListLocksRequest::default()
    };
    let answer = joined.session.list_locks(request).await?;
    if answer.locks.is_empty() {
        return Ok(if path.is_empty() { "no locks".into() } else { format!("{} is free", word(&path)) });
    }
    let me = joined.name();
    let mut page = Page::default();
    let fitted = answer.locks.iter().take_while(|lock| page.push(&line(lock, &me))).count();
    let all = fitted == answer.locks.len() && answer.next_page_token.is_empty();
    Ok(page.close(if all { "" } else { "more locks: ask with path" }))
}

/// A lock in one line.
pub(crate) fn line(lock: &Lock, me: &str) -> String {
    let you = if lock.holder == me { " (you)" } else { "" };
    let mut out = format!("{} held by {}{you}, {}", word(&lock.path), lock.holder, remaining(lock));
    if lock.mode() == LockMode::Shared {
        out.push_str(", shared");
    }
    if !lock.reason.is_empty() {
        _ = write!(out, ", reason {}", quoted(&lock.reason, 200));
    }
    _ = write!(out, ", taken {}", age(lock.acquire_time));
    out
}

fn remaining(lock: &Lock) -> String {
    let left = left(duration(lock.remaining));
    match lock.state() {
        LockState::Lingering => format!("who is gone: free in {left} unless it returns"),
        LockState::Held | LockState::Unspecified => format!("{left} left"),
    }
}

/// `locked a, b for 30m (token 41)`: one line for each token and lifetime.
fn granted(locks: &[Lock]) -> String {
    let mut groups: BTreeMap<_, Vec<&String>> = BTreeMap::new();
    for lock in locks {
        let left = span(duration(lock.ttl.or(lock.remaining)));
        groups
            .entry((lock.fencing_token, left, lock.mode() == LockMode::Shared))
            .or_default()
            .push(&lock.path);
    }
    let each = groups.into_iter().map(|((token, left, shared), paths)| {
        let shared = if shared { ", shared" } else { "" };
        format!("locked {} for {left} (token {token}{shared})", words(paths, 20))
    });
    each.collect::<Vec<_>>().join("\n")
}

/// Who is in the way, and the one next step.
fn refused(conflicts: &[LockConflict], waited: Duration) -> String {
    let mut out = String::from("not locked");
    if !waited.is_zero() {
        _ = write!(out, ", after waiting {}", span(waited));
    }
    out.push(':');
    for conflict in conflicts.iter().take(CONFLICTS) {
        let lock = conflict.lock.clone().unwrap_or_default();
        _ = write!(out, "\n{}", line(&lock, ""));
        if !conflict.holder_focus.is_empty() {
            _ = write!(out, ", doing {}", quoted(&conflict.holder_focus, 200));
        }
    }
    if conflicts.len() > CONFLICTS {
        _ = write!(out, "\nand {}", count(conflicts.len() - CONFLICTS, "more conflict"));
    }
    _ = write!(out, "\nNext: {}", next_step(conflicts));
    out
}

/// Waiting, if that is all it takes; else asking the holder.
fn next_step(conflicts: &[LockConflict]) -> String {
    let locks = conflicts.iter().filter_map(|conflict| conflict.lock.as_ref());
    let longest = locks.clone().map(|lock| duration(lock.remaining)).max().unwrap_or_default();
    if longest < LONGEST_WAIT {
        return format!("mesh_lock again with wait_seconds {}", longest.as_secs() + 1);
    }
    let holder = locks.max_by_key(|lock| duration(lock.remaining)).map(|lock| lock.holder.as_str());
    let holder = holder.unwrap_or("the holder");
    format!("work on something else, or ask with mesh_send {{to: {holder}, intent: request}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(path: &str, holder: &str, token: u64, seconds: u64) -> Lock {
        Lock {
            path: path.into(),
            holder: holder.into(),
            fencing_token: token,
            ttl: Duration::from_secs(seconds).try_into().ok(),
            remaining: Duration::from_secs(seconds).try_into().ok(),
            ..Lock::default()
        }
    }

    #[test]
    fn a_grant_is_one_line_for_each_token() {
        assert_eq!(granted(&[lock("src/auth.rs", "me", 41, 1800)]), "locked src/auth.rs for 30m (token 41)");
        let shared = Lock { mode: LockMode::Shared.into(), ..lock("c", "me", 42, 60) };
        let several = [lock("a", "me", 41, 1800), lock("b", "me", 41, 1800), shared];
        assert_eq!(granted(&several), "locked a, b for 30m (token 41)\nlocked c for 60s (token 42, shared)");
    }

    #[test]
    fn a_refusal_names_holder_reason_time_and_one_next_step() {
        let held = Lock { reason: "refactor\" now".into(), ..lock("src/", "birch-owl", 7, 720) };
        let conflict = LockConflict {
            path: "src/a.rs".into(),
            lock: Some(held),
            holder_focus: "rewriting\nauth".into(),
        };
        assert_eq!(
            refused(&[conflict], Duration::ZERO),
            "not locked:\nsrc/ held by birch-owl, 12m left, reason \"refactor\\\" now\", taken some time ago, \
             doing \"rewriting␊auth\"\n\
             Next: work on something else, or ask with mesh_send {to: birch-owl, intent: request}"
        );
    }

    #[test]
    fn what_ends_soon_is_waited_for() {
        let gone = Lock { state: LockState::Lingering.into(), ..lock("a", "elm", 7, 9) };
        let conflict = LockConflict { lock: Some(gone), ..LockConflict::default() };
        let text = refused(&[conflict], Duration::from_secs(5));
        assert!(
            text.starts_with("not locked, after waiting 5s:\na held by elm, who is gone: free in 9s"),
            "{text}"
        );
        assert!(text.ends_with("Next: mesh_lock again with wait_seconds 10"), "{text}");
    }
}
