//! Folding lines to a width, with a hanging indent.

/// A line, with its colours, as lines of at most `width` characters; all but the first are indented.
pub(super) fn fold(line: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut rest = line;
    let mut room = width;
    while let Some(cut) = overflow(rest, room) {
        out.push_str(rest[..cut].trim_end());
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
        rest = rest[cut..].trim_start();
        room = width.saturating_sub(indent).max(1);
    }
    out.push_str(rest);
    out
}

/// Where to cut a text that is longer than the room: after the last space that fits, else within the word.
fn overflow(text: &str, room: usize) -> Option<usize> {
    let mut space = None;
    let mut seen = 0;
    let mut in_style = false;
    for (at, c) in text.char_indices() {
        if in_style || c == '\u{1b}' {
            in_style = c != 'm';
            continue;
        }
        if seen == room {
            return Some(if c == ' ' { at } else { space.unwrap_or(at) });
        }
        seen += 1;
        if c == ' ' {
            space = Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_hang_under_their_text() {
        assert_eq!(fold("one two three", 13, 2), "one two three");
        assert_eq!(fold("one two three", 12, 2), "one two\n  three");
        assert_eq!(fold("one two three four", 7, 2), "one two\n  three\n  four");
        assert_eq!(fold("abcdefgh", 5, 1), "abcde\n fgh");
        assert_eq!(fold("abcd efgh", 4, 0), "abcd\nefgh");
    }

    #[test]
    fn colours_take_no_room() {
        let blue = "\u{1b}[34mone\u{1b}[0m";
        assert_eq!(fold(&format!("{blue} two"), 7, 2), format!("{blue} two"));
        assert_eq!(fold(&format!("{blue} two"), 6, 2), format!("{blue}\n  two"));
    }
}
