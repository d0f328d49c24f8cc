//! Entries on the wire.

use mesh_core::Rejection;
use mesh_core::command::{Delete, Fence, Labels, Precondition, Put};
use mesh_core::id::{EntryKey, ScopeId};
use mesh_core::limits;
use mesh_core::outcome::EntryMeta;
use mesh_core::record::{EntryRecord, PolicyKind};
use mesh_core::revision::{FencingToken, Revision, Version};
use mesh_core::state::entries::EntryFilter;
use mesh_core::target::Target;
use mesh_proto::v1 as pb;
use pb::precondition::Condition;

use super::{at_most, duration, paths, span, targets, text, timestamp, unless_empty};

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
        paths: targets("paths", &request.paths, limits::ENTRY_PATHS)?,
        tags: tags(request.tags)?,
        labels: if request.keep_labels { Labels::Keep } else { Labels::Replace },
        fence: request.fence.map(fence).transpose()?,
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
    let fence = request.fence.clone().map(fence).transpose()?;
    Ok(Delete { scope, key: EntryKey::parse(&request.key)?, precondition, fence })
}

fn fence(fence: pb::Fence) -> Result<Fence, Rejection> {
    let token = FencingToken(Revision(fence.fencing_token));
    Ok(Fence { target: Target::parse("fence.path", &fence.path)?, token })
}

fn precondition(given: Option<pb::Precondition>) -> Result<Precondition, Rejection> {
    match given.and_then(|precondition| precondition.condition) {
        None => Ok(Precondition::LastRead(None)),
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
