//! What is known about a path, as JSON.

use mesh_client::proto;
use serde::Serialize;

use super::{Entry, Lock, Message, Peer, ReleaseRequest, Waiter, time};

/// All that is known about a path.
#[derive(Debug, Serialize)]
pub(crate) struct About<'a> {
    revision: u64,
    path: &'a str,
    locks: Vec<Lock<'a>>,
    waiters: Vec<Waiter<'a>>,
    release_requests: Vec<ReleaseRequest<'a>>,
    intents: Vec<Intent<'a>>,
    entries: Vec<Entry<'a>>,
    activity: Vec<Activity<'a>>,
    peers: Vec<Peer<'a>>,
    messages: Vec<Message<'a>>,
    more: &'a [String],
}

impl<'a> From<&'a proto::DescribePathResponse> for About<'a> {
    fn from(about: &'a proto::DescribePathResponse) -> Self {
        Self {
            revision: about.header.as_ref().map_or(0, |header| header.revision),
            path: &about.path,
            locks: about.locks.iter().map(Lock::from).collect(),
            waiters: about.waiters.iter().map(Waiter::from).collect(),
            release_requests: about.release_requests.iter().map(ReleaseRequest::from).collect(),
            intents: about.intents.iter().map(Intent::from).collect(),
            entries: about.entries.iter().map(Entry::from).collect(),
            activity: about.activity.iter().map(Activity::from).collect(),
            peers: about.peers.iter().map(Peer::from).collect(),
            messages: about.messages.iter().map(Message::from).collect(),
            more: &about.more,
        }
    }
}

/// A lock on a subject, and what it is about.
#[derive(Debug, Serialize)]
pub(crate) struct Intent<'a> {
    lock: Option<Lock<'a>>,
    contract: Option<Entry<'a>>,
}

impl<'a> From<&'a proto::Intent> for Intent<'a> {
    fn from(intent: &'a proto::Intent) -> Self {
        Self {
            lock: intent.lock.as_ref().map(Lock::from),
            contract: intent.contract.as_ref().map(Entry::from),
        }
    }
}

/// What a peer has done to a file.
#[derive(Debug, Serialize)]
pub(crate) struct Activity<'a> {
    path: &'a str,
    peer: &'a str,
    branch: &'a str,
    worktree: &'a str,
    read_time: Option<String>,
    edit_time: Option<String>,
    read_revision: u64,
    edit_revision: u64,
}

impl<'a> From<&'a proto::FileActivity> for Activity<'a> {
    fn from(activity: &'a proto::FileActivity) -> Self {
        Self {
            path: &activity.path,
            peer: &activity.peer,
            branch: &activity.branch,
            worktree: &activity.worktree,
            read_time: time(activity.read_time.as_ref()),
            edit_time: time(activity.edit_time.as_ref()),
            read_revision: activity.read_revision,
            edit_revision: activity.edit_revision,
        }
    }
}
