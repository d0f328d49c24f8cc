//! What a caller may ask, in the imperative. Fields are parsed: what is in here has its form.

use std::sync::Arc;

use crate::event::LeaveCause;
use crate::id::{EntryKey, MessageId, PeerName, RequestId, ResumeKey, ScopeId, SessionId};
use crate::record::{Fingerprint, Intent, LockMode, PeerInfo, Recipients};
use crate::revision::{Revision, Version};
use crate::state::deadlines::Due;
use crate::target::Target;
use crate::time::Millis;

/// A command with who asks it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The session that asks; none for Join and for the broker itself.
    pub caller: Option<SessionId>,
    /// The caller's own id, for safe retries.
    pub request_id: Option<RequestId>,
    /// Digest of method and content.
    pub fingerprint: Fingerprint,
    /// What is asked.
    pub command: Command,
}

impl Request {
    /// Something that the broker itself does.
    #[must_use]
    pub fn internal(command: Command) -> Self {
        Self { caller: None, request_id: None, fingerprint: Fingerprint::default(), command }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Command {
    /// Begin a session.
    Join(Join),
    /// Say something else of oneself.
    Update(Update),
    /// End the session.
    Leave,
    /// Send a message.
    Send(Send),
    /// Move the inbox cursor.
    Acknowledge {
        /// Everything up to here is read.
        up_to: Revision,
    },
    /// Write an entry.
    Put(Put),
    /// Delete an entry.
    Delete(Delete),
    /// Take locks.
    Acquire(Acquire),
    /// Start the ttl of locks again.
    Renew {
        /// Which; none means all.
        targets: Vec<Target>,
        /// New lifetime, or each lock's own.
        ttl: Option<Millis>,
    },
    /// Give up locks.
    Release {
        /// Which; none means all.
        targets: Vec<Target>,
    },
    /// By the broker: end a session that shows no sign of life.
    End {
        /// The session.
        session: SessionId,
        /// What was noticed.
        cause: LeaveCause,
    },
    /// By the broker: end what is past its deadline.
    Expire(Due),
}

/// Begin a session.
#[derive(Clone, Debug)]
pub struct Join {
    /// Where.
    pub scope: ScopeId,
    /// Name asked for.
    pub name: Option<PeerName>,
    /// What makes it an earlier peer.
    pub resume_key: Option<ResumeKey>,
    /// What the peer says of itself.
    pub info: PeerInfo,
    /// Its lease.
    pub ttl: Millis,
    /// Fresh id for the session.
    pub session: SessionId,
    /// Randomness for a generated name.
    pub name_seed: u64,
}

/// Say something else of oneself: the fields that are given.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Kind of agent.
    pub agent_kind: Option<String>,
    /// Version of the agent program.
    pub agent_version: Option<String>,
    /// Machine.
    pub host: Option<String>,
    /// Process id.
    pub pid: Option<u32>,
    /// Checkout.
    pub worktree: Option<String>,
    /// Branch.
    pub branch: Option<String>,
    /// Commit.
    pub head: Option<String>,
    /// What it is doing.
    pub focus: Option<String>,
    /// What it is working on.
    pub files: Option<Vec<Target>>,
    /// Lease of its session.
    pub ttl: Option<Millis>,
}

/// Send a message.
#[derive(Clone, Debug)]
pub struct Send {
    /// Fresh id for the message.
    pub id: MessageId,
    /// Whom it is for.
    pub to: Recipients,
    /// The text.
    pub body: Arc<str>,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// What the sender expects.
    pub intent: Intent,
    /// Whether to look before going on.
    pub urgent: bool,
}

/// What must hold for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    Any,
    /// The key must not exist.
    MustNotExist,
    /// The entry must be at this version.
    Version(Version),
    /// The entry's last write must have this revision.
    Revision(Revision),
}

/// Write an entry.
#[derive(Clone, Debug)]
pub struct Put {
    /// Where; none means the session's scope.
    pub scope: Option<ScopeId>,
    /// Its key.
    pub key: EntryKey,
    /// Its value.
    pub value: Arc<str>,
    /// What must hold.
    pub precondition: Precondition,
    /// Lifetime.
    pub ttl: Option<Millis>,
    /// What it is about.
    pub paths: Vec<Target>,
    /// Labels.
    pub tags: Vec<String>,
}

/// Delete an entry.
#[derive(Clone, Debug)]
pub struct Delete {
    /// Where; none means the session's scope.
    pub scope: Option<ScopeId>,
    /// Its key.
    pub key: EntryKey,
    /// What must hold.
    pub precondition: Precondition,
}

/// Take locks, all or none.
#[derive(Clone, Debug)]
pub struct Acquire {
    /// On what; at least one, none twice.
    pub targets: Vec<Target>,
    /// How they exclude others.
    pub mode: LockMode,
    /// Lifetime.
    pub ttl: Millis,
    /// Why.
    pub reason: String,
}
