//! Which events a reader sees.

use std::collections::BTreeSet;

use mesh_core::Rejection;
use mesh_core::event::{Event, EventKind, UnlockCause};
use mesh_core::id::{PeerName, ScopeId};
use mesh_core::limits;
use mesh_core::record::LogRecord;
use mesh_core::target::Target;
use mesh_proto::v1 as pb;

use crate::service::auth::Principal;
use crate::service::convert::{at_most, events, few_globs, in_field};

/// What a reader wants to see; an empty list asks for everything.
#[derive(Debug)]
pub(super) struct Filter {
    /// Which scopes; none means all that the reader may see.
    pub(super) scopes: BTreeSet<ScopeId>,
    reader: Principal,
    kinds: BTreeSet<EventKind>,
    peers: BTreeSet<PeerName>,
    paths: Vec<Target>,
}

impl Filter {
    pub(super) fn parse(
        reader: &Principal,
        scopes: &[String],
        filter: Option<pb::EventFilter>,
    ) -> Result<Self, Rejection> {
        let filter = filter.unwrap_or_default();
        at_most("scopes", scopes.len(), limits::FILTER_ITEMS)?;
        at_most("filter.types", filter.types.len(), limits::FILTER_TYPES)?;
        at_most("filter.peers", filter.peers.len(), limits::FILTER_ITEMS)?;
        let scope =
            |text: &String| in_field("scopes", ScopeId::parse(text)).map(|scope| reader.readable(scope));
        let peer = |text: &String| in_field("filter.peers", PeerName::parse(text));
        Ok(Self {
            reader: reader.clone(),
            scopes: scopes.iter().map(scope).collect::<Result<_, _>>()?,
            kinds: filter.types.iter().map(|kind| event_kind(*kind)).collect::<Result<_, _>>()?,
            peers: filter.peers.iter().map(peer).collect::<Result<_, _>>()?,
            paths: few_globs("filter.paths", &filter.paths, limits::FILTER_ITEMS)?,
        })
    }

    /// Whether the reader is to see what is in a scope.
    pub(super) fn sees(&self, scope: &ScopeId) -> bool {
        (self.scopes.is_empty() || self.scopes.contains(scope)) && self.reader.sees(scope)
    }

    /// What the reader sees of a transaction; none when there is nothing to see.
    pub(super) fn batch(&self, log: &LogRecord) -> Option<pb::EventBatch> {
        if !self.sees(&log.scope) {
            return None;
        }
        events::batch(log, |event| self.passes(event, log.actor.as_ref()))
    }

    fn passes(&self, event: &Event, actor: Option<&PeerName>) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&event.kind()))
            && (self.peers.is_empty() || self.peers.iter().any(|name| involves(event, name, actor)))
            && (self.paths.is_empty() || self.paths.iter().any(|path| event.touches(path)))
    }
}

/// True when the peer acts in the event or it is for it. Some events do not themselves tell who acts in them.
fn involves(event: &Event, name: &PeerName, actor: Option<&PeerName>) -> bool {
    let by_actor = matches!(
        event,
        Event::StateDeleted { .. }
            | Event::PolicyChanged { .. }
            | Event::FileUnlocked { cause: UnlockCause::Forced, .. }
    );
    event.concerns(name) || (by_actor && actor == Some(name))
}

fn event_kind(value: i32) -> Result<EventKind, Rejection> {
    use pb::EventType as Type;
    match Type::try_from(value) {
        Ok(Type::PeerJoined) => Ok(EventKind::PeerJoined),
        Ok(Type::PeerUpdated) => Ok(EventKind::PeerUpdated),
        Ok(Type::PeerLeft) => Ok(EventKind::PeerLeft),
        Ok(Type::StateChanged) => Ok(EventKind::StateChanged),
        Ok(Type::StateDeleted) => Ok(EventKind::StateDeleted),
        Ok(Type::FileLocked) => Ok(EventKind::FileLocked),
        Ok(Type::FileUnlocked) => Ok(EventKind::FileUnlocked),
        Ok(Type::MessageSent) => Ok(EventKind::MessageSent),
        Ok(Type::LockQueued) => Ok(EventKind::LockQueued),
        Ok(Type::LockWaitEnded) => Ok(EventKind::LockWaitEnded),
        Ok(Type::LockReleaseRequested) => Ok(EventKind::LockReleaseRequested),
        Ok(Type::LockReleaseAnswered) => Ok(EventKind::LockReleaseAnswered),
        Ok(Type::FileTouched) => Ok(EventKind::FileTouched),
        Ok(Type::ContractChanged) => Ok(EventKind::ContractChanged),
        Ok(Type::PolicyChanged) => Ok(EventKind::PolicyChanged),
        Ok(Type::TokenCreated) => Ok(EventKind::TokenCreated),
        Ok(Type::TokenRevoked) => Ok(EventKind::TokenRevoked),
        Ok(Type::Unspecified) | Err(_) => {
            Err(Rejection::invalid("filter.types", format!("has no kind of event {value}")))
        }
    }
}
