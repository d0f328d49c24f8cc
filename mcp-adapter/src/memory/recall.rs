//! Reading: `mesh_recall` by key, prefix, tag or words.

use std::fmt::Write;

use mesh_client::ErrorReason;
use mesh_client::proto::{
    DescribePathRequest, Entry, GetRequest, ListEntriesRequest, ListVersionsRequest, SearchEntriesRequest,
};

use super::{about, rendered};
use crate::args::{Answer, Args, Failure};
use crate::call::Call;
use crate::member::Joined;
use crate::render::{Page, quoted, word};

/// Values up to this many bytes are shown whole in a list.
const WHOLE: usize = 600;
/// Entries asked for at once.
const ENTRIES: u32 = 100;

/// What is looked for, besides a key.
#[derive(Clone, Debug, Default)]
struct Wanted {
    scope: String,
    prefix: String,
    query: String,
    path: String,
    tags: Vec<String>,
}

/// Finds entries: by key, prefix, tag or words; or tells all that is known about a path.
pub(crate) async fn recall(joined: &Joined, call: &Call) -> Answer {
    let args = &call.args;
    let scope = args.text("scope")?.unwrap_or_default();
    if let Some(key) = args.text("key")? {
        return by_key(joined, args, scope, key).await;
    }
    let path = match args.text("path")? {
        Some(path) => joined.place.paths(&[path]).await?.pop(),
        None => None,
    };
    let mut tags = args.list("tag")?;
    tags.extend(args.list("tags")?);
    let wanted = Wanted {
        scope,
        prefix: args.text("prefix")?.unwrap_or_default(),
        query: args.text("query")?.unwrap_or_default(),
        path: path.unwrap_or_default(),
        tags,
    };
    if !wanted.query.is_empty() {
        return search(joined, wanted).await;
    }
    if !wanted.path.is_empty() && wanted.prefix.is_empty() && wanted.tags.is_empty() {
        let Wanted { scope, path, .. } = wanted;
        let request = DescribePathRequest { scope, path, limit: 0, peek: true };
        let answer = joined.session.describe_path(request).await?;
        return Ok(read(joined, about::view(&answer, &joined.session.peer())));
    }
    list(joined, wanted).await
}

async fn search(joined: &Joined, wanted: Wanted) -> Answer {
    let nothing = wanted.nothing();
    let Wanted { scope, prefix, query, path, tags } = wanted;
    let request = SearchEntriesRequest { scope, query, prefix, path, tags, limit: 0, peek: true };
    let hits = joined.session.search_entries(request).await?.hits;
    let entries: Vec<_> = hits.into_iter().filter_map(|hit| hit.entry).collect();
    let found =
        listed(&entries, true, &nothing, "more match, less well: use rarer words, or narrow with prefix");
    Ok(read(joined, found))
}

async fn list(joined: &Joined, wanted: Wanted) -> Answer {
    let nothing = wanted.nothing();
    let Wanted { scope, prefix, path, tags, .. } = wanted;
    let request = ListEntriesRequest {
        scope,
        prefix,
        path,
        tags,
        page_size: ENTRIES,
        peek: true,
        ..ListEntriesRequest::default()
    };
    let answer = joined.session.list_entries(request).await?;
    let all = answer.next_page_token.is_empty();
    let found = listed(&answer.entries, all, &nothing, "more match: narrow with prefix, tag or query");
    Ok(read(joined, found))
}

/// The entries that fit, and those of them of which all is shown.
fn listed<'a>(entries: &'a [Entry], all: bool, nothing: &str, more: &str) -> (String, Vec<&'a Entry>) {
    let mut page = Page::default();
    let fitted = entries.iter().take_while(|entry| page.push(&rendered(entry, WHOLE))).count();
    let text = page.close(match (entries.len(), all && fitted == entries.len()) {
        (0, _) => nothing,
        (_, true) => "",
        (_, false) => more,
    });
    (text, entries[..fitted].iter().filter(|entry| entry.value.len() <= WHOLE).collect())
}

/// The text, once it is known what of it was read.
fn read(joined: &Joined, (text, shown): (String, Vec<&Entry>)) -> String {
    let mut news = joined.news.lock();
    shown.into_iter().for_each(|entry| news.seen.shown(entry));
    text
}

async fn by_key(joined: &Joined, args: &Args, scope: String, key: String) -> Answer {
    let version = args.number("version")?.unwrap_or_default();
    if args.flag("versions")? {
        return versions(joined, scope, key).await;
    }
    match joined.session.get(GetRequest { scope, key: key.clone(), version }).await {
        Ok(answer) => {
            let entry = answer.entry.unwrap_or_default();
            if version == 0 {
                joined.news.lock().seen.shown(&entry);
            }
            Ok(rendered(&entry, usize::MAX))
        }
        Err(error) if error.reason() == Some(ErrorReason::KeyNotFound) => {
            Ok(format!("nothing is remembered under {}. Next: mesh_recall with prefix or query", word(&key)))
        }
        Err(error) => Err(error.into()),
    }
}

async fn versions(joined: &Joined, scope: String, key: String) -> Answer {
    match joined.session.list_versions(ListVersionsRequest { scope, key: key.clone() }).await {
        Ok(answer) => Ok(history(&answer.versions, answer.deleted)),
        Err(error) if error.reason() == Some(ErrorReason::KeyNotFound) => {
            Ok(format!("nothing is remembered under {}", word(&key)))
        }
        Err(error) => Err(Failure::from(error)),
    }
}

/// The kept versions of a key, newest first.
fn history(versions: &[Entry], deleted: bool) -> String {
    let mut page = Page::default();
    if deleted {
        page.push("forgotten; kept versions:");
    }
    let cut = versions.iter().any(|entry| entry.value.len() > WHOLE);
    let fitted = versions.iter().take_while(|entry| page.push(&whole_or_cut(entry))).count();
    page.close(match (cut, fitted == versions.len()) {
        (false, true) => "",
        (true, true) => "one version whole: add version",
        (_, false) => "older ones: add version",
    })
}

fn whole_or_cut(entry: &Entry) -> String {
    let shown = &entry.value[..entry.value.floor_char_boundary(WHOLE)];
    let dots = if shown.len() < entry.value.len() { "…" } else { "" };
    rendered(&Entry { value: format!("{shown}{dots}"), ..entry.clone() }, usize::MAX)
}

impl Wanted {
    /// What to say when nothing is found.
    fn nothing(&self) -> String {
        let mut out = String::from("nothing is remembered");
        if !self.path.is_empty() {
            _ = write!(out, " about {}", word(&self.path));
        }
        if !self.prefix.is_empty() {
            _ = write!(out, " under {}", word(&self.prefix));
        }
        for tag in &self.tags {
            _ = write!(out, " tagged {}", word(tag));
        }
        if !self.query.is_empty() {
            _ = write!(out, " with {}", quoted(&self.query, 100));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: u64, value: &str) -> Entry {
        Entry { key: "k".into(), version, writer: "owl".into(), value: value.into(), ..Entry::default() }
    }

    #[test]
    fn a_list_ends_with_what_is_missing() {
        assert_eq!(listed(&[], true, "none", "more").0, "none");
        assert_eq!(
            listed(&[entry(1, "v")], false, "none", "more").0,
            "k version 1 by owl, some time ago:\n> v\nmore"
        );
        let many: Vec<_> = (1..100).map(|version| entry(version, &"x".repeat(600))).collect();
        assert!(listed(&many, true, "none", "more").0.ends_with("\nmore"));
        let wanted = Wanted {
            path: "src/".into(),
            prefix: "a b".into(),
            query: "x".into(),
            tags: vec!["t".into()],
            ..Wanted::default()
        };
        assert_eq!(wanted.nothing(), "nothing is remembered about src/ under \"a b\" tagged t with \"x\"");
    }

    #[test]
    fn the_history_of_a_key_is_newest_first_and_says_when_it_is_forgotten() {
        assert_eq!(
            history(&[entry(2, "b"), entry(1, "a")], true),
            "forgotten; kept versions:\nk version 2 by owl, some time ago:\n> b\n\
             k version 1 by owl, some time ago:\n> a"
        );
        let long = history(&[entry(2, &"é".repeat(500))], false);
        assert!(long.ends_with("é…\none version whole: add version"), "{long}");
    }
}
