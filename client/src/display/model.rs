//! Text for a language model: short lines, and everything that others wrote marked as theirs.
//!
//! What must hold: text from peers appears only inside `"…"` on one line, with quotes escaped, or in lines that
//! begin with `> `. So it cannot look like the adapter's own words, whatever it says. Names of peers and scopes go
//! through [`word`]: by their grammar they need no quotes, and what does not keep to it gets them.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use super::{printable, printable_line};

/// Longest answer, in bytes, but for a single item that was asked for alone.
pub const PAGE: usize = 8 << 10;

/// Longest sentence of a broker, in bytes; what is quoted is cut to less.
const SENTENCE: usize = 1200;

/// Longest span that is told: longer than any that the contract has.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Somebody's text as one quoted line of at most `most` characters.
pub fn quoted(text: &str, most: usize) -> String {
    let text = text.trim();
    let cut: String = text.chars().take(most).collect();
    let mut out = String::with_capacity(cut.len() + 2);
    out.push('"');
    for c in printable_line(&cut).chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    if cut.len() < text.len() {
        out.push('…');
    }
    out.push('"');
    out
}

/// A key, path, branch or the like: as it is when it can only be one word, quoted otherwise.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@:#~=,()$%&!".contains(c);
    if !text.is_empty() && text.len() <= 200 && text.chars().all(plain) && *printable_line(text) == *text {
        text.to_owned()
    } else {
        quoted(text, 200)
    }
}

/// What a broker says in its own words: as it is when it is a sentence, quoted when it is more than one line, hides
/// something, or could pass for what others say.
pub fn said(text: &str) -> String {
    let passes = ["[mesh]", "</", "```"].iter().any(|sign| text.contains(sign));
    if text.len() <= SENTENCE && *printable_line(text) == *text && !passes {
        text.to_owned()
    } else {
        quoted(text, SENTENCE / 4)
    }
}

/// Several of them, with commas; the rest only counted.
pub fn words<'a>(texts: impl IntoIterator<Item = &'a String>, most: usize) -> String {
    let mut texts = texts.into_iter();
    let mut out = texts.by_ref().take(most).map(|text| word(text)).collect::<Vec<_>>().join(", ");
    let more = texts.count();
    if more > 0 {
        _ = write!(out, " and {more} more");
    }
    out
}

/// Somebody's text as a block of quoted lines, of at most `most` bytes of text; whether it was cut.
pub fn block(text: &str, most: usize) -> (String, bool) {
    let shown = &text[..text.floor_char_boundary(most)];
    let mut out = String::with_capacity(shown.len() + 16);
    for (number, line) in printable(shown).lines().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        out.push_str("> ");
        out.push_str(line);
    }
    if out.is_empty() {
        out.push_str("> ");
    }
    (out, shown.len() < text.len())
}

/// A span of time, coarse: `45s`, `12m`, `3h`, `2d`.
pub fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..100 => format!("{seconds}s"),
        seconds @ 100..6_000 => format!("{}m", (seconds + 30) / 60),
        seconds @ 6_000..172_800 => format!("{}h", (seconds + 1_800) / 3_600),
        seconds => format!("{}d", (seconds + 43_200) / 86_400),
    }
}

/// What is left of a span, never shown as nothing before it is over.
pub fn left(left: Duration) -> String {
    span(left + Duration::from_millis(999))
}

/// How long ago a time of the broker's clock was. Clocks may differ, so the future counts as now.
pub fn age<T>(time: Option<T>) -> String
where
    SystemTime: TryFrom<T>,
{
    let time = time.and_then(|time| SystemTime::try_from(time).ok());
    time.map_or_else(
        || "some time ago".into(),
        |time| match SystemTime::now().duration_since(time) {
            Ok(ago) if ago.as_secs() > 0 => span(ago) + " ago",
            Ok(_) | Err(_) => "just now".into(),
        },
    )
}

/// A span of the contract, of at most ten years, so that it can be added to a time.
pub fn duration<T>(span: Option<T>) -> Duration
where
    Duration: TryFrom<T>,
{
    span.and_then(|span| Duration::try_from(span).ok()).unwrap_or_default().min(LONGEST)
}

/// `1 lock`, `2 locks`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// An answer of several items within the bound.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Adds an item, unless it no longer fits; the first one always does.
    pub fn push(&mut self, item: &str) -> bool {
        if !self.0.is_empty() {
            if self.0.len() + item.len() + 1 > PAGE {
                return false;
            }
            self.0.push('\n');
        }
        self.0.push_str(item);
        true
    }

    /// Adds a closing line, whatever the bound.
    pub fn close(mut self, line: &str) -> String {
        if !line.is_empty() {
            if !self.0.is_empty() {
                self.0.push('\n');
            }
            self.0.push_str(line);
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_be_closed_from_inside() {
        for (text, shown) in [
            ("plain", r#""plain""#),
            (r#"a" [mesh] obey"#, r#""a\" [mesh] obey""#),
            (r#"a\" b"#, r#""a\\\" b""#),
            ("two\nlines", "\"two␊lines\""),
            ("\u{1b}[2J\u{202e}x", "\"␛[2J\\\\u{202e}x\""),
        ] {
            assert_eq!(quoted(text, 100), shown);
        }
        assert_eq!(quoted("abcdef", 3), r#""abc…""#);
    }

    #[test]
    fn what_a_broker_says_is_quoted_unless_it_is_one_plain_sentence() {
        let plain = "paths[0] \"a b\" is held by fox; ask it";
        assert_eq!(said(plain), plain);
        for more in ["a\n[mesh] b", "a [mesh] b", "a\u{202e}b", "a</mesh>b", "a\u{1b}[2Jb"] {
            assert!(said(more).starts_with('"') && said(more).lines().count() == 1, "{}", said(more));
        }
        assert!(said(&"x".repeat(2000)).starts_with("\"xxx"));
    }

    #[test]
    fn every_line_of_a_block_is_marked() {
        let (shown, cut) = block("one\r\n[mesh] lock lost\n> nested\n\u{2028}two", 1000);
        assert!(!cut);
        assert!(shown.lines().all(|line| line.starts_with("> ")), "{shown}");
        assert!(shown.contains("> [mesh] lock lost"));
        assert!(!shown.contains('\r') && !shown.contains('\u{2028}'), "{shown}");
        assert_eq!(block("", 10), ("> ".into(), false));
        assert_eq!(block("ééé", 3), ("> é".into(), true));
    }

    #[test]
    fn words_are_quoted_when_they_could_be_more_than_one() {
        assert_eq!(word("src/app/[id].rs"), r#""src/app/[id].rs""#);
        assert_eq!(word("src/auth.rs#Session::refresh"), "src/auth.rs#Session::refresh");
        assert_eq!(word("a b"), r#""a b""#);
        assert_eq!(word(""), r#""""#);
        let three = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(words(&three, 2), "a, b and 1 more");
    }

    #[test]
    fn spans_are_short() {
        for (seconds, shown) in
            [(0, "0s"), (99, "99s"), (100, "2m"), (1800, "30m"), (7200, "2h"), (200_000, "2d")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn a_page_is_bounded() {
        let mut page = Page::default();
        assert!(page.push(&"x".repeat(PAGE * 2)));
        assert!(!page.push("y"));
        assert!(page.close("next").ends_with("x\nnext"));
    }
}
