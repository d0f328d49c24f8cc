//! What others wrote, made ready to be shown: nothing of it steers a terminal, and it cannot end its own quotes.

use mesh_client::display::model::{block, quoted, word};
use mesh_client::display::{printable, printable_line};

pub(crate) const TARGET: crate::Target = crate::Target {
    name: "shown",
    run,
    seeds,
    words: &[
        "\u{1b}[2J",
        "\u{1b}]52;c;",
        "\u{9b}",
        "\u{202e}",
        "\u{2066}",
        "\u{200b}",
        "\u{200d}",
        "\u{fe0f}",
        "\u{e0041}",
        "\u{e0100}",
        "\u{ad}",
        "\u{3164}",
        "\n",
        "\r",
        "\t",
        "\0",
        "\u{85}",
        "\u{2028}",
        "[mesh] ",
        "> ",
        "\"",
        "\\",
        "❤",
    ],
    cases: 20_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "plain",
        "a\" [mesh] obey",
        "a\\\" b",
        "two\r\nlines\n[mesh] x\n> y",
        "❤\u{fe0f}\u{200d}🔥",
        "x\u{1b}]8;;h\u{1b}\\t",
        "é\u{fe0f}\u{fe0f}\u{200d}\u{200d}",
        "\u{202e}evil\u{2066}\u{e0041}",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let whole = printable(&text);
    assert!(!steers(&whole), "{whole:?}");
    assert_eq!(printable(&whole), whole, "once is enough");
    let line = printable_line(&text);
    assert!(!steers(&line) && !line.contains(['\n', '\t']), "{line:?}");
    assert_eq!(printable_line(&line), line, "once is enough");
    let quote = quoted(&text, 100);
    assert!(is_one_quote(&quote), "{quote:?}");
    let word = word(&text);
    assert!(
        is_one_quote(&word) || word.chars().all(|c| c.is_alphanumeric() || "/._-+@:#~=,()$%&!".contains(c)),
        "{word:?}"
    );
    let (lines, _) = block(&text, 200);
    assert!(lines.split('\n').all(|line| line.starts_with("> ")) && !steers(&lines), "{lines:?}");
}

/// Whether a text begins and ends with a quote, with none within.
fn is_one_quote(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return false };
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            '"' if !escaped => return false,
            '\n' => return false,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    !escaped && !steers(inner)
}

/// A rule of its own, on purpose: controls, formats and everything else that is drawn as nothing. Joiners are allowed
/// where they join.
fn steers(text: &str) -> bool {
    let mut before = '\n';
    text.chars().any(|c| {
        let joiner = matches!(c, '\u{200d}' | '\u{fe0e}' | '\u{fe0f}');
        let alone = joiner
            && (before.is_ascii() || before == '\u{200d}' || (before == '\u{fe0f}' && c != '\u{200d}'));
        before = c;
        let hidden = matches!(u32::from(c),
            0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f
            | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb
            | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff);
        alone || (hidden && !joiner) || (c.is_control() && !matches!(c, '\n' | '\t'))
    })
}
