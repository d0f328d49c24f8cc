//! The record of the agent session that this process belongs to, which the hooks of the same session use too.

use std::fs::File;
use std::sync::Arc;

use mesh_client::agent::{self, Continues, Kept, Registry};
use tokio::sync::MutexGuard;

use super::{Member, State};
use crate::host::Agent;

/// The record of an agent session that this process belongs to.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    /// Where its sessions on the mesh are.
    pub(super) kept: Kept,
    kind: String,
    /// The process may come to run another session.
    may_move: bool,
    /// It was found by the process alone; a call may say that it is not the one.
    by_process: bool,
    /// Held while this process serves the agent session.
    claim: Option<Arc<File>>,
}

impl Shared {
    /// Whether hooks report on the agent session.
    pub(super) fn is_hooked(&self) -> bool {
        is_hooked(self.kept.agent())
    }

    /// Whether this process is the one that serves the agent session, rather than one beside it.
    pub(super) fn is_served_here(&self) -> bool {
        self.claim.is_some()
    }
}

impl Member {
    /// Lets go of a session that hooks have ended for all processes, or that is not the one that runs in the agent's
    /// process any longer, as after `/resume`, or not the one that a call says it comes from.
    pub(super) fn follow_hooks(&self, state: &mut MutexGuard<'_, State>, agent: Option<&Agent>) {
        let Some(joined) = &mut state.joined else { return };
        let mut moved = joined.news.lock().left;
        if let Some(shared) = &mut joined.shared {
            moved |= match agent.filter(|agent| agent.told_now && shared.by_process) {
                Some(agent) => self.is_other(shared, agent),
                None => self.has_moved(shared),
            };
        }
        if moved {
            state.joined = None;
        }
    }

    /// Whether a call comes from another session than the one that was found by its process.
    fn is_other(&self, shared: &mut Shared, agent: &Agent) -> bool {
        let named = self.registry().bind(&agent.identity(self.host.process), Continues::Nothing);
        let other = named.is_ok_and(|named| named != *shared.kept.agent());
        (shared.by_process, shared.may_move) = (false, false);
        other
    }

    fn has_moved(&self, shared: &Shared) -> bool {
        let process = self.host.process.filter(|_| shared.may_move);
        let runs = process.and_then(|process| self.registry().of_process(&shared.kind, process));
        runs.is_some_and(|runs| runs != *shared.kept.agent() && is_hooked(&runs))
    }

    pub(super) fn registry(&self) -> Registry {
        Registry::of(&self.client.config().home)
    }

    /// The record of the agent session behind a call; `None` when nothing tells which it is. `former` is the one that
    /// this process serves already.
    pub(super) fn shared(&self, agent: &Agent, former: Option<&Shared>) -> Option<Shared> {
        let identity = agent.identity(self.host.process);
        if !agent.may_be_hooked() || (identity.session.is_none() && identity.process.is_none()) {
            return None;
        }
        // What hooks know of the process is newer than what it was started with.
        let runs = self.host.process.and_then(|process| self.registry().of_process(&agent.kind, process));
        let bind = || {
            self.client.config().home.create()?;
            self.registry().bind(&identity, Continues::Nothing)
        };
        let found = runs.filter(|runs| !agent.told_now && is_hooked(runs)).map_or_else(bind, Ok);
        let former = former.filter(|former| found.as_ref().is_ok_and(|found| found == former.kept.agent()));
        if let Some(former) = former {
            return Some(former.clone());
        }
        let claimed = found.and_then(|found| Ok((found.claim("adapter")?, found)));
        match claimed {
            // Another adapter serves this process, and nothing says that both do so for one session.
            Ok((None, found)) if agent.session.is_none() && !is_hooked(&found) => None,
            Ok((claim, found)) => Some(Shared {
                kind: agent.kind.clone(),
                may_move: !agent.told_now,
                by_process: false,
                kept: Kept::new(found, self.client.config()),
                claim: claim.map(Arc::new),
            }),
            Err(error) => {
                tracing::warn!(%error, "no registry of agents; hooks will be another peer");
                None
            }
        }
    }

    /// The record of the agent session that hooks have bound to the process of the agent, unless another process like
    /// this one serves it.
    pub(super) fn bound_by_hooks(&self, agent: &Agent) -> Option<Shared> {
        let found = self.registry().of_process(&agent.kind, self.host.process?)?;
        let claim = is_hooked(&found).then(|| found.claim("adapter"))?.ok()??;
        Some(Shared {
            kind: agent.kind.clone(),
            may_move: !agent.names_its_calls(),
            by_process: true,
            kept: Kept::new(found, self.client.config()),
            claim: Some(Arc::new(claim)),
        })
    }
}

/// Whether hooks report on an agent session.
fn is_hooked(agent: &agent::Agent) -> bool {
    agent.read().is_some_and(|record| record.hooked)
}
