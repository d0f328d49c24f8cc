//! etcd, one member, as it comes: each change is synced before its answer.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::mesh::{KEYS, value};
use crate::process::Server;
use crate::system::{Caller, Subscriber, free_port};

/// Generated from `proto/etcd/rpc.proto`.
#[expect(unreachable_pub, clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
mod proto {
    tonic::include_proto!("etcdserverpb");
}

/// Generated from `proto/etcd/lock.proto`.
#[expect(unreachable_pub, clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
mod locks {
    tonic::include_proto!("v3lockpb");
}

use locks::lock_client::LockClient;
use locks::{LockRequest, UnlockRequest};
use proto::kv_client::KvClient;
use proto::lease_client::LeaseClient;
use proto::watch_client::WatchClient;
use proto::{LeaseGrantRequest, PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};

/// How long it may take until it has elected itself.
const ELECTION: Duration = Duration::from_secs(20);
/// Seconds that a lock's lease lasts.
const LEASE: i64 = 3_600;

#[derive(Debug)]
pub(crate) struct Etcd {
    server: Server,
    port: u16,
}

impl Etcd {
    /// None when it is not installed.
    pub(crate) async fn start(dir: &Path) -> Result<Option<Self>> {
        let Some(program) = super::find("etcd") else { return Ok(None) };
        let (port, peers) = (free_port()?, free_port()?);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(dir).args(["--name", "one", "--logger", "zap"]);
        command.args(["--listen-client-urls", &url(port), "--advertise-client-urls", &url(port)]);
        command.args(["--listen-peer-urls", &url(peers), "--initial-advertise-peer-urls", &url(peers)]);
        command.args(["--initial-cluster", &format!("one={}", url(peers))]);
        let etcd = Self { server: Server::start_listening(command, port)?, port };
        etcd.wait_for_leader().await?;
        Ok(Some(etcd))
    }

    async fn wait_for_leader(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            let tried = async {
                let mut kv = KvClient::new(self.connect().await?);
                kv.put(PutRequest { key: b"ready".to_vec(), value: Vec::new() }).await?;
                anyhow::Ok(())
            };
            match tried.await {
                Ok(()) => return Ok(()),
                Err(error) if start.elapsed() > ELECTION => return Err(error.context("etcd does not answer")),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    async fn connect(&self) -> Result<Channel> {
        Ok(Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port))?.connect().await?)
    }

    async fn channels(&self, callers: usize, connections: usize) -> Result<Vec<Channel>> {
        let mut channels = Vec::with_capacity(connections);
        for _ in 0..connections {
            channels.push(self.connect().await?);
        }
        Ok(channels.iter().cycle().take(callers).cloned().collect())
    }

    /// Callers that put; those of a publisher are watched.
    pub(crate) async fn writers(&self, who: &str, callers: usize, connections: usize) -> Result<Vec<Putter>> {
        let channels = self.channels(callers, connections).await?.into_iter().enumerate();
        Ok(channels
            .map(|(caller, channel)| Putter {
                name: format!("bench/{who}/{caller:02}"),
                kv: KvClient::new(channel),
            })
            .collect())
    }

    pub(crate) async fn lockers(
        &self,
        callers: usize,
        connections: usize,
        lock: impl Fn(usize) -> String,
    ) -> Result<Vec<Locker>> {
        let mut lockers = Vec::with_capacity(callers);
        for (caller, channel) in self.channels(callers, connections).await?.into_iter().enumerate() {
            let mut leases = LeaseClient::new(channel.clone());
            let lease = leases.lease_grant(LeaseGrantRequest { ttl: LEASE }).await?.into_inner().id;
            lockers.push(Locker { name: lock(caller), lease, locks: LockClient::new(channel) });
        }
        Ok(lockers)
    }

    /// Follows what publishers put, on a connection of its own.
    pub(crate) async fn subscriber(&self) -> Result<Watcher> {
        let (requests, stream) = mpsc::channel(1);
        let range =
            WatchCreateRequest { key: b"bench/publisher/".to_vec(), range_end: b"bench/publisher0".to_vec() };
        requests.send(WatchRequest { create_request: Some(range) }).await?;
        let mut client = WatchClient::new(self.connect().await?);
        let mut answers = client.watch(ReceiverStream::new(stream)).await?.into_inner();
        ensure!(answers.message().await?.context("no stream")?.created, "the watch did not begin");
        Ok(Watcher { _requests: requests, answers, numbers: VecDeque::new() })
    }
}

#[derive(Debug)]
pub(crate) struct Putter {
    name: String,
    kv: KvClient<Channel>,
}

impl Caller for Putter {
    async fn call(&mut self, number: u64) -> Result<()> {
        let key = format!("{}/{:02}", self.name, number % KEYS).into_bytes();
        self.kv.put(PutRequest { key, value: value(number).into_bytes() }).await?;
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Locker {
    name: String,
    lease: i64,
    locks: LockClient<Channel>,
}

impl Caller for Locker {
    async fn call(&mut self, _number: u64) -> Result<()> {
        let request = LockRequest { name: self.name.clone().into_bytes(), lease: self.lease };
        let key = self.locks.lock(request).await?.into_inner().key;
        self.locks.unlock(UnlockRequest { key }).await?;
        Ok(())
    }
}

/// Reads a watch, several events at a time as they come.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// Its end would be the stream's.
    _requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
    numbers: VecDeque<u64>,
}

impl Subscriber for Watcher {
    async fn next(&mut self) -> Result<u64> {
        loop {
            if let Some(number) = self.numbers.pop_front() {
                return Ok(number);
            }
            let answer = self.answers.message().await?.context("the watch ended")?;
            ensure!(!answer.canceled, "etcd ended the watch");
            for event in answer.events {
                let value = event.kv.context("an event without its entry")?.value;
                let number = value.get(..20).and_then(|digits| std::str::from_utf8(digits).ok());
                self.numbers.push_back(number.context("an event without a number")?.parse()?);
            }
        }
    }
}
