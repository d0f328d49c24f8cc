//! Entries on the wire.

use std::collections::BTreeSet;

use mesh_core::Rejection;
use mesh_core::command::{Delete, Fence, Labels, Operation, Precondition, Put, Restore, SetPolicy, Transact};
use mesh_core::id::{EntryKey, ScopeId};
use mesh_core::limits;
use mesh_core::outcome::EntryMeta;
use mesh_core::record::{EntryRecord, PolicyKind};
use mesh_core::revision::{FencingToken, Revision, Version};
use mesh_core::state::entries::EntryFilter;
use mesh_core::target::Target;
use mesh_proto::v1 as pb;
use pb::operation::Operation as Asked;
use pb::precondition::Condition;

use super::{at_most, duration, few_globs, paths, span, text, timestamp, unless_empty};

/// What a Put asks.
pub(crate) fn put(request: pb::PutRequest) -> Result<Put, Rejection> {
    if request.value.len() > limits::VALUE_BYTES {
        let (found, max) = (request.value.len(), limits::VALUE_BYTES);
        return Err(Rejection::invalid("value", format!("is {found} bytes long; at most {max} are allowed")));
    }
    Ok(Put {
        scope: unless_empty(&request.scope, ScopeId::parse)?,
        key: EntryKey::parse(&request.key)?,
        precondition: precondition(request.precondition)?,
        ttl: span("ttl", request.ttl, limits::ENTRY_TTL)?,
        paths: few_globs("paths", &request.paths, limits::ENTRY_PATHS)?,
        tags: tags(request.tags)?,
        labels: if request.keep_labels { Labels::Keep } else { Labels::Replace },
        fence: request.fence.as_ref().map(fence).transpose()?,
        value: request.value.into(),
    })
}

/// What a Delete asks.
pub(crate) fn delete(request: &pb::DeleteRequest) -> Result<Delete, Rejection> {
    let precondition = precondition(request.precondition)?;
    if precondition == Precondition::MustNotExist {
        let problem = "makes no sense for a deletion; give a version or a revision";
        return Err(Rejection::invalid("precondition.must_not_exist", problem));
    }
    let scope = unless_empty(&request.scope, ScopeId::parse)?;
    let fence = request.fence.as_ref().map(fence).transpose()?;
    Ok(Delete { scope, key: EntryKey::parse(&request.key)?, precondition, fence })
}

/// What a Restore asks.
pub(crate) fn restore(request: &pb::RestoreRequest) -> Result<Restore, Rejection> {
    if request.version == 0 {
        return Err(Rejection::invalid("version", "is 0; name the version to write again"));
    }
    Ok(Restore {
        scope: unless_empty(&request.scope, ScopeId::parse)?,
        key: EntryKey::parse(&request.key)?,
        version: Version(request.version),
        precondition: precondition(request.precondition)?,
    })
}

/// What a Transact asks.
pub(crate) fn transact(request: pb::TransactRequest) -> Result<Transact, Rejection> {
    if request.operations.is_empty() {
        return Err(Rejection::invalid("operations", "is empty"));
    }
    at_most("operations", request.operations.len(), limits::OPERATIONS)?;
    let mut seen = BTreeSet::new();
    let mut operations = Vec::with_capacity(request.operations.len());
    for (place, asked) in request.operations.into_iter().enumerate() {
        let parsed = operation(asked).and_then(|operation| {
            let key = key_of(&operation).clone();
            if seen.insert(key) { Ok(operation) } else { Err(Rejection::invalid("key", "is there twice")) }
        });
        operations.push(parsed.map_err(|rejection| in_operation(place, rejection))?);
    }
    Ok(Transact { scope: unless_empty(&request.scope, ScopeId::parse)?, operations })
}

fn operation(asked: pb::Operation) -> Result<Operation, Rejection> {
    let alone = |scope: &str, request_id: &str| match (scope, request_id) {
        ("", "") => Ok(()),
        ("", _) => Err(Rejection::invalid("request_id", "must be empty; that of the transaction counts")),
        (_, _) => Err(Rejection::invalid("scope", "must be empty; that of the transaction counts")),
    };
    match asked.operation {
        None => Err(Rejection::invalid("operation", "is neither put, delete nor check")),
        Some(Asked::Put(asked)) => {
            alone(&asked.scope, &asked.request_id)?;
            put(asked).map(Operation::Put)
        }
        Some(Asked::Delete(asked)) => {
            alone(&asked.scope, &asked.request_id)?;
            delete(&asked).map(Operation::Delete)
        }
        Some(Asked::Check(asked)) => check(&asked),
    }
}

fn check(asked: &pb::Check) -> Result<Operation, Rejection> {
    let precondition = precondition(asked.precondition)?;
    if matches!(precondition, Precondition::LastRead(_) | Precondition::Any) {
        let problem = "must be one to check: must_not_exist, a version or a revision";
        return Err(Rejection::invalid("precondition", problem));
    }
    Ok(Operation::Check { key: EntryKey::parse(&asked.key)?, precondition })
}

/// The key that an operation is about.
pub(crate) fn key_of(operation: &Operation) -> &EntryKey {
    match operation {
        Operation::Put(put) => &put.key,
        Operation::Delete(delete) => &delete.key,
        Operation::Check { key, .. } => key,
    }
}

/// A refusal of one of the operations, as one of the list.
fn in_operation(place: usize, rejection: Rejection) -> Rejection {
    if let Rejection::InvalidField { field, problem } = rejection {
        return Rejection::invalid("operations", format!("[{place}]: {field} {problem}"));
    }
    rejection
}

/// What a SetPolicy asks.
pub(crate) fn set_policy(request: pb::SetPolicyRequest) -> Result<SetPolicy, Rejection> {
    Ok(SetPolicy {
        scope: unless_empty(&request.scope, ScopeId::parse)?,
        prefix: text("prefix", request.prefix, limits::KEY_BYTES)?,
        kind: policy_kind(request.kind)?,
    })
}

fn policy_kind(value: i32) -> Result<Option<PolicyKind>, Rejection> {
    match pb::PolicyKind::try_from(value) {
        Ok(pb::PolicyKind::Unspecified) => Ok(None),
        Ok(pb::PolicyKind::RequireVersion) => Ok(Some(PolicyKind::RequireVersion)),
        Ok(pb::PolicyKind::LastWriteWins) => Ok(Some(PolicyKind::LastWriteWins)),
        Ok(pb::PolicyKind::MergePatch) => Ok(Some(PolicyKind::MergePatch)),
        Ok(pb::PolicyKind::Append) => Ok(Some(PolicyKind::Append)),
        Err(_) => Err(Rejection::invalid("kind", format!("has no value {value}"))),
    }
}

fn fence(fence: &pb::Fence) -> Result<Fence, Rejection> {
    let token = FencingToken(Revision(fence.fencing_token));
    Ok(Fence { target: Target::parse("fence.path", &fence.path)?, token })
}

fn precondition(given: Option<pb::Precondition>) -> Result<Precondition, Rejection> {
    match given.and_then(|precondition| precondition.condition) {
        None => Ok(Precondition::LastRead(None)),
        // Nothing was ever written at revision 0, so that it is what was read by nobody.
        Some(Condition::LastRead(revision)) => Ok(Precondition::LastRead(Some(Revision(revision)))),
        Some(Condition::Overwrite(true)) => Ok(Precondition::Any),
        Some(Condition::Overwrite(false)) => {
            let problem = "is false; leave the precondition out, or ask for a version";
            Err(Rejection::invalid("precondition.overwrite", problem))
        }
        Some(Condition::MustNotExist(true)) => Ok(Precondition::MustNotExist),
        Some(Condition::MustNotExist(false)) => {
            let problem = "is false; leave the precondition out, or ask for a version";
            Err(Rejection::invalid("precondition.must_not_exist", problem))
        }
        Some(Condition::Version(version)) => Ok(Precondition::Version(Version(version))),
        Some(Condition::Revision(revision)) => Ok(Precondition::Revision(Revision(revision))),
    }
}

fn tags(tags: Vec<String>) -> Result<Vec<String>, Rejection> {
    at_most("tags", tags.len(), limits::ENTRY_TAGS)?;
    tags.into_iter().map(|tag| text("tags", tag, limits::TAG_BYTES)).collect()
}

/// Which entries a ListEntries asks for.
pub(crate) fn filter(request: pb::ListEntriesRequest) -> Result<EntryFilter, Rejection> {
    Ok(EntryFilter {
        prefix: text("prefix", request.prefix, limits::KEY_BYTES)?,
        path: unless_empty(&request.path, |path| Target::parse("path", path))?,
        tags: tags(request.tags)?,
    })
}

/// What a SearchEntries asks: the words, and which entries may be found.
pub(crate) fn search(request: pb::SearchEntriesRequest) -> Result<(String, EntryFilter), Rejection> {
    if request.query.is_empty() || request.query.len() > limits::QUERY_BYTES {
        let (found, max) = (request.query.len(), limits::QUERY_BYTES);
        return Err(Rejection::invalid("query", format!("must be 1 to {max} bytes, and is {found}")));
    }
    let filter = filter(pb::ListEntriesRequest {
        prefix: request.prefix,
        path: request.path,
        tags: request.tags,
        ..pb::ListEntriesRequest::default()
    })?;
    Ok((request.query, filter))
}

/// The policy of a prefix; none when it was removed.
pub(crate) fn policy(prefix: &str, kind: Option<PolicyKind>) -> pb::Policy {
    let kind = match kind {
        None => pb::PolicyKind::Unspecified,
        Some(PolicyKind::RequireVersion) => pb::PolicyKind::RequireVersion,
        Some(PolicyKind::LastWriteWins) => pb::PolicyKind::LastWriteWins,
        Some(PolicyKind::MergePatch) => pb::PolicyKind::MergePatch,
        Some(PolicyKind::Append) => pb::PolicyKind::Append,
    };
    pb::Policy { prefix: prefix.to_owned(), kind: kind.into() }
}

/// An entry with its value.
pub(crate) fn entry(entry: &EntryRecord) -> pb::Entry {
    pb::Entry {
        scope: entry.scope.to_string(),
        key: entry.key.to_string(),
        value: entry.value.to_string(),
        version: entry.version.0,
        revision: entry.revision.0,
        create_revision: entry.create_revision.0,
        writer: entry.writer.to_string(),
        write_time: Some(timestamp(entry.written)),
        paths: paths(&entry.paths),
        tags: entry.tags.clone(),
        ttl: entry.ttl.map(duration),
    }
}

/// An entry without its value.
pub(crate) fn meta(meta: EntryMeta) -> pb::Entry {
    pb::Entry {
        scope: meta.scope.to_string(),
        key: meta.key.to_string(),
        value: String::new(),
        version: meta.version.0,
        revision: meta.revision.0,
        create_revision: meta.create_revision.0,
        writer: meta.writer.to_string(),
        write_time: Some(timestamp(meta.written)),
        paths: paths(&meta.paths),
        tags: meta.tags,
        ttl: meta.ttl.map(duration),
    }
}

/// Roughly how many bytes an entry takes in an answer.
pub(crate) fn entry_size(entry: &EntryRecord) -> usize {
    let paths: usize = entry.paths.iter().map(|path| path.as_str().len()).sum();
    entry.value.len() + entry.key.as_str().len() + paths
}
