//! Joining again as the same peer, once, whoever of the session's tasks and processes finds that it has ended.
//!
//! What must hold: what one process of an agent session knows of the peer is not put over what the others have said.
//! A process that joins again for all of them tells what the broker knew last, and of what ends with a session
//! (activity, way to be woken, sub-agents) what the registry holds, once hooks keep it there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Current, Liveness, REJOIN_INTERVAL, Shared, was_replaced};
use crate::agent::{Guard, Kept, Membership};
use crate::proto::{ChildAgent, JoinRequest, ListPeersRequest, Peer, PeerActivity, PeerInfo};
use crate::{Client, ClientError, SavedSession};

impl Shared {
    /// Joins again as the same peer after `ended` failed with `error`, unless another task already did.
    pub(super) async fn rejoin(
        &self,
        ended: &Current,
        error: ClientError,
    ) -> Result<Arc<Current>, ClientError> {
        let mut rejoined = self.rejoined.lock().await;
        let current = self.current();
        if current.left {
            return Err(ClientError::SessionLeft);
        }
        if current.generation != ended.generation {
            return Ok(current);
        }
        let mut guard = match &self.options.kept {
            Some(kept) => Some((kept, kept.guard(&self.client).await?)),
            None => None,
        };
        if let Some((kept, guard)) = &guard
            && let Some(membership) = kept.of(&guard.record, &current.peer.scope)
            && membership.session.token != current.token
        {
            return self.take_over(&current, &membership.session);
        }
        // Left by another process of the agent session, while this one did something for it.
        if let Some((kept, guard)) = &guard
            && self.options.liveness == Liveness::Unattended
            && kept.of(&guard.record, &current.peer.scope).is_none()
        {
            return Err(ClientError::SessionLeft);
        }
        // Adopted sessions are exempt from the interval: they began before this process did.
        let joined_here = current.cursor.revision > 0;
        if was_replaced(&error) || (joined_here && rejoined.elapsed() < current.lease().min(REJOIN_INTERVAL))
        {
            return Err(error);
        }
        let mut info = current.peer.info.clone().unwrap_or_default();
        if let Some((kept, guard)) = &guard {
            info = self.as_last_told(&current.peer, info).await;
            carry_over(&mut info, kept, guard, &current.peer.scope);
        }
        let mut request = JoinRequest {
            name: current.peer.name.clone(),
            info: Some(info),
            ..self.options.request(&self.client)
        };
        if let Some((kept, guard)) = &guard
            && let Some(membership) = kept.of(&guard.record, &current.peer.scope)
            && Duration::from_secs(membership.lease_seconds) > self.options.lease_ttl.unwrap_or_default()
        {
            request.lease_ttl = Duration::from_secs(membership.lease_seconds).try_into().ok();
        }
        let answer = self
            .client
            .call(|client| {
                let request = request.clone();
                async move { client.peers().join(request).await }
            })
            .await?;
        let fresh = Current::joined(&self.client, answer, current.generation + 1)?;
        if let Some((kept, guard)) = &mut guard {
            keep(&self.client, kept, guard, &fresh)?;
        }
        tracing::info!(peer = fresh.peer.name, "the session had ended; joined again");
        self.change(|current| {
            let left = current.left;
            *current = Current { left, ..fresh };
        });
        *rejoined = Instant::now();
        Ok(self.current())
    }

    /// What all the processes of the agent session have said of the peer, as far as the broker still knows it; `mine` is
    /// what this one has said.
    async fn as_last_told(&self, me: &Peer, mine: PeerInfo) -> PeerInfo {
        let mut page_token = String::new();
        loop {
            let request = ListPeersRequest {
                scope: me.scope.clone(),
                include_offline: true,
                page_size: 1000,
                page_token,
            };
            let answer = self.client.call(|client| {
                let request = request.clone();
                async move { client.peers().list_peers(request).await }
            });
            // Not knowing it is no reason not to join.
            let Ok(answer) = answer.await else { return mine };
            if let Some(known) = answer.peers.into_iter().find(|peer| peer.name == me.name) {
                let PeerInfo { activity, wake, children, .. } = mine;
                return PeerInfo { activity, wake, children, ..known.info.unwrap_or_default() };
            }
            if answer.next_page_token.is_empty() {
                return mine;
            }
            page_token = answer.next_page_token;
        }
    }

    /// Whether another process of the agent session has left: then only somebody who calls joins again.
    pub(super) fn was_left_elsewhere(&self) -> bool {
        let kept = self.options.kept.as_ref();
        kept.is_some_and(|kept| kept.read(&self.current().peer.scope).is_none())
    }

    /// Goes on with the session that another process of the agent session has begun meanwhile.
    fn take_over(&self, ended: &Current, saved: &SavedSession) -> Result<Arc<Current>, ClientError> {
        let peer =
            Peer { name: saved.name.clone(), session_id: saved.session_id.clone(), ..ended.peer.clone() };
        let fresh = Current {
            client: self.client.with_session(&saved.token)?,
            peer,
            token: saved.token.clone(),
            generation: ended.generation + 1,
            ..ended.clone()
        };
        self.change(|current| {
            let left = current.left;
            *current = Current { left, ..fresh };
        });
        Ok(self.current())
    }
}

/// What ends with a session, as the registry holds it. Without hooks nobody keeps it there, and this process has said
/// it, if anybody has.
fn carry_over(info: &mut PeerInfo, kept: &Kept, guard: &Guard, scope: &str) {
    let Some(membership) = kept.of(&guard.record, scope).filter(|_| guard.record.hooked) else { return };
    let activity = if membership.working { PeerActivity::Working } else { PeerActivity::Idle };
    info.activity = activity.into();
    let child = |(id, kind): (&String, &String)| ChildAgent {
        id: id.clone(),
        kind: kind.clone(),
        ..ChildAgent::default()
    };
    info.children = membership.children.iter().map(child).collect();
    if !membership.wake.is_empty() {
        info.wake.clone_from(&membership.wake);
    }
}

/// Keeps a new session for the other processes of its agent session, with what still holds of the one before.
pub(super) fn keep(
    client: &Client,
    kept: &Kept,
    guard: &mut Guard,
    fresh: &Current,
) -> Result<(), ClientError> {
    let scope = &fresh.peer.scope;
    let session = fresh.saved();
    let (revision, lease_seconds) = (fresh.cursor.revision, fresh.lease().as_secs());
    let membership = match kept.of(&guard.record, scope) {
        // Revisions of another history, as of a broker whose data are gone, mean nothing in this one.
        Some(former)
            if former.session.name == session.name && former.shown.max(former.looked) <= revision =>
        {
            // Locks linger until they are taken again; those that were lent for a turn are, still.
            Membership { session, lease_seconds, ended: false, ..former.clone() }
        }
        Some(_) | None => {
            let wake = fresh.peer.info.clone().unwrap_or_default().wake;
            Membership { wake, lease_seconds, ..Membership::new(session, revision) }
        }
    };
    kept.put(&mut guard.record, scope, membership);
    guard.save().map_err(|error| {
        let home = client.config().home.path().display();
        ClientError::config(format!("cannot keep the session in {home}: {error}"))
    })
}
