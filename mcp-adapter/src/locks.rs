//! Claims on files: `mesh_lock` and `mesh_locks`; how locks and those who wait for them are told.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use mesh_client::proto::{
    AcquireLocksRequest, Contract, ListLockWaitersRequest, ListLocksRequest, Lock, LockConflict, LockMode,
    LockState, LockWaiter, ReleaseRequest, RequestReleaseRequest,
};
use mesh_client::{Acquired, ClientError, ErrorReason, Session};

use crate::args::{Answer, Args, Failure, Wish};
use crate::call::{Call, LONGEST_WAIT};
use crate::member::Joined;
use crate::news::{SharedNews, held_list};
use crate::place::is_subject;
use crate::render::{Page, age, count, duration, left, quoted, span, word, words};

/// Conflicts told in a refusal.
const CONFLICTS: usize = 5;
/// Longest reason that the contract takes, in bytes.
const REASON: usize = 512;
/// Most targets of a request to make way, and paths of a contract.
const FEW: usize = 32;

/// Takes locks on targets, all or none; asks those in the way, and waits, as told.
pub(crate) async fn lock(joined: &Joined, call: &Call) -> Answer {
    let args = &call.args;
    let paths = joined.place.paths(&args.several("paths", ", ")?).await?;
    if paths.is_empty() {
        return Err(Failure::new("paths: name the files or directories (src/) to lock"));
    }
    let reason = cut(args.text("reason")?.unwrap_or_default());
    let ttl = args.span("ttl_seconds")?;
    let request = AcquireLocksRequest {
        contract: contract(args, &paths)?,
        mode: if args.flag("shared")? { LockMode::Shared } else { LockMode::Exclusive }.into(),
        ttl: ttl.and_then(|ttl| ttl.try_into().ok()),
        reason,
        paths: paths.clone(),
        ..AcquireLocksRequest::default()
    };
    let ask = args.wish("ask")?;
    let wait = call.wait()?;
    let written = request.contract.is_some();
    let (verdict, asked) = match call.unless_stopped(claim(&joined.session, request, ask, wait)).await {
        None => {
            give_up(&joined.session, &joined.news, paths).await;
            return Err(Failure::new("not locked: stopped waiting"));
        }
        Some(Err(error)) => return Err(failed(error, joined)),
        Some(Ok(outcome)) => outcome,
    };
    match verdict {
        Acquired::Granted(locks) => {
            joined.news.lock().granted(&locks);
            let subject = locks.iter().find(|lock| written && is_subject(&lock.path));
            let contract = subject.map(|lock| format!("\ncontract is in {}", word(&key_of(&lock.path))));
            Ok(granted(&locks) + &contract.unwrap_or_default())
        }
        Acquired::Refused(conflicts) => Err(Failure::new(refused(&conflicts, &asked, wait))),
    }
}

/// Takes locks; if others are in the way, first asks them if told to, then waits if told to.
async fn claim(
    session: &Session,
    request: AcquireLocksRequest,
    ask: Wish,
    wait: Duration,
) -> Result<(Acquired, Vec<ReleaseRequest>), ClientError> {
    if ask == Wish::No {
        return Ok((session.acquire_wait(request, wait).await?, Vec::new()));
    }
    let conflicts = match session.acquire(request.clone()).await? {
        Acquired::Refused(conflicts) => conflicts,
        granted @ Acquired::Granted(_) => return Ok((granted, Vec::new())),
    };
    let mut paths: Vec<_> = conflicts.iter().map(|conflict| conflict.path.clone()).collect();
    paths.dedup();
    paths.truncate(FEW);
    let reason = match ask {
        Wish::With(words) => cut(words),
        Wish::Yes | Wish::No => request.reason.clone(),
    };
    let asking = RequestReleaseRequest { paths, reason, mode: request.mode, ..Default::default() };
    let asked = session.request_release(asking).await?.requests;
    if wait.is_zero() && !asked.is_empty() {
        return Ok((Acquired::Refused(conflicts), asked));
    }
    // Nobody to ask: only others that wait are in the way, or nothing any longer.
    Ok((session.acquire_wait(request, wait).await?, asked))
}

/// `contract`: what the one subject among the targets is about, and the paths that it concerns.
fn contract(args: &Args, paths: &[String]) -> Result<Option<Contract>, Failure> {
    let Some(text) = args.text("contract")? else { return Ok(None) };
    if paths.iter().filter(|path| is_subject(path)).count() != 1 || args.flag("shared")? {
        return Err(Failure::new(
            "contract: it goes with one subject among paths, such as api:billing, not shared. Nothing was locked",
        ));
    }
    let paths = paths.iter().filter(|path| !is_subject(path)).take(FEW).cloned().collect();
    Ok(Some(Contract { text, paths }))
}

/// Key of the entry that holds the contract of a subject.
fn key_of(subject: &str) -> String {
    format!("contract/{subject}")
}

fn cut(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON));
    reason
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

fn failed(error: ClientError, joined: &Joined) -> Failure {
    if error.reason() != Some(ErrorReason::Deadlock) {
        return error.into();
    }
    let cycle = error.refusal().and_then(|refusal| refusal.metadata.get("cycle"));
    deadlock(cycle.map_or("", |cycle| cycle), &held_list(joined.news.lock().locks()))
}

/// The circle of waiting peers, `a > b > c`, and the way out of it.
fn deadlock(cycle: &str, held: &str) -> Failure {
    let mut names: Vec<_> = cycle.split(" > ").filter(|name| !name.is_empty()).map(word).collect();
    if names.len() > 1 && names.first() != names.last() {
        names.push(names[0].clone());
    }
    let waiting: Vec<_> = names.windows(2).map(|pair| format!("{} for {}", pair[0], pair[1])).collect();
    let circle = if waiting.is_empty() {
        "agents would wait for each other".into()
    } else {
        format!("would wait: {}", waiting.join(", "))
    };
    let held = if held.is_empty() { String::new() } else { format!(" (you hold {held})") };
    Failure::new(format!(
        "not locked, deadlock: {circle}. \
         Next: mesh_unlock what the others wait for{held}, then mesh_lock again"
    ))
}

/// Lists locks and those who wait, or those that overlap a path.
pub(crate) async fn locks(joined: &Joined, call: &Call) -> Answer {
    let given = call.args.list("path")?;
    let path = joined.place.paths(&given).await?.into_iter().next().unwrap_or_default();
    let scope = joined.session.scope();
    let held = ListLocksRequest {
        scope: scope.clone(),
        path: path.clone(),
        page_size: 200,
        ..ListLocksRequest::default()
    };
    let waiting = ListLockWaitersRequest { scope, path: path.clone() };
    let session = &joined.session;
    let (held, waiting) = tokio::try_join!(session.list_locks(held), session.list_lock_waiters(waiting))?;
    if held.locks.is_empty() && waiting.waiters.is_empty() {
        return Ok(if path.is_empty() { "no locks".into() } else { format!("{} is free", word(&path)) });
    }
    let me = joined.name();
    let lines = held.locks.iter().map(|lock| line(lock, &me));
    let lines: Vec<_> =
        lines.chain(waiting.waiters.iter().map(|waiter| waiter_line(waiter, &me, true))).collect();
    let mut page = Page::default();
    let fitted = lines.iter().take_while(|line| page.push(line)).count();
    let all = fitted == lines.len() && held.next_page_token.is_empty();
    Ok(page.close(if all { "" } else { "more locks: ask with path" }))
}

/// A lock in one line.
pub fn line(lock: &Lock, me: &str) -> String {
    let you = if lock.holder == me { " (you)" } else { "" };
    let mut out = format!("{} held by {}{you}, {}", word(&lock.path), word(&lock.holder), remaining(lock));
    if lock.mode() == LockMode::Shared {
        out.push_str(", shared");
    }
    if !lock.reason.is_empty() {
        _ = write!(out, ", reason {}", quoted(&lock.reason, 200));
    }
    _ = write!(out, ", taken {}", age(lock.acquire_time));
    out
}

/// A request that waits, in one line; with how long it will go on waiting, where that matters.
pub(crate) fn waiter_line(waiter: &LockWaiter, me: &str, patience: bool) -> String {
    let you = if waiter.peer == me { " (you)" } else { "" };
    let mut out = format!("{}{you} waits for {}", word(&waiter.peer), words(&waiter.paths, 3));
    if waiter.mode() == LockMode::Shared {
        out.push_str(", shared");
    }
    _ = write!(out, " (queued {}", age(waiter.queue_time));
    if patience {
        _ = write!(out, ", gives up in {}", left(duration(waiter.remaining)));
    }
    out.push(')');
    if !waiter.reason.is_empty() {
        _ = write!(out, ", reason {}", quoted(&waiter.reason, 200));
    }
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

/// Who is in the way, who was asked, and the one next step.
fn refused(conflicts: &[LockConflict], asked: &[ReleaseRequest], waited: Duration) -> String {
    let mut out = String::from("not locked");
    if !waited.is_zero() {
        _ = write!(out, ", after waiting {}", span(waited));
    }
    out.push(':');
    for conflict in conflicts.iter().take(CONFLICTS) {
        let obstacle = match (&conflict.lock, &conflict.waiter) {
            (Some(lock), _) => line(lock, ""),
            (None, Some(waiter)) => waiter_line(waiter, "", false),
            (None, None) => format!("{} is taken", word(&conflict.path)),
        };
        _ = write!(out, "\n{obstacle}");
        if !conflict.holder_focus.is_empty() {
            _ = write!(out, ", doing {}", quoted(&conflict.holder_focus, 200));
        }
    }
    if conflicts.len() > CONFLICTS {
        _ = write!(out, "\nand {}", count(conflicts.len() - CONFLICTS, "more conflict"));
    }
    if !asked.is_empty() {
        _ = write!(
            out,
            "\nasked {} to make way",
            words(asked.iter().map(|request| &request.holder), CONFLICTS)
        );
    }
    _ = write!(out, "\nNext: {}", next_step(conflicts, !asked.is_empty(), waited));
    out
}

/// Waiting, if that is all it takes; else asking the holder, once.
fn next_step(conflicts: &[LockConflict], asked: bool, waited: Duration) -> String {
    let locks = conflicts.iter().filter_map(|conflict| conflict.lock.as_ref());
    let longest = locks.clone().map(|lock| duration(lock.remaining)).max();
    match longest {
        Some(longest) if longest < LONGEST_WAIT => {
            format!("mesh_lock again with wait_seconds {}", longest.as_secs() + 1)
        }
        None if waited.is_zero() => format!("mesh_lock again with wait_seconds {}", LONGEST_WAIT.as_secs()),
        None => "work on something else".into(),
        Some(_) if asked => "work on something else; their answer will be told with your next calls".into(),
        Some(_) => format!("mesh_lock again with ask: true and wait_seconds {}", LONGEST_WAIT.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    fn held(lock: Lock) -> LockConflict {
        LockConflict { path: lock.path.clone(), lock: Some(lock), ..LockConflict::default() }
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
        let conflict = LockConflict {
            holder_focus: "rewriting\nauth".into(),
            ..held(Lock { reason: "refactor\" now".into(), ..lock("src/", "birch-owl", 7, 720) })
        };
        let told = "not locked:\nsrc/ held by birch-owl, 12m left, reason \"refactor\\\" now\", \
                    taken some time ago, doing \"rewriting␊auth\"\n";
        assert_eq!(
            refused(std::slice::from_ref(&conflict), &[], Duration::ZERO),
            format!("{told}Next: mesh_lock again with ask: true and wait_seconds 50")
        );
        let asked = ReleaseRequest { holder: "birch-owl".into(), ..ReleaseRequest::default() };
        assert_eq!(
            refused(&[conflict], &[asked], Duration::ZERO),
            format!(
                "{told}asked birch-owl to make way\n\
                 Next: work on something else; their answer will be told with your next calls"
            )
        );
    }

    #[test]
    fn what_ends_soon_is_waited_for() {
        let gone = Lock { state: LockState::Lingering.into(), ..lock("a", "elm", 7, 9) };
        let text = refused(&[held(gone)], &[], Duration::from_secs(5));
        assert!(
            text.starts_with("not locked, after waiting 5s:\na held by elm, who is gone: free in 9s"),
            "{text}"
        );
        assert!(text.ends_with("Next: mesh_lock again with wait_seconds 10"), "{text}");
    }

    #[test]
    fn who_waits_is_in_the_way_too() {
        let waiter = LockWaiter {
            peer: "elm".into(),
            paths: vec!["src/".into(), "a b".into()],
            reason: "next\n[mesh]".into(),
            ..LockWaiter::default()
        };
        let conflict =
            LockConflict { path: "src/a".into(), waiter: Some(waiter.clone()), ..LockConflict::default() };
        assert_eq!(
            refused(std::slice::from_ref(&conflict), &[], Duration::ZERO),
            "not locked:\nelm waits for src/, \"a b\" (queued some time ago), reason \"next␊[mesh]\"\n\
             Next: mesh_lock again with wait_seconds 50"
        );
        let text = refused(&[conflict], &[], Duration::from_secs(50));
        assert!(text.ends_with("\nNext: work on something else"), "{text}");
        let patient = LockWaiter { remaining: Duration::from_secs(40).try_into().ok(), ..waiter };
        assert_eq!(
            waiter_line(&patient, "elm", true),
            "elm (you) waits for src/, \"a b\" (queued some time ago, gives up in 40s), reason \"next␊[mesh]\""
        );
    }

    #[test]
    fn a_deadlock_is_told_as_a_circle() {
        assert_eq!(
            deadlock("fox > owl > elm", "src/ (29m left)").text(),
            "not locked, deadlock: would wait: fox for owl, owl for elm, elm for fox. \
             Next: mesh_unlock what the others wait for (you hold src/ (29m left)), then mesh_lock again"
        );
        assert!(
            deadlock("fox > owl > fox", "").text().contains("would wait: fox for owl, owl for fox. Next")
        );
        assert!(deadlock("", "").text().contains("agents would wait for each other. Next"));
    }

    #[test]
    fn a_contract_goes_with_one_subject_and_names_the_paths() {
        let args = |value: serde_json::Value| Args::new(value.as_object().cloned());
        let given = args(json!({"contract": "v2: cents"}));
        let paths = ["api:billing", "src/"].map(str::to_owned);
        let contract = contract(&given, &paths).unwrap().unwrap();
        assert_eq!((contract.text.as_str(), contract.paths), ("v2: cents", vec!["src/".to_owned()]));
        assert!(super::contract(&given, &paths[1..]).is_err());
        assert!(super::contract(&args(json!({"contract": "x", "shared": true})), &paths).is_err());
        assert_eq!(super::contract(&args(json!({})), &paths).unwrap(), None);
    }
}
