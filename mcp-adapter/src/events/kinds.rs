//! Events in words: one line each.

use std::fmt::Write;

use mesh_client::proto::event::Event as Kind;
use mesh_client::proto::{
    ChildAgent, ContractChanged, DeleteCause, EventBatch, EventType, FileLocked, FileTouched, FileUnlocked,
    LeaveCause, LockQueued, LockReleaseAnswered, LockReleaseRequested, LockWaitEnded, MessageSent, Peer,
    PeerUpdated, Policy, PolicyKind, ReleaseAnswer, TouchKind, UnlockCause, WaitEndCause,
};

use crate::args::Failure;
use crate::presence::{activity, sub_agents};
use crate::render::{age, quoted, word, words};

/// Paths and names listed of one event.
const LISTED: usize = 8;
/// Characters shown of what somebody wrote.
const PREVIEW: usize = 160;

/// The events of one revision, a line each.
pub(super) fn lines(batch: &EventBatch) -> String {
    let mut out = String::new();
    for event in batch.events.iter().filter_map(|event| event.event.as_ref()) {
        if !out.is_empty() {
            out.push('\n');
        }
        _ = write!(out, "{} {}", batch.revision, what(event, &batch.actor));
        _ = write!(out, ", {}", age(batch.commit_time));
    }
    out
}

fn what(event: &Kind, actor: &str) -> String {
    match event {
        Kind::PeerJoined(joined) => {
            let peer = joined.peer.clone().unwrap_or_default();
            format!("peer_joined {}{}", word(&peer.name), doing(&peer))
        }
        Kind::PeerUpdated(updated) => peer_updated(updated),
        Kind::PeerLeft(left) => format!("peer_left {} ({})", word(&left.name), leave_cause(left.cause())),
        Kind::StateChanged(changed) => format!(
            "state_changed {} version {} by {}: {}",
            word(&changed.key),
            changed.version,
            word(&changed.writer),
            quoted(&changed.preview, PREVIEW)
        ),
        Kind::StateDeleted(deleted) => {
            let by = match deleted.cause() {
                DeleteCause::Expired => "expired".into(),
                DeleteCause::Deleted | DeleteCause::Unspecified => format!("by {}", word(actor)),
            };
            format!("state_deleted {} ({by})", word(&deleted.key))
        }
        Kind::FileLocked(locked) => file_locked(locked),
        Kind::FileUnlocked(ended) => file_unlocked(ended, actor),
        Kind::MessageSent(sent) => message_sent(sent),
        Kind::LockQueued(queued) => lock_queued(queued),
        Kind::LockWaitEnded(ended) => lock_wait_ended(ended),
        Kind::LockReleaseRequested(requested) => lock_release_requested(requested),
        Kind::LockReleaseAnswered(answered) => lock_release_answered(answered),
        Kind::FileTouched(touched) => file_touched(touched),
        Kind::ContractChanged(changed) => contract_changed(changed),
        Kind::PolicyChanged(changed) => policy_changed(&changed.policy.clone().unwrap_or_default(), actor),
        Kind::TokenCreated(created) => {
            format!("token_created {}", word(created.token.as_ref().map_or("", |token| &token.id)))
        }
        Kind::TokenRevoked(revoked) => format!("token_revoked {}", word(&revoked.id)),
    }
}

/// What is new of a peer: the whole of what it does only if that changed, or an old broker does not tell.
fn peer_updated(updated: &PeerUpdated) -> String {
    let peer = updated.peer.clone().unwrap_or_default();
    let info = peer.info.clone().unwrap_or_default();
    let changed = |name: &str| updated.changed.iter().any(|changed| changed == name);
    let mut news = Vec::new();
    if changed("activity") {
        news.extend(activity(info.activity()));
    }
    let is_new = |child: &ChildAgent| updated.started_children.contains(&child.id);
    let started: Vec<_> = info.children.iter().filter(|child| is_new(child)).cloned().collect();
    for (verb, children) in [("started", &started), ("ended", &updated.ended_children)] {
        if !children.is_empty() {
            news.push(format!("{verb} {}", words(&sub_agents(children), LISTED)));
        }
    }
    let mut out = format!("peer_updated {}", word(&peer.name));
    if !news.is_empty() {
        _ = write!(out, " {}", news.join(", "));
    }
    if news.is_empty() || changed("focus") || changed("branch") {
        out.push_str(&doing(&peer));
    }
    out
}

/// The holder is that of the locks: the batch's actor is whoever made way.
fn file_locked(locked: &FileLocked) -> String {
    let paths: Vec<_> = locked.locks.iter().map(|lock| lock.path.clone()).collect();
    let first = locked.locks.first().cloned().unwrap_or_default();
    let waited = if locked.ticket > 0 { " after waiting" } else { "" };
    format!("file_locked {} by {}{waited}{}", words(&paths, LISTED), word(&first.holder), said(&first.reason))
}

fn file_unlocked(ended: &FileUnlocked, actor: &str) -> String {
    let cause = match ended.cause() {
        UnlockCause::Released | UnlockCause::Unspecified => "released".into(),
        UnlockCause::Expired => "ttl ran out".into(),
        UnlockCause::Left => "holder left".into(),
        UnlockCause::SessionEnded => "holder is gone".into(),
        UnlockCause::Narrowed => "narrowed".into(),
        UnlockCause::Forced => format!("taken away by {}{}", word(actor), said(&ended.reason)),
    };
    format!("file_unlocked {} of {} ({cause})", words(&ended.paths, LISTED), word(&ended.holder))
}

fn message_sent(sent: &MessageSent) -> String {
    let to = match (sent.broadcast, sent.topic.as_str()) {
        (true, _) => "all".into(),
        (false, "") => words(&sent.to, LISTED),
        (false, topic) => word(topic),
    };
    format!("message_sent {} to {to}: {}", word(&sent.from), quoted(&sent.preview, PREVIEW))
}

fn lock_queued(queued: &LockQueued) -> String {
    let waiter = queued.waiter.clone().unwrap_or_default();
    let behind = if queued.waits_for.is_empty() {
        String::new()
    } else {
        format!(" behind {}", words(&queued.waits_for, LISTED))
    };
    format!(
        "lock_queued {} by {}{behind}{}",
        words(&waiter.paths, LISTED),
        word(&waiter.peer),
        said(&waiter.reason)
    )
}

fn lock_wait_ended(ended: &LockWaitEnded) -> String {
    let cause = match ended.cause() {
        WaitEndCause::TimedOut => "timed out",
        WaitEndCause::Cancelled | WaitEndCause::Unspecified => "stopped waiting",
        WaitEndCause::SessionEnded => "it is gone",
    };
    format!("lock_wait_ended {} by {} ({cause})", words(&ended.paths, LISTED), word(&ended.peer))
}

fn lock_release_requested(requested: &LockReleaseRequested) -> String {
    let request = requested.request.clone().unwrap_or_default();
    let urgent = if request.urgent { ", URGENT" } else { "" };
    format!(
        "lock_release_requested {} of {} by {}{urgent}{}",
        words(&request.lock_paths, LISTED),
        word(&request.holder),
        word(&request.from),
        said(&request.reason)
    )
}

fn lock_release_answered(answered: &LockReleaseAnswered) -> String {
    let request = answered.request.clone().unwrap_or_default();
    let answer = match answered.answer() {
        ReleaseAnswer::Keep => "kept".into(),
        ReleaseAnswer::Release | ReleaseAnswer::Unspecified => "released".into(),
        ReleaseAnswer::Narrow => format!("narrowed to {}", words(&answered.keep, LISTED)),
    };
    format!(
        "lock_release_answered {} of {} to {} ({answer}){}",
        words(&request.lock_paths, LISTED),
        word(&request.holder),
        word(&request.from),
        said(&answered.note)
    )
}

fn file_touched(touched: &FileTouched) -> String {
    let done = |kind: TouchKind, verb: &str| {
        let touches = touched.touches.iter().filter(|touch| touch.kind() == kind);
        let paths: Vec<_> = touches.map(|touch| touch.path.clone()).collect();
        (!paths.is_empty()).then(|| format!("{verb} {}", words(&paths, LISTED)))
    };
    let done: Vec<_> =
        [done(TouchKind::Edit, "edited"), done(TouchKind::Read, "read")].into_iter().flatten().collect();
    let branch =
        if touched.branch.is_empty() { String::new() } else { format!(" on {}", word(&touched.branch)) };
    format!("file_touched {}{branch} {}", word(&touched.peer), done.join(", "))
}

fn contract_changed(changed: &ContractChanged) -> String {
    let by = if changed.changed_by.is_empty() { "expiry" } else { &changed.changed_by };
    let (subject, by) = (word(&changed.subject), word(by));
    if changed.deleted {
        return format!("contract_changed {subject} deleted by {by}");
    }
    format!(
        "contract_changed {subject} version {} by {by}: {}",
        changed.version,
        quoted(&changed.preview, PREVIEW)
    )
}

fn policy_changed(policy: &Policy, actor: &str) -> String {
    let kind = match policy.kind() {
        PolicyKind::Unspecified => "removed",
        PolicyKind::RequireVersion => "require_version",
        PolicyKind::LastWriteWins => "last_write_wins",
        PolicyKind::MergePatch => "merge_patch",
        PolicyKind::Append => "append",
    };
    format!("policy_changed {} {kind} by {}", word(&policy.prefix), word(actor))
}

/// `: "…"`, if anything was said.
fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {}", quoted(text, PREVIEW)) }
}

fn doing(peer: &Peer) -> String {
    let info = peer.info.clone().unwrap_or_default();
    let branch = if info.branch.is_empty() { String::new() } else { format!(" on {}", word(&info.branch)) };
    let focus =
        if info.focus.is_empty() { String::new() } else { format!(": {}", quoted(&info.focus, PREVIEW)) };
    format!("{branch}{focus}")
}

fn leave_cause(cause: LeaveCause) -> &'static str {
    match cause {
        LeaveCause::Left | LeaveCause::Unspecified => "left",
        LeaveCause::Expired => "silent for too long",
        LeaveCause::Disconnected => "its process is gone",
        LeaveCause::Replaced => "joined anew",
        LeaveCause::Revoked => "its token is over",
    }
}

/// A kind of event by its name, in any case.
pub(super) fn event_type(name: &str) -> Result<EventType, Failure> {
    let wanted = format!("EVENT_TYPE_{}", name.trim().to_uppercase());
    let known = EventType::from_str_name(&wanted).filter(|kind| *kind != EventType::Unspecified);
    known.ok_or_else(|| {
        Failure::new(format!(
            "types: {} is none. Known: peer_joined, peer_updated, peer_left, state_changed, state_deleted, \
             file_locked, file_unlocked, file_touched, message_sent, lock_queued, lock_wait_ended, \
             lock_release_requested, lock_release_answered, contract_changed, policy_changed",
            word(name)
        ))
    })
}

#[cfg(test)]
mod tests {
    use mesh_client::proto::{
        Event, Lock, LockWaiter, PeerActivity, PeerInfo, PolicyChanged, ReleaseRequest, Touch,
    };

    use super::*;

    fn batch(revision: u64, kind: Kind) -> EventBatch {
        EventBatch {
            revision,
            actor: "birch-owl".into(),
            events: vec![Event { event: Some(kind) }],
            ..EventBatch::default()
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_it_carries() {
        let sent = MessageSent {
            from: "birch-owl".into(),
            broadcast: true,
            preview: "hi\" \n42 peer_left".into(),
            ..MessageSent::default()
        };
        assert_eq!(
            lines(&batch(41, Kind::MessageSent(sent))),
            "41 message_sent birch-owl to all: \"hi\\\" ␊42 peer_left\", some time ago"
        );
        let ended = FileUnlocked {
            holder: "elm".into(),
            paths: vec!["a".into(), "b".into()],
            cause: UnlockCause::Expired.into(),
            ..FileUnlocked::default()
        };
        assert_eq!(
            lines(&batch(42, Kind::FileUnlocked(ended))),
            "42 file_unlocked a, b of elm (ttl ran out), some time ago"
        );
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn of_a_peer_that_changed_the_news_is_told() {
        let child =
            |id: &str, kind: &str| ChildAgent { id: id.into(), kind: kind.into(), ..ChildAgent::default() };
        let info = PeerInfo {
            branch: "main".into(),
            focus: "auth".into(),
            activity: PeerActivity::Idle.into(),
            children: vec![child("a1", "explore"), child("a2", "x\ny")],
            ..PeerInfo::default()
        };
        let peer = Peer { name: "owl".into(), info: Some(info), ..Peer::default() };
        let updated = |changed: &[&str], started: &[&str], ended: &[ChildAgent]| PeerUpdated {
            peer: Some(peer.clone()),
            changed: texts(changed),
            started_children: texts(started),
            ended_children: ended.to_vec(),
        };
        for (event, told) in [
            (updated(&[], &[], &[]), " on main: \"auth\""),
            (updated(&["focus"], &[], &[]), " on main: \"auth\""),
            (updated(&["activity", "wake"], &[], &[]), " idle"),
            (updated(&["activity", "focus"], &[], &[]), " idle on main: \"auth\""),
            (
                updated(&["children"], &["a1", "a2"], &[child("a3", "plan")]),
                " started explore, \"x␊y\", ended plan",
            ),
        ] {
            assert_eq!(what(&Kind::PeerUpdated(event), "owl"), format!("peer_updated owl{told}"));
        }
    }

    #[test]
    fn locks_are_told_by_their_holder_not_by_who_made_way() {
        let locks = ["src/a", "b c"].map(|path| Lock {
            path: path.into(),
            holder: "elm".into(),
            reason: "x\n".into(),
            ..Lock::default()
        });
        let locked = FileLocked { locks: locks.to_vec(), ticket: 3 };
        assert_eq!(
            what(&Kind::FileLocked(locked), "birch-owl"),
            "file_locked src/a, \"b c\" by elm after waiting: \"x\""
        );
        let ended = FileUnlocked {
            holder: "elm".into(),
            paths: texts(&["a"]),
            cause: UnlockCause::Forced.into(),
            reason: "it hangs".into(),
        };
        assert_eq!(
            what(&Kind::FileUnlocked(ended), "ann"),
            "file_unlocked a of elm (taken away by ann: \"it hangs\")"
        );
    }

    #[test]
    fn making_way_is_told_from_queue_to_answer() {
        let waiter = LockWaiter { peer: "elm".into(), paths: texts(&["src/a"]), ..LockWaiter::default() };
        let queued = LockQueued { waiter: Some(waiter), waits_for: texts(&["owl"]) };
        let ended = LockWaitEnded {
            peer: "elm".into(),
            paths: texts(&["src/a"]),
            cause: WaitEndCause::TimedOut.into(),
            ..LockWaitEnded::default()
        };
        let request = ReleaseRequest {
            from: "elm".into(),
            holder: "owl".into(),
            lock_paths: texts(&["src/"]),
            reason: "a fix".into(),
            urgent: true,
            ..ReleaseRequest::default()
        };
        let answered = LockReleaseAnswered {
            request: Some(request.clone()),
            answer: ReleaseAnswer::Narrow.into(),
            keep: texts(&["src/b"]),
            note: "ok\"".into(),
        };
        for (event, told) in [
            (Kind::LockQueued(queued), "lock_queued src/a by elm behind owl"),
            (Kind::LockWaitEnded(ended), "lock_wait_ended src/a by elm (timed out)"),
            (
                Kind::LockReleaseRequested(LockReleaseRequested { request: Some(request) }),
                "lock_release_requested src/ of owl by elm, URGENT: \"a fix\"",
            ),
            (
                Kind::LockReleaseAnswered(answered),
                "lock_release_answered src/ of owl to elm (narrowed to src/b): \"ok\\\"\"",
            ),
        ] {
            assert_eq!(what(&event, "elm"), told);
        }
    }

    #[test]
    fn files_contracts_and_policies_are_told() {
        let touch = |path: &str, kind: TouchKind| Touch { path: path.into(), kind: kind.into() };
        let touched = FileTouched {
            peer: "owl".into(),
            branch: "side".into(),
            touches: vec![touch("a", TouchKind::Read), touch("b", TouchKind::Edit)],
        };
        let changed = ContractChanged {
            subject: "api:billing".into(),
            version: 3,
            changed_by: "owl".into(),
            preview: "cents".into(),
            ..ContractChanged::default()
        };
        let policy = Policy { prefix: "status/".into(), kind: PolicyKind::LastWriteWins.into() };
        for (event, told) in [
            (Kind::FileTouched(touched), "file_touched owl on side edited b, read a"),
            (
                Kind::ContractChanged(changed.clone()),
                "contract_changed api:billing version 3 by owl: \"cents\"",
            ),
            (
                Kind::ContractChanged(ContractChanged {
                    deleted: true,
                    changed_by: String::new(),
                    ..changed
                }),
                "contract_changed api:billing deleted by expiry",
            ),
            (
                Kind::PolicyChanged(PolicyChanged { policy: Some(policy) }),
                "policy_changed status/ last_write_wins by ann",
            ),
        ] {
            assert_eq!(what(&event, "ann"), told);
        }
    }

    #[test]
    fn kinds_are_known_by_name() {
        assert_eq!(event_type("File_Locked").unwrap(), EventType::FileLocked);
        for number in 1..=15 {
            let kind = EventType::try_from(number).unwrap();
            let name = kind.as_str_name().trim_start_matches("EVENT_TYPE_").to_lowercase();
            assert_eq!(event_type(&name).unwrap(), kind);
            assert!(event_type("nope").unwrap_err().text().contains(&name), "{name}");
        }
        for bad in ["unspecified", "lock", ""] {
            assert!(event_type(bad).unwrap_err().text().contains("peer_joined"), "{bad}");
        }
    }
}
