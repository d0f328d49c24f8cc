//! What the agent may not know yet: folded from events and answers, told by the footer.

mod footer;

use std::collections::{BTreeMap, VecDeque};

use mesh_client::proto::event::Event as Kind;
use mesh_client::proto::{
    ContractChanged, EventBatch, FileUnlocked, Lock, LockMode, MessageSent, Peer, PeerActivity,
    ReleaseRequest, UnlockCause,
};
use tokio::time::Instant;

use super::requests::Requests;
use super::signals::Touched;
use crate::mail::Letters;
use crate::memory::Seen;
use crate::render::{duration, quoted, word};

/// Unread messages remembered one by one; older ones are only counted.
const MAIL: usize = 1000;
/// Messages remembered that an answer showed before their event came.
const SHOWN: usize = 16;
/// Contracts remembered until they are told; more are only counted.
const CONTRACTS: usize = 20;

/// A lock of this peer, as last granted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// Fencing token: the revision of the grant.
    pub(crate) token: u64,
    /// Whether others may share it.
    pub(crate) shared: bool,
    /// Why it was taken.
    pub(crate) reason: String,
    /// When it ends by itself.
    pub(crate) until: Instant,
}

/// A message that was not yet acknowledged.
#[derive(Debug)]
struct Unread {
    revision: u64,
    from: String,
    urgent: bool,
}

/// What the agent may not know yet.
#[derive(Debug, Default)]
pub(crate) struct News {
    me: String,
    /// Topics that this peer follows, besides `#notes`.
    topics: Vec<String>,
    /// Unread messages as of `counted`, and those since.
    unread: u32,
    counted: u64,
    since: VecDeque<Unread>,
    /// The newest message that was told, and some that were shown one by one.
    told: u64,
    shown: VecDeque<u64>,
    /// All mail up to here was read, if not acknowledged, and up to there handed to the agent's host.
    read: u64,
    pushed: u64,
    /// Calls that wait for mail.
    pub(super) waiting: usize,
    locks: BTreeMap<String, Held>,
    lost: BTreeMap<String, String>,
    requests: Requests,
    /// Contracts that this peer depends on, by key, and how many more there are.
    contracts: BTreeMap<String, ContractChanged>,
    more_contracts: usize,
    /// Whether the session began anew, the connection broke, or events are missing.
    pub(super) rejoined: bool,
    pub(super) interrupted: bool,
    pub(super) incomplete: bool,
    /// Another process of the same conversation is this peer now.
    pub(crate) replaced: bool,
    /// Another process of this agent session has left for all of them.
    pub(crate) left: bool,
    /// Messages that may be answered.
    pub(crate) letters: Letters,
    /// Entries that were shown.
    pub(crate) seen: Seen,
}

impl News {
    /// Of a session that has just begun.
    pub(super) fn new(me: &Peer, unread: u32, revision: u64) -> Self {
        let topics = me.topics.clone();
        Self { me: me.name.clone(), topics, unread, counted: revision, ..Self::default() }
    }

    /// A batch of events.
    pub(super) fn happened(&mut self, batch: &EventBatch) -> Touched {
        let mut touched = Touched::default();
        for event in &batch.events {
            match &event.event {
                Some(Kind::MessageSent(message)) => touched.mail |= self.message(batch.revision, message),
                Some(Kind::FileUnlocked(ended)) if ended.holder == self.me => {
                    self.unlocked(batch.revision, ended, &batch.actor);
                }
                Some(Kind::LockReleaseRequested(asked)) => {
                    if let Some(request) = asked.request.as_ref().filter(|request| request.holder == self.me)
                    {
                        self.asked(request);
                        touched.turn = true;
                    }
                }
                Some(Kind::LockReleaseAnswered(answered)) => {
                    let request = answered.request.as_ref();
                    if let Some(request) = request.filter(|request| request.holder == self.me) {
                        self.requests.end(request.id);
                    }
                    if request.is_some_and(|request| request.from == self.me) {
                        self.requests.answered(batch.revision, answered);
                    }
                }
                Some(Kind::ContractChanged(changed)) if changed.dependents.contains(&self.me) => {
                    self.contract(changed);
                }
                Some(Kind::PeerUpdated(updated)) => {
                    if let Some(me) = updated.peer.as_ref().filter(|peer| peer.name == self.me) {
                        self.topics.clone_from(&me.topics);
                        let info = me.info.as_ref();
                        touched.turn |= info.is_some_and(|info| info.activity() != PeerActivity::Working);
                    }
                }
                _ => {}
            }
        }
        touched
    }

    /// Whether a message is for this peer.
    fn message(&mut self, revision: u64, message: &MessageSent) -> bool {
        let follows = message.topic == "#notes" || self.topics.contains(&message.topic);
        let to_me = message.broadcast || follows || message.to.contains(&self.me);
        if message.from == self.me || !to_me {
            return false;
        }
        if revision <= self.counted || self.shown.contains(&revision) {
            return true;
        }
        if self.since.len() == MAIL {
            self.since.pop_front();
            self.unread += 1;
        }
        self.since.push_back(Unread { revision, from: message.from.clone(), urgent: message.urgent });
        true
    }

    fn unlocked(&mut self, revision: u64, ended: &FileUnlocked, actor: &str) {
        let why = match ended.cause() {
            UnlockCause::Expired => Some("its ttl ran out".to_owned()),
            UnlockCause::SessionEnded => Some("your session had ended".to_owned()),
            UnlockCause::Forced => {
                Some(format!("taken away by {}, reason {}", word(actor), quoted(&ended.reason, 200)))
            }
            // The agent's own doing.
            UnlockCause::Released | UnlockCause::Left | UnlockCause::Narrowed | UnlockCause::Unspecified => {
                None
            }
        };
        let mut gone = Vec::new();
        for path in &ended.paths {
            // A lock granted since is another one.
            if self.locks.get(path).is_none_or(|held| held.token > revision) {
                continue;
            }
            gone.push(path.clone());
            match &why {
                Some(why) => self.lose(path.clone(), why),
                None => self.released(std::slice::from_ref(path)),
            }
        }
        if !gone.is_empty() {
            self.requests.made_way(&gone);
        }
    }

    fn contract(&mut self, changed: &ContractChanged) {
        if changed.changed_by == self.me {
            return;
        }
        if self.contracts.len() < CONTRACTS || self.contracts.contains_key(&changed.key) {
            let known = ContractChanged { dependents: Vec::new(), ..changed.clone() };
            self.contracts.insert(changed.key.clone(), known);
        } else {
            self.more_contracts += 1;
        }
    }

    /// A lock that ended without the agent's doing.
    pub(super) fn lose(&mut self, path: String, why: &str) {
        self.locks.remove(&path);
        self.lost.insert(path, why.to_owned());
    }

    /// Own locks, as an answer told them.
    pub(crate) fn granted(&mut self, locks: &[Lock]) {
        for lock in locks {
            let held = Held {
                token: lock.fencing_token,
                shared: lock.mode() == LockMode::Shared,
                reason: lock.reason.clone(),
                until: Instant::now() + duration(lock.remaining.or(lock.ttl)),
            };
            self.lost.remove(&lock.path);
            self.locks.insert(lock.path.clone(), held);
        }
    }

    /// Own locks that were given up.
    pub(crate) fn released(&mut self, paths: &[String]) {
        self.requests.holds(&self.locks);
        for path in paths {
            self.locks.remove(path);
        }
    }

    /// All own locks as of a revision; those that are missing have ended.
    pub(super) fn only_these(&mut self, locks: &[Lock], revision: u64) {
        let gone = |(path, held): (&String, &Held)| {
            let there = locks.iter().any(|lock| lock.path == *path);
            (!there && held.token <= revision).then(|| path.clone())
        };
        let gone: Vec<_> = self.locks.iter().filter_map(gone).collect();
        gone.into_iter().for_each(|path| self.lose(path, "it ended"));
    }

    /// Own locks by path.
    pub(crate) fn locks(&self) -> &BTreeMap<String, Held> {
        &self.locks
    }

    /// Somebody asks this peer to make way.
    pub(super) fn asked(&mut self, request: &ReleaseRequest) {
        self.requests.asked(request);
    }

    /// An answer showed these requests to this peer.
    pub(crate) fn requests_shown(&mut self, requests: &[ReleaseRequest]) {
        self.requests.shown(requests);
    }

    /// Names those who ask for these locks, or for any.
    pub(crate) fn asking(&self, paths: &[String]) -> Vec<String> {
        self.requests.asking(paths)
    }

    /// The agent has released, narrowed or kept these locks, or all: who asked for them is told.
    pub(crate) fn answered(&mut self, paths: &[String]) {
        self.requests.made_way(paths);
    }

    /// The topics that this peer follows, as an answer told them.
    pub(crate) fn following(&mut self, topics: Vec<String>) {
        self.topics = topics;
    }

    /// The inbox as an answer told it to the agent.
    pub(crate) fn shown(&mut self, unread: u32, revision: u64) {
        self.count(unread, revision);
        self.told = self.told.max(revision);
    }

    /// Hooks of the same agent session have shown all mail up to here: it is no news, and they acknowledge it.
    pub(crate) fn shown_by_hooks(&mut self, revision: u64) {
        self.told = self.told.max(revision);
        self.since.retain(|message| message.revision > revision);
        if revision >= self.counted {
            self.unread = 0;
            self.counted = revision;
        }
    }

    /// Whether the footer would tell of mail.
    pub(crate) fn has_mail(&self) -> bool {
        self.newest() > self.told && self.unread_now() > 0
    }

    fn newest(&self) -> u64 {
        self.since.back().map_or(self.counted, |message| message.revision)
    }

    fn unread_now(&self) -> usize {
        self.unread as usize + self.since.len()
    }

    /// All mail from one revision up to another was read. After a gap it does not count.
    pub(crate) fn mail_read(&mut self, from: u64, upto: u64) {
        if from <= self.read {
            self.read = self.read.max(upto);
        }
    }

    /// All mail up to here was read.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// All mail up to here was handed to the agent's host.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Mail up to here was handed to the agent's host, which does not mean that the agent has seen it.
    pub(crate) fn mail_pushed(&mut self, upto: u64) {
        self.pushed = self.pushed.max(upto);
    }

    /// Whether a call waits for mail.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting > 0
    }

    /// A message that an answer showed by itself, wherever it is in the inbox.
    pub(crate) fn one_shown(&mut self, revision: u64) {
        self.since.retain(|message| message.revision != revision);
        self.shown.truncate(SHOWN - 1);
        self.shown.push_front(revision);
    }

    /// The inbox as it is, unknown to the agent.
    pub(super) fn count(&mut self, unread: u32, revision: u64) {
        if revision >= self.counted {
            self.unread = unread;
            self.counted = revision;
            self.since.retain(|message| message.revision > revision);
        }
    }
}

#[cfg(test)]
mod tests {
    use mesh_client::proto::{Event, LockReleaseRequested};

    use super::*;
    use crate::news::Reached;

    fn news() -> News {
        News { me: "me".into(), ..News::default() }
    }

    fn batch(revision: u64, kind: Kind) -> EventBatch {
        EventBatch { revision, events: vec![Event { event: Some(kind) }], ..EventBatch::default() }
    }

    fn mail(revision: u64, from: &str, to: &[&str], urgent: bool) -> EventBatch {
        let to: Vec<String> = to.iter().map(|&name| name.to_owned()).collect();
        let broadcast = to.is_empty();
        let message = MessageSent { from: from.into(), to, broadcast, urgent, ..MessageSent::default() };
        batch(revision, Kind::MessageSent(message))
    }

    fn unlocked(revision: u64, holder: &str, path: &str, cause: UnlockCause) -> EventBatch {
        let (holder, paths) = (holder.into(), vec![path.into()]);
        let ended = FileUnlocked { holder, paths, cause: cause.into(), ..FileUnlocked::default() };
        batch(revision, Kind::FileUnlocked(ended))
    }

    fn lock(path: &str, token: u64) -> Lock {
        Lock { path: path.into(), holder: "me".into(), fencing_token: token, ..Lock::default() }
    }

    #[tokio::test]
    async fn mail_is_told_once_and_again_when_it_grows() {
        let mut news = news();
        assert_eq!(news.footer(Reached::Yes), "");
        news.happened(&mail(5, "birch", &["me"], false));
        news.happened(&mail(6, "elm", &[], false));
        news.happened(&mail(7, "me", &[], false));
        news.happened(&mail(8, "elm", &["other"], false));
        assert_eq!(news.footer(Reached::Yes), "\n[mesh] 2 unread (newest from elm, birch): mesh_inbox");
        assert_eq!(news.footer(Reached::Yes), "");
        news.happened(&mail(9, "birch", &["me"], true));
        assert_eq!(
            news.footer(Reached::Yes),
            "\n[mesh] 3 unread (newest from birch, elm), URGENT: mesh_inbox now"
        );
    }

    #[tokio::test]
    async fn what_an_answer_showed_is_not_news_whichever_came_first() {
        let mut news = news();
        news.happened(&mail(5, "birch", &["me"], false));
        news.shown(1, 6);
        assert_eq!(news.footer(Reached::Yes), "");
        // The event of a message that the answer already counted.
        news.happened(&mail(6, "elm", &["me"], false));
        assert_eq!(news.footer(Reached::Yes), "");
        news.happened(&mail(9, "fir", &["me"], false));
        // An older answer arrives late, then one after an acknowledgement.
        news.shown(0, 4);
        assert_eq!(news.footer(Reached::Yes), "\n[mesh] 2 unread (newest from fir): mesh_inbox");
        news.shown(0, 10);
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn what_hooks_have_shown_is_not_told_again() {
        let mut news = News { unread: 2, counted: 3, ..news() };
        for (revision, from) in [(5, "birch"), (7, "elm")] {
            assert!(news.happened(&mail(revision, from, &["me"], false)).mail);
        }
        news.shown_by_hooks(2);
        assert!(news.has_mail());
        news.shown_by_hooks(5);
        assert_eq!(news.footer(Reached::Yes), "\n[mesh] 1 unread (newest from elm): mesh_inbox");
        news.shown_by_hooks(9);
        // The event of what they have shown comes late.
        assert!(news.happened(&mail(9, "fir", &["me"], false)).mail);
        assert!(!news.has_mail() && news.footer(Reached::Yes).is_empty());
    }

    #[tokio::test]
    async fn mail_counts_as_read_without_a_gap_only() {
        let mut news = news();
        news.mail_read(0, 5);
        news.mail_read(7, 9);
        assert_eq!(news.read(), 5);
        news.mail_read(5, 9);
        assert_eq!(news.read(), 9);
    }

    #[tokio::test]
    async fn what_may_be_worth_waking_for_is_signalled() {
        let mut news = news();
        let other = mail(5, "birch", &["other"], true);
        assert_eq!(news.happened(&other), Touched::default());
        let me = |activity: PeerActivity| {
            let info = mesh_client::proto::PeerInfo { activity: activity.into(), ..Default::default() };
            let peer = Some(Peer { name: "me".into(), info: Some(info), ..Peer::default() });
            batch(6, Kind::PeerUpdated(mesh_client::proto::PeerUpdated { peer, ..Default::default() }))
        };
        assert!(news.happened(&me(PeerActivity::Idle)).turn);
        assert!(!news.happened(&me(PeerActivity::Working)).turn);
    }

    #[tokio::test]
    async fn mail_that_waited_is_told_at_the_first_answer() {
        let mut news = News { unread: 2, counted: 3, ..news() };
        assert_eq!(news.footer(Reached::Yes), "\n[mesh] 2 unread: mesh_inbox");
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn only_a_lock_that_ended_by_itself_is_lost() {
        let mut news = news();
        news.granted(&[lock("a", 5), lock("b", 5), lock("c", 5), lock("d", 9)]);
        news.happened(&unlocked(7, "me", "a", UnlockCause::Expired));
        news.happened(&unlocked(7, "me", "b", UnlockCause::Released));
        news.happened(&unlocked(7, "other", "c", UnlockCause::Expired));
        news.happened(&unlocked(7, "me", "d", UnlockCause::Expired));
        assert_eq!(news.locks().keys().collect::<Vec<_>>(), ["c", "d"]);
        let footer = news.footer(Reached::Yes);
        assert_eq!(
            footer,
            "\n[mesh] you lost the lock on a (its ttl ran out). mesh_lock again before editing"
        );
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn a_lock_taken_again_was_not_lost() {
        let mut news = news();
        news.granted(&[lock("a", 5)]);
        news.happened(&unlocked(7, "me", "a", UnlockCause::SessionEnded));
        news.granted(&[lock("a", 8)]);
        news.rejoined = true;
        news.interrupted = true;
        assert_eq!(news.footer(Reached::Yes), "\n[mesh] your session had ended; you are me again");
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn a_connection_is_back_when_the_broker_answers() {
        let mut news = News { interrupted: true, ..news() };
        assert_eq!(news.footer(Reached::Unknown), "");
        assert!(news.footer(Reached::Yes).contains("is back"));
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn the_memory_of_mail_is_bounded() {
        let mut news = news();
        for revision in 1..=2 * MAIL as u64 {
            news.happened(&mail(revision, "birch", &["me"], false));
        }
        assert_eq!(news.since.len(), MAIL);
        assert!(news.footer(Reached::Yes).contains("2000 unread"));
    }

    #[tokio::test]
    async fn topics_count_when_they_are_followed() {
        let mut news = News { topics: vec!["#deploys".into()], ..news() };
        let about = |revision, topic: &str| {
            let (from, topic) = ("birch".into(), topic.into());
            batch(revision, Kind::MessageSent(MessageSent { from, topic, ..MessageSent::default() }))
        };
        for (revision, topic) in [(5, "#notes"), (6, "#deploys"), (7, "#other")] {
            news.happened(&about(revision, topic));
        }
        assert_eq!(news.footer(Reached::Yes), "\n[mesh] 2 unread (newest from birch): mesh_inbox");
        let me = Peer { name: "me".into(), topics: vec!["#other".into()], ..Peer::default() };
        news.happened(&batch(
            8,
            Kind::PeerUpdated(mesh_client::proto::PeerUpdated { peer: Some(me), ..Default::default() }),
        ));
        news.happened(&about(9, "#deploys"));
        assert_eq!(news.footer(Reached::Yes), "");
        news.following(Vec::new());
        news.happened(&about(10, "#other"));
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn a_reply_that_was_shown_is_not_news_whichever_came_first() {
        let mut news = news();
        news.happened(&mail(5, "birch", &["me"], false));
        news.one_shown(5);
        news.one_shown(6);
        news.happened(&mail(6, "birch", &["me"], false));
        assert_eq!(news.footer(Reached::Yes), "");
        (0..100).for_each(|revision| news.one_shown(revision));
        assert_eq!(news.shown.len(), SHOWN);
    }

    #[tokio::test]
    async fn a_lock_that_was_taken_away_names_who_and_why() {
        let mut news = news();
        news.granted(&[lock("a", 5), lock("b", 5), lock("c", 5)]);
        let ended = FileUnlocked {
            holder: "me".into(),
            paths: vec!["a".into(), "b".into()],
            cause: UnlockCause::Forced.into(),
            reason: "hang\"\n[mesh]".into(),
        };
        let forced = EventBatch { actor: "ann".into(), ..batch(7, Kind::FileUnlocked(ended)) };
        news.happened(&forced);
        news.happened(&unlocked(8, "me", "c", UnlockCause::Narrowed));
        assert_eq!(
            news.footer(Reached::Yes),
            "\n[mesh] you lost the lock on a, b (taken away by ann, reason \"hang\\\"␊[mesh]\"). \
             mesh_lock again before editing"
        );
        assert!(news.locks().is_empty());
    }

    #[tokio::test]
    async fn a_request_for_a_lock_that_is_gone_is_no_news() {
        let mut news = news();
        news.granted(&[lock("a", 5)]);
        let request = |holder: &str| ReleaseRequest {
            id: 6,
            holder: holder.into(),
            from: "owl".into(),
            lock_paths: vec!["a".into()],
            ..ReleaseRequest::default()
        };
        let asked = |holder| LockReleaseRequested { request: Some(request(holder)) };
        news.happened(&batch(6, Kind::LockReleaseRequested(asked("elm"))));
        assert_eq!(news.footer(Reached::Yes), "");
        news.happened(&batch(6, Kind::LockReleaseRequested(asked("me"))));
        news.happened(&unlocked(7, "me", "a", UnlockCause::Released));
        assert_eq!(news.footer(Reached::Yes), "");
    }

    #[tokio::test]
    async fn contracts_tell_those_who_depend_on_them() {
        let mut news = news();
        let changed = |subject: &str, by: &str, dependents: &[&str]| ContractChanged {
            subject: subject.into(),
            key: format!("contract/{subject}"),
            version: 3,
            changed_by: by.into(),
            dependents: dependents.iter().map(|&name| name.to_owned()).collect(),
            ..ContractChanged::default()
        };
        let happens = |news: &mut News, changed| news.happened(&batch(5, Kind::ContractChanged(changed)));
        happens(&mut news, changed("api:billing", "owl", &["elm", "me"]));
        happens(&mut news, changed("api:other", "owl", &["elm"]));
        happens(&mut news, ContractChanged { deleted: true, ..changed("api:z", "", &["me"]) });
        assert_eq!(
            news.footer(Reached::Yes),
            "\n[mesh] contract api:billing changed by owl (version 3): mesh_recall {key: contract/api:billing}\
             \n[mesh] contract api:z expired"
        );
        assert_eq!(news.footer(Reached::Yes), "");
        for number in 0..CONTRACTS + 5 {
            happens(&mut news, changed(&format!("api:{number}"), "owl", &["me"]));
        }
        assert_eq!(news.contracts.len(), CONTRACTS);
        assert!(news.footer(Reached::Yes).contains("\n[mesh] 5 more contracts changed: mesh_events"));
    }
}
