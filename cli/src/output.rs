//! The way out: results to stdout, everything else to stderr.
//!
//! What must hold: each write is whole and flushed, so that whoever reads a pipe sees a line when it happened;
//! a reader that went away ends the command quietly.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use mesh_client::display::{printable, printable_line};
use serde::Serialize;

use crate::error::CliError;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Also into a pipe.
    Always,
    /// Not at all.
    Never,
}

/// Where and how results are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    terminal: bool,
    paint: Paint,
}

#[derive(Serialize)]
struct Note<'a> {
    note: &'a str,
}

impl Output {
    pub(crate) fn new(json: bool, color: Color) -> Self {
        let terminal = io::stdout().is_terminal();
        let paint = Paint { color: !json && color.wanted(terminal) };
        Self { json, terminal, paint }
    }

    /// Whether results are for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person is looking.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal && !self.json
    }

    /// How many characters a line of the terminal holds.
    pub(crate) fn width(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|_| self.is_terminal())?;
        Some(usize::from(size.ws_col)).filter(|width| *width > 0)
    }

    /// The colours of stdout.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Writes text: what others said has been made printable where it was put into lines. Should that be forgotten
    /// somewhere, nothing but our own colours gets through all the same.
    pub(crate) fn text(&self, text: &str) -> Result<(), CliError> {
        let text = harmless(text, self.paint.color);
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| write_error(&error))
    }

    /// Tells about the way to a result, on stderr; programs get JSON there too.
    pub(crate) fn tell(&self, text: impl Display) {
        if !self.json {
            return note(text);
        }
        // A string: serializing it cannot fail.
        let line = json_line(&Note { note: &text.to_string() }).unwrap_or_default();
        note(line.trim_end());
    }

    /// Writes one line of JSON.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), CliError> {
        self.text(&json_line(value)?)
    }
}

/// A value as one line of JSON. Beyond what JSON asks for, everything that could steer a terminal is escaped.
pub(crate) fn json_line(value: &impl Serialize) -> Result<String, CliError> {
    let mut line = serde_json::to_string(value).map_err(CliError::failure)?;
    // A joiner has nothing to join by itself, so it is escaped as well.
    if let Cow::Owned(_) = printable_line(&line) {
        line = line.chars().map(escaped).collect();
    }
    line.push('\n');
    Ok(line)
}

/// A character of a JSON text as it is, or, if it steers a terminal, escaped: then it is inside a string.
fn escaped(c: char) -> String {
    let mut bytes = [0; 4];
    let text: &str = c.encode_utf8(&mut bytes);
    match printable_line(text) {
        Cow::Borrowed(_) => text.to_owned(),
        Cow::Owned(_) => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    }
}

/// Writes one line to stderr. If even that fails there is nobody to tell.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(&text.to_string()));
}

/// The way out for the log: an event is a line, whatever is told in it.
#[derive(Debug)]
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = harmless(text.trim_end_matches('\n'), io::stderr().is_terminal()).replace('\n', "␊");
        io::stderr().lock().write_all((line + "\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A text without anything that steers a terminal, but for sequences that only colour, if there are any to be.
fn harmless(text: &str, coloured: bool) -> Cow<'_, str> {
    if !coloured {
        return printable(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once("\u{1b}[") {
        out.push_str(&printable(plain));
        let end = escape.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(escape.len());
        let colours = escape[end..].starts_with('m');
        out.push_str(if colours { "\u{1b}[" } else { "␛[" });
        let taken = if colours { end + 1 } else { 0 };
        out.push_str(&escape[..taken]);
        rest = &escape[taken..];
    }
    out.push_str(&printable(rest));
    Cow::Owned(out)
}

fn write_error(error: &io::Error) -> CliError {
    if error.kind() == ErrorKind::BrokenPipe {
        return CliError::reader_gone();
    }
    CliError::failure(format_args!("cannot write: {error}"))
}

impl Color {
    fn wanted(self, terminal: bool) -> bool {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// Colours text, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    color: bool,
}

/// Colours of peers: bright enough on dark and light, and none of those that mean something.
const NAME_COLORS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
];

impl Paint {
    /// No colours.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { color: false }
    }

    /// Text in a style.
    pub(crate) fn style(self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Less important text.
    pub(crate) fn dim(self, text: &str) -> String {
        self.style(Style::new().dimmed(), text)
    }

    /// A heading.
    pub(crate) fn bold(self, text: &str) -> String {
        self.style(Style::new().bold(), text)
    }
}

/// The colour of a peer, the same wherever it shows up.
pub(crate) fn name_style(name: &str) -> Style {
    let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    Style::new().fg_color(Some(NAME_COLORS[sum % NAME_COLORS.len()].into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_reach_a_terminal() {
        let text = "\u{1b}[1;36mfox\u{1b}[0m\u{1b}[2J\u{1b}]0;t\u{7}\u{1b}[31\u{202e}\n";
        assert_eq!(harmless(text, true), "\u{1b}[1;36mfox\u{1b}[0m␛[2J␛]0;t␇␛[31\\u{202e}\n");
        assert_eq!(harmless("\u{1b}[31mred", false), "␛[31mred");
    }

    #[test]
    fn json_steers_no_terminal_and_means_the_same() {
        let text = "\u{1b}[2J\u{9b}m\u{202e}evil\u{e0041}\u{7f}\n naïve 👩‍💻";
        let line = json_line(&text).unwrap();
        assert!(matches!(printable_line(line.trim_end()), Cow::Borrowed(_)), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
