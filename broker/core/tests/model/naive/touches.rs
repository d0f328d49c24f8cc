//! Who has read or edited which file lately.

use mesh_core::command::Touch;
use mesh_core::event::Event;
use mesh_core::limits::READ_INTERVAL;
use mesh_core::outcome::Outcome;
use mesh_core::record::{TouchKind, TouchRecord, TouchTime};
use mesh_core::rejection::Rejection;
use mesh_core::time::{Now, Timestamp};

use super::{Expected, Naive, done_by};
use crate::world;

impl Naive {
    pub(super) fn touch_files(
        &mut self,
        caller: usize,
        touch: &Touch,
        now: Now,
    ) -> Result<Expected, Rejection> {
        let peer = self.peers[caller].clone();
        let branch = touch.branch.clone().unwrap_or(peer.info.branch.clone());
        let worktree = touch.worktree.clone().unwrap_or(peer.info.worktree.clone());
        if touch.touches.iter().any(|(path, _)| !world::is_file(path)) {
            return Err(Rejection::invalid("touches", ""));
        }
        let before = self.touches.clone();
        let news = touch.touches.iter().filter(|(path, kind)| {
            let own =
                |old: &&TouchRecord| old.scope == peer.scope && old.peer == peer.name && old.path == *path;
            let former = before.iter().find(own);
            *kind == TouchKind::Edit
                || former.is_none_or(|former| {
                    former.worktree != worktree || !repeats_read(former, &before, &branch, now.at)
                })
        });
        let news: Vec<_> = news.cloned().collect();
        if news.is_empty() {
            return Ok(Expected::Answer(Outcome::Done));
        }
        let time = TouchTime { revision: self.next(), at: now.at, wall: now.wall };
        for (path, kind) in &news {
            let own =
                |old: &TouchRecord| old.scope == peer.scope && old.peer == peer.name && old.path == *path;
            let at = self.touches.iter().position(own).unwrap_or_else(|| {
                self.touches.push(TouchRecord {
                    scope: peer.scope.clone(),
                    path: path.clone(),
                    peer: peer.name.clone(),
                    branch: String::new(),
                    worktree: String::new(),
                    read: None,
                    edit: None,
                });
                self.touches.len() - 1
            });
            let record = &mut self.touches[at];
            record.branch = branch.clone();
            record.worktree = worktree.clone();
            match kind {
                TouchKind::Read => record.read = Some(time),
                TouchKind::Edit => record.edit = Some(time),
            }
        }
        let event = Event::FileTouched { peer: peer.name.clone(), branch, touches: news };
        Ok(done_by(&peer, vec![event], Outcome::Done))
    }
}

/// Whether a read tells nothing that was not told within the last minute.
fn repeats_read(former: &TouchRecord, all: &[TouchRecord], branch: &str, now: Timestamp) -> bool {
    let Some(read) = former.read else { return false };
    let edited_since = all.iter().any(|other| {
        let same_file = other.scope == former.scope && other.path == former.path;
        same_file && other.peer != former.peer && other.edit.is_some_and(|edit| edit.revision > read.revision)
    });
    former.branch == branch && now.since(read.at) < READ_INTERVAL && !edited_since
}
