//! What callers of the broker do besides putting: signs of life, reads, locks, mail.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mesh_client::proto::{
    AcknowledgeMessagesRequest, AcquireLocksRequest, GetRequest, HeartbeatRequest, ListMessagesRequest,
    LockMode, ReleaseLocksRequest, SendRequest,
};
use mesh_client::{Client, Session, request_id};

use super::{Mesh, put, value};
use crate::system::Caller;

/// Sessions that one caller uses by turns where the gate would hold one to its rate.
const TURNS: usize = 8;
/// How long a caller waits for a lock.
const WAIT: Duration = Duration::from_secs(30);

impl Mesh {
    /// Callers that say they are alive.
    pub(crate) async fn heartbeats(&self, callers: usize, connections: usize) -> Result<Vec<Heartbeats>> {
        Ok(self.by_turns(callers, connections).await?.into_iter().map(|turns| Heartbeats { turns }).collect())
    }

    /// Callers that read an entry.
    pub(crate) async fn readers(&self, callers: usize, connections: usize) -> Result<Vec<Reader>> {
        let all = self.by_turns(callers, connections).await?;
        let first = all.first().and_then(|turns| turns.first()).context("no reader")?;
        first.state().put(put("reader", 0)).await?;
        Ok(all.into_iter().map(|turns| Reader { turns }).collect())
    }

    /// For each caller the sessions that it uses by turns, all on one connection.
    async fn by_turns(&self, callers: usize, connections: usize) -> Result<Vec<Vec<Client>>> {
        let mut all = Vec::with_capacity(callers);
        let sessions = self.peers(callers, connections).await?;
        for session in sessions {
            let mut turns = vec![session.client()];
            // Many callers share what the machine can do, and none comes near its rate.
            while callers < TURNS && turns.len() < TURNS {
                turns.push(Self::join_over(&session.client(), super::SCOPE, None).await?.client());
            }
            all.push(turns);
        }
        Ok(all)
    }

    /// Callers that take a lock and give it back.
    pub(crate) async fn lockers(
        &self,
        callers: usize,
        connections: usize,
        lock: impl Fn(usize) -> String,
    ) -> Result<Vec<Locker>> {
        let sessions = self.peers(callers, connections).await?.into_iter().enumerate();
        Ok(sessions.map(|(caller, session)| Locker { session, path: lock(caller) }).collect())
    }

    /// Callers that each send to a peer of their own, which reads and acknowledges.
    pub(crate) async fn mailers(&self, callers: usize, connections: usize) -> Result<Vec<Mailer>> {
        let from = self.peers(callers, connections).await?;
        let mut all = Vec::with_capacity(callers);
        for sender in from {
            let receiver = Self::join_over(&sender.client(), super::SCOPE, None).await?;
            all.push(Mailer { to: receiver.peer().name, sender, receiver });
        }
        Ok(all)
    }
}

/// Whose turn it is.
fn turn(turns: &[Client], number: u64) -> Result<&Client> {
    let at = usize::try_from(number)? % turns.len();
    turns.get(at).context("nobody's turn")
}

#[derive(Debug)]
pub(crate) struct Heartbeats {
    turns: Vec<Client>,
}

impl Caller for Heartbeats {
    async fn call(&mut self, number: u64) -> Result<()> {
        turn(&self.turns, number)?.peers().heartbeat(HeartbeatRequest {}).await?;
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Reader {
    turns: Vec<Client>,
}

impl Caller for Reader {
    async fn call(&mut self, number: u64) -> Result<()> {
        let request = GetRequest { key: put("reader", 0).key, ..Default::default() };
        let answer = turn(&self.turns, number)?.state().get(request).await?.into_inner();
        ensure!(answer.entry.is_some(), "an entry is gone");
        Ok(())
    }
}

pub(crate) struct Locker {
    session: Session,
    path: String,
}

impl Caller for Locker {
    async fn call(&mut self, _number: u64) -> Result<()> {
        let mut locks = self.session.client().locks();
        let acquire = AcquireLocksRequest {
            paths: vec![self.path.clone()],
            mode: LockMode::Exclusive.into(),
            wait: WAIT.try_into().ok(),
            request_id: request_id(),
            ..Default::default()
        };
        let granted = locks.acquire_locks(acquire).await?.into_inner();
        ensure!(!granted.locks.is_empty(), "no lock within {} s", WAIT.as_secs());
        let release = ReleaseLocksRequest {
            paths: vec![self.path.clone()],
            request_id: request_id(),
            ..Default::default()
        };
        locks.release_locks(release).await?;
        Ok(())
    }
}

pub(crate) struct Mailer {
    sender: Session,
    receiver: Session,
    to: String,
}

impl Caller for Mailer {
    async fn call(&mut self, number: u64) -> Result<()> {
        let body = value(number);
        let send = SendRequest {
            to: vec![self.to.clone()],
            body: body.clone(),
            request_id: request_id(),
            ..Default::default()
        };
        self.sender.client().messages().send(send).await?;
        let mut inbox = self.receiver.client().messages();
        let page = inbox.list_messages(ListMessagesRequest::default()).await?.into_inner();
        let came = page.messages.last().is_some_and(|message| message.body == body);
        ensure!(came, "the message is not in the inbox");
        let up_to_revision = page.next_after_revision;
        inbox
            .acknowledge_messages(AcknowledgeMessagesRequest { up_to_revision, request_id: request_id() })
            .await?;
        Ok(())
    }
}
