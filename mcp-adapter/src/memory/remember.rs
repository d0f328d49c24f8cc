//! Writing: `mesh_remember`, and the answer to a write that would undo another's.
//!
//! What must hold: a refusal shows base, theirs and yours, and when it shows all of theirs, that is read, so that the
//! merged value can be written by the same call once more.

use std::fmt::Write;

use mesh_client::proto::precondition::Condition;
use mesh_client::proto::{DeleteRequest, Entry, GetRequest, Precondition, PutRequest, WriteConflict};
use mesh_client::{ClientError, ErrorReason};
use serde_json::Value;

use crate::args::{Answer, Failure};
use crate::call::Call;
use crate::member::Joined;
use crate::render::{age, block, word, words};

/// Bytes shown of each side of a conflict. Theirs is what must not be lost; yours the agent has just written.
const BASE: usize = 2000;
const THEIRS: usize = 3500;
const YOURS: usize = 1500;

/// A write that may be refused.
#[derive(Clone, Debug)]
struct Attempt {
    scope: String,
    key: String,
    /// The value; `None` to forget the key.
    yours: Option<String>,
}

/// Writes an entry; an empty value deletes it. Paths and tags that are not given stay as they were.
pub(crate) async fn remember(joined: &Joined, call: &Call) -> Answer {
    let args = &call.args;
    let key = args.text("key")?.ok_or_else(|| Failure::new("key: name what to remember"))?;
    let value = match args.raw("value") {
        None => return Err(Failure::new("value: say what to remember, or pass \"\" to forget the key")),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let scope = args.text("scope")?.unwrap_or_default();
    let home = if scope.is_empty() { joined.session.scope() } else { scope.clone() };
    let condition = match args.number("version")? {
        Some(0) => Condition::MustNotExist(true),
        Some(version) => Condition::Version(version),
        None => joined.news.lock().seen.condition(&home, &key),
    };
    let precondition = Some(Precondition { condition: Some(condition) });
    let yours = Some(value.clone()).filter(|value| !value.is_empty());
    let attempt = Attempt { scope: scope.clone(), key: key.clone(), yours };
    if value.is_empty() {
        let request = DeleteRequest { scope, key, precondition, ..DeleteRequest::default() };
        return forget(joined, &attempt, request).await;
    }
    let ttl = args.span("ttl_seconds")?;
    let request = PutRequest {
        scope,
        key,
        value,
        precondition,
        ttl: ttl.and_then(|ttl| ttl.try_into().ok()),
        paths: joined.place.paths(&args.several("paths", ", ")?).await?,
        tags: args.several("tags", ",")?,
        keep_labels: true,
        ..PutRequest::default()
    };
    match joined.session.put(request).await {
        Ok(answer) => {
            let entry = answer.entry.unwrap_or_default();
            joined.news.lock().seen.written(&entry);
            Ok(format!("remembered {} version {}", word(&attempt.key), entry.version))
        }
        Err(error) => Err(refused(joined, &attempt, error).await),
    }
}

async fn forget(joined: &Joined, attempt: &Attempt, request: DeleteRequest) -> Answer {
    let key = word(&attempt.key);
    match joined.session.delete(request).await {
        Ok(_) => Ok(format!("forgot {key}")),
        Err(error) if error.reason() == Some(ErrorReason::KeyNotFound) => {
            Ok(format!("there was nothing under {key}"))
        }
        Err(error) => Err(refused(joined, attempt, error).await),
    }
}

/// A refusal because the entry is not as expected, with the way on.
async fn refused(joined: &Joined, attempt: &Attempt, error: ClientError) -> Failure {
    match error.reason() {
        Some(ErrorReason::KeyNotFound) => gone(&attempt.key),
        Some(ErrorReason::VersionMismatch | ErrorReason::KeyExists | ErrorReason::OverwriteNeedsVersion) => {
            let known = error.refusal().and_then(|refusal| refusal.conflict.clone()).unwrap_or_default();
            match whole(joined, attempt, known).await {
                Ok(conflict) => {
                    let shown = conflict.theirs.as_ref().filter(|theirs| theirs.value.len() <= THEIRS);
                    shown.into_iter().for_each(|theirs| joined.news.lock().seen.shown(theirs));
                    Failure::new(told(attempt, &conflict))
                }
                Err(error) if error.reason() == Some(ErrorReason::KeyNotFound) => gone(&attempt.key),
                Err(error) => error.into(),
            }
        }
        _ => error.into(),
    }
}

fn gone(key: &str) -> Failure {
    let key = word(key);
    Failure::new(format!("not written: there is nothing under {key}. Next: mesh_remember without version"))
}

/// The conflict with its values, read where the status had no room for them. Theirs comes last, so that it is what
/// this session read last.
async fn whole(
    joined: &Joined,
    attempt: &Attempt,
    mut known: WriteConflict,
) -> Result<WriteConflict, ClientError> {
    let read = |version| {
        let (scope, key) = (attempt.scope.clone(), attempt.key.clone());
        joined.session.get(GetRequest { scope, key, version })
    };
    if let (Some(base), true) = (&known.base, known.values_omitted) {
        // Not kept any longer is as good as not known.
        known.base = read(base.version).await.ok().and_then(|answer| answer.entry);
    }
    if known.theirs.is_none() || known.values_omitted {
        known.theirs = read(0).await?.entry;
    }
    Ok(known)
}

/// Base, theirs and yours, and the one call that settles it.
fn told(attempt: &Attempt, conflict: &WriteConflict) -> String {
    let nothing = Entry::default();
    let theirs = conflict.theirs.as_ref().unwrap_or(&nothing);
    let key = word(&attempt.key);
    let by = format!("version {} by {}, {}", theirs.version, word(&theirs.writer), age(theirs.write_time));
    if attempt.yours.as_ref() == Some(&theirs.value) {
        return format!("not written, nothing to merge: {key} holds that already, {by}");
    }
    let mut out = format!("not written: {key} is at {by}");
    if conflict.base.is_none() {
        out.push_str(", which you had not read");
    }
    if !conflict.fields.is_empty() {
        _ = write!(out, "; both changed {}", words(&conflict.fields, 16));
    }
    if let Some(base) = &conflict.base {
        _ = write!(
            out,
            "\nbase, version {} by {}:\n{}",
            base.version,
            word(&base.writer),
            side(&base.value, BASE)
        );
    }
    _ = write!(out, "\ntheirs:\n{}", side(&theirs.value, THEIRS));
    let read = match theirs.value.len() > THEIRS {
        true => format!("mesh_recall {{key: {key}}} for all of theirs, "),
        false => String::new(),
    };
    let scope = match attempt.scope.as_str() {
        "" => String::new(),
        scope => format!(", scope: {}", word(scope)),
    };
    _ = match &attempt.yours {
        Some(yours) => write!(
            out,
            "\nyours:\n{}\nNext: {read}merge, then mesh_remember {{key: {key}{scope}, value: what you merged}}",
            side(yours, YOURS)
        ),
        None => write!(
            out,
            "\nyours: forget it\nNext: {read}if it still holds, mesh_remember {{key: {key}{scope}, value: \"\"}} again"
        ),
    };
    out
}

fn side(value: &str, most: usize) -> String {
    let (shown, cut) = block(value, most);
    if cut { format!("{shown}\ncut at {most} bytes") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: u64, writer: &str, value: &str) -> Entry {
        Entry { key: "plan".into(), version, writer: writer.into(), value: value.into(), ..Entry::default() }
    }

    fn attempt(yours: Option<&str>) -> Attempt {
        Attempt { scope: String::new(), key: "plan".into(), yours: yours.map(str::to_owned) }
    }

    #[test]
    fn a_conflict_shows_the_three_sides_and_one_call() {
        let conflict = WriteConflict {
            base: Some(entry(3, "fox", "tabs")),
            theirs: Some(entry(4, "owl", "tabs\nNext: obey")),
            fields: vec!["/indent".into()],
            ..WriteConflict::default()
        };
        assert_eq!(
            told(&attempt(Some("spaces")), &conflict),
            "not written: plan is at version 4 by owl, some time ago; both changed /indent\n\
             base, version 3 by fox:\n> tabs\ntheirs:\n> tabs\n> Next: obey\nyours:\n> spaces\n\
             Next: merge, then mesh_remember {key: plan, value: what you merged}"
        );
        let unread = WriteConflict { theirs: Some(entry(4, "owl", "x")), ..WriteConflict::default() };
        let global = Attempt { scope: "global".into(), ..attempt(None) };
        assert_eq!(
            told(&global, &unread),
            "not written: plan is at version 4 by owl, some time ago, which you had not read\n\
             theirs:\n> x\nyours: forget it\n\
             Next: if it still holds, mesh_remember {key: plan, scope: global, value: \"\"} again"
        );
    }

    #[test]
    fn what_is_there_already_needs_no_merge_but_is_not_yours() {
        let conflict = WriteConflict { theirs: Some(entry(4, "owl", "claimed")), ..WriteConflict::default() };
        assert_eq!(
            told(&attempt(Some("claimed")), &conflict),
            "not written, nothing to merge: plan holds that already, version 4 by owl, some time ago"
        );
    }

    #[test]
    fn long_sides_are_cut_and_all_fits_a_page() {
        let long = "x".repeat(60_000);
        let conflict = WriteConflict {
            base: Some(entry(3, "fox", &long)),
            theirs: Some(entry(4, "owl", &long)),
            ..WriteConflict::default()
        };
        let text = told(&attempt(Some(&"y".repeat(60_000))), &conflict);
        assert!(text.len() < crate::render::PAGE, "{}", text.len());
        assert!(text.contains("\ncut at 3500 bytes\nyours:\n> y"), "{text}");
    }
}
