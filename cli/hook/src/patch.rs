//! The files that a patch in the form of `apply_patch` names.
//!
//! The form (Codex's grammar for its tool): `*** Begin Patch`, then per file one of `*** Add File: PATH`,
//! `*** Delete File: PATH`, `*** Update File: PATH` (which may be followed by `*** Move to: PATH`), then lines that
//! start with `+`, `-`, a blank or `@@`, at last `*** End Patch`. A line of content never starts with an asterisk.

use std::collections::HashMap;

use crate::{Edited, How};

/// The files that `text` writes, each once, in the order they are named, with their paths as written.
///
/// Lenient: what precedes the first `*** Begin Patch` is skipped, but the line need not be there; unknown lines are
/// skipped. A file that is moved is deleted at its old place and created at the new one.
pub fn files(text: &str) -> Vec<Edited> {
    let mut found: Vec<Edited> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut updated = None;
    for line in body(text).lines() {
        let Some(marker) = line.strip_prefix("*** ") else { continue };
        let Some((verb, path)) = marker.split_once(": ") else { continue };
        let path = path.trim();
        if path.is_empty() {
            continue;
        }
        let how = match verb {
            "Add File" | "Move to" => How::Create,
            "Update File" => How::Partial,
            "Delete File" => How::Delete,
            _ => continue,
        };
        let moved = updated.take().filter(|_| verb == "Move to");
        if let Some(moved) = moved.and_then(|at: usize| found.get_mut(at)) {
            moved.how = How::Delete;
        }
        let at = *places.entry(path).or_insert(found.len());
        if at == found.len() {
            found.push(Edited { path: path.into(), how });
        }
        updated = (verb == "Update File").then_some(at);
    }
    found
}

/// Whether `text` has the first line of a patch.
pub fn is_patch(text: &str) -> bool {
    text.contains(BEGIN)
}

const BEGIN: &str = "*** Begin Patch";

fn body(text: &str) -> &str {
    text.find(BEGIN).map_or(text, |at| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<(String, How)> {
        files(text).into_iter().map(|e| (e.path.display().to_string(), e.how)).collect()
    }

    fn owned(pairs: &[(&str, How)]) -> Vec<(String, How)> {
        pairs.iter().map(|(path, how)| ((*path).to_owned(), *how)).collect()
    }

    #[test]
    fn every_kind_of_change_names_its_file() {
        let patch = "*** Begin Patch\n*** Add File: new.rs\n+fn main() {}\n*** Update File: src/a b.rs\n@@ fn x\n-old\n\
                     +new\n*** End of File\n*** Delete File: gone.rs\n*** End Patch";
        assert_eq!(
            named(patch),
            owned(&[("new.rs", How::Create), ("src/a b.rs", How::Partial), ("gone.rs", How::Delete)])
        );
    }

    #[test]
    fn a_moved_file_leaves_its_place_and_takes_another() {
        let patch = "*** Begin Patch\n*** Update File: a.rs\n*** Move to: b.rs\n@@\n-x\n+y\n*** End Patch";
        assert_eq!(named(patch), owned(&[("a.rs", How::Delete), ("b.rs", How::Create)]));
        let astray = "*** Begin Patch\n*** Add File: a.rs\n*** Move to: b.rs\n*** End Patch";
        assert_eq!(named(astray), owned(&[("a.rs", How::Create), ("b.rs", How::Create)]));
    }

    #[test]
    fn content_that_looks_like_a_marker_names_nothing() {
        let patch = "*** Begin Patch\n*** Update File: a.rs\n+*** Delete File: b.rs\n *** Update File: c.rs\n\
                     -*** Add File: d.rs\n*** End Patch";
        assert_eq!(named(patch), owned(&[("a.rs", How::Partial)]));
    }

    #[test]
    fn text_around_carriage_returns_and_repeats_do_not_matter() {
        let patch = "*** Delete File: no\n*** Begin Patch\r\n*** Environment ID: x\r\n*** Update File:  a.rs \r\n\
                     *** Update File: a.rs\r\n*** Add File: \r\n*** End Patch\r\n";
        assert_eq!(named(patch), owned(&[("a.rs", How::Partial)]));
        assert_eq!(named("*** Update File: bare.rs"), owned(&[("bare.rs", How::Partial)]));
        assert_eq!(named(""), []);
    }
}
