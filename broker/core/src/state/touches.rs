//! Touches: who has read or edited which file lately, and on which branch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::deadlines::Due;
use super::{Change, State, Step};
use crate::command::Touch;
use crate::event::Event;
use crate::id::{PeerName, ScopeId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{
    PeerKey, PeerRecord, Record, RecordKey, TouchKey, TouchKind, TouchRecord, TouchTime, Write,
};
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::target::index::TargetIndex;
use crate::target::{Target, TargetKind};
use crate::time::{Now, Timestamp};

/// All touches, by file and, the oldest first, by peer.
#[derive(Clone, Debug, Default)]
pub struct Touches {
    by_scope: BTreeMap<ScopeId, TargetIndex<BTreeMap<PeerName, Arc<TouchRecord>>>>,
    by_peer: BTreeMap<PeerKey, BTreeMap<(Revision, Target), Arc<TouchRecord>>>,
    count: usize,
}

/// Records that a report writes, by file.
type Written<'a> = BTreeMap<&'a Target, TouchRecord>;

impl Touches {
    /// How many there are: at most one per peer and file.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// What one peer did to a file.
    #[must_use]
    pub fn get(&self, scope: &ScopeId, path: &Target, peer: &PeerName) -> Option<&Arc<TouchRecord>> {
        self.by_scope.get(scope)?.get(path)?.get(peer)
    }

    /// Touches of files that overlap a target, in no order that matters.
    pub fn about<'a>(
        &'a self,
        scope: &ScopeId,
        target: &'a Target,
    ) -> impl Iterator<Item = &'a Arc<TouchRecord>> {
        let files = self.by_scope.get(scope).into_iter().flat_map(|index| index.overlapping(target));
        files.flat_map(|(_, peers)| peers.values())
    }

    /// Whether a read would be no news: the former one is recent, on the same branch, and of the file as it still is.
    fn repeats_read(&self, former: &TouchRecord, branch: &str, now: Timestamp) -> bool {
        let Some(read) = former.read else { return false };
        let others = self.by_scope.get(&former.scope).and_then(|index| index.get(&former.path));
        let edited_since = |other: &TouchRecord| {
            other.peer != former.peer && other.edit.is_some_and(|edit| edit.revision > read.revision)
        };
        former.branch == branch
            && now.since(read.at) < limits::READ_INTERVAL
            && !others.into_iter().flat_map(BTreeMap::values).any(|other| edited_since(other))
    }

    /// A peer's touches, the oldest first.
    fn of_peer(&self, peer: &PeerKey) -> impl Iterator<Item = &Arc<TouchRecord>> {
        self.by_peer.get(peer).into_iter().flat_map(BTreeMap::values)
    }

    fn insert(&mut self, record: &Arc<TouchRecord>) {
        self.remove(&record.key());
        let files = self.by_scope.entry(record.scope.clone()).or_default();
        files.entry(&record.path).insert(record.peer.clone(), record.clone());
        self.by_peer.entry(peer_key(record)).or_default().insert(place(record), record.clone());
        self.count += 1;
    }

    fn remove(&mut self, key: &TouchKey) {
        let Some(files) = self.by_scope.get_mut(&key.scope) else { return };
        let Some(peers) = files.get_mut(&key.path) else { return };
        let Some(record) = peers.remove(&key.peer) else { return };
        if peers.is_empty() {
            files.remove(&key.path);
        }
        if files.is_empty() {
            self.by_scope.remove(&key.scope);
        }
        let peer = peer_key(&record);
        if let Some(touches) = self.by_peer.get_mut(&peer) {
            touches.remove(&place(&record));
            if touches.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
        self.count -= 1;
    }
}

/// Whether a target is one file. Frameworks name files `[slug].tsx`, which as a target is a pattern, and that file too.
fn is_one_file(target: &Target) -> bool {
    match target.kind() {
        TargetKind::File => true,
        TargetKind::Glob => !target.as_str().contains(['*', '?', '{']),
        TargetKind::Subtree | TargetKind::Symbol | TargetKind::Subject => false,
    }
}

impl State {
    pub(super) fn decide_touch(
        &self,
        caller: &Arc<PeerRecord>,
        touch: &Touch,
        now: Now,
    ) -> Result<Step, Rejection> {
        let branch = touch.branch.as_ref().unwrap_or(&caller.info.branch);
        let worktree = touch.worktree.as_ref().unwrap_or(&caller.info.worktree);
        let time = TouchTime { revision: self.next_revision(), at: now.at, wall: now.wall };
        let mut written = Written::new();
        let mut touches = Vec::new();
        for (path, kind) in &touch.touches {
            if !is_one_file(path) {
                return Err(Rejection::invalid("touches", format!("{path} is not one file")));
            }
            let former = self.touches.get(&caller.scope, path, &caller.name);
            let repeats = |former: &Arc<TouchRecord>| {
                former.worktree == *worktree && self.touches.repeats_read(former, branch, now.at)
            };
            if *kind == TouchKind::Read && former.is_some_and(repeats) {
                continue;
            }
            let record = written.entry(path).or_insert_with(|| TouchRecord {
                scope: caller.scope.clone(),
                path: path.clone(),
                peer: caller.name.clone(),
                branch: branch.clone(),
                worktree: worktree.clone(),
                read: former.and_then(|former| former.read),
                edit: former.and_then(|former| former.edit),
            });
            match kind {
                TouchKind::Read => record.read = Some(time),
                TouchKind::Edit => record.edit = Some(time),
            }
            touches.push((path.clone(), *kind));
        }
        if touches.is_empty() {
            return Ok(Step::Answer(Outcome::Done));
        }
        let mut writes = self.touches_that_give_way(caller, &written)?;
        writes.extend(written.into_values().map(|record| Write::Put(Record::Touch(Arc::new(record)))));
        Ok(Step::Change(Change {
            writes,
            events: vec![Event::FileTouched { peer: caller.name.clone(), branch: branch.clone(), touches }],
            ..Change::new(caller.scope.clone(), Some(caller.name.clone()), Outcome::Done)
        }))
    }

    /// The oldest of a peer's other touches, where it would have more than it may.
    fn touches_that_give_way(&self, peer: &PeerRecord, written: &Written) -> Result<Vec<Write>, Rejection> {
        let is_new = |path: &&&Target| self.touches.get(&peer.scope, path, &peer.name).is_none();
        let added = written.keys().filter(is_new).count();
        let key = peer.key();
        let kept = self.touches.by_peer.get(&key).map_or(0, BTreeMap::len);
        let excess = (kept + added).saturating_sub(limits::TOUCHES_PER_PEER);
        let others = self.touches.of_peer(&key).filter(|touch| !written.contains_key(&touch.path));
        let gone: Vec<Write> = others.take(excess).map(|touch| deletion(touch)).collect();
        if self.touches.count + added - gone.len() > limits::TOUCHES_PER_MESH {
            return Err(Rejection::LimitReached { what: "touches", limit: limits::TOUCHES_PER_MESH });
        }
        Ok(gone)
    }

    /// Deletes a touch that is past its retention, and others of the peer that are as well.
    pub(super) fn decide_touch_expiry(&self, key: &TouchKey, now: Now) -> Step {
        let peer = PeerKey { scope: key.scope.clone(), name: key.peer.clone() };
        let due = |touch: &&Arc<TouchRecord>| touch.latest().after(limits::TOUCH_RETENTION) <= now.at;
        let expired = self.touches.of_peer(&peer).take_while(due).take(limits::FORGOTTEN_PER_TRANSACTION);
        let writes: Vec<Write> = expired.map(|touch| deletion(touch)).collect();
        if writes.is_empty() {
            return Step::Answer(Outcome::Done);
        }
        Step::Change(Change { writes, ..Change::new(key.scope.clone(), None, Outcome::Done) })
    }

    pub(super) fn apply_touch(&mut self, record: &Arc<TouchRecord>) {
        self.touches.insert(record);
        let end = record.latest().after(limits::TOUCH_RETENTION);
        self.deadlines.set(Due::Touch(record.key()), end);
    }

    pub(super) fn remove_touch(&mut self, key: &TouchKey) {
        self.touches.remove(key);
        self.deadlines.clear(&Due::Touch(key.clone()));
    }
}

/// A touch's place among those of its peer.
fn place(record: &TouchRecord) -> (Revision, Target) {
    let latest = record.read.iter().chain(&record.edit).map(|time| time.revision).max();
    (latest.unwrap_or(Revision::ZERO), record.path.clone())
}

fn peer_key(record: &TouchRecord) -> PeerKey {
    PeerKey { scope: record.scope.clone(), name: record.peer.clone() }
}

fn deletion(record: &TouchRecord) -> Write {
    Write::Delete(RecordKey::Touch(record.key()))
}
