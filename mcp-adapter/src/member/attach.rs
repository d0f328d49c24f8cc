//! Taking up the session that hooks have begun, before any tool was called.
//!
//! A host that is killed runs no hook, and the lease of a session that hooks keep is long. The stream that this process
//! holds tells the broker at once; so it is opened as soon as hooks have bound the agent's process to a session. Without
//! hooks nothing is done before a call.

use std::sync::{Arc, Weak};
use std::time::Duration;

use mesh_client::{JoinOptions, Liveness, Session};
use rmcp::model::{Implementation, RequestMetaObject};
use rmcp::service::{Peer, RoleServer};
use tokio_util::task::AbortOnDropHandle;

use super::{Caller, Member, Said, Ties, described};
use crate::args::Failure;
use crate::host::Agent;

/// How often hooks are looked for: soon after the start, then less and less.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// Whether to go on looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    /// There was nothing.
    Soon,
    /// There is a session, which may end or make way for another.
    Late,
    /// The process ends.
    Over,
}

impl Member {
    /// A client has shown itself, which tells whose session may be there already.
    pub(crate) fn meet(self: &Arc<Self>, peer: &Peer<RoleServer>, client: Option<Implementation>) {
        if self.met.set(peer.clone()).is_err() && client.is_none() {
            return;
        }
        let caller = Caller { client, meta: RequestMetaObject::new() };
        let agent = self.agent(&caller);
        if !agent.may_be_hooked() || self.host.process.is_none() {
            return;
        }
        let mut attaching = self.attaching.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if attaching.is_none() {
            let looking = tokio::spawn(look(Arc::downgrade(self), agent));
            *attaching = Some(AbortOnDropHandle::new(looking));
        }
    }

    async fn attach(&self, agent: &Agent) -> Looking {
        let mut state = self.state.lock().await;
        if state.ended {
            return Looking::Over;
        }
        self.follow_hooks(&mut state, None);
        if state.joined.is_some() || state.detached {
            return Looking::Late;
        }
        let Some(shared) = self.bound_by_hooks(agent) else { return Looking::Soon };
        let attached: Result<bool, Failure> = async {
            let place = self.place(&mut state).await?;
            if shared.kept.read(&place.scope).is_none() {
                return Ok(false);
            }
            let info = described(&place, &Said::default()).await?;
            let options = JoinOptions {
                scope: place.scope.clone(),
                info: self.introduced(info, agent.clone(), &place),
                liveness: Liveness::Attached,
                ..JoinOptions::default()
            };
            let session = Session::enter(&self.client, shared.kept.clone(), options).await?;
            let ties = Ties { place, shared: Some(shared), way: self.way(&agent.kind) };
            state.joined = Some(self.settle(session, ties, true).await);
            Ok(true)
        }
        .await;
        match attached {
            Ok(true) => Looking::Late,
            Ok(false) => Looking::Soon,
            Err(failure) => {
                tracing::debug!(failure = failure.text(), "the session of the hooks is not taken up");
                Looking::Soon
            }
        }
    }
}

async fn look(member: Weak<Member>, agent: Agent) {
    let mut pause = FIRST_LOOK;
    loop {
        let Some(member) = member.upgrade() else { return };
        match member.attach(&agent).await {
            Looking::Soon => {}
            Looking::Late => pause = LONGEST_LOOK,
            Looking::Over => return,
        }
        drop(member);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}
