//! Answers, each held against the model: is it so, and was it so at the revision it names?

use bytes::Bytes;
use mesh_core::id::{PeerName, ScopeId};
use mesh_core::record::PolicyKind;
use mesh_proto::v1 as pb;
use pb::precondition::Condition;
use prost::Message;

use super::Visit;
use crate::books::Books;
use crate::model::{Broken, Grant, Written, follows, merges, overlap};

/// Messages of a page whose size the request leaves open.
const INBOX_PAGE: usize = 100;

/// Whom a session belongs to.
type Who = (ScopeId, PeerName);

fn read<T: Message + Default>(bytes: &Bytes) -> T {
    T::decode(bytes.clone()).unwrap_or_default()
}

impl Visit {
    /// Holds an answer against the model.
    pub(super) fn answered(&self, books: &mut Books, revision: u64, answer: &Bytes) -> Result<(), Broken> {
        match self.method() {
            "Join" => effect(books, &read::<pb::JoinRequest>(&self.request).request_id, revision),
            "Leave" => effect(books, &read::<pb::LeaveRequest>(&self.request).request_id, revision),
            "Send" => effect(books, &read::<pb::SendRequest>(&self.request).request_id, revision),
            "Transact" => self.transacted(books, revision, &read(answer)),
            "SetPolicy" => self.policy_set(books, revision),
            "Put" => self.put(books, revision, &read(answer)),
            "Delete" => self.delete(books, revision),
            "Get" => self.get(books, revision, &read(answer)),
            "AcquireLocks" => self.acquired(books, revision, &read(answer)),
            "RenewLocks" => self.holds(books, revision, &read::<pb::RenewLocksResponse>(answer).locks),
            "ListMessages" => self.inbox(books, revision, &read(answer)),
            "AcknowledgeMessages" => self.acknowledged(books, revision, &read(answer)),
            "ListLocks" => self.fresh(revision),
            "ListPeers" => self.peers(books, revision, &read(answer)),
            "Heartbeat" => self.fresh(revision),
            _ => Ok(()),
        }
    }

    /// A read shows what was durable when it was asked for, at least.
    fn fresh(&self, revision: u64) -> Result<(), Broken> {
        let what = || ("no stale read", format!("shows revision {revision}, {} was durable", self.asked));
        (revision >= self.asked).then_some(()).ok_or_else(what)
    }

    fn caller(&self, books: &Books) -> Option<Who> {
        let session = books.model.peers.get(self.session?)?;
        Some((session.scope.clone(), session.name.clone()))
    }

    fn scope(&self, books: &Books, named: &str) -> Option<ScopeId> {
        if named.is_empty() { self.caller(books).map(|(scope, _)| scope) } else { ScopeId::parse(named).ok() }
    }

    fn put(&self, books: &mut Books, revision: u64, answer: &pb::PutResponse) -> Result<(), Broken> {
        let request: pb::PutRequest = read(&self.request);
        effect(books, &request.request_id, revision)?;
        let Some(scope) = self.scope(books, &request.scope) else { return Ok(()) };
        self.written(books, &scope, &request, revision)?;
        self.show_own(books, &scope, answer.entry.as_slice());
        Ok(())
    }

    fn transacted(
        &self,
        books: &mut Books,
        revision: u64,
        answer: &pb::TransactResponse,
    ) -> Result<(), Broken> {
        let request: pb::TransactRequest = read(&self.request);
        effect(books, &request.request_id, revision)?;
        let Some(scope) = self.scope(books, &request.scope) else { return Ok(()) };
        for operation in request.operations {
            if let Some(pb::operation::Operation::Put(put)) = operation.operation {
                self.written(books, &scope, &put, revision)?;
            }
        }
        self.show_own(books, &scope, &answer.entries);
        Ok(())
    }

    /// A write has made of what was there what the policy of its key says, under what its caller demands.
    fn written(
        &self,
        books: &Books,
        scope: &ScopeId,
        put: &pb::PutRequest,
        revision: u64,
    ) -> Result<(), Broken> {
        let (entries, key) = (&books.model.entries, put.key.as_str());
        let Some(written) = entries.as_of(scope, key, revision) else {
            return Err(("acknowledged is durable", format!("{key} is not there at {revision}")));
        };
        let kind = books.model.policies.of(scope, key, revision);
        let before = entries.as_of(scope, key, revision - 1);
        if written.revision != revision || !follows(kind, before, &put.value, written) {
            let what = format!("{key} holds {written:?} for {:?} over {before:?} under {kind:?}", put.value);
            return Err(("acknowledged is durable", what));
        }
        let condition = put.precondition.and_then(|precondition| precondition.condition);
        self.not_blindly(books, scope, key, (condition, Some(&put.value)), revision)?;
        put.fence.as_ref().map_or(Ok(()), |fence| fenced(books, scope, fence, revision))
    }

    /// Who writes has read that, unless it was put together with what it had not read.
    fn show_own(&self, books: &mut Books, scope: &ScopeId, entries: &[pb::Entry]) {
        for entry in entries {
            let policies = &books.model.policies;
            let replaced = [entry.revision, u64::MAX].into_iter().any(|revision| {
                let kind = policies.of(scope, &entry.key, revision);
                matches!(kind, PolicyKind::RequireVersion | PolicyKind::LastWriteWins)
            });
            let before = books.model.entries.as_of(scope, &entry.key, entry.revision - 1);
            let knew = before.is_none_or(|before| self.has_read(books, scope, &entry.key, before));
            if replaced || knew {
                self.show(books, entry);
            }
        }
    }

    fn has_read(&self, books: &Books, scope: &ScopeId, key: &str, written: &Written) -> bool {
        let shown = self.session.and_then(|session| books.model.entries.shown(session, scope, key));
        shown.is_some_and(|(shown, _)| shown >= written.revision)
    }

    fn policy_set(&self, books: &Books, revision: u64) -> Result<(), Broken> {
        let request: pb::SetPolicyRequest = read(&self.request);
        let Some(scope) = self.scope(books, &request.scope) else { return Ok(()) };
        let asked = match request.kind() {
            pb::PolicyKind::Unspecified => None,
            pb::PolicyKind::RequireVersion => Some(PolicyKind::RequireVersion),
            pb::PolicyKind::LastWriteWins => Some(PolicyKind::LastWriteWins),
            pb::PolicyKind::MergePatch => Some(PolicyKind::MergePatch),
            pb::PolicyKind::Append => Some(PolicyKind::Append),
        };
        let found = books.model.policies.set_for(&scope, &request.prefix, revision);
        let what =
            || ("acknowledged is durable", format!("{:?} has {found:?} for {asked:?}", request.prefix));
        (found == asked).then_some(()).ok_or_else(what)
    }

    fn delete(&self, books: &mut Books, revision: u64) -> Result<(), Broken> {
        let request: pb::DeleteRequest = read(&self.request);
        effect(books, &request.request_id, revision)?;
        let Some(scope) = self.scope(books, &request.scope) else { return Ok(()) };
        if books.model.entries.as_of(&scope, &request.key, revision).is_some() {
            return Err(("acknowledged is durable", format!("{} is there at {revision}", request.key)));
        }
        let condition = request.precondition.and_then(|precondition| precondition.condition);
        self.not_blindly(books, &scope, &request.key, (condition, None), revision)
    }

    /// What was overwritten is what the caller demanded, or had read, or what the policy of the key lets go. `value` is
    /// what was written; none for a deletion.
    fn not_blindly(
        &self,
        books: &Books,
        scope: &ScopeId,
        key: &str,
        (condition, value): (Option<Condition>, Option<&str>),
        revision: u64,
    ) -> Result<(), Broken> {
        let before = books.model.entries.as_of(scope, key, revision - 1);
        let kept = match (condition, before) {
            (Some(Condition::Version(version)), Some(before)) => before.version == version,
            (Some(Condition::Revision(read)), Some(before)) => before.revision == read,
            (Some(Condition::MustNotExist(_)), before) => before.is_none(),
            (Some(Condition::Version(_) | Condition::Revision(_)), None) => false,
            (Some(Condition::Overwrite(_)), _) | (_, None) => true,
            (Some(Condition::LastRead(read)), Some(before)) => {
                before.revision == read || self.is_own(books, before)
            }
            (None, Some(before)) => {
                self.has_read(books, scope, key, before)
                    || match (books.model.policies.of(scope, key, revision), value) {
                        (PolicyKind::RequireVersion, _) => self.is_own(books, before),
                        (PolicyKind::LastWriteWins, _) | (PolicyKind::Append, Some(_)) => true,
                        (PolicyKind::Append | PolicyKind::MergePatch, None) => false,
                        (PolicyKind::MergePatch, Some(patch)) => {
                            self.merges(books, scope, key, patch, before)
                        }
                    }
            }
        };
        let what =
            || ("no silent overwrite", format!("{key} at {revision} over {before:?} under {condition:?}"));
        kept.then_some(()).ok_or_else(what)
    }

    /// Whether a patch is no conflict with what its writer has not read.
    fn merges(&self, books: &Books, scope: &ScopeId, key: &str, patch: &str, before: &Written) -> bool {
        let entries = &books.model.entries;
        let shown = self.session.and_then(|session| entries.shown(session, scope, key));
        let (read, remembered) = shown.unwrap_or((0, true));
        let (base, kept) = entries.base(scope, key, read, before.revision);
        merges(patch, base, before) || (!(kept && remembered) && merges(patch, None, before))
    }

    fn is_own(&self, books: &Books, written: &Written) -> bool {
        self.caller(books).is_some_and(|(_, name)| name.as_str() == written.writer)
    }

    fn get(&self, books: &mut Books, revision: u64, answer: &pb::GetResponse) -> Result<(), Broken> {
        self.fresh(revision)?;
        let Some(entry) = &answer.entry else { return Ok(()) };
        let Ok(scope) = ScopeId::parse(&entry.scope) else { return Ok(()) };
        let known = books.model.entries.as_of(&scope, &entry.key, revision);
        let known = known.map(|known| (known.version, known.revision, known.value.as_str()));
        if known != Some((entry.version, entry.revision, entry.value.as_str())) {
            let what = format!("{} at {revision} is {known:?}, shown is {entry:?}", entry.key);
            return Err(("no stale read", what));
        }
        self.show(books, entry);
        Ok(())
    }

    fn acquired(
        &self,
        books: &Books,
        revision: u64,
        answer: &pb::AcquireLocksResponse,
    ) -> Result<(), Broken> {
        let request: pb::AcquireLocksRequest = read(&self.request);
        if !answer.locks.is_empty() && !answer.conflicts.is_empty() {
            return Err(("all or nothing", "granted beside conflicts".to_owned()));
        }
        if !answer.locks.is_empty() && answer.locks.len() != request.paths.len() {
            return Err(("all or nothing", format!("{} locks for {:?}", answer.locks.len(), request.paths)));
        }
        if answer.ticket == 0 && !answer.locks.is_empty() {
            effect(books, &request.request_id, revision)?;
        }
        for conflict in &answer.conflicts {
            let Some(lock) = &conflict.lock else { continue };
            let Some(grant) = granted(books, lock) else { continue };
            let real = grant.is_some_and(|grant| grant.ended.is_none_or(|ended| ended > revision));
            if !real || !overlap(&lock.path, &conflict.path) {
                let what =
                    format!("{} is in the way of {} at {revision}: {grant:?}", lock.path, conflict.path);
                return Err(("a refusal is true", what));
            }
        }
        self.holds(books, revision, &answer.locks)
    }

    /// Whoever is told of locks has them.
    fn holds(&self, books: &Books, revision: u64, locks: &[pb::Lock]) -> Result<(), Broken> {
        for lock in locks {
            let Some(grant) = granted(books, lock) else { continue };
            let held = grant.is_some_and(|grant| grant.ended.is_none_or(|ended| ended > revision));
            if !held {
                let what =
                    format!("{} with token {} at {revision}: {grant:?}", lock.path, lock.fencing_token);
                return Err(("acknowledged is durable", what));
            }
        }
        Ok(())
    }

    fn inbox(&self, books: &Books, revision: u64, answer: &pb::ListMessagesResponse) -> Result<(), Broken> {
        self.fresh(revision)?;
        let request: pb::ListMessagesRequest = read(&self.request);
        let Some((scope, name)) = self.caller(books) else { return Ok(()) };
        let Some(reader) = books.model.mail.reader(&scope, &name, revision) else { return Ok(()) };
        let after = if request.after_revision == 0 { reader.acknowledged.0 } else { request.after_revision };
        let due: Vec<(u64, String)> = books
            .model
            .mail
            .inbox(reader, after, revision)
            .take(if request.limit == 0 { INBOX_PAGE } else { request.limit as usize })
            .map(|(revision, id)| (revision, id.to_string()))
            .collect();
        let told: Vec<_> =
            answer.messages.iter().map(|message| (message.revision, message.message_id.clone())).collect();
        if told != due {
            return Err((
                "no lost message",
                format!("{name} after {after} at {revision}: {told:?} for {due:?}"),
            ));
        }
        let unread = books.model.mail.inbox(reader, reader.acknowledged.0, revision).count();
        if unread as u64 != u64::from(answer.unread) || reader.acknowledged.0 != answer.acknowledged_revision
        {
            let what = format!("{} unread for {unread} at {revision}", answer.unread);
            return Err(("no lost message", what));
        }
        Ok(())
    }

    fn acknowledged(
        &self,
        books: &Books,
        revision: u64,
        answer: &pb::AcknowledgeMessagesResponse,
    ) -> Result<(), Broken> {
        let request: pb::AcknowledgeMessagesRequest = read(&self.request);
        let (wanted, told) = (request.up_to_revision, answer.acknowledged_revision);
        let changed = books.model.effect_of(&request.request_id) == Some(revision);
        let kept = if changed { told == wanted } else { told >= wanted };
        kept.then_some(())
            .ok_or_else(|| ("no lost message", format!("{told} is acknowledged in place of {wanted}")))
    }

    fn peers(&self, books: &Books, revision: u64, answer: &pb::ListPeersResponse) -> Result<(), Broken> {
        self.fresh(revision)?;
        for peer in answer.peers.iter().filter(|peer| !peer.session_id.is_empty()) {
            let id = uuid::Uuid::try_parse(&peer.session_id).map(mesh_core::id::SessionId);
            let known = id.ok().and_then(|id| books.model.peers.get(id));
            let lived = known.is_some_and(|known| known.ended.is_none() || known.ended_at > revision);
            if !lived {
                let what = format!("{} is shown as online at {revision}: {known:?}", peer.name);
                return Err(("no ghosts", what));
            }
        }
        Ok(())
    }
}

/// A change that was acknowledged is in the log, at the revision that was named.
fn effect(books: &Books, request_id: &str, revision: u64) -> Result<(), Broken> {
    let found = books.model.effect_of(request_id);
    let told = books.at(revision).and_then(|log| log.request_id.as_ref());
    if told.is_some_and(|id| id.as_str() == request_id) || request_id.is_empty() {
        return Ok(());
    }
    let invariant = if found.is_some() { "retry is safe" } else { "acknowledged is durable" };
    Err((invariant, format!("{request_id} is answered at {revision} and had its effect at {found:?}")))
}

/// The grant that an answer tells of: none when there was no such grant.
fn granted<'a>(books: &'a Books, lock: &pb::Lock) -> Option<Option<&'a Grant>> {
    let (Ok(scope), Ok(holder)) = (ScopeId::parse(&lock.scope), PeerName::parse(&lock.holder)) else {
        return None;
    };
    Some(books.model.locks.grant(&scope, &lock.path, &holder, lock.fencing_token))
}

/// A write under the protection of a lock was made while the lock was held.
fn fenced(books: &Books, scope: &ScopeId, fence: &pb::Fence, revision: u64) -> Result<(), Broken> {
    let held = books.model.locks.was_held(scope, &fence.path, fence.fencing_token, revision);
    let what = || ("fencing", format!("{} with token {} at {revision}", fence.path, fence.fencing_token));
    held.then_some(()).ok_or_else(what)
}
