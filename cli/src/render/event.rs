//! Events as lines: when, where, who, what.

mod peer;

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use mesh_client::display::printable_line;
use mesh_client::proto::event::Event as Kind;
use mesh_client::proto::{
    ContractChanged, DeleteCause, EventBatch, FileLocked, FileTouched, FileUnlocked, LockMode, LockQueued,
    LockReleaseAnswered, LockReleaseRequested, LockWaitEnded, MessageIntent, MessageSent, PolicyChanged,
    PolicyKind, ReleaseAnswer, StateChanged, StateDeleted, TokenCreated, TokenRevoked, TouchKind,
    UnlockCause, WaitEndCause,
};

use super::{policy, quoted, role, some_paths};
use crate::output::{Paint, name_style};
use crate::time::Clock;

const SCOPE_WIDTH: usize = 24;
const NAME_WIDTH: usize = 14;
const VERB_WIDTH: usize = 10;
/// Where a line begins to tell what happened, when it shows neither day nor scope.
pub(crate) const WHAT_COLUMN: usize = "12:03:44".len() + 2 + NAME_WIDTH + 2 + VERB_WIDTH + 2;
/// Shown as the actor when the broker itself acted; not a name that a peer can have.
const NOBODY: &str = "-";

/// Turns batches into lines.
#[derive(Debug)]
pub(crate) struct EventLines {
    paint: Paint,
    clock: Clock,
    with_scope: bool,
    day: Day,
    /// What was last shown of peers, by scope and name.
    peers: BTreeMap<(String, String), Vec<String>>,
}

/// How a line tells its day.
#[derive(Debug)]
enum Day {
    /// In every line: for files and pipes.
    InLine,
    /// In a line of its own whenever it is another one than this.
    Between(String),
}

/// One event, in words; the text is printable.
struct Said<'a> {
    who: &'a str,
    verb: &'static str,
    color: AnsiColor,
    what: Vec<String>,
}

impl EventLines {
    pub(crate) fn new(paint: Paint, clock: Clock, with_scope: bool, on_terminal: bool) -> Self {
        let day = if on_terminal { Day::Between(clock.today()) } else { Day::InLine };
        Self { paint, clock, with_scope, day, peers: BTreeMap::new() }
    }

    /// The lines of a batch, mostly one per event; none for a peer of which all that is shown is as it was.
    pub(crate) fn batch(&mut self, batch: &EventBatch) -> String {
        let mut lines = String::new();
        for event in &batch.events {
            for said in self.news(batch, event.event.as_ref()) {
                if lines.is_empty() {
                    lines = self.day_change(batch);
                }
                lines.push_str(&self.line(batch, &said));
            }
        }
        lines
    }

    /// What an event tells that was not shown yet; of a peer that changed, what is new in few words.
    fn news<'a>(&mut self, batch: &'a EventBatch, event: Option<&'a Kind>) -> Vec<Said<'a>> {
        let said = said(&batch.actor, event);
        let Some(Kind::PeerUpdated(updated)) = event else {
            let repeats = self.repeats(&batch.scope, event, &said);
            return if repeats { Vec::new() } else { vec![said] };
        };
        let mut news = peer::news(updated);
        if peer::describes_itself_anew(updated) && !self.repeats(&batch.scope, event, &said) {
            news.push(said);
        }
        news
    }

    /// Whether a change of a peer tells nothing new, such as that of its lease.
    fn repeats(&mut self, scope: &str, event: Option<&Kind>, said: &Said<'_>) -> bool {
        let peer = || (scope.to_owned(), said.who.to_owned());
        match event {
            Some(Kind::PeerJoined(_)) => drop(self.peers.insert(peer(), said.what.clone())),
            Some(Kind::PeerLeft(_)) => drop(self.peers.remove(&peer())),
            Some(Kind::PeerUpdated(_)) => {
                return self.peers.insert(peer(), said.what.clone()).is_some_and(|shown| shown == said.what);
            }
            _ => {}
        }
        false
    }

    fn day_change(&mut self, batch: &EventBatch) -> String {
        let Day::Between(day) = &mut self.day else { return String::new() };
        let date = self.clock.date(batch.commit_time.as_ref());
        if date == *day {
            return String::new();
        }
        day.clone_from(&date);
        format!("{}\n", self.paint.dim(&format!("── {date} ──")))
    }

    fn line(&self, batch: &EventBatch, said: &Said<'_>) -> String {
        let time = match self.day {
            Day::InLine => self.clock.date_and_time(batch.commit_time.as_ref()),
            Day::Between(_) => self.clock.time_of_day(batch.commit_time.as_ref()),
        };
        let mut line = self.paint.dim(&time);
        if self.with_scope {
            self.column(&mut line, Style::new().dimmed(), &printable_line(&batch.scope), SCOPE_WIDTH);
        }
        let who = if said.who.is_empty() { NOBODY } else { said.who };
        self.column(&mut line, name_style(who), &printable_line(who), NAME_WIDTH);
        self.column(&mut line, Style::new().fg_color(Some(said.color.into())), said.verb, VERB_WIDTH);
        for part in said.what.iter().filter(|part| !part.is_empty()) {
            line.push_str("  ");
            line.push_str(part);
        }
        line.truncate(line.trim_end_matches(' ').len());
        line.push('\n');
        line
    }

    fn column(&self, line: &mut String, style: Style, text: &str, width: usize) {
        line.push_str("  ");
        line.push_str(&self.paint.style(style, text));
        line.extend(std::iter::repeat_n(' ', width.saturating_sub(text.chars().count())));
    }
}

/// What a tail says when it has lost the broker.
pub(crate) fn interrupted(why: &str) -> String {
    let why = why.split(';').next().unwrap_or_default();
    // Where the broker is, whoever follows it knows.
    let cause = why.strip_prefix("cannot reach the broker at ").and_then(|rest| rest.split_once(": "));
    format!("reconnecting… ({})", printable_line(cause.map_or(why, |(_, cause)| cause)))
}

/// What a tail says when it goes on.
pub(crate) fn resumed(revision: u64) -> String {
    format!("resumed at revision {revision}")
}

fn said<'a>(actor: &'a str, event: Option<&'a Kind>) -> Said<'a> {
    match event {
        Some(Kind::PeerJoined(event)) => peer::is(event.peer.as_ref(), "joined", AnsiColor::Green),
        Some(Kind::PeerUpdated(event)) => peer::is(event.peer.as_ref(), "updated", AnsiColor::White),
        Some(Kind::PeerLeft(event)) => peer::left(event),
        Some(Kind::StateChanged(event)) => state_changed(event),
        Some(Kind::StateDeleted(event)) => state_deleted(actor, event),
        Some(Kind::FileLocked(event)) => file_locked(actor, event),
        Some(Kind::FileUnlocked(event)) => file_unlocked(actor, event),
        Some(Kind::LockQueued(event)) => lock_queued(event),
        Some(Kind::LockWaitEnded(event)) => lock_wait_ended(event),
        Some(Kind::LockReleaseRequested(event)) => release_requested(event),
        Some(Kind::LockReleaseAnswered(event)) => release_answered(actor, event),
        Some(Kind::FileTouched(event)) => file_touched(event),
        Some(Kind::ContractChanged(event)) => contract_changed(event),
        Some(Kind::PolicyChanged(event)) => policy_changed(actor, event),
        Some(Kind::TokenCreated(event)) => token_created(event),
        Some(Kind::TokenRevoked(event)) => token_revoked(event),
        Some(Kind::MessageSent(event)) => message_sent(event),
        None => Said {
            who: actor,
            verb: "?",
            color: AnsiColor::White,
            what: vec!["an event that this version of meshctl does not know".to_owned()],
        },
    }
}

fn state_changed(event: &StateChanged) -> Said<'_> {
    let key = format!("{} v{}", printable_line(&event.key), event.version);
    let about = paths(&event.paths);
    let tags: String = event.tags.iter().map(|tag| format!("#{} ", printable_line(tag))).collect();
    let what = vec![key, quoted(&event.preview), about, tags];
    Said { who: &event.writer, verb: "remembered", color: AnsiColor::Blue, what }
}

fn state_deleted<'a>(actor: &'a str, event: &StateDeleted) -> Said<'a> {
    let why = match event.cause() {
        DeleteCause::Unspecified | DeleteCause::Deleted => "",
        DeleteCause::Expired => "(its ttl ran out)",
    };
    let what = vec![printable_line(&event.key).into_owned(), why.to_owned()];
    Said { who: actor, verb: "forgot", color: AnsiColor::Blue, what }
}

/// When somebody made way, the batch's actor is not the holder.
fn file_locked<'a>(actor: &'a str, event: &'a FileLocked) -> Said<'a> {
    let first = event.locks.first();
    let shared = if first.is_some_and(|lock| lock.mode() == LockMode::Shared) { "(shared)" } else { "" };
    let waited = if event.ticket == 0 { "" } else { "(after waiting)" };
    let reason = first.map(|lock| quoted(&lock.reason)).unwrap_or_default();
    let who = first.map_or(actor, |lock| &lock.holder);
    let locked = some_paths(event.locks.iter().map(|lock| lock.path.as_str()));
    let what = vec![locked, shared.to_owned(), waited.to_owned(), reason];
    Said { who, verb: "locked", color: AnsiColor::Yellow, what }
}

fn file_unlocked<'a>(actor: &'a str, event: &'a FileUnlocked) -> Said<'a> {
    let unlocked = paths(&event.paths);
    let why = match event.cause() {
        UnlockCause::Unspecified | UnlockCause::Released => "",
        UnlockCause::Expired => "(its ttl ran out)",
        UnlockCause::Left => "(the holder left)",
        UnlockCause::SessionEnded => "(the holder is gone)",
        UnlockCause::Narrowed => "(narrowed)",
        UnlockCause::Forced => {
            let from = format!("from {}", printable_line(&event.holder));
            let what = vec![unlocked, from, quoted(&event.reason)];
            return Said { who: actor, verb: "took away", color: AnsiColor::Red, what };
        }
    };
    let what = vec![unlocked, why.to_owned()];
    Said { who: &event.holder, verb: "unlocked", color: AnsiColor::Green, what }
}

fn lock_queued(event: &LockQueued) -> Said<'_> {
    let waits_for = match event.waits_for.as_slice() {
        [] => String::new(),
        names => format!("for {}", paths(names)),
    };
    let Some(waiter) = &event.waiter else {
        return Said { who: "", verb: "waits", color: AnsiColor::Yellow, what: vec![waits_for] };
    };
    let shared = if waiter.mode() == LockMode::Shared { "(shared)" } else { "" };
    let what = vec![paths(&waiter.paths), shared.to_owned(), waits_for, quoted(&waiter.reason)];
    Said { who: &waiter.peer, verb: "waits", color: AnsiColor::Yellow, what }
}

fn lock_wait_ended(event: &LockWaitEnded) -> Said<'_> {
    let why = match event.cause() {
        WaitEndCause::Unspecified => "",
        WaitEndCause::TimedOut => "(its time was over)",
        WaitEndCause::Cancelled => "(cancelled)",
        WaitEndCause::SessionEnded => "(it is gone)",
    };
    let what = vec![paths(&event.paths), why.to_owned()];
    Said { who: &event.peer, verb: "gave up", color: AnsiColor::White, what }
}

fn release_requested(event: &LockReleaseRequested) -> Said<'_> {
    let Some(request) = &event.request else {
        return Said { who: "", verb: "asked", color: AnsiColor::Yellow, what: Vec::new() };
    };
    let whom = format!("{} for {}", printable_line(&request.holder), paths(&request.lock_paths));
    let urgent = if request.urgent { "(urgent)" } else { "" };
    let what = vec![whom, urgent.to_owned(), quoted(&request.reason), format!("(request {})", request.id)];
    Said { who: &request.from, verb: "asked", color: AnsiColor::Yellow, what }
}

fn release_answered<'a>(actor: &'a str, event: &'a LockReleaseAnswered) -> Said<'a> {
    let (asker, asked_for, who) = match &event.request {
        Some(request) => (printable_line(&request.from), paths(&request.lock_paths), &*request.holder),
        None => (printable_line(""), String::new(), actor),
    };
    let answer = match event.answer() {
        ReleaseAnswer::Unspecified => String::new(),
        ReleaseAnswer::Keep => format!("keeps {asked_for}"),
        ReleaseAnswer::Release => format!("releases {asked_for}"),
        ReleaseAnswer::Narrow => format!("narrows {asked_for} to {}", paths(&event.keep)),
    };
    let what = vec![format!("{asker}: {answer}"), quoted(&event.note)];
    Said { who, verb: "answered", color: AnsiColor::Yellow, what }
}

fn file_touched(event: &FileTouched) -> Said<'_> {
    let of_kind = |kind: TouchKind| {
        let touched: Vec<_> = event.touches.iter().filter(|touch| touch.kind() == kind).collect();
        some_paths(touched.iter().map(|touch| touch.path.as_str()))
    };
    let (edited, read) = (of_kind(TouchKind::Edit), of_kind(TouchKind::Read));
    let branch = match event.branch.as_str() {
        "" => String::new(),
        branch => format!("on {}", printable_line(branch)),
    };
    let (verb, what) = match (edited.is_empty(), read.is_empty()) {
        (true, _) => ("read", vec![read, branch]),
        (false, true) => ("edited", vec![edited, branch]),
        (false, false) => ("edited", vec![edited, format!("(read {read})"), branch]),
    };
    Said { who: &event.peer, verb, color: AnsiColor::White, what }
}

fn contract_changed(event: &ContractChanged) -> Said<'_> {
    let verb = if event.deleted { "withdrew" } else { "changed" };
    let subject = format!("the contract of {} v{}", printable_line(&event.subject), event.version);
    let dependents = match event.dependents.as_slice() {
        [] => String::new(),
        names => format!("(of interest to {})", paths(names)),
    };
    let what = vec![subject, quoted(&event.preview), dependents];
    Said { who: &event.changed_by, verb, color: AnsiColor::Blue, what }
}

fn policy_changed<'a>(actor: &'a str, event: &PolicyChanged) -> Said<'a> {
    let (prefix, kind) = match &event.policy {
        Some(policy) => (policy.prefix.as_str(), policy.kind()),
        None => ("", PolicyKind::Unspecified),
    };
    let keys = if prefix.is_empty() { "every key".into() } else { printable_line(prefix) };
    let what = vec![format!("of {keys}: {}", policy(kind))];
    Said { who: actor, verb: "set policy", color: AnsiColor::Blue, what }
}

/// Who issued it is no peer: its credential stands in its place.
fn token_created(event: &TokenCreated) -> Said<'_> {
    let Some(token) = &event.token else {
        return Said { who: "", verb: "issued", color: AnsiColor::Blue, what: Vec::new() };
    };
    let for_what =
        if token.note.is_empty() { String::new() } else { format!("({})", printable_line(&token.note)) };
    let what = vec![format!("token {} for a {}", printable_line(&token.id), role(token.role())), for_what];
    Said { who: &token.created_by, verb: "issued", color: AnsiColor::Blue, what }
}

fn token_revoked(event: &TokenRevoked) -> Said<'_> {
    let for_what =
        if event.note.is_empty() { String::new() } else { format!("({})", printable_line(&event.note)) };
    let what = vec![format!("token {}", printable_line(&event.id)), for_what];
    Said { who: "", verb: "revoked", color: AnsiColor::Red, what }
}

fn message_sent(event: &MessageSent) -> Said<'_> {
    let to = match (event.broadcast, event.topic.as_str()) {
        (true, _) => "everyone".to_owned(),
        (false, "") => paths(&event.to),
        (false, topic) => printable_line(topic).into_owned(),
    };
    let intent = match event.intent() {
        MessageIntent::Request => "(request)",
        MessageIntent::Ack => "(ack)",
        MessageIntent::Unspecified | MessageIntent::Inform => "",
    };
    let urgent = if event.urgent { "(urgent)" } else { "" };
    let reply = if event.reply_to.is_empty() { "" } else { "(reply)" };
    let what = vec![
        format!("→ {to}"),
        intent.to_owned(),
        reply.to_owned(),
        urgent.to_owned(),
        quoted(&event.preview),
        paths(&event.paths),
    ];
    Said { who: &event.from, verb: "said", color: AnsiColor::Magenta, what }
}

fn paths(paths: &[String]) -> String {
    some_paths(paths.iter().map(String::as_str))
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
