//! What can happen to the mesh; who and what is looked up when it does.

use proptest::sample::Index;

/// Something that happens to the mesh.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Join {
        scope: usize,
        name: Option<usize>,
        key: Option<usize>,
        ttl: u64,
        focus: usize,
        branch: usize,
    },
    /// A known peer joins anew, by its resume key if it has one.
    Rejoin {
        peer: Index,
        ttl: u64,
    },
    Ask {
        who: Who,
        what: Ask,
    },
    /// The broker notices that a session's stream is gone.
    Disconnect(Who),
    /// The broker believes that something is over, and it may not be.
    Expire(Index),
    /// The broker believes that locks of a scope can be handed over, and they cannot.
    Handover(usize),
    /// A session shows a sign of life.
    Alive(Who),
    /// Time goes by.
    Wait(u64),
    /// The broker is killed and starts again.
    Restart,
}

/// A session: mostly a live one.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// The first that there is.
    First,
    Live(Index),
    Any(Index),
    Nobody,
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Update {
        focus: Option<usize>,
        branch: Option<usize>,
        files: Option<Vec<usize>>,
        activity: Option<usize>,
        wake: Option<usize>,
        children: Option<Vec<usize>>,
        ttl: Option<u64>,
    },
    Leave,
    Send {
        to: To,
        body: usize,
        reply: Reply,
        paths: Vec<usize>,
        urgent: bool,
    },
    /// A message is sent again, perhaps not quite the same; mostly by its sender.
    Resend {
        which: Index,
        twist: Twist,
        own: bool,
    },
    Acknowledge(UpTo),
    Follow {
        follow: Vec<usize>,
        unfollow: Vec<usize>,
    },
    /// More topics than a peer may follow.
    FollowTooMany,
    Put(Write),
    Delete(Write),
    Restore {
        write: Write,
        version: u64,
    },
    Transact {
        scope: Option<usize>,
        operations: Vec<(Kind, Write)>,
    },
    SetPolicy {
        scope: Option<usize>,
        prefix: usize,
        kind: Option<usize>,
    },
    Touch {
        touches: Vec<(usize, bool)>,
        branch: Option<usize>,
    },
    Locking(Locking),
}

/// What is asked about locks.
#[derive(Clone, Debug)]
pub(crate) enum Locking {
    Acquire {
        targets: Vec<usize>,
        shared: bool,
        ttl: u64,
        reason: usize,
        wait: u64,
        contract: Option<usize>,
    },
    /// Mostly by whoever waits or has waited.
    Abandon {
        which: Index,
        own: bool,
    },
    Renew {
        which: Which,
        ttl: Option<u64>,
    },
    Release {
        which: Which,
        keep: Vec<usize>,
        fits: bool,
    },
    RequestRelease {
        targets: Vec<usize>,
        shared: bool,
        reason: usize,
        urgent: bool,
    },
    /// Mostly by whoever was asked.
    AnswerRelease {
        which: Index,
        answer: usize,
        keep: Vec<usize>,
        own: bool,
        fits: bool,
    },
    ForceRelease {
        targets: Vec<usize>,
        reason: usize,
    },
}

/// Recipients of a message.
#[derive(Clone, Debug)]
pub(crate) enum To {
    Direct(Vec<usize>),
    Broadcast,
    Topic(usize),
}

/// What a message answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Nothing,
    Stored(Index),
    /// A message that is not there, or not yet.
    Unknown(u64),
}

/// What is another thing about a message that is sent again.
#[derive(Clone, Debug)]
pub(crate) enum Twist {
    Nothing,
    Order,
    Paths,
    Body,
    Urgency,
    Intent,
    Reply,
    Recipients,
}

/// A write to an entry, in all that it may have.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) scope: Option<usize>,
    pub(crate) key: usize,
    pub(crate) value: usize,
    pub(crate) when: When,
    pub(crate) ttl: Option<u64>,
    pub(crate) path: Option<usize>,
    pub(crate) tag: Option<usize>,
    pub(crate) keep: bool,
    pub(crate) fence: Option<Fence>,
}

/// The lock that protects a write, or is believed to.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    pub(crate) lock: Index,
    pub(crate) target: Option<usize>,
    pub(crate) is_old: bool,
}

/// Kind of an operation in a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Put,
    Delete,
    Check,
}

/// Locks to renew or release.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    All,
    /// One that the caller has.
    Own(Index),
    These(Vec<usize>),
}

#[derive(Clone, Debug)]
pub(crate) enum UpTo {
    Newest,
    Past(Index),
    Future,
}

#[derive(Clone, Debug)]
pub(crate) enum When {
    Any,
    Absent,
    /// The version as it is, or beside it.
    Version(u64),
    /// The revision as it is, or that of a former version.
    Revision(Seen),
    /// What the session has read last.
    LastRead(Seen),
}

/// A revision of an entry that somebody has seen.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Never,
    Present,
    Former(Index),
    /// One that the entry never had.
    Wrong,
}
