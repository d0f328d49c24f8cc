//! Targets in free text: what a message is about, as far as its words show.
//!
//! A word counts when it is written like a target, and nobody is asked whether it exists:
//!
//! * with a `/` inside: `src/auth.rs`, `./src`, `docs/`, `@src/a.rs`, a glob. Not URLs, `github.com/acme/app`, absolute
//!   or home paths, options, `24/7`, nor what is only wildcards;
//! * like `Cargo.toml`: a name and one to five letters and digits. Not `e.g`, versions and sizes, `example.com`, or two
//!   sentences without a space;
//! * either of them with a symbol: `auth.ts#Session.refresh`;
//! * a subject: `task:ABC-12`, if its name begins with a letter or digit.
//!
//! Quotes, brackets around it, punctuation and a line (`:12`, `:12:5`, `#L12`) are left off.

use super::{Target, TargetKind};
use crate::limits;

/// Around or after a word, and never part of it there.
const BEFORE: &[char] = &['"', '\'', '`', '“', '”', '‘', '’', '«', '»', '„', ',', ';', ':', '!'];
const AFTER: &[char] = &['"', '\'', '`', '“', '”', '‘', '’', '«', '»', ',', ';', ':', '!', '.', '?', '…'];
const BRACKETS: [(char, char); 4] = [('(', ')'), ('[', ']'), ('{', '}'), ('<', '>')];
/// How often what is around a word may itself be quoted or in brackets.
const NESTING: usize = 8;
/// Longest word that is looked at: a target and what is around it.
const WORD_BYTES: usize = limits::PATH_BYTES + 64;
/// Ends of host names that are hardly ends of file names.
const DOMAINS: [&str; 8] = ["com", "org", "net", "edu", "gov", "io", "ai", "dev"];

/// The targets that a text mentions, in its order, none twice, at most as many as a message may mention.
#[must_use]
pub fn mentions(text: &str) -> Vec<Target> {
    let mut found = Vec::new();
    // Links in Markdown have no space between their text and their address.
    for word in text.split_whitespace().flat_map(|word| word.split("](")) {
        if found.len() == limits::MENTIONS {
            break;
        }
        if let Some(target) = mention(word).filter(|target| !found.contains(target)) {
            found.push(target);
        }
    }
    found
}

fn mention(word: &str) -> Option<Target> {
    if word.len() > WORD_BYTES || word.contains("://") {
        return None;
    }
    let word = trimmed(word);
    if !is_subject(word) {
        return path(without_line(word));
    }
    Target::parse("body", word).ok()
}

fn path(word: &str) -> Option<Target> {
    let word = word.strip_prefix('@').unwrap_or(word);
    let here = word.trim_start_matches("./");
    let first = here.split('/').next().unwrap_or_default();
    let file = here.rsplit_once('#').map_or(here, |(file, _)| file);
    let like_path = if word.contains('/') {
        here.contains(char::is_alphabetic)
            && !here.starts_with(['/', '~', '-', '$'])
            && (first == here || !is_host(first))
    } else {
        is_file_name(file)
    };
    let target = like_path.then(|| Target::parse("body", here).ok()).flatten()?;
    // A subject whose name begins with something else is none here: `std::vec/x`.
    (target.kind() != TargetKind::Subject).then_some(target)
}

/// The word without what is around it.
fn trimmed(word: &str) -> &str {
    let mut word = word;
    for _ in 0..NESTING {
        let before = word;
        word = word.trim_start_matches(BEFORE).trim_end_matches(AFTER);
        for end in ["()", "'s", "’s"] {
            word = word.strip_suffix(end).unwrap_or(word);
        }
        let bold = word.strip_prefix("**").and_then(|word| word.strip_suffix("**"));
        word = bold.filter(|word| !word.starts_with('/')).unwrap_or(word);
        for brackets in BRACKETS {
            word = without_brackets(word, brackets);
        }
        if word == before {
            break;
        }
    }
    word
}

/// The word without brackets that are around all of it or have no partner. Others are part of it: `[slug].tsx`.
fn without_brackets(word: &str, (open, close): (char, char)) -> &str {
    let mut depth = 0_usize;
    let mut lonely_close = None;
    // Where the bracket closes that the word begins with.
    let mut first_closes = None;
    for (at, c) in word.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close && depth == 0 {
            lonely_close = Some(at);
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                first_closes = first_closes.or(Some(at));
            }
        }
    }
    let end = word.len() - close.len_utf8().min(word.len());
    if word.starts_with(open) && first_closes == Some(end) {
        return &word[open.len_utf8()..end];
    }
    let word = if lonely_close == Some(end) { &word[..end] } else { word };
    if first_closes.is_none() { word.trim_start_matches(open) } else { word }
}

/// The word without the line that it names.
fn without_line(word: &str) -> &str {
    let mut word = word;
    if let Some((path, line)) = word.rsplit_once("#L")
        && is_line(line)
    {
        word = path;
    }
    for _ in 0..2 {
        match word.rsplit_once(':') {
            Some((path, line)) if is_line(line) => word = path,
            _ => break,
        }
    }
    word
}

/// `12`, or `12-20` and `12-L20` for several.
fn is_line(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('-') {
        Some((from, to)) => number(from) && number(to.strip_prefix('L').unwrap_or(to)),
        None => number(text),
    }
}

fn is_subject(word: &str) -> bool {
    super::parse::subject_name(word).is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// True for a word like `Cargo.toml`.
fn is_file_name(word: &str) -> bool {
    let Some((stem, ext)) = word.rsplit_once('.') else { return false };
    let stem_fits = stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let letters = ext.bytes().filter(u8::is_ascii_alphabetic).count();
    if stem.is_empty() || !stem_fits || stem.contains("..") || ext.len() > 5 || letters == 0 {
        return false;
    }
    // `done.Then` is two sentences.
    let one_case =
        !ext.bytes().any(|b| b.is_ascii_lowercase()) || !ext.bytes().any(|b| b.is_ascii_uppercase());
    let abbreviation = word.split('.').all(|part| part.len() <= 1);
    let number = stem.strip_prefix('v').unwrap_or(stem).bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let version = number && (ext.len() < 2 || letters < ext.len());
    ext.bytes().all(|b| b.is_ascii_alphanumeric()) && one_case && !abbreviation && !version && !is_host(word)
}

/// True for a word like `example.com`.
fn is_host(word: &str) -> bool {
    word.rsplit_once('.').is_some_and(|(name, end)| !name.is_empty() && DOMAINS.contains(&end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        mentions(text).iter().map(Target::to_string).collect()
    }

    #[test]
    fn what_is_written_like_a_target_is_found() {
        for (text, expected) in [
            ("I changed src/auth.rs, and docs/.", vec!["src/auth.rs", "docs/"]),
            ("see `src/a.rs:12:5` (or src/b.rs:7-9)", vec!["src/a.rs", "src/b.rs"]),
            (
                "(src/a.rs) \"src/b.rs\" <src/c.rs> **src/d.rs** “src/e.rs”!",
                vec!["src/a.rs", "src/b.rs", "src/c.rs", "src/d.rs", "src/e.rs"],
            ),
            ("(src/a.rs is it; src/b.rs too)", vec!["src/a.rs", "src/b.rs"]),
            ("[the file](src/a.rs#L10-L20).", vec!["src/a.rs"]),
            ("[auth.rs](./src/auth.rs)", vec!["auth.rs", "src/auth.rs"]),
            (
                "@src/a.rs ./Makefile Cargo.toml's README.md?",
                vec!["src/a.rs", "Makefile", "Cargo.toml", "README.md"],
            ),
            (
                "src/auth.ts#Session.refresh() and auth.ts#login",
                vec!["src/auth.ts#Session::refresh", "auth.ts#login"],
            ),
            ("app/[slug]/page.tsx, (app/(group)/x.tsx)", vec!["app/[slug]/page.tsx", "app/(group)/x.tsx"]),
            (
                "[slug]/page.tsx {a,b}/c src/**/*.rs **/*.md",
                vec!["[slug]/page.tsx", "{a,b}/c", "src/**/*.rs", "**/*.md"],
            ),
            ("task:ABC-12: done; api:billing/v2.", vec!["task:ABC-12", "api:billing/v2"]),
            (".eslintrc.json 404.html 0001.sql", vec![".eslintrc.json", "404.html", "0001.sql"]),
            ("a/b a/b ./a/b", vec!["a/b"]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn prose_is_left_alone() {
        for text in [
            "e.g. this, i.e. that, p.s. U.S.A.",
            "version 1.5, v1.2.3, 2.x, 1.0rc1, 3.5k",
            "https://example.com/a/b.html http://x",
            "example.com github.com/acme/app www.acme.org/x",
            "note: this is http: and task: and a::b std::vec",
            "/etc/passwd ~/x $HOME/x --config=a/b -o/x",
            "24/7 1/2 10/10/2026 */* **/ ?/? / // /**",
            "wait...what done.Then #general @amber-fox #123",
            "../x a//b a/../b a/b\\c",
            "",
        ] {
            let found = found(text);
            assert!(found.is_empty(), "{text}: {found:?}");
        }
    }

    #[test]
    fn only_so_many_are_found() {
        let many: String = (0..100).map(|n| format!("src/{n}.rs ")).collect();
        let found = found(&many);
        assert_eq!(found.len(), limits::MENTIONS);
        assert_eq!(found.last().map(String::as_str), Some("src/31.rs"));
    }

    #[test]
    fn any_text_is_read() {
        let hostile = [
            "(".repeat(65_536),
            "{a,".repeat(300),
            "[(<{`".repeat(200),
            "]](".repeat(300),
            "/#:".repeat(340),
            "ä".repeat(600),
        ];
        for text in hostile {
            assert!(mentions(&text).len() <= limits::MENTIONS, "{text}");
        }
    }
}
