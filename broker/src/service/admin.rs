//! The broker itself: how it is, and its end.

use std::io::{self, Write};
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use mesh_proto::v1 as pb;
use pb::admin_service_server::AdminService;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::auth::Caller;
use super::convert::{count, duration, timestamp};
use super::status::Refusal;
use super::{Mesh, answer};
use crate::backup::{self, BackupError};
use crate::maintenance;
use crate::store::STORE_FORMAT;

/// Bytes of a backup that are sent at a time, and how many such pieces wait for a caller who is slow.
const PIECE: (usize, usize) = (64 * 1024, 4);

#[tonic::async_trait]
impl AdminService for Mesh {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        answer(request, |_, _| async move { Ok(status(self)) }).await
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

fn status(mesh: &Mesh) -> pb::GetStatusResponse {
    let info = &mesh.info;
    let store_bytes = info.store.size_bytes();
    let state = mesh.view.read();
    pb::GetStatusResponse {
        header: mesh.header(state.revision()),
        version: info.version.to_owned(),
        pid: info.pid,
        start_time: Some(timestamp(info.started)),
        store_path: info.store_path.display().to_string(),
        store_bytes,
        endpoints: info.endpoints.clone(),
        oldest_revision: mesh.events.oldest().0,
        scopes: count(state.scope_count()),
        peers_online: count(state.peers.online_count()),
        peers_known: count(state.peers.known_count()),
        locks: count(state.locks.count()),
        entries: state.entries.count() as u64,
        messages: state.messages.count() as u64,
        watches: count(mesh.watches.count()),
        auto_started: info.auto_started,
        idle_exit: info.idle_exit.map(duration),
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
