//! What a call waits for, and whether it holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_core::event::Event;
use mesh_core::id::{EntryKey, MessageId, PeerName, ScopeId};
use mesh_core::record::{EntryRecord, LockMode, LogRecord, MessageRecord, PeerRecord};
use mesh_core::revision::{Revision, Version};
use mesh_core::target::Target;
use mesh_core::{Rejection, State, limits};
use mesh_proto::v1 as pb;
use pb::entry_condition::State as Wanted;
use pb::wait_condition::Condition as Wire;
use pb::wait_response::By;

use crate::service::Mesh;
use crate::service::auth::Principal;
use crate::service::convert::{at_most, entries, in_field, locks, messages};
use crate::service::events::filter::Filter;

/// The name of a part of the condition at a place in the list, as the contract spells it.
macro_rules! field {
    ($at:expr, $part:literal) => {
        field!($at, $part, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($at:expr, $part:literal, $($place:literal)*) => {{
        const NAMES: [&str; limits::CONDITIONS] = [$(concat!("conditions[", $place, "]", $part)),*];
        NAMES.get($at).copied().unwrap_or("conditions")
    }};
}

/// What is waited for.
#[derive(Debug)]
pub(super) enum Condition {
    /// An entry is as described.
    Entry { key: EntryKey, wanted: Wanted },
    /// A lock could be had.
    Free { target: Target, mode: LockMode },
    /// A peer has a live session.
    Here(PeerName),
    /// A peer has none.
    Gone(PeerName),
    /// The message of this id was answered.
    Answered(MessageId),
    /// The same, once the message was found.
    Reply(Arc<MessageRecord>),
    /// An event occurs after a revision; zero means after the call began.
    Event { filter: Filter, after: Revision },
}

/// What met a condition.
#[derive(Debug)]
pub(super) enum Met {
    Entry(Arc<EntryRecord>),
    Peer(Arc<PeerRecord>),
    Reply(Arc<MessageRecord>),
    Event(Box<pb::EventBatch>),
    /// Nothing that could be shown: a lock that is free, an entry or a peer that is not there.
    Nothing,
}

/// The conditions of a call, all of them checked for their form.
pub(super) fn parse(
    reader: &Principal,
    conditions: Vec<pb::WaitCondition>,
) -> Result<Vec<Condition>, Rejection> {
    if conditions.is_empty() {
        let problem = format!("is empty; name 1 to {} conditions", limits::CONDITIONS);
        return Err(Rejection::invalid("conditions", problem));
    }
    at_most("conditions", conditions.len(), limits::CONDITIONS)?;
    let conditions = conditions.into_iter().enumerate();
    conditions.map(|(at, condition)| Condition::parse(reader, condition, at)).collect()
}

impl Condition {
    fn parse(reader: &Principal, condition: pb::WaitCondition, at: usize) -> Result<Self, Rejection> {
        match condition.condition {
            None => Err(Rejection::invalid(field!(at, ""), "is empty; say what to wait for")),
            Some(Wire::Entry(entry)) => {
                let key = in_field(field!(at, ".entry.key"), EntryKey::parse(&entry.key))?;
                let problem = "says nothing to wait for; set `exists`, `value` or `version_at_least`";
                let wanted = entry.state.ok_or_else(|| Rejection::invalid(field!(at, ".entry"), problem))?;
                Ok(Self::Entry { key, wanted })
            }
            Some(Wire::LockFree(lock)) => Ok(Self::Free {
                target: Target::parse(field!(at, ".lock_free.path"), &lock.path)?,
                mode: in_field(field!(at, ".lock_free.mode"), locks::mode(lock.mode))?,
            }),
            Some(Wire::Peer(peer)) => {
                let name = in_field(field!(at, ".peer.name"), PeerName::parse(&peer.name))?;
                Ok(if peer.gone { Self::Gone(name) } else { Self::Here(name) })
            }
            Some(Wire::ReplyTo(id)) => Ok(Self::Answered(MessageId::parse(field!(at, ".reply_to"), &id)?)),
            Some(Wire::Event(event)) => {
                let filter =
                    Filter::parse(reader, &[], event.filter).map_err(|refusal| in_event(refusal, at))?;
                Ok(Self::Event { filter, after: Revision(event.after_revision) })
            }
        }
    }

    /// Whether only the peer that has sent something may wait for it.
    pub(super) fn needs_session(&self) -> bool {
        matches!(self, Self::Answered(_) | Self::Reply(_))
    }

    /// Whether it waits for something to happen rather than to be so.
    pub(super) fn is_event(&self) -> bool {
        matches!(self, Self::Event { .. })
    }

    /// Finds the message whose reply is waited for: one of the caller's own.
    pub(super) fn resolve(
        &mut self,
        state: &State,
        caller: Option<&Arc<PeerRecord>>,
    ) -> Result<(), Rejection> {
        if let Self::Answered(id) = *self {
            let own = |message: &&Arc<MessageRecord>| {
                caller.is_some_and(|peer| message.from == peer.name && message.scope == peer.scope)
            };
            let message = state.messages.by_id(id).filter(own);
            *self = Self::Reply(message.ok_or(Rejection::MessageNotFound { id })?.clone());
        }
        Ok(())
    }

    /// After which revision an event is waited for, now that the scope and the present revision are known; none when no
    /// event is.
    pub(super) fn begin(
        &mut self,
        scope: &ScopeId,
        present: Revision,
        at: usize,
    ) -> Result<Option<Revision>, Rejection> {
        let Self::Event { filter, after } = self else { return Ok(None) };
        if *after > present {
            let problem = format!("is {}, but the newest revision is {}", after.0, present.0);
            return Err(Rejection::invalid(field!(at, ".event.after_revision"), problem));
        }
        if *after == Revision::ZERO {
            *after = present;
        }
        filter.scopes = BTreeSet::from([scope.clone()]);
        Ok(Some(*after))
    }

    /// What meets it in this state, if anything does. An event is looked for in what happens, with [`Self::batch`].
    pub(super) fn holds(&self, state: &State, scope: &ScopeId, caller: Option<&PeerName>) -> Option<Met> {
        match self {
            Self::Entry { key, wanted } => {
                let entry = state.entries.get(scope, key);
                let holds = match wanted {
                    Wanted::Exists(exists) => entry.is_some() == *exists,
                    Wanted::Value(value) => entry.is_some_and(|entry| *entry.value == **value),
                    Wanted::VersionAtLeast(version) => {
                        entry.is_some_and(|entry| entry.version >= Version(*version))
                    }
                };
                holds.then(|| entry.map_or(Met::Nothing, |entry| Met::Entry(entry.clone())))
            }
            Self::Free { target, mode } => {
                state.is_free(scope, caller, target, *mode).then_some(Met::Nothing)
            }
            Self::Here(name) => {
                let peer = state.peers.get(scope, name)?;
                peer.session.is_some().then(|| Met::Peer(peer.clone()))
            }
            Self::Gone(name) => match state.peers.get(scope, name) {
                None => Some(Met::Nothing),
                Some(peer) => peer.session.is_none().then(|| Met::Peer(peer.clone())),
            },
            Self::Reply(message) => state.messages.reply_to(message).cloned().map(Met::Reply),
            Self::Answered(_) | Self::Event { .. } => None,
        }
    }

    /// The part of a transaction that is waited for.
    pub(super) fn batch(&self, log: &LogRecord) -> Option<pb::EventBatch> {
        let Self::Event { filter, after } = self else { return None };
        if log.revision > *after { filter.batch(log) } else { None }
    }

    /// Whether it could hold after a transaction that it did not hold before.
    pub(super) fn stirred_by(&self, log: &LogRecord, scope: &ScopeId) -> bool {
        let scope = if let Self::Reply(message) = self { &message.scope } else { scope };
        log.scope == *scope
            && match self {
                // Requests that wait go in many ways, and each may free it.
                Self::Free { .. } => true,
                Self::Entry { .. } | Self::Here(_) | Self::Gone(_) | Self::Reply(_) => {
                    log.events.iter().any(|event| self.touched_by(event))
                }
                Self::Answered(_) | Self::Event { .. } => false,
            }
    }

    fn touched_by(&self, event: &Event) -> bool {
        match self {
            Self::Entry { key, .. } => {
                matches!(event, Event::StateChanged { key: at, .. } | Event::StateDeleted { key: at, .. } if at == key)
            }
            Self::Here(name) => matches!(event, Event::PeerJoined { peer, .. } if peer.name == *name),
            Self::Gone(name) => matches!(event, Event::PeerLeft { name: left, .. } if left == name),
            Self::Reply(message) => {
                matches!(event, Event::MessageSent { reply_to: Some(to), .. } if *to == message.id)
            }
            Self::Free { .. } | Self::Answered(_) | Self::Event { .. } => false,
        }
    }
}

/// Says in which condition a filter was refused.
fn in_event(refusal: Rejection, at: usize) -> Rejection {
    let Rejection::InvalidField { field, problem } = refusal else { return refusal };
    let field = match field {
        "filter.types" => field!(at, ".event.filter.types"),
        "filter.peers" => field!(at, ".event.filter.peers"),
        "filter.paths" => field!(at, ".event.filter.paths"),
        _ => field!(at, ".event.filter"),
    };
    Rejection::InvalidField { field, problem }
}

impl Met {
    pub(super) fn into_wire(self, mesh: &Mesh) -> Option<By> {
        match self {
            Self::Entry(entry) => Some(By::Entry(entries::entry(&entry))),
            Self::Peer(peer) => Some(By::Peer(mesh.peer(&peer))),
            Self::Reply(message) => Some(By::Reply(messages::message(&message))),
            Self::Event(batch) => Some(By::Batch(*batch)),
            Self::Nothing => None,
        }
    }
}
