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
    // Nearly every text is harmless, and most are ASCII.
    if !text.chars().any(|c| bad(c) || is_joiner(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut before = '\n';
    for c in text.chars() {
        let is_fault = bad(c) || !joins(before, c);
        // What is replaced leaves nothing to join.
        before = if is_fault { '\n' } else { c };
        match u32::from(c) {
            _ if !is_fault => out.push(c),
            // Unicode has a picture for each C0 control (␛ for escape) and for delete.
            code @ 0..0x20 => out.extend(char::from_u32(0x2400 + code)),
            0x7f => out.push('\u{2421}'),
            code => _ = write!(out, "\\u{{{code:x}}}"),
        }
    }
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// Controls (C0, DEL, C1), line and paragraph separators, bidirectional controls, tag characters, and everything else
/// that Unicode draws as nothing, since what nobody sees can say something to an agent.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200c
            | 0x200e..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x2800 | 0x3164 | 0xfe00..=0xfe0d | 0xfeff
            | 0xffa0 | 0xfff0..=0xfffb | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}

/// What emoji are made with: the zero-width joiner, and the choice between a text and a picture.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

/// Whether a joiner has something to join: a visible character beyond ASCII, or, after the choice of a picture, another
/// picture. Alone, or several of them, they only hide.
fn joins(before: char, c: char) -> bool {
    !is_joiner(c)
        || !(before.is_ascii() || steers(before) || is_joiner(before))
        || (c == '\u{200d}' && before == '\u{fe0f}')
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
    fn what_nobody_sees_is_made_visible() {
        for hidden in
            ["\u{ad}", "\u{34f}", "\u{115f}", "\u{3164}", "\u{180e}", "\u{fe00}", "\u{e0100}", "\u{2800}"]
        {
            let text = format!("é{hidden}");
            assert_eq!(printable_line(&text), format!("é{}", hidden.escape_unicode()));
        }
    }

    #[test]
    fn joiners_are_for_pictures() {
        for picture in ["❤\u{fe0f}\u{200d}🔥", "👩🏽\u{200d}💻", "☎\u{fe0e}"] {
            assert!(matches!(printable_line(picture), Cow::Borrowed(_)), "{picture:?}");
        }
        for (text, shown) in [
            ("ad\u{200d}min", "ad\\u{200d}min"),
            ("\u{fe0f}", "\\u{fe0f}"),
            ("❤\u{fe0f}\u{fe0e}\u{fe0f}", "❤\u{fe0f}\\u{fe0e}\\u{fe0f}"),
            ("❤\u{200d}\u{200d}", "❤\u{200d}\\u{200d}"),
            ("é\u{fe0f}\u{fe0f}\u{200d}", "é\u{fe0f}\\u{fe0f}\\u{200d}"),
        ] {
            assert_eq!(printable_line(text), shown);
        }
    }

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(printable_line("a\nb\tc\u{2028}"), "a␊b␉c\\u{2028}");
    }
}
