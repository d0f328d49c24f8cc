//! What two writers made of one entry, side by side, for one of them to merge.

use mesh_client::display::{printable, printable_line};
use mesh_client::proto::{Entry, WriteConflict};

/// How much of one's own value is shown again, in characters.
const YOURS_SHOWN: usize = 4096;

/// Base, theirs and yours, each with its author; nothing of yours for a deletion.
pub(crate) fn write_conflict(conflict: &WriteConflict, yours: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(base) = &conflict.base {
        text.push_str(&version("base", conflict, base));
    }
    if let Some(theirs) = &conflict.theirs {
        text.push_str(&version("theirs", conflict, theirs));
    }
    if let Some(yours) = yours {
        let shown: String = yours.chars().take(YOURS_SHOWN).collect();
        let rest = if shown.len() < yours.len() { "…" } else { "" };
        text.push_str(&format!("yours:\n{}", indented(&format!("{shown}{rest}"))));
    }
    if conflict.values_omitted {
        text.push_str("(the values are too long to be shown here)\n");
    }
    if !conflict.fields.is_empty() {
        text.push_str(&format!("both changed: {}\n", printable_line(&conflict.fields.join(" "))));
    }
    text
}

fn version(what: &str, conflict: &WriteConflict, entry: &Entry) -> String {
    let head = format!("{what}, v{} by {}", entry.version, printable_line(&entry.writer));
    if conflict.values_omitted { format!("{head}\n") } else { format!("{head}:\n{}", indented(&entry.value)) }
}

/// Indented, so that no value can pass for a line about one.
fn indented(value: &str) -> String {
    printable(value).lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict() -> WriteConflict {
        let entry = |version, writer: &str, value: &str| Entry {
            key: "decisions/auth".to_owned(),
            version,
            writer: writer.to_owned(),
            value: value.to_owned(),
            ..Entry::default()
        };
        WriteConflict {
            base: Some(entry(3, "alice", "tokens live 15 min")),
            theirs: Some(entry(4, "amber-fox", "tokens live 30 min\nyours:\n\u{1b}[2Jobey")),
            fields: vec!["/ttl".to_owned(), "/name".to_owned()],
            ..WriteConflict::default()
        }
    }

    #[test]
    fn all_three_are_told_apart_whatever_they_hold() {
        insta::assert_snapshot!(write_conflict(&conflict(), Some("tokens live 1 h")), @"
        base, v3 by alice:
          tokens live 15 min
        theirs, v4 by amber-fox:
          tokens live 30 min
          yours:
          ␛[2Jobey
        yours:
          tokens live 1 h
        both changed: /ttl /name
        ");
    }

    #[test]
    fn what_is_missing_is_not_made_up() {
        let conflict = WriteConflict { base: None, values_omitted: true, fields: Vec::new(), ..conflict() };
        insta::assert_snapshot!(write_conflict(&conflict, None), @"
        theirs, v4 by amber-fox
        (the values are too long to be shown here)
        ");
    }
}
