//! The calls of a session, typed.
//!
//! What must hold: a change gets its `request_id` once, here, unless the caller chose one; every repeat, also
//! the one after joining again, carries the same.

use std::time::Duration;

use super::Session;
use crate::ClientError;
use crate::proto::{
    AcknowledgeMessagesRequest, AcknowledgeMessagesResponse, AcquireLocksRequest, AnswerReleaseRequest,
    AnswerReleaseResponse, CheckFenceRequest, CheckFenceResponse, DeleteRequest, DeleteResponse,
    DescribePathRequest, DescribePathResponse, ErrorReason, FollowTopicsRequest, FollowTopicsResponse,
    ForceReleaseRequest, ForceReleaseResponse, GetReceiptsRequest, GetReceiptsResponse, GetRequest,
    GetResponse, HeartbeatRequest, LeaveRequest, ListEntriesRequest, ListEntriesResponse, ListFeedRequest,
    ListFeedResponse, ListLockWaitersRequest, ListLockWaitersResponse, ListLocksRequest, ListLocksResponse,
    ListMessagesRequest, ListMessagesResponse, ListPeersRequest, ListPeersResponse, ListPoliciesRequest,
    ListPoliciesResponse, ListReleaseRequestsRequest, ListReleaseRequestsResponse, ListTopicsRequest,
    ListTopicsResponse, ListVersionsRequest, ListVersionsResponse, Lock, LockConflict, Peer, PeerInfo,
    PutRequest, PutResponse, ReleaseLocksRequest, ReleaseLocksResponse, RenewLocksRequest,
    RenewLocksResponse, ReportWakeRequest, ReportWakeResponse, RequestReleaseRequest, RequestReleaseResponse,
    RestoreRequest, RestoreResponse, SearchEntriesRequest, SearchEntriesResponse, SendRequest, SendResponse,
    SetPolicyRequest, SetPolicyResponse, TouchFilesRequest, TouchFilesResponse, TransactRequest,
    TransactResponse, UpdatePeerRequest,
};

/// The verdict on a set of locks.
#[derive(Clone, Debug, PartialEq)]
pub enum Acquired {
    /// All targets are locked, in the order asked.
    Granted(Vec<Lock>),
    /// None is; this is in the way.
    Refused(Vec<LockConflict>),
}

/// Calls one method of a service with a copy of the request per try.
macro_rules! call {
    ($session:expr, $service:ident.$method:ident($request:expr), waiting $wait:expr) => {{
        let request = $request;
        $session
            .shared
            .call_waiting($wait, |client| {
                let request = request.clone();
                async move { client.$service().$method(request).await }
            })
            .await
    }};
    ($session:expr, $service:ident.$method:ident($request:expr)) => {
        call!($session, $service.$method($request), waiting Duration::ZERO)
    };
}

/// A change: as `call!`, with a fresh `request_id` unless the caller chose one.
macro_rules! change {
    ($session:expr, $service:ident.$method:ident($request:expr), waiting $wait:expr) => {{
        let mut request = $request;
        if request.request_id.is_empty() {
            request.request_id = $session.shared.client.request_id();
        }
        call!($session, $service.$method(request), waiting $wait)
    }};
    ($session:expr, $service:ident.$method:ident($request:expr)) => {
        change!($session, $service.$method($request), waiting Duration::ZERO)
    };
}

/// Methods that make one call and hand its answer on.
macro_rules! plain {
    ($($(#[$doc:meta])* $kind:ident $name:ident: $service:ident.$method:ident($request:ty) -> $answer:ty;)*) => {
        impl Session {
            $($(#[$doc])*
            pub async fn $name(&self, request: $request) -> Result<$answer, ClientError> {
                $kind!(self, $service.$method(request))
            })*
        }
    };
}

plain! {
    /// Lists the requests that wait for locks.
    call list_lock_waiters: locks.list_lock_waiters(ListLockWaitersRequest) -> ListLockWaitersResponse;
    /// Asks the holders of what is in the way to make way.
    change request_release: locks.request_release(RequestReleaseRequest) -> RequestReleaseResponse;
    /// Answers a request to make way.
    change answer_release: locks.answer_release(AnswerReleaseRequest) -> AnswerReleaseResponse;
    /// Lists open requests to make way.
    call list_release_requests:
        locks.list_release_requests(ListReleaseRequestsRequest) -> ListReleaseRequestsResponse;
    /// Takes locks away from their holders.
    change force_release: locks.force_release(ForceReleaseRequest) -> ForceReleaseResponse;
    /// Says whether a fencing token is good.
    call check_fence: locks.check_fence(CheckFenceRequest) -> CheckFenceResponse;
    /// Narrows locks, or keeps them and says why.
    change release_locks: locks.release_locks(ReleaseLocksRequest) -> ReleaseLocksResponse;
    /// Finds entries by words, the best first.
    call search_entries: state.search_entries(SearchEntriesRequest) -> SearchEntriesResponse;
    /// Lists the kept versions of a key.
    call list_versions: state.list_versions(ListVersionsRequest) -> ListVersionsResponse;
    /// Writes a kept version again.
    change restore: state.restore(RestoreRequest) -> RestoreResponse;
    /// Writes and deletes several keys, all or none.
    change transact: state.transact(TransactRequest) -> TransactResponse;
    /// Sets or removes the policy of a prefix.
    change set_policy: state.set_policy(SetPolicyRequest) -> SetPolicyResponse;
    /// Lists the policies of a scope.
    call list_policies: state.list_policies(ListPoliciesRequest) -> ListPoliciesResponse;
    /// Says what is known of a message's way.
    call receipts: messages.get_receipts(GetReceiptsRequest) -> GetReceiptsResponse;
    /// Tells the senders that the peer's agent was woken for its mail.
    call report_wake: messages.report_wake(ReportWakeRequest) -> ReportWakeResponse;
    /// Reads a topic or a thread.
    call list_feed: messages.list_feed(ListFeedRequest) -> ListFeedResponse;
    /// Changes which topics are followed.
    change follow_topics: messages.follow_topics(FollowTopicsRequest) -> FollowTopicsResponse;
    /// Lists the topics of a scope.
    call list_topics: messages.list_topics(ListTopicsRequest) -> ListTopicsResponse;
    /// Says all that is known about a path.
    call describe_path: paths.describe_path(DescribePathRequest) -> DescribePathResponse;
    /// Reports files read or edited.
    change touch_files: paths.touch_files(TouchFilesRequest) -> TouchFilesResponse;
}

impl Session {
    /// Sends a message.
    pub async fn send(&self, request: SendRequest) -> Result<SendResponse, ClientError> {
        change!(self, messages.send(request))
    }

    /// Reads the inbox; with `wait`, waits for mail. Reading does not consume: [`Session::ack`] does.
    pub async fn inbox(&self, request: ListMessagesRequest) -> Result<ListMessagesResponse, ClientError> {
        let wait = request.wait.and_then(|wait| wait.try_into().ok()).unwrap_or_default();
        call!(self, messages.list_messages(request), waiting wait)
    }

    /// Marks everything up to a revision as read.
    pub async fn ack(&self, up_to_revision: u64) -> Result<AcknowledgeMessagesResponse, ClientError> {
        let request = AcknowledgeMessagesRequest { up_to_revision, ..Default::default() };
        change!(self, messages.acknowledge_messages(request))
    }

    /// Writes an entry.
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, ClientError> {
        change!(self, state.put(request))
    }

    /// Reads an entry.
    pub async fn get(&self, request: GetRequest) -> Result<GetResponse, ClientError> {
        call!(self, state.get(request))
    }

    /// Lists a page of entries.
    pub async fn list_entries(
        &self,
        request: ListEntriesRequest,
    ) -> Result<ListEntriesResponse, ClientError> {
        call!(self, state.list_entries(request))
    }

    /// Deletes an entry.
    pub async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse, ClientError> {
        change!(self, state.delete(request))
    }

    /// Takes locks, all or none, waiting as long as the request says, at most an hour. They are the peer's own: those
    /// among them that were lent for a turn no longer end with it.
    pub async fn acquire(&self, request: AcquireLocksRequest) -> Result<Acquired, ClientError> {
        let (verdict, _) = self.acquire_at(request).await?;
        if let Acquired::Granted(locks) = &verdict {
            self.keep_for_good(locks).await;
        }
        Ok(verdict)
    }

    /// Takes locks and tells at which revision.
    pub(super) async fn acquire_at(
        &self,
        request: AcquireLocksRequest,
    ) -> Result<(Acquired, u64), ClientError> {
        let wait = request.wait.and_then(|wait| wait.try_into().ok()).unwrap_or_default();
        let answer = change!(self, locks.acquire_locks(request), waiting wait)?;
        let revision = answer.header.map(|header| header.revision).unwrap_or_default();
        match (answer.locks, answer.conflicts) {
            (locks, conflicts) if conflicts.is_empty() && !locks.is_empty() => {
                Ok((Acquired::Granted(locks), revision))
            }
            (locks, conflicts) if locks.is_empty() && !conflicts.is_empty() => {
                Ok((Acquired::Refused(conflicts), revision))
            }
            _ => Err(ClientError::Protocol("locks are neither granted nor refused".into())),
        }
    }

    /// Starts the ttl of own locks again; no paths mean all.
    pub async fn renew(&self, request: RenewLocksRequest) -> Result<RenewLocksResponse, ClientError> {
        change!(self, locks.renew_locks(request))
    }

    /// Gives up own locks; no paths mean all, however many. Answers the targets released.
    pub async fn release(&self, paths: Vec<String>) -> Result<Vec<String>, ClientError> {
        let all = paths.is_empty();
        let mut released = Vec::new();
        let mut left = u32::MAX;
        loop {
            let request = ReleaseLocksRequest { paths: paths.clone(), ..Default::default() };
            let answer = change!(self, locks.release_locks(request))?;
            // Whatever a broker says, this ends.
            let fewer = answer.remaining < std::mem::replace(&mut left, answer.remaining);
            let progress = fewer && !answer.paths.is_empty();
            released.extend(answer.paths);
            if !all || answer.remaining == 0 || !progress {
                return Ok(released);
            }
        }
    }

    /// Lists a page of locks.
    pub async fn list_locks(&self, request: ListLocksRequest) -> Result<ListLocksResponse, ClientError> {
        call!(self, locks.list_locks(request))
    }

    /// Lists a page of peers; an empty scope means every scope.
    pub async fn list_peers(&self, request: ListPeersRequest) -> Result<ListPeersResponse, ClientError> {
        call!(self, peers.list_peers(request))
    }

    /// Changes what the peer says of itself: the fields of `info` named in `mask` (`focus`, `files`, …).
    pub async fn update(&self, info: PeerInfo, mask: &[&str]) -> Result<Peer, ClientError> {
        let paths = mask.iter().map(ToString::to_string).collect();
        let update_mask = Some(prost_types::FieldMask { paths });
        let wake = mask.contains(&"wake").then(|| info.wake.clone());
        let request = UpdatePeerRequest { info: Some(info), update_mask, ..Default::default() };
        let peer = self.update_peer(request).await?;
        if let (Some(wake), Some(kept)) = (wake, &self.shared.options.kept)
            && let Err(error) = kept.change(&peer.scope, |membership| membership.wake = wake).await
        {
            tracing::warn!(%error, "the registry of agents cannot be written");
        }
        Ok(peer)
    }

    /// Gives the session another lease, which begins now: 1 s to 24 h. A session that is joined again by itself
    /// has the lease of its [`JoinOptions`](crate::JoinOptions).
    pub async fn set_lease(&self, ttl: Duration) -> Result<Peer, ClientError> {
        let lease_ttl = ttl.try_into().ok();
        self.update_peer(UpdatePeerRequest { lease_ttl, ..Default::default() }).await
    }

    async fn update_peer(&self, request: UpdatePeerRequest) -> Result<Peer, ClientError> {
        let answer = change!(self, peers.update_peer(request))?;
        let Some(peer) = answer.peer else {
            return Err(ClientError::Protocol("an answer to UpdatePeer names no peer".into()));
        };
        self.shared.change(|current| current.peer = peer.clone());
        Ok(peer)
    }

    /// Refreshes the lease; joins again if the session has ended.
    pub async fn heartbeat(&self) -> Result<(), ClientError> {
        call!(self, peers.heartbeat(HeartbeatRequest {})).map(|_| ())
    }

    /// Ends the session: locks are freed at once, mail waits for the next one. A session that has already ended
    /// is left quietly, whoever ended it.
    pub async fn leave(&self) -> Result<(), ClientError> {
        let current = self.shared.current();
        if current.left {
            return Ok(());
        }
        // The registry first, then this process, so that nothing joins again.
        if let Some(kept) = &self.shared.options.kept {
            let mut guard = kept.guard(&self.shared.client).await?;
            if let Err(error) = kept.forget(&mut guard, &current.peer.scope, &current.peer.session_id) {
                tracing::warn!(%error, "the registry of agents cannot be written");
            }
        }
        self.shared.change(|current| current.left = true);
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
        let request = LeaveRequest { request_id: self.shared.client.request_id() };
        let left = current.client.call(|client| {
            let request = request.clone();
            async move { client.peers().leave(request).await }
        });
        match left.await {
            Err(error) if error.reason() != Some(ErrorReason::SessionExpired) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
