//! Requests to make way: those to this peer, and what others answered to its own.
//!
//! Events and answers overtake each other here too: a request that is over is not opened again by a list that was
//! made before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

use mesh_client::proto::{LockReleaseAnswered, ReleaseAnswer, ReleaseRequest};

use super::{Held, NAMED};
use crate::render::{age, count, quoted, word, words};

/// Requests to this peer that may be open, as many as the broker lets there be.
const OPEN: usize = 100;
/// Requests remembered to be over.
const OVER: usize = 200;
/// Answers kept until they are told.
const ANSWERS: usize = 20;
/// Paths remembered of each request.
const PATHS: usize = 32;

/// What is known of requests to make way.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Those to this peer, by id, and whether the agent knows.
    open: BTreeMap<u64, (ReleaseRequest, bool)>,
    over: BTreeSet<u64>,
    /// Answers to own requests, and how many more there were.
    answers: VecDeque<Told>,
    skipped: usize,
}

/// An answer to an own request.
#[derive(Debug)]
struct Told {
    revision: u64,
    answer: LockReleaseAnswered,
    /// Whether what was asked for was had since, even if it is given up by now.
    granted: bool,
}

impl Requests {
    /// A request to this peer.
    pub(super) fn asked(&mut self, request: &ReleaseRequest) {
        let id = request.id;
        if self.over.contains(&id) || self.open.contains_key(&id) {
            return;
        }
        let mut request = request.clone();
        request.paths.truncate(PATHS);
        request.lock_paths.truncate(PATHS);
        if self.open.len() == OPEN
            && let Some((oldest, _)) = self.open.pop_first()
        {
            self.end(oldest);
        }
        self.open.insert(id, (request, false));
    }

    /// All requests to this peer, shown to it just now.
    pub(super) fn shown(&mut self, requests: &[ReleaseRequest]) {
        for request in requests {
            self.asked(request);
            if let Some((_, told)) = self.open.get_mut(&request.id) {
                *told = true;
            }
        }
    }

    /// A request is settled, whoever did it.
    pub(super) fn end(&mut self, id: u64) {
        self.open.remove(&id);
        self.over.insert(id);
        if self.over.len() > OVER {
            self.over.pop_first();
        }
    }

    /// Names those who ask for these locks; no paths mean any.
    pub(super) fn asking(&self, paths: &[String]) -> Vec<String> {
        let mut names = Vec::new();
        for (request, _) in self.open.values() {
            let concerned = paths.is_empty() || request.lock_paths.iter().any(|path| paths.contains(path));
            if concerned && !names.contains(&request.from) {
                names.push(request.from.clone());
            }
        }
        names
    }

    /// Own locks are gone: who asked for them has what it wanted. No paths mean all.
    pub(super) fn made_way(&mut self, paths: &[String]) {
        let mut ended = Vec::new();
        for (id, (request, _)) in &mut self.open {
            request.lock_paths.retain(|path| !paths.is_empty() && !paths.contains(path));
            if request.lock_paths.is_empty() {
                ended.push(*id);
            }
        }
        ended.into_iter().for_each(|id| self.end(id));
    }

    /// An answer to a request of this peer.
    pub(super) fn answered(&mut self, revision: u64, answer: &LockReleaseAnswered) {
        if self.answers.len() == ANSWERS {
            self.answers.pop_front();
            self.skipped += 1;
        }
        let mut answer = answer.clone();
        for paths in
            [&mut answer.keep].into_iter().chain(answer.request.as_mut().map(|of| &mut of.lock_paths))
        {
            paths.truncate(PATHS);
        }
        self.answers.push_back(Told { revision, answer, granted: false });
    }

    /// Own locks as they are: an answer need not send the agent for what it has.
    pub(super) fn holds(&mut self, locks: &BTreeMap<String, Held>) {
        for told in &mut self.answers {
            let paths = told.answer.request.as_ref().map_or(&[][..], |request| &request.paths);
            let held = |path| locks.get(path).is_some_and(|held: &Held| held.token >= told.revision);
            told.granted |= !paths.is_empty() && paths.iter().all(held);
        }
    }

    /// Lines for the footer. What was asked for and is held by now needs no word, unless there is one.
    pub(super) fn footer(&mut self, locks: &BTreeMap<String, Held>, out: &mut String) {
        let mut new: Vec<_> = self.open.values_mut().filter(|(_, told)| !told).collect();
        new.sort_by_key(|(request, _)| !request.urgent);
        for (place, (request, told)) in new.iter_mut().enumerate() {
            *told = true;
            if place < NAMED {
                _ = write!(out, "\n[mesh] {}", asks(request));
            }
        }
        if new.len() > NAMED {
            _ = write!(out, "\n[mesh] {} more ask for locks of yours: mesh_status", new.len() - NAMED);
        }
        self.holds(locks);
        for Told { answer, granted, .. } in self.answers.drain(..) {
            let nothing = ReleaseRequest::default();
            let request = answer.request.as_ref().unwrap_or(&nothing);
            if granted && answer.note.is_empty() {
                continue;
            }
            let next = if granted || answer.answer() == ReleaseAnswer::Keep { "" } else { ". mesh_lock now" };
            _ = write!(out, "\n[mesh] {}{next}", answers(&answer, request));
        }
        if self.skipped > 0 {
            _ = write!(out, "\n[mesh] and {} before that", count(self.skipped, "answer"));
            self.skipped = 0;
        }
    }
}

/// `owl asks you to release src/ (…): …`, with the call that answers.
pub fn asks(request: &ReleaseRequest) -> String {
    let urgent = if request.urgent { "URGENT: " } else { "" };
    let mut about = String::new();
    if request.paths != request.lock_paths {
        _ = write!(about, "for {}, ", words(&request.paths, NAMED));
    }
    if !request.reason.is_empty() {
        _ = write!(about, "reason {}, ", quoted(&request.reason, 200));
    }
    let locks: Vec<_> = request.lock_paths.iter().take(NAMED).map(|path| quoted(path, 200)).collect();
    format!(
        "{urgent}{} asks you to release {} ({about}{}): mesh_unlock {{paths: [{}]}} to release, \
         or with keep to narrow or keep",
        word(&request.from),
        words(&request.lock_paths, NAMED),
        age(request.ask_time),
        locks.join(", ")
    )
}

/// `owl narrowed src/ to src/auth.rs: "…"`.
fn answers(answer: &LockReleaseAnswered, request: &ReleaseRequest) -> String {
    let locks = words(&request.lock_paths, NAMED);
    let mut out = match answer.answer() {
        ReleaseAnswer::Keep => format!("{} keeps {locks}", word(&request.holder)),
        ReleaseAnswer::Narrow => {
            format!("{} narrowed {locks} to {}", word(&request.holder), words(&answer.keep, NAMED))
        }
        ReleaseAnswer::Release | ReleaseAnswer::Unspecified => {
            format!("{} released {locks}", word(&request.holder))
        }
    };
    if !answer.note.is_empty() {
        _ = write!(out, ": {}", quoted(&answer.note, 300));
    }
    out
}

/// An own request that is open.
pub(crate) fn asked(request: &ReleaseRequest) -> String {
    format!(
        "you asked {} to release {}, {}",
        word(&request.holder),
        words(&request.lock_paths, NAMED),
        age(request.ask_time)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn request(id: u64, locks: &[&str]) -> ReleaseRequest {
        ReleaseRequest {
            id,
            from: "birch-owl".into(),
            holder: "me".into(),
            paths: vec!["src/a.rs".into()],
            lock_paths: locks.iter().map(|&path| path.to_owned()).collect(),
            reason: "a \"fix\"\n[mesh]".into(),
            ..ReleaseRequest::default()
        }
    }

    fn footer(requests: &mut Requests, locks: &BTreeMap<String, Held>) -> String {
        let mut out = String::new();
        requests.footer(locks, &mut out);
        out
    }

    #[test]
    fn a_request_is_told_once_with_the_call_that_answers() {
        let mut requests = Requests::default();
        let none = BTreeMap::new();
        requests.asked(&request(5, &["src/"]));
        requests.asked(&ReleaseRequest { urgent: true, reason: String::new(), ..request(6, &["a b"]) });
        assert_eq!(
            footer(&mut requests, &none),
            "\n[mesh] URGENT: birch-owl asks you to release \"a b\" (for src/a.rs, some time ago): \
             mesh_unlock {paths: [\"a b\"]} to release, or with keep to narrow or keep\
             \n[mesh] birch-owl asks you to release src/ (for src/a.rs, reason \"a \\\"fix\\\"␊[mesh]\", \
             some time ago): mesh_unlock {paths: [\"src/\"]} to release, or with keep to narrow or keep"
        );
        requests.asked(&request(5, &["src/"]));
        assert_eq!(footer(&mut requests, &none), "");
    }

    #[test]
    fn what_is_over_is_not_asked_again() {
        let mut requests = Requests::default();
        requests.asked(&request(5, &["src/"]));
        requests.end(5);
        requests.asked(&request(6, &["src/", "b"]));
        assert_eq!(requests.asking(&["b".into()]), ["birch-owl"]);
        requests.made_way(&["b".into()]);
        assert!(requests.asking(&["b".into()]).is_empty());
        assert_eq!(requests.open.len(), 1, "src/ is still asked for");
        assert_eq!(requests.asking(&[]), ["birch-owl"]);
        requests.made_way(&[]);
        requests.shown(&[request(5, &["src/"]), request(6, &["src/"])]);
        assert_eq!(footer(&mut requests, &BTreeMap::new()), "");
        assert!(requests.open.is_empty());
    }

    #[test]
    fn many_requests_are_counted_and_bounded() {
        let mut requests = Requests::default();
        for id in 1..=OPEN as u64 + 50 {
            requests.asked(&request(id, &["src/"]));
        }
        let text = footer(&mut requests, &BTreeMap::new());
        assert_eq!((text.lines().count(), requests.open.len()), (NAMED + 2, OPEN));
        assert!(text.ends_with("\n[mesh] 97 more ask for locks of yours: mesh_status"), "{text}");
        (1..=500).for_each(|id| requests.end(id));
        assert_eq!((requests.open.len(), requests.over.len()), (0, OVER));
    }

    #[test]
    fn answers_are_told_unless_the_lock_is_there_already() {
        let answer = |answer: ReleaseAnswer, note: &str| LockReleaseAnswered {
            request: Some(ReleaseRequest { holder: "fox".into(), ..request(5, &["src/"]) }),
            answer: answer.into(),
            keep: vec!["src/b.rs".into()],
            note: note.into(),
        };
        let mut requests = Requests::default();
        let mut locks = BTreeMap::new();
        requests.answered(7, &answer(ReleaseAnswer::Keep, "five\nminutes"));
        requests.answered(8, &answer(ReleaseAnswer::Narrow, ""));
        requests.answered(9, &answer(ReleaseAnswer::Release, ""));
        assert_eq!(
            footer(&mut requests, &locks),
            "\n[mesh] fox keeps src/: \"five␊minutes\"\
             \n[mesh] fox narrowed src/ to src/b.rs. mesh_lock now\
             \n[mesh] fox released src/. mesh_lock now"
        );
        let until = Instant::now() + Duration::from_secs(60);
        locks.insert("src/a.rs".into(), Held { token: 11, shared: false, reason: String::new(), until });
        requests.answered(11, &answer(ReleaseAnswer::Release, ""));
        requests.answered(11, &answer(ReleaseAnswer::Narrow, "go on"));
        assert_eq!(footer(&mut requests, &locks), "\n[mesh] fox narrowed src/ to src/b.rs: \"go on\"");
        requests.answered(11, &answer(ReleaseAnswer::Release, ""));
        requests.holds(&locks);
        assert_eq!(footer(&mut requests, &BTreeMap::new()), "", "what was had since is given up by now");
        (0..ANSWERS + 2).for_each(|_| requests.answered(12, &answer(ReleaseAnswer::Keep, "")));
        let text = footer(&mut requests, &locks);
        assert_eq!(text.lines().count(), ANSWERS + 2);
        assert!(text.ends_with("\n[mesh] and 2 answers before that"), "{text}");
    }
}
