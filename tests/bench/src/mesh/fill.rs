//! A broker with much in it: peers, locks, entries.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_client::proto::operation::Operation as Kind;
use mesh_client::proto::{AcquireLocksRequest, Operation, PutRequest, TransactRequest};
use mesh_client::{Client, request_id};
use tokio::task::JoinSet;

use super::{Mesh, SCOPE, value};
use crate::system::Caller;

/// Calls under way at a time.
const LANES: u64 = 32;
/// Most targets of a request, and most operations of a transaction.
const TARGETS: u64 = 100;
const OPERATIONS: u64 = 32;
/// A lock that is held for as long as it takes.
const TTL: Duration = Duration::from_secs(24 * 3600);

impl Mesh {
    /// So many peers more.
    pub(crate) async fn fill_peers(&self, count: u64) -> Result<()> {
        self.in_lanes(count, 1, |client, number, _| async move {
            Self::join_over(&client, SCOPE, Some(&format!("peer-{number}"))).await?;
            Ok(())
        })
        .await
    }

    /// So many locks more, of peers that hold as many each.
    pub(crate) async fn fill_locks(&self, count: u64) -> Result<()> {
        self.in_lanes(count, TARGETS, |client, from, to| async move {
            let request = AcquireLocksRequest {
                paths: (from..to).map(|number| format!("src/{}/{number}.rs", number / 1_000)).collect(),
                ttl: TTL.try_into().ok(),
                request_id: request_id(),
                ..Default::default()
            };
            let granted = client.locks().acquire_locks(request).await?.into_inner();
            ensure!(!granted.locks.is_empty(), "a lock was refused");
            Ok(())
        })
        .await
    }

    /// So many entries more.
    pub(crate) async fn fill_entries(&self, count: u64) -> Result<()> {
        self.in_lanes(count, OPERATIONS, |client, from, to| async move {
            let put = |number: u64| {
                let put =
                    PutRequest { key: format!("fill/{number}"), value: value(number), ..Default::default() };
                Operation { operation: Some(Kind::Put(put)) }
            };
            let request = TransactRequest {
                operations: (from..to).map(put).collect(),
                request_id: request_id(),
                ..Default::default()
            };
            client.state().transact(request).await?;
            Ok(())
        })
        .await
    }

    /// Calls for each of so many numbers, several numbers a call, by peers beside each other.
    async fn in_lanes<F>(
        &self,
        count: u64,
        each: u64,
        call: impl Fn(Client, u64, u64) -> F + Send + Sync + 'static,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let call = Arc::new(call);
        let lanes = LANES.min(count.div_ceil(each));
        let peer = (each > 1).then_some(());
        let mut tasks = JoinSet::new();
        for lane in 0..lanes {
            // One that only makes peers is none itself.
            let mut client = self.client()?;
            if peer.is_some() {
                client = Self::join_over(&client, SCOPE, Some(&format!("lane-{lane}"))).await?.client();
            }
            let call = call.clone();
            tasks.spawn(async move {
                let mut from = lane * each;
                while from < count {
                    call(client.clone(), from, (from + each).min(count)).await?;
                    from += lanes * each;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    /// One who joins and leaves, over and over, under one name.
    pub(crate) fn visitor(&self) -> Result<Visitor> {
        Ok(Visitor { client: self.client()? })
    }
}

#[derive(Debug)]
pub(crate) struct Visitor {
    client: Client,
}

impl Caller for Visitor {
    async fn call(&mut self, _number: u64) -> Result<()> {
        Mesh::join_over(&self.client, SCOPE, Some("visitor")).await?.leave().await?;
        Ok(())
    }
}
