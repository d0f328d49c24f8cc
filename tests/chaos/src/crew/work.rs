//! One client, and what it does all day.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mesh_client::proto::precondition::Condition;
use mesh_client::proto::{
    AcknowledgeMessagesRequest, AcquireLocksRequest, DeleteRequest, ListMessagesRequest, LockMode,
    Precondition, PutRequest, ReleaseLocksRequest, SendRequest,
};
use mesh_client::{Client, ClientError, ErrorReason, JoinOptions, Session, request_id};
use mesh_tests::{get, lock, message, options, put, unattended};
use tonic::{Response, Status};

use crate::dice::Dice;
use crate::history::{Answer, List, MailStep, What};
use crate::record::{Record, Sent, pause};

/// What workers lock: some overlap.
const TARGETS: [&str; 6] = ["src/", "src/a.rs", "src/b.rs", "docs/", "docs/a.md", "task.md"];
const COUNTERS: u64 = 3;

/// A client with its session.
#[derive(Debug)]
pub(super) struct Worker {
    name: String,
    colleagues: Vec<String>,
    client: Client,
    session: Session,
    record: Record,
    dice: Dice,
}

fn name(number: usize) -> String {
    format!("worker-{number}")
}

/// How often a call is sent.
#[derive(Clone, Copy)]
enum Tries {
    /// Until it is answered.
    UntilAnswered,
    /// Once: what became of it, only the log knows.
    One,
}

impl Worker {
    pub(super) async fn join(
        number: usize,
        of: usize,
        client: Client,
        record: Record,
        dice: Dice,
    ) -> Option<Self> {
        let colleagues = (0..of).filter(|other| *other != number).map(name).collect();
        let options = if number % 3 == 2 { brief(&name(number)) } else { options(&name(number)) };
        let session = begin(&client, options, &record).await?;
        Some(Self { name: name(number), colleagues, client, session, record, dice })
    }

    pub(super) async fn run(mut self, done: Arc<AtomicBool>) -> Option<Self> {
        while !done.load(Ordering::Relaxed) {
            match self.dice.among(0..12) {
                0..4 => self.lock().await,
                4..7 => self.count_up().await,
                7 => self.scratch().await,
                8 | 9 => self.send().await,
                10 => self.visit().await,
                _ => {
                    self.read().await;
                }
            }
        }
        Some(self)
    }

    /// Reads what is left of the mail, and gives up what is held.
    pub(super) async fn end(mut self) {
        self.release(Vec::new()).await;
        while self.read().await {}
    }

    /// Sends one call and writes down what came of it. `revision` finds its place in the answer.
    async fn call<T, F, Fut>(
        &mut self,
        what: What,
        id: String,
        tries: Tries,
        call: F,
        revision: impl Fn(&T) -> Option<u64>,
    ) -> Option<T>
    where
        F: FnMut(Client) -> Fut + Clone,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let sent = self.record.sends(id, what);
        let result = match tries {
            Tries::UntilAnswered => self.record.patiently(|| self.session.call(call.clone())).await,
            Tries::One => self.only_once(call).await,
        };
        self.note(sent, result, tries, revision)
    }

    async fn only_once<T, F, Fut>(&self, mut call: F) -> Result<T, ClientError>
    where
        F: FnMut(Client) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let client = self.session.client();
        match call(client.clone()).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(client.decode(&status)),
        }
    }

    fn note<T>(
        &self,
        sent: Sent,
        result: Result<T, ClientError>,
        tries: Tries,
        revision: impl Fn(&T) -> Option<u64>,
    ) -> Option<T> {
        let told = format!("{} of {}", sent.request_id, self.name);
        match result {
            Ok(answer) => {
                let outcome = revision(&answer).map_or(Answer::Refused, Answer::Done);
                self.record.answered(&self.name, sent, outcome);
                Some(answer)
            }
            Err(error) if is_documented(&error) => {
                // Of a session that ended while the call was repeated, an earlier try may have been heard.
                let ended = error.reason() == Some(ErrorReason::SessionExpired);
                let outcome = if ended { Answer::Unknown } else { Answer::Refused };
                self.record.answered(&self.name, sent, outcome);
                None
            }
            Err(error) => {
                self.record.answered(&self.name, sent, Answer::Unknown);
                if matches!(tries, Tries::UntilAnswered) {
                    self.record.failed(format!("{told}: {error}"));
                }
                None
            }
        }
    }

    fn some_tries(&mut self) -> Tries {
        if self.dice.percent(15) { Tries::One } else { Tries::UntilAnswered }
    }

    /// Takes locks, at once or by waiting, holds them a moment or over their ttl, and gives them back.
    async fn lock(&mut self) {
        let mut paths = vec![*self.dice.pick(&TARGETS)];
        if self.dice.percent(30) {
            paths.push(*self.dice.pick(&TARGETS));
            paths.sort_unstable();
            paths.dedup();
        }
        let mode = if self.dice.percent(30) { LockMode::Shared } else { LockMode::Exclusive };
        let overstay = self.dice.percent(2);
        let request = AcquireLocksRequest {
            mode: mode.into(),
            request_id: request_id(),
            wait: if self.dice.percent(50) { mesh_tests::seconds(2) } else { None },
            ttl: if overstay { mesh_tests::seconds(1) } else { None },
            ..lock(&paths)
        };
        let paths: Vec<String> = paths.into_iter().map(Into::into).collect();
        let (what, id) = (What::Acquire(paths.clone()), request.request_id.clone());
        let token = |answer: &mesh_client::proto::AcquireLocksResponse| {
            answer.locks.iter().map(|lock| lock.fencing_token).max()
        };
        let call = |client: Client| {
            let request = request.clone();
            async move { client.locks().acquire_locks(request).await }
        };
        let started = self.record.now();
        let answer = self.call(what, id, Tries::UntilAnswered, call, token).await;
        if let Some(answer) = answer.filter(|answer| !answer.locks.is_empty()) {
            let revision = answer.header.map_or(0, |header| header.revision);
            self.record.looked(started, revision, List::Granted(answer.locks));
            let hold = if overstay { 1_100 } else { self.dice.among(0..10) };
            pause(Duration::from_millis(hold)).await;
            self.release(paths).await;
        }
    }

    async fn release(&mut self, paths: Vec<String>) {
        let request = ReleaseLocksRequest { paths, request_id: request_id(), ..Default::default() };
        let id = request.request_id.clone();
        let call = |client: Client| {
            let request = request.clone();
            async move { client.locks().release_locks(request).await }
        };
        let revision = |answer: &mesh_client::proto::ReleaseLocksResponse| {
            answer.header.as_ref().filter(|_| !answer.paths.is_empty()).map(|header| header.revision)
        };
        self.call(What::Release, id, Tries::UntilAnswered, call, revision).await;
    }

    /// Compare and swap.
    async fn count_up(&mut self) {
        let key = format!("counter/{}", self.dice.among(0..COUNTERS));
        let (value, condition, read) = match self.record.patiently(|| self.session.get(get(&key))).await {
            Ok(found) => {
                let entry = found.entry.unwrap_or_default();
                let value = entry.value.parse::<u64>().unwrap_or(0) + 1;
                (value, Condition::Revision(entry.revision), entry.revision)
            }
            Err(error) if error.reason() == Some(ErrorReason::KeyNotFound) => {
                (1, Condition::MustNotExist(true), 0)
            }
            Err(error) => return self.record.failed(format!("{} reads {key}: {error}", self.name)),
        };
        let request = PutRequest {
            precondition: Some(Precondition { condition: Some(condition) }),
            request_id: request_id(),
            ..put(&key, &value.to_string())
        };
        self.put(request, Some(read)).await;
    }

    async fn put(&mut self, request: PutRequest, read: Option<u64>) {
        let (what, id) = (What::Put(request.key.clone(), read), request.request_id.clone());
        let tries = self.some_tries();
        let call = |client: Client| {
            let request = request.clone();
            async move { client.state().put(request).await }
        };
        let revision = |answer: &mesh_client::proto::PutResponse| answer.entry.as_ref().map(|e| e.revision);
        self.call(what, id, tries, call, revision).await;
    }

    /// A note of its own, of any size, written or deleted.
    async fn scratch(&mut self) {
        let key = format!("scratch/{}/{}", self.name, self.dice.among(0..2));
        if self.dice.percent(60) {
            let size = self.dice.among(1..12_000);
            let value = "x".repeat(usize::try_from(size).unwrap_or(1));
            let precondition = Some(Precondition { condition: Some(Condition::Overwrite(true)) });
            return self
                .put(PutRequest { precondition, request_id: request_id(), ..put(&key, &value) }, None)
                .await;
        }
        let precondition = Some(Precondition { condition: Some(Condition::Overwrite(true)) });
        let request =
            DeleteRequest { key: key.clone(), precondition, request_id: request_id(), ..Default::default() };
        let id = request.request_id.clone();
        let call = |client: Client| {
            let request = request.clone();
            async move { client.state().delete(request).await }
        };
        let revision =
            |answer: &mesh_client::proto::DeleteResponse| answer.header.as_ref().map(|h| h.revision);
        self.call(What::Delete(key), id, Tries::UntilAnswered, call, revision).await;
    }

    async fn send(&mut self) {
        let to = self.dice.pick(&self.colleagues).clone();
        let body = format!("{} of {}", self.dice.number(), self.name);
        let request = SendRequest { request_id: request_id(), ..message(&to, &body) };
        let id = request.request_id.clone();
        let tries = self.some_tries();
        let call = |client: Client| {
            let request = request.clone();
            async move { client.messages().send(request).await }
        };
        let revision = |answer: &mesh_client::proto::SendResponse| answer.header.as_ref().map(|h| h.revision);
        self.call(What::Send, id, tries, call, revision).await;
    }

    /// Somebody comes, and goes: says so, or is simply gone.
    async fn visit(&mut self) {
        let visitor = unattended(&format!("visitor-of-{}", self.name));
        let Some(visit) = begin(&self.client, visitor, &self.record).await else { return };
        if self.dice.percent(70)
            && let Err(error) = self.record.patiently(|| visit.leave()).await
        {
            self.record.failed(format!("a visitor of {} leaves: {error}", self.name));
        }
    }

    /// Reads a page of mail and acknowledges it; false when there was none.
    async fn read(&mut self) -> bool {
        let request = ListMessagesRequest { limit: 20, ..Default::default() };
        let page = match self.record.patiently(|| self.session.inbox(request)).await {
            Ok(page) => page,
            Err(error) => {
                self.record.failed(format!("{} reads its mail: {error}", self.name));
                return false;
            }
        };
        let step = MailStep::Page {
            revision: page.header.as_ref().map_or(0, |header| header.revision),
            cursor: page.acknowledged_revision,
            messages: page.messages.iter().map(|message| message.revision).collect(),
            unread: page.unread,
        };
        self.record.mail(&self.name, step);
        if page.messages.is_empty() {
            return false;
        }
        let up_to = page.next_after_revision;
        let request = AcknowledgeMessagesRequest { up_to_revision: up_to, request_id: request_id() };
        let call = |client: Client| {
            let request = request.clone();
            async move { client.messages().acknowledge_messages(request).await }
        };
        let tries = self.some_tries();
        let heard = match tries {
            Tries::UntilAnswered => self.record.patiently(|| self.session.call(call)).await,
            Tries::One => self.only_once(call).await,
        };
        if let (Err(error), Tries::UntilAnswered) = (&heard, tries) {
            self.record.failed(format!("{} acknowledges: {error}", self.name));
        }
        self.record.mail(&self.name, MailStep::Acknowledged(up_to, heard.is_ok()));
        true
    }
}

/// A session of two seconds, kept by heartbeats alone: a pause outlives it.
fn brief(name: &str) -> JoinOptions {
    JoinOptions {
        lease_ttl: Some(Duration::from_secs(2)),
        liveness: mesh_client::Liveness::Heartbeat,
        ..options(name)
    }
}

async fn begin(client: &Client, options: JoinOptions, record: &Record) -> Option<Session> {
    let name = options.name.clone().unwrap_or_default();
    let sent = record.sends(String::new(), What::Join(String::new()));
    match record.patiently(|| Session::join(client, options.clone())).await {
        Ok(session) => {
            let at = session.joined_at().map_or(0, |cursor| cursor.revision);
            let sent = Sent { what: What::Join(session.peer().session_id), ..sent };
            record.answered(&name, sent, Answer::Done(at));
            Some(session)
        }
        Err(error) => {
            record.failed(format!("{name} joins: {error}"));
            None
        }
    }
}

/// Refusals that the contract has for these calls: a race that was lost, a lock or session that has ended.
fn is_documented(error: &ClientError) -> bool {
    matches!(
        error.reason(),
        Some(
            ErrorReason::VersionMismatch
                | ErrorReason::KeyExists
                | ErrorReason::KeyNotFound
                | ErrorReason::LockNotHeld
                | ErrorReason::SessionExpired
                | ErrorReason::OverwriteNeedsVersion
                | ErrorReason::Deadlock
        )
    )
}
