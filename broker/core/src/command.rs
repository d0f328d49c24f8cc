//! What a caller may ask, in the imperative. Fields are parsed: what is in here has its form.

use std::sync::Arc;

use crate::event::LeaveCause;
use crate::id::{
    CredentialId, EntryKey, MessageId, PeerName, RequestId, ResumeKey, ScopeId, SessionId, TopicName,
};
use crate::pattern::Pattern;
use crate::record::{
    Activity, ChildAgent, Contract, Fingerprint, Intent, LockMode, PeerInfo, PolicyKind, Recipients,
    ReleaseAnswer, TokenRecord, TouchKind,
};
use crate::revision::{FencingToken, Revision, Ticket, Version};
use crate::state::deadlines::Due;
use crate::target::Target;
use crate::time::Millis;

/// A command with who asks it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The session that asks; none for Join, for what concerns tokens, and for the broker itself.
    pub caller: Option<SessionId>,
    /// What the caller was let in for; none for the broker itself.
    pub credential: Option<CredentialId>,
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
        Self {
            caller: None,
            credential: None,
            request_id: None,
            fingerprint: Fingerprint::default(),
            command,
        }
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
    /// Change the topics followed.
    Follow {
        /// Topics to follow from now on.
        follow: Vec<TopicName>,
        /// Topics to follow no longer.
        unfollow: Vec<TopicName>,
    },
    /// Write an entry.
    Put(Put),
    /// Delete an entry.
    Delete(Delete),
    /// Write and delete several entries, all or none.
    Transact(Transact),
    /// Write a former version again.
    Restore(Restore),
    /// Set or remove the policy of a prefix.
    SetPolicy(SetPolicy),
    /// Report files read or edited.
    Touch(Touch),
    /// Take locks.
    Acquire(Acquire),
    /// Leave the queue of locks; what was granted under the ticket meanwhile is given back.
    Abandon {
        /// The ticket.
        ticket: Ticket,
    },
    /// Start the ttl of locks again.
    Renew {
        /// Which; none means all.
        targets: Vec<Target>,
        /// New lifetime, or each lock's own.
        ttl: Option<Millis>,
    },
    /// Give up locks, or narrow them.
    Release {
        /// Which; none means all.
        targets: Vec<Target>,
        /// What to hold instead.
        keep: Vec<Target>,
        /// A word to those who asked.
        note: String,
    },
    /// Ask holders to make way.
    RequestRelease(RequestRelease),
    /// Answer a request to make way.
    AnswerRelease(AnswerRelease),
    /// Take locks away from their holders.
    ForceRelease {
        /// All locks of others that overlap these.
        targets: Vec<Target>,
        /// Why.
        reason: String,
    },
    /// Issue a token. Who creates it and when is not looked at.
    CreateToken(Box<TokenRecord>),
    /// Take a token back.
    RevokeToken {
        /// Its id.
        id: CredentialId,
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
    /// What the caller may be called.
    pub allowed: Pattern,
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
    /// Whether it is in a turn.
    pub activity: Option<Activity>,
    /// How it is woken while idle.
    pub wake: Option<String>,
    /// Sub-agents that act as it.
    pub children: Option<Vec<ChildAgent>>,
    /// Lease of its session.
    pub ttl: Option<Millis>,
}

/// Send a message.
#[derive(Clone, Debug)]
pub struct Send {
    /// Id for the message: fresh, or the sender's own, which makes a repeat a duplicate.
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
    /// Targets it mentions.
    pub paths: Vec<Target>,
}

/// What must hold for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing: overwrite whatever is there.
    Any,
    /// No value of another peer is overwritten that the session has not read: the revision it last read, if any.
    LastRead(Option<Revision>),
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
    /// What becomes of the paths and tags of the version before where none are given.
    pub labels: Labels,
    /// Lock that must protect the write.
    pub fence: Option<Fence>,
}

/// What becomes of former labels where none are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// They go.
    #[default]
    Replace,
    /// They stay.
    Keep,
}

/// A lock under whose protection something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// What the lock must cover.
    pub target: Target,
    /// Its token.
    pub token: FencingToken,
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
    /// Lock that must protect the deletion.
    pub fence: Option<Fence>,
}

/// Write and delete several entries of one scope, all or none.
#[derive(Clone, Debug)]
pub struct Transact {
    /// Where; none means the session's scope.
    pub scope: Option<ScopeId>,
    /// What to do; no key twice. The scope in them is not looked at.
    pub operations: Vec<Operation>,
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Write an entry.
    Put(Put),
    /// Delete an entry.
    Delete(Delete),
    /// Demand something of an entry.
    Check {
        /// Its key.
        key: EntryKey,
        /// What must hold.
        precondition: Precondition,
    },
}

/// Write a former version of an entry again.
#[derive(Clone, Debug)]
pub struct Restore {
    /// Where; none means the session's scope.
    pub scope: Option<ScopeId>,
    /// Its key.
    pub key: EntryKey,
    /// The version to write again.
    pub version: Version,
    /// What must hold.
    pub precondition: Precondition,
}

/// Set or remove the policy of a prefix.
#[derive(Clone, Debug)]
pub struct SetPolicy {
    /// Where; none means the session's scope.
    pub scope: Option<ScopeId>,
    /// How the keys begin.
    pub prefix: String,
    /// The policy; none removes it.
    pub kind: Option<PolicyKind>,
}

/// Report files read or edited.
#[derive(Clone, Debug)]
pub struct Touch {
    /// The files, with what was done; paths only, none twice with the same kind.
    pub touches: Vec<(Target, TouchKind)>,
    /// The branch the peer is on; none for the one it has told.
    pub branch: Option<String>,
    /// The checkout that the files are in; none for the one it has told.
    pub worktree: Option<String>,
}

/// Ask holders to make way.
#[derive(Clone, Debug)]
pub struct RequestRelease {
    /// What the caller wants to lock.
    pub targets: Vec<Target>,
    /// How.
    pub mode: LockMode,
    /// Why.
    pub reason: String,
    /// Whether to look before going on.
    pub urgent: bool,
}

/// Answer a request to make way.
#[derive(Clone, Debug)]
pub struct AnswerRelease {
    /// The request: the revision at which it was asked.
    pub id: Revision,
    /// The answer.
    pub answer: ReleaseAnswer,
    /// With [`ReleaseAnswer::Narrow`], what to hold instead.
    pub keep: Vec<Target>,
    /// A word to the asker.
    pub note: String,
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
    /// How long to wait in the queue; none to be refused at once.
    pub wait: Millis,
    /// What it is about: only with an exclusive mode and exactly one subject among the targets.
    pub contract: Option<Contract>,
}
