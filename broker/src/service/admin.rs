//! The broker itself: how it is, and its end.

use std::io::{self, Write};
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mesh_core::{State, limits};
use mesh_proto::v1 as pb;
use pb::admin_service_server::AdminService;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::auth::{Caller, Principal};
use super::convert::{count, duration, timestamp};
use super::status::Refusal;
use super::{Mesh, answer};
use crate::backup::{self, BackupError};
use crate::maintenance;
use crate::metrics::process;
use crate::store::STORE_FORMAT;

/// Bytes of a backup that are sent at a time, and how many such pieces wait for a caller who is slow.
const PIECE: (usize, usize) = (64 * 1024, 4);

#[tonic::async_trait]
impl AdminService for Mesh {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        answer(request, |caller, _| async move { Ok(status(self, &caller)) }).await
    }

    async fn stop(&self, request: Request<pb::StopRequest>) -> Result<Response<pb::StopResponse>, Status> {
        answer(request, |caller, _| async move { stop(self, &caller) }).await
    }

    type BackupStream = Pin<Box<dyn Stream<Item = Result<pb::BackupResponse, Status>> + Send>>;

    async fn backup(
        &self,
        request: Request<pb::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        answer(request, |caller, _| async move { back_up(self, &caller) }).await
    }
}

/// The broker as it is; to who may not see everything, counts are of what it sees, and the machine's paths are hidden.
fn status(mesh: &Mesh, caller: &Caller) -> pb::GetStatusResponse {
    let info = &mesh.info;
    let store_bytes = info.store.size_bytes();
    let state = mesh.view.read();
    let counts = Counts::of(&state, &caller.principal);
    let is_admin = caller.principal.sees_all();
    pb::GetStatusResponse {
        header: mesh.header(state.revision()),
        version: info.version.to_owned(),
        pid: info.pid,
        start_time: Some(timestamp(info.started)),
        store_path: if is_admin { info.store_path.display().to_string() } else { String::new() },
        store_bytes,
        endpoints: if is_admin { info.endpoints.clone() } else { Vec::new() },
        oldest_revision: mesh.events.oldest().0,
        scopes: count(counts.scopes),
        peers_online: count(counts.peers_online),
        peers_known: count(counts.peers_known),
        locks: count(counts.locks),
        entries: counts.entries as u64,
        messages: counts.messages as u64,
        watches: count(mesh.watches.count()),
        auto_started: info.auto_started,
        idle_exit: info.idle_exit.map(duration),
        vitals: Some(vitals(mesh, &state)),
    }
}

fn vitals(mesh: &Mesh, state: &State) -> pb::Vitals {
    let vitals = &mesh.vitals;
    let process = process::look();
    let commits = vitals.commits.count();
    let (last, longest) = vitals.commits.last_and_longest();
    let took = |span: Duration| prost_types::Duration::try_from(span).ok().filter(|_| commits > 0);
    // Without an answer of the system nothing is told, rather than that there is no room.
    let disk = rustix::fs::statvfs(&mesh.info.store_path).ok();
    pb::Vitals {
        queue_depth: count(mesh.writer.depth()),
        queue_capacity: count(limits::QUEUE),
        watch_lag: mesh.watches.lag(state.revision()),
        waiters: count(state.locks.waiter_count()),
        connections: count(vitals.connections()),
        commits,
        last_commit: took(last),
        longest_commit: took(longest),
        leases_expired: vitals.commits.leases_expired(),
        refused_credentials: vitals.refused.credentials(),
        free_bytes: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        resident_bytes: process.resident_bytes,
        open_files: process.open_fds,
        max_open_files: process.max_fds,
        metrics_endpoint: vitals.metrics.map(|at| format!("http://{at}/metrics")).unwrap_or_default(),
        limits: limit_uses(mesh, state),
        otlp_endpoint: vitals.otlp.clone().unwrap_or_default(),
    }
}

fn limit_uses(mesh: &Mesh, state: &State) -> Vec<pb::LimitUse> {
    let uses = [
        ("peers", state.peers.known_count(), limits::PEERS),
        ("locks", state.locks.count(), limits::LOCKS),
        ("entries", state.entries.count(), limits::ENTRIES),
        ("touches", state.touches.count(), limits::TOUCHES_PER_MESH),
        ("watches", mesh.watches.count(), limits::WATCHES),
    ];
    let told = |(name, used, limit): (&str, usize, usize)| pb::LimitUse {
        name: name.to_owned(),
        used: used as u64,
        limit: limit as u64,
    };
    uses.map(told).into()
}

/// How much there is.
#[derive(Debug)]
struct Counts {
    scopes: usize,
    peers_online: usize,
    peers_known: usize,
    locks: usize,
    entries: usize,
    messages: usize,
}

impl Counts {
    fn of(state: &State, reader: &Principal) -> Self {
        if reader.sees_all() {
            return Self {
                scopes: state.heads(None).filter(|head| !head.scope.is_reserved()).count(),
                peers_online: state.peers.online_count(),
                peers_known: state.peers.known_count(),
                locks: state.locks.count(),
                entries: state.entries.count(),
                messages: state.messages.count(),
            };
        }
        let known = || state.peers.list(None, None).filter(|peer| reader.sees(&peer.scope));
        Self {
            scopes: state.heads(None).filter(|head| reader.sees(&head.scope)).count(),
            peers_online: known().filter(|peer| peer.session.is_some()).count(),
            peers_known: known().count(),
            locks: state.locks.list(None, None).filter(|lock| reader.sees(&lock.scope)).count(),
            entries: state.entries.all(None).filter(|entry| reader.sees(&entry.scope)).count(),
            messages: state.messages.all().filter(|message| reader.sees(&message.scope)).count(),
        }
    }
}

fn stop(mesh: &Mesh, caller: &Caller) -> Result<pb::StopResponse, Refusal> {
    caller.require_unix_socket("the broker is stopped")?;
    mesh.shutdown.cancel();
    Ok(pb::StopResponse { header: mesh.header(mesh.view.revision()) })
}

/// A backup as it is written on a thread of its own, no faster than it is taken.
fn back_up(mesh: &Mesh, caller: &Caller) -> Result<<Mesh as AdminService>::BackupStream, Refusal> {
    caller.require_unix_socket("the store is backed up")?;
    let (sender, receiver) = mpsc::channel(PIECE.1);
    let mesh = mesh.clone();
    tokio::task::spawn_blocking(move || {
        let store = mesh.info.store.clone();
        let header = maintenance::header(store.identity(), STORE_FORMAT);
        let mut pieces = Pieces { mesh, sender, piece: BytesMut::new() };
        let written = store.snapshot().map_err(BackupError::from);
        let written = written.and_then(|mut snapshot| backup::write(&header, snapshot.as_mut(), &mut pieces));
        if let Err(error) = written {
            tracing::warn!(%error, "a backup was not finished");
            let refusal = match error {
                BackupError::Store(error) => Refusal::from(error),
                BackupError::Io(_) => Refusal::Draining,
                BackupError::Damaged(_) | BackupError::Version { .. } => Refusal::Corrupt(error.to_string()),
            };
            // A caller that is gone does not hear it.
            let _ = pieces.sender.blocking_send(Err(refusal.into()));
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// Sends what is written, in pieces.
#[derive(Debug)]
struct Pieces {
    mesh: Mesh,
    sender: mpsc::Sender<Result<pb::BackupResponse, Status>>,
    piece: BytesMut,
}

impl Pieces {
    fn send(&mut self, data: Bytes) -> io::Result<()> {
        if self.mesh.shutdown.is_cancelled() {
            return Err(io::Error::other("the broker is shutting down"));
        }
        let sent = self.sender.blocking_send(Ok(pb::BackupResponse { data: data.into() }));
        sent.map_err(|_| io::Error::other("the caller is gone"))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        while self.piece.len() >= PIECE.0 {
            let piece = self.piece.split_to(PIECE.0).freeze();
            self.send(piece)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rest = self.piece.split().freeze();
        if rest.is_empty() { Ok(()) } else { self.send(rest) }
    }
}
