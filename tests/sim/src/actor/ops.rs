//! What a peer does. Whether an answer is right is looked at on the broker's door; here, whether it fits the question.

use std::time::Duration;

use mesh_client::proto as pb;
use mesh_client::{Acquired, ClientError, ErrorReason, Session};
use pb::precondition::Condition;

use super::Actor;
use crate::dice::Dice;

const PATHS: [&str; 9] = ["a/", "a/x.rs", "a/y.rs", "a/b/", "a/b/z.rs", "c/x.rs", "c/", "task:T1", "api:v1"];
const KEYS: [&str; 5] = ["plan", "notes/one", "notes/two", "decisions", "state"];
const TOPICS: [&str; 2] = ["#build", "#review"];

/// Counts on a refusal as on any other answer.
fn settled<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ClientError::Refused(refusal)) if !is_end(refusal.reason) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_end(reason: ErrorReason) -> bool {
    matches!(reason, ErrorReason::SessionExpired | ErrorReason::Unauthenticated | ErrorReason::Draining)
}

fn seconds(seconds: u64) -> Option<prost_types::Duration> {
    Duration::from_secs(seconds).try_into().ok()
}

impl Actor {
    fn some_paths(&mut self) -> Vec<String> {
        let count = self.dice.within(1, 3);
        let mut paths: Vec<String> = (0..count).map(|_| (*self.dice.pick(&PATHS)).to_owned()).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    fn request(&mut self) -> pb::AcquireLocksRequest {
        let shared = self.dice.happens(2_500);
        let mode = if shared { pb::LockMode::Shared } else { pb::LockMode::Exclusive };
        pb::AcquireLocksRequest {
            paths: self.some_paths(),
            mode: mode.into(),
            ttl: seconds(self.dice.within(2, 25)),
            reason: "work".to_owned(),
            ..pb::AcquireLocksRequest::default()
        }
    }

    fn note(&self, line: &str) {
        self.books.note(&self.name, line);
    }

    pub(super) async fn acquire(&mut self, session: &Session) -> Result<(), ClientError> {
        let request = pb::AcquireLocksRequest { request_id: self.id(), ..self.request() };
        let verdict = settled(session.acquire(request.clone()).await)?;
        self.taken(verdict);
        if self.dice.happens(1_000) {
            // Whoever is not sure asks again.
            settled(session.acquire(request).await)?;
        }
        Ok(())
    }

    fn taken(&mut self, verdict: Option<Acquired>) {
        match verdict {
            Some(Acquired::Granted(locks)) => {
                self.held.extend(locks.iter().map(|lock| (lock.path.clone(), lock.fencing_token)));
                let names: Vec<_> = locks.iter().map(|lock| lock.path.as_str()).collect();
                self.note(&format!("has {names:?}"));
            }
            Some(Acquired::Refused(conflicts)) => self.note(&format!("{} in the way", conflicts.len())),
            None => {}
        }
    }

    pub(super) async fn acquire_patiently(&mut self, session: &Session) -> Result<(), ClientError> {
        let (request, patience) = (self.request(), self.dice.millis(500, 9_000));
        let waiting = session.acquire_wait(request, patience);
        if self.dice.happens(2_000) {
            // Thinks better of it.
            let given_up = self.dice.millis(100, 3_000);
            if let Ok(verdict) = tokio::time::timeout(given_up, waiting).await {
                let verdict = settled(verdict)?;
                self.taken(verdict);
            }
            return Ok(());
        }
        let verdict = settled(waiting.await)?;
        self.taken(verdict);
        Ok(())
    }

    pub(super) async fn release(&mut self, session: &Session) -> Result<(), ClientError> {
        if self.dice.happens(1_500)
            && let Some((path, _)) = self.held.iter().find(|(path, _)| path == "a/").cloned()
        {
            let request = pb::ReleaseLocksRequest {
                paths: vec![path],
                keep: vec!["a/b/".to_owned()],
                request_id: self.id(),
                ..pb::ReleaseLocksRequest::default()
            };
            settled(session.release_locks(request).await)?;
            return Ok(());
        }
        if self.dice.happens(2_500) {
            // Whose it is, it does not ask.
            let path = (*self.dice.pick(&PATHS)).to_owned();
            settled(session.release(vec![path]).await)?;
            return Ok(());
        }
        let all = self.held.is_empty() || self.dice.happens(3_000);
        let paths = if all { Vec::new() } else { vec![self.held.swap_remove(0).0] };
        if all {
            self.held.clear();
        }
        settled(session.release(paths).await)?;
        Ok(())
    }

    pub(super) async fn renew(&mut self, session: &Session) -> Result<(), ClientError> {
        let request = pb::RenewLocksRequest { request_id: self.id(), ..pb::RenewLocksRequest::default() };
        settled(session.renew(request).await)?;
        Ok(())
    }

    pub(super) async fn take_away(&mut self, session: &Session) -> Result<(), ClientError> {
        let request = pb::ForceReleaseRequest {
            paths: self.some_paths(),
            reason: "urgent".to_owned(),
            request_id: self.id(),
        };
        settled(session.force_release(request).await)?;
        Ok(())
    }

    pub(super) async fn ask_for_way(&mut self, session: &Session) -> Result<(), ClientError> {
        let list = pb::ListReleaseRequestsRequest { holder: self.name.clone(), ..Default::default() };
        let open = settled(session.list_release_requests(list).await)?.unwrap_or_default();
        if let Some(asked) = open.requests.first() {
            let answers = [pb::ReleaseAnswer::Keep, pb::ReleaseAnswer::Release, pb::ReleaseAnswer::Narrow];
            let answer = *self.dice.pick(&answers);
            let narrower = answer == pb::ReleaseAnswer::Narrow;
            let request = pb::AnswerReleaseRequest {
                id: asked.id,
                answer: answer.into(),
                keep: narrower.then(|| "a/b/".to_owned()).into_iter().collect(),
                request_id: self.id(),
                ..Default::default()
            };
            settled(session.answer_release(request).await)?;
            return Ok(());
        }
        let request = pb::RequestReleaseRequest {
            paths: self.some_paths(),
            reason: "please".to_owned(),
            request_id: self.id(),
            ..Default::default()
        };
        settled(session.request_release(request).await)?;
        Ok(())
    }

    fn a_put(&mut self) -> pb::PutRequest {
        let request_id = self.id();
        let key = (*self.dice.pick(&KEYS)).to_owned();
        let object = self.dice.happens(if key.starts_with("notes/") { 8_000 } else { 1_000 });
        pb::PutRequest {
            key,
            value: if object { self.an_object(&request_id) } else { format!("by:{request_id}") },
            ttl: self.dice.happens(1_500).then(|| seconds(self.dice.within(1, 8))).flatten(),
            request_id,
            ..pb::PutRequest::default()
        }
    }

    /// Some fields, or their removal.
    fn an_object(&mut self, text: &str) -> String {
        let field = |dice: &mut Dice| {
            let name = *dice.pick(&["a", "b", "c"]);
            (name, if dice.happens(2_000) { "null".to_owned() } else { format!("{text:?}") })
        };
        let (name, value) = field(&mut self.dice);
        let (other, another) = field(&mut self.dice);
        if name == other {
            return format!("{{\"{name}\":{value}}}");
        }
        format!("{{\"{name}\":{value},\"{other}\":{another}}}")
    }

    pub(super) async fn set_policy(&mut self, session: &Session) -> Result<(), ClientError> {
        use pb::PolicyKind::{Append, LastWriteWins, MergePatch, RequireVersion, Unspecified};
        let (prefix, kinds) = *self.dice.pick(&[
            ("notes/", [MergePatch, MergePatch, MergePatch, Unspecified]),
            ("notes/", [MergePatch, MergePatch, LastWriteWins, Append]),
            ("decisions", [Append, Append, Append, Unspecified]),
            ("state", [LastWriteWins, Append, MergePatch, RequireVersion]),
        ]);
        let kind = *self.dice.pick(&kinds);
        let request = pb::SetPolicyRequest {
            prefix: prefix.to_owned(),
            kind: kind.into(),
            request_id: self.id(),
            ..Default::default()
        };
        settled(session.set_policy(request).await)?;
        Ok(())
    }

    pub(super) async fn write(&mut self, session: &Session) -> Result<(), ClientError> {
        let mut request = self.a_put();
        match self.dice.within(0, 9) {
            0..=2 => {
                let get = pb::GetRequest { key: request.key.clone(), ..Default::default() };
                let read = settled(session.get(get).await)?.and_then(|read| read.entry);
                let condition = match read {
                    Some(entry) if self.dice.happens(5_000) => Condition::Version(entry.version),
                    Some(entry) => Condition::Revision(entry.revision),
                    None => Condition::MustNotExist(true),
                };
                request.precondition = Some(pb::Precondition { condition: Some(condition) });
                // Thinks about it, so that others may come between.
                tokio::time::sleep(self.dice.millis(0, 400)).await;
            }
            3 => {
                request.precondition = Some(pb::Precondition { condition: Some(Condition::Overwrite(true)) });
            }
            4 => {
                let version = self.dice.within(1, 4);
                request.precondition =
                    Some(pb::Precondition { condition: Some(Condition::Version(version)) });
            }
            5 => {
                request.fence = self
                    .held
                    .first()
                    .map(|(path, token)| pb::Fence { path: path.clone(), fencing_token: *token });
            }
            _ => {}
        }
        let written = settled(session.put(request.clone()).await)?;
        if written.is_some() && self.dice.happens(1_500) {
            settled(session.put(request.clone()).await)?;
        }
        if written.is_some() && self.dice.happens(1_000) {
            return self.reuse(session, request).await;
        }
        Ok(())
    }

    /// Uses the id of a request for another one.
    async fn reuse(&mut self, session: &Session, former: pb::PutRequest) -> Result<(), ClientError> {
        let request = pb::PutRequest { value: "something-else".to_owned(), ..former };
        self.books.with(|books| books.reused.insert(request.request_id.clone()));
        let answer = session.put(request).await;
        self.books.demand("retry is safe", answer.is_err(), || {
            format!("{} got an answer to another request of the same id", self.name)
        });
        settled(answer)?;
        Ok(())
    }

    pub(super) async fn read(&mut self, session: &Session) -> Result<(), ClientError> {
        let key = (*self.dice.pick(&KEYS)).to_owned();
        settled(session.get(pb::GetRequest { key, ..Default::default() }).await)?;
        Ok(())
    }

    pub(super) async fn delete(&mut self, session: &Session) -> Result<(), ClientError> {
        let request = pb::DeleteRequest {
            key: (*self.dice.pick(&KEYS)).to_owned(),
            request_id: self.id(),
            ..pb::DeleteRequest::default()
        };
        settled(session.delete(request).await)?;
        Ok(())
    }

    pub(super) async fn transact(&mut self, session: &Session) -> Result<(), ClientError> {
        let (mut first, mut second) = (self.a_put(), self.a_put());
        if first.key == second.key {
            second.key.push_str("/second");
        }
        let condition = Some(Condition::Overwrite(true));
        for put in [&mut first, &mut second] {
            put.request_id.clear();
            put.precondition = Some(pb::Precondition { condition });
        }
        if self.dice.happens(4_000) {
            second.precondition = Some(pb::Precondition { condition: Some(Condition::MustNotExist(true)) });
        }
        let operation = |put| pb::Operation { operation: Some(pb::operation::Operation::Put(put)) };
        let request = pb::TransactRequest {
            operations: vec![operation(first), operation(second)],
            request_id: self.id(),
            ..Default::default()
        };
        settled(session.transact(request).await)?;
        Ok(())
    }

    /// One message, or some that come together.
    pub(super) async fn send(&mut self, session: &Session) -> Result<(), ClientError> {
        let (first, second, third) = (self.a_message(), self.a_message(), self.a_message());
        if !self.dice.happens(2_500) {
            settled(session.send(first).await)?;
            return Ok(());
        }
        let sent = tokio::join!(session.send(first), session.send(second), session.send(third));
        for answer in [sent.0, sent.1, sent.2] {
            settled(answer)?;
        }
        Ok(())
    }

    fn a_message(&mut self) -> pb::SendRequest {
        let request_id = self.id();
        let mut request = pb::SendRequest {
            body: format!("word of {request_id}"),
            request_id,
            ..pb::SendRequest::default()
        };
        match self.dice.within(0, 3) {
            0 => request.broadcast = true,
            1 => request.topic = (*self.dice.pick(&TOPICS)).to_owned(),
            _ if self.others.is_empty() => request.broadcast = true,
            _ => request.to = vec![self.dice.pick(&self.others).clone()],
        }
        request
    }

    pub(super) async fn read_mail(&mut self, session: &Session) -> Result<(), ClientError> {
        let wait = self.dice.happens(3_000).then(|| seconds(self.dice.within(1, 4))).flatten();
        let limit = if self.dice.happens(5_000) { 1 + u32::from(self.dice.happens(5_000)) } else { 0 };
        let request = pb::ListMessagesRequest { wait, limit, ..Default::default() };
        let Some(mut inbox) = settled(session.inbox(request).await)? else { return Ok(()) };
        while limit > 0 && !inbox.messages.is_empty() && self.dice.happens(8_000) {
            let after_revision = inbox.next_after_revision;
            let request = pb::ListMessagesRequest { after_revision, limit, ..Default::default() };
            let Some(next) = settled(session.inbox(request).await)? else { return Ok(()) };
            if next.messages.is_empty() {
                break;
            }
            inbox = next;
        }
        if inbox.messages.is_empty() || self.dice.happens(3_000) {
            return Ok(());
        }
        let read = self.dice.pick(&inbox.messages).revision;
        settled(session.ack(read).await)?;
        Ok(())
    }

    pub(super) async fn follow(&mut self, session: &Session) -> Result<(), ClientError> {
        let topic = vec![(*self.dice.pick(&TOPICS)).to_owned()];
        let mut request = pb::FollowTopicsRequest { request_id: self.id(), ..Default::default() };
        if self.dice.happens(7_000) {
            request.follow = topic;
        } else {
            request.unfollow = topic;
        }
        settled(session.follow_topics(request).await)?;
        Ok(())
    }

    pub(super) async fn touch(&mut self, session: &Session) -> Result<(), ClientError> {
        let touch = pb::Touch { path: "a/x.rs".to_owned(), kind: pb::TouchKind::Edit.into() };
        let request = pb::TouchFilesRequest {
            touches: vec![touch],
            request_id: self.id(),
            ..pb::TouchFilesRequest::default()
        };
        settled(session.touch_files(request).await)?;
        Ok(())
    }

    pub(super) async fn update(&mut self, session: &Session) -> Result<(), ClientError> {
        let info = pb::PeerInfo { focus: self.id(), ..Default::default() };
        settled(session.update(info, &["focus"]).await)?;
        Ok(())
    }

    pub(super) async fn look_around(&mut self, session: &Session) -> Result<(), ClientError> {
        settled(session.list_peers(pb::ListPeersRequest::default()).await)?;
        settled(session.list_locks(pb::ListLocksRequest::default()).await)?;
        Ok(())
    }

    pub(super) async fn wait(&mut self, session: &Session) -> Result<(), ClientError> {
        let path = (*self.dice.pick(&PATHS)).to_owned();
        let condition = pb::wait_condition::Condition::LockFree(pb::LockCondition { path, mode: 0 });
        let request = pb::WaitRequest {
            conditions: vec![pb::WaitCondition { condition: Some(condition) }],
            timeout: seconds(self.dice.within(1, 4)),
            ..Default::default()
        };
        settled(session.wait(request).await)?;
        Ok(())
    }
}
