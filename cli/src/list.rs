//! Whole lists, page by page.

use mesh_client::proto::{
    ListLockWaitersRequest, ListLocksRequest, ListLocksResponse, ListPeersRequest, ListPeersResponse,
    ListReleaseRequestsRequest, Lock, LockWaiter, Peer, ReleaseRequest,
};
use mesh_client::{Client, ClientError};

/// The most that the broker sends at once.
const PAGE: u32 = 1000;

/// Peers, as of the first page.
pub(crate) struct Peers {
    pub(crate) revision: u64,
    pub(crate) incarnation: String,
    pub(crate) peers: Vec<Peer>,
}

/// Locks, as of the first page.
pub(crate) struct Locks {
    pub(crate) revision: u64,
    pub(crate) locks: Vec<Lock>,
}

/// All peers of a scope; of every scope if it is empty.
pub(crate) async fn peers(
    client: &Client,
    scope: String,
    include_offline: bool,
) -> Result<Peers, ClientError> {
    let request = ListPeersRequest { scope, include_offline, page_size: PAGE, page_token: String::new() };
    let first = peers_page(client, request.clone()).await?;
    let header = first.header.unwrap_or_default();
    let (mut peers, mut page_token) = (first.peers, first.next_page_token);
    while !page_token.is_empty() {
        let next = peers_page(client, ListPeersRequest { page_token, ..request.clone() }).await?;
        peers.extend(next.peers);
        page_token = next.next_page_token;
    }
    Ok(Peers { revision: header.revision, incarnation: header.incarnation, peers })
}

async fn peers_page(client: &Client, request: ListPeersRequest) -> Result<ListPeersResponse, ClientError> {
    let call = |client: Client| {
        let request = request.clone();
        async move { client.peers().list_peers(request).await }
    };
    client.call(call).await
}

/// All locks that match.
pub(crate) async fn locks(client: &Client, request: ListLocksRequest) -> Result<Locks, ClientError> {
    let request = ListLocksRequest { page_size: PAGE, ..request };
    let first = locks_page(client, request.clone()).await?;
    let revision = first.header.map_or(0, |header| header.revision);
    let (mut locks, mut page_token) = (first.locks, first.next_page_token);
    while !page_token.is_empty() {
        let next = locks_page(client, ListLocksRequest { page_token, ..request.clone() }).await?;
        locks.extend(next.locks);
        page_token = next.next_page_token;
    }
    Ok(Locks { revision, locks })
}

async fn locks_page(client: &Client, request: ListLocksRequest) -> Result<ListLocksResponse, ClientError> {
    let call = |client: Client| {
        let request = request.clone();
        async move { client.locks().list_locks(request).await }
    };
    client.call(call).await
}

/// The requests that wait for locks, in the order of the queue.
pub(crate) async fn waiters(
    client: &Client,
    request: ListLockWaitersRequest,
) -> Result<Vec<LockWaiter>, ClientError> {
    let call = |client: Client| {
        let request = request.clone();
        async move { client.locks().list_lock_waiters(request).await }
    };
    Ok(client.call(call).await?.waiters)
}

/// The open requests to make way, oldest first.
pub(crate) async fn release_requests(
    client: &Client,
    request: ListReleaseRequestsRequest,
) -> Result<Vec<ReleaseRequest>, ClientError> {
    let call = |client: Client| {
        let request = request.clone();
        async move { client.locks().list_release_requests(request).await }
    };
    Ok(client.call(call).await?.requests)
}
