//! Planted bugs, for the simulation to find: does it see what it says it sees?
//!
//! A bug is planted for one thread, and only where debug assertions are on: elsewhere [`planted`] is a constant, and
//! what hangs on it is not there. Nothing but the simulation plants any.

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// A lock is granted whoever holds it.
    LockGuardDropped,
    /// Who comes last is served before those who wait.
    QueueIgnored,
    /// A grant has the token of the one before.
    TokenNotRising,
    /// A release ends the lock of another peer.
    ReleaseByAnyone,
    /// What becomes free is not handed to those who wait.
    HandoverForgotten,
    /// Of a set of locks all but the last are granted.
    SetTorn,
    /// A wait is over at half its time.
    WaitTooShort,
    /// A lock expires at half its ttl.
    LockTooShort,
    /// A lock does not expire.
    LockImmortal,
    /// Locks of sessions that are over live on.
    OrphansStay,
    /// A precondition is not looked at.
    CompareDropped,
    /// The value of another peer is overwritten unread.
    OverwriteUnread,
    /// A patch changes what another peer changed unread.
    PatchBlind,
    /// What is appended takes the place of what was there.
    AppendReplaces,
    /// An entry expires at half its ttl.
    EntryTooShort,
    /// A sequence has a gap now and then.
    SequenceSkipped,
    /// A cursor goes one further than was acknowledged.
    AcknowledgedTooFar,
    /// An inbox leaves out the message right after the cursor.
    InboxSkips,
    /// A used request id answers another request.
    FingerprintIgnored,
    /// A request is not remembered.
    RequestForgotten,
    /// Callers are answered before the commit.
    AnswerBeforeCommit,
    /// Callers are refused before the commit on which the refusal rests.
    RefusalBeforeCommit,
    /// Events are published before the commit.
    PublishBeforeCommit,
    /// Readers see what is not durable.
    ViewBeforeCommit,
    /// A failed commit is taken for a good one.
    CommitErrorIgnored,
    /// A peer whose stream broke has no time to come back.
    GraceIgnored,
    /// A session ends at its first deadline, heard of or not.
    SignsOfLifeIgnored,
    /// A lease lasts half as long after a sign of life.
    LeaseTooShort,
    /// A reader of the ring begins one too late.
    RingOffByOne,
    /// A reader who is too late goes on where the history begins.
    CompactionNotTold,
    /// A reader of the stored history counts as late.
    HistoryOffByOne,
    /// Recovery leaves out the last transaction.
    LastRecordDropped,
    /// After a restart, leases have less than their full time.
    LeasesNotRestarted,
    /// After a restart, no request is remembered.
    RequestsNotRecovered,
    /// After a restart, the newest message is gone.
    MessageDropped,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 35] = [
        Self::LockGuardDropped,
        Self::QueueIgnored,
        Self::TokenNotRising,
        Self::ReleaseByAnyone,
        Self::HandoverForgotten,
        Self::SetTorn,
        Self::WaitTooShort,
        Self::LockTooShort,
        Self::LockImmortal,
        Self::OrphansStay,
        Self::CompareDropped,
        Self::OverwriteUnread,
        Self::PatchBlind,
        Self::AppendReplaces,
        Self::EntryTooShort,
        Self::SequenceSkipped,
        Self::AcknowledgedTooFar,
        Self::InboxSkips,
        Self::FingerprintIgnored,
        Self::RequestForgotten,
        Self::AnswerBeforeCommit,
        Self::RefusalBeforeCommit,
        Self::PublishBeforeCommit,
        Self::ViewBeforeCommit,
        Self::CommitErrorIgnored,
        Self::GraceIgnored,
        Self::SignsOfLifeIgnored,
        Self::LeaseTooShort,
        Self::RingOffByOne,
        Self::CompactionNotTold,
        Self::HistoryOffByOne,
        Self::LastRecordDropped,
        Self::LeasesNotRestarted,
        Self::RequestsNotRecovered,
        Self::MessageDropped,
    ];
}

#[cfg(debug_assertions)]
mod switch {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        static PLANTED: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Plants a bug for this thread, or takes it out. False where none can be planted.
    pub fn plant(mutation: Option<Mutation>) -> bool {
        PLANTED.set(mutation);
        true
    }

    /// Whether a bug is planted.
    #[must_use]
    pub fn planted(mutation: Mutation) -> bool {
        PLANTED.get() == Some(mutation)
    }
}

#[cfg(not(debug_assertions))]
mod switch {
    use super::Mutation;

    /// Plants a bug for this thread, or takes it out. False where none can be planted.
    pub const fn plant(_: Option<Mutation>) -> bool {
        false
    }

    /// Whether a bug is planted.
    #[must_use]
    pub const fn planted(_: Mutation) -> bool {
        false
    }
}

pub use switch::{plant, planted};
