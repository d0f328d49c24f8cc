//! Makes text from others safe to show on a terminal.
//!
//! What must hold: no byte sequence in the result can move the cursor, change colours or the order of what is
//! read, or hide text. What is replaced stays visible, so that nothing is smuggled past the reader.

pub mod model;

use std::borrow::Cow;
use std::fmt::Write;

/// Replaces everything that steers a terminal or hides text, but keeps line breaks and tabs.
pub fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, |c| steers(c) && !matches!(c, '\n' | '\t'))
}

/// As [`printable`], with line breaks and tabs replaced too: for one line of output.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    replaced(text, steers)
}

fn replaced(text: &str, bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match u32::from(c) {
            _ if !bad(c) => out.push(c),
            // Unicode has a picture for each C0 control (␛ for escape) and for delete.
            code @ 0..0x20 => out.extend(char::from_u32(0x2400 + code)),
            0x7f => out.push('\u{2421}'),
            code => _ = write!(out, "\\u{{{code:x}}}"),
        }
    }
    Cow::Owned(out)
}

/// Controls (C0, DEL, C1), line and paragraph separators, bidirectional controls, invisible characters (the
/// zero-width joiner excepted, which emoji need) and tag characters.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_text_is_borrowed() {
        let text = "naïve ünïcode 👩‍💻\n\tsecond line";
        assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn what_steers_a_terminal_is_made_visible() {
        for (text, shown) in [
            ("\u{1b}[31mred\u{1b}]0;t\u{7}", "␛[31mred␛]0;t␇"),
            ("a\rb\u{8}\u{7f}", "a␍b␈␡"),
            ("\u{9b}2J\u{85}", "\\u{9b}2J\\u{85}"),
            ("\u{202e}evil\u{2066}", "\\u{202e}evil\\u{2066}"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(printable_line("a\nb\tc\u{2028}"), "a␊b␉c\\u{2028}");
    }
}
