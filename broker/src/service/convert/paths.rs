//! What is known about a path on the wire.

use std::sync::Arc;

use mesh_core::limits;
use mesh_core::record::{EntryRecord, LockRecord, MessageRecord, TouchRecord};
use mesh_proto::v1 as pb;
use prost::Message;

use super::locks::{LockStatus, lock};
use super::{entries, messages, timestamp};

/// A lock on a subject, with its contract.
pub(crate) fn intent(
    held: &LockRecord,
    status: LockStatus,
    contract: Option<&Arc<EntryRecord>>,
) -> pb::Intent {
    pb::Intent { lock: Some(lock(held, status)), contract: contract.map(|contract| entry(contract)) }
}

/// An entry with as much of its value as is shown.
pub(crate) fn entry(record: &EntryRecord) -> pb::Entry {
    let mut entry = entries::entry(record);
    entry.value.truncate(shown(&entry.value));
    entry
}

/// A message with as much of its body as is shown.
pub(crate) fn message(record: &MessageRecord) -> pb::Message {
    let mut message = messages::message(record);
    message.body.truncate(shown(&message.body));
    message
}

/// Whether all of the value is shown.
pub(crate) fn is_shown_whole(entry: &EntryRecord) -> bool {
    shown(&entry.value) == entry.value.len()
}

/// How many bytes of a text are shown: whole characters.
fn shown(text: &str) -> usize {
    let most = text.len().min(limits::ABOUT_BYTES);
    (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// Cuts each list to about as much as a page holds, and says so.
pub(crate) fn cut(answer: &mut pb::DescribePathResponse) {
    let more = &mut answer.more;
    fit(&mut answer.locks, "locks", more);
    fit(&mut answer.waiters, "waiters", more);
    fit(&mut answer.release_requests, "release_requests", more);
    fit(&mut answer.intents, "intents", more);
    fit(&mut answer.entries, "entries", more);
    fit(&mut answer.activity, "activity", more);
    fit(&mut answer.peers, "peers", more);
    fit(&mut answer.messages, "messages", more);
}

fn fit(items: &mut Vec<impl Message>, name: &str, more: &mut Vec<String>) {
    let mut bytes = 0;
    let fits = items.iter().take_while(|item| {
        bytes += item.encoded_len();
        bytes <= limits::PAGE_BYTES
    });
    let fitting = fits.count();
    if fitting < items.len() {
        items.truncate(fitting);
        if more.iter().all(|known| known != name) {
            more.push(name.to_owned());
        }
    }
}

/// What a peer has done to a file.
pub(crate) fn activity(touch: &TouchRecord) -> pb::FileActivity {
    pb::FileActivity {
        path: touch.path.to_string(),
        peer: touch.peer.to_string(),
        branch: touch.branch.clone(),
        worktree: touch.worktree.clone(),
        read_time: touch.read.map(|time| timestamp(time.wall)),
        edit_time: touch.edit.map(|time| timestamp(time.wall)),
        read_revision: touch.read.map_or(0, |time| time.revision.0),
        edit_revision: touch.edit.map_or(0, |time| time.revision.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shown("short"), 5);
        assert_eq!(shown(&"a".repeat(5_000)), 4_096);
        let uneven = format!("a{}", "é".repeat(2_500));
        assert_eq!(shown(&uneven), 4_095);
        assert!(uneven.is_char_boundary(4_095));
    }
}
