//! What was asked, what was answered, and what the broker says has happened.

use mesh_client::proto::{Entry, EventBatch, Lock, Peer};

/// All that is known of one run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every call, in any order.
    pub ops: Vec<Op>,
    /// Every batch of the event history, from the first.
    pub log: Vec<EventBatch>,
    /// What further readers of the event history were shown.
    pub watches: Vec<Watched>,
    /// What the state was said to be.
    pub snapshots: Vec<Snapshot>,
    /// Every page of mail and every acknowledgement, of each peer in its order.
    pub mail: Vec<Mail>,
    /// How often a client gave up after ten seconds, and its caller made the call again.
    pub given_up: usize,
    /// Calls that failed although nothing in the contract lets them.
    pub failures: Vec<String>,
}

/// One call that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Name of the calling peer.
    pub peer: String,
    /// The call's own id.
    pub request_id: String,
    /// What was asked.
    pub what: What,
    /// When it was first sent, in microseconds of the run.
    pub started: u64,
    /// When its answer was there.
    pub ended: u64,
    /// The answer.
    pub answer: Answer,
}

/// What a call asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// To join; the session that came of it, if that is known.
    Join(String),
    /// To write a key; with the revision that its last write must have.
    Put(String, Option<u64>),
    /// To delete a key.
    Delete(String),
    /// To send a message.
    Send,
    /// To lock these.
    Acquire(Vec<String>),
    /// To release what is held.
    Release,
    /// To leave.
    Leave,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done at this revision.
    Done(u64),
    /// Refused, as the contract allows.
    Refused,
    /// Nobody knows: the connection broke, and the call was not repeated.
    Unknown,
}

/// What a reader of the event history was shown.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The first revision that it asked for.
    pub from: u64,
    /// Every batch, in order, over all its connections.
    pub seen: Vec<EventBatch>,
}

/// One list, as of one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The revision that the answer shows.
    pub revision: u64,
    /// When it was asked for, in microseconds of the run.
    pub started: u64,
    /// When the answer was there.
    pub ended: u64,
    /// What it shows, whole.
    pub list: List,
}

/// What a list is of.
#[derive(Clone, Debug)]
pub enum List {
    /// Some of the locks that a peer holds: those it was granted.
    Granted(Vec<Lock>),
    /// All locks of the scope.
    Locks(Vec<Lock>),
    /// All entries of the scope.
    Entries(Vec<Entry>),
    /// All peers of the scope with a session.
    Peers(Vec<Peer>),
}

/// What a peer did with its mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The peer.
    pub peer: String,
    /// What it did.
    pub step: MailStep,
}

/// One step of reading mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailStep {
    /// It was shown a page.
    Page {
        /// The revision that the page shows.
        revision: u64,
        /// The cursor as the broker holds it.
        cursor: u64,
        /// Revisions of the messages shown.
        messages: Vec<u64>,
        /// How many are unread, as the broker says.
        unread: u32,
    },
    /// It acknowledged up to a revision; false when it does not know whether that was heard.
    Acknowledged(u64, bool),
}
