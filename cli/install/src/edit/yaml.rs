//! YAML: a mapping of extensions, as Goose keeps it.
//!
//! No maintained crate edits YAML and keeps its layout, so lines are put in or taken out at places that a parser
//! names, and the parser then says whether everything else still means the same; if not, the file is left alone.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{Fault, Found, NAME, is_server, without_bom};
use crate::program::Program;

/// The mapping that holds the extensions.
const EXTENSIONS: &str = "extensions";

/// What to add by hand.
pub(crate) fn snippet(program: &Program) -> String {
    format!("{EXTENSIONS}:\n{}", entry(program, "  ", "\n"))
}

/// Adds our extension, or brings that of an earlier version up to date.
pub(crate) fn install(text: &str, program: &Program) -> Result<String, Fault> {
    change(text, program, |body, root| {
        let end = if body.contains("\r\n") { "\r\n" } else { "\n" };
        let Some(root) = root else {
            return Ok(with_line(body, body.len(), &section(program, end), end));
        };
        let pairs = root.pairs().ok_or_else(|| Fault::Shape("the file".to_owned(), "mapping"))?;
        if root.is_flow {
            return Err(Fault::Delicate("it is written in one line"));
        }
        let Some((_, extensions)) = pairs.iter().find(|(key, _)| key.is(EXTENSIONS)) else {
            return Ok(with_line(body, line_end(body, root.span.end), &section(program, end), end));
        };
        match extensions.pairs() {
            Some([]) => {
                let block = format!("{end}{}", entry(program, "  ", end).trim_end());
                let start = trim_start(body, extensions.span.start);
                Ok(splice(body, start..extensions.span.end, &block))
            }
            Some(pairs) => into_mapping(body, extensions, pairs, program, end),
            None if extensions.is_null() && extensions.span.is_empty() => {
                let at = line_end(body, extensions.span.end);
                Ok(with_line(body, at, &entry(program, "  ", end), end))
            }
            None if extensions.is_null() => {
                let block = format!("{end}{}", entry(program, "  ", end).trim_end());
                let start = trim_start(body, extensions.span.start);
                Ok(splice(body, start..extensions.span.end, &block))
            }
            None => Err(Fault::Shape(EXTENSIONS.to_owned(), "mapping")),
        }
    })
}

/// Takes our extension out, and the mapping that it leaves empty unless `original` had it too.
pub(crate) fn remove(text: &str, program: &Program, original: Option<&str>) -> Result<String, Fault> {
    let kept = original.and_then(|text| tree(without_bom(text).1).ok().flatten());
    let kept = kept.is_some_and(|root| root.get(EXTENSIONS).is_some());
    change(text, program, |body, root| {
        let Some(pairs) = root.and_then(Node::pairs) else { return Ok(body.to_owned()) };
        let Some((key, extensions)) = pairs.iter().find(|(key, _)| key.is(EXTENSIONS)) else {
            return Ok(body.to_owned());
        };
        let list = extensions.pairs().unwrap_or_default();
        let Some(at) = list.iter().position(|(_, value)| is_ours(value, program)) else {
            return Ok(body.to_owned());
        };
        let whole = line_start(body, key.span.start)..next_line(body, extensions.span.end);
        let range = match (list.len(), extensions.is_flow) {
            (1, _) if !kept => whole,
            (1, _) => {
                let start = trim_start(body, line_start(body, list[0].0.span.start));
                return Ok(splice(body, start..list[0].1.span.end, " {}"));
            }
            (_, true) if at == 0 => list[0].0.span.start..list[1].0.span.start,
            (_, true) => list[at - 1].1.span.end..list[at].1.span.end,
            (_, false) => line_start(body, list[at].0.span.start)..next_line(body, list[at].1.span.end),
        };
        Ok(splice(body, range, ""))
    })
}

/// What of ours is there.
pub(crate) fn find(text: &str, program: &Program) -> Found {
    let root = tree(without_bom(text).1).ok().flatten();
    let extensions = root.as_ref().and_then(|root| root.get(EXTENSIONS)).and_then(Node::pairs);
    let ours = extensions.into_iter().flatten().find(|(_, value)| is_ours(value, program));
    Found { server: ours.map(|(_, value)| words(value)), hooks: Vec::new() }
}

fn section(program: &Program, end: &str) -> String {
    format!("{EXTENSIONS}:{end}{}", entry(program, "  ", end))
}

/// JSON strings are YAML.
fn entry(program: &Program, indent: &str, end: &str) -> String {
    let command = serde_json::Value::from(program.command());
    let lines = [
        format!("{indent}{NAME}:"),
        format!("{indent}  type: stdio"),
        format!("{indent}  name: {NAME}"),
        format!("{indent}  description: Other agents in this project"),
        format!("{indent}  enabled: true"),
        format!("{indent}  cmd: {command}"),
        format!("{indent}  args:"),
        format!("{indent}    - mcp"),
        format!("{indent}  envs: {{}}"),
        format!("{indent}  timeout: 300"),
    ];
    lines.map(|line| line + end).concat()
}

fn into_mapping(
    body: &str,
    extensions: &Node,
    pairs: &[(Node, Node)],
    program: &Program,
    end: &str,
) -> Result<String, Fault> {
    if let Some((_, ours)) = pairs.iter().find(|(_, value)| is_ours(value, program)) {
        let command = ours.get("cmd").ok_or_else(|| Fault::Taken(NAME.to_owned()))?;
        if command.text() == Some(program.command()) {
            return Ok(body.to_owned());
        }
        let quoted = serde_json::Value::from(program.command()).to_string();
        return Ok(splice(body, command.span.clone(), &quoted));
    }
    if pairs.iter().any(|(key, _)| key.is(NAME)) {
        return Err(Fault::Taken(NAME.to_owned()));
    }
    let (first, last) = (&pairs[0].0, &pairs[pairs.len() - 1].1);
    if extensions.is_flow {
        let command = serde_json::Value::from(program.command());
        let flow = format!(
            ", {NAME}: {{type: stdio, name: {NAME}, enabled: true, cmd: {command}, args: [mcp], envs: {{}}, \
             timeout: 300}}"
        );
        return Ok(splice(body, last.span.end..last.span.end, &flow));
    }
    let start = line_start(body, first.span.start);
    let indent = &body[start..first.span.start];
    if !indent.chars().all(|c| c == ' ') {
        return Err(Fault::Delicate("an unusual layout"));
    }
    Ok(with_line(body, line_end(body, last.span.end), &entry(program, indent, end), end))
}

fn is_ours(extension: &Node, program: &Program) -> bool {
    let words = words(extension);
    is_server(program, words.first().map(String::as_str), words.get(1..).unwrap_or_default())
}

fn words(extension: &Node) -> Vec<String> {
    let Some(command) = extension.get("cmd").and_then(Node::text) else { return Vec::new() };
    let arguments = match extension.get("args").map(|node| &node.kind) {
        Some(Kind::Sequence(items)) => items.iter().filter_map(Node::text).collect(),
        _ => Vec::new(),
    };
    std::iter::once(command).chain(arguments).map(str::to_owned).collect()
}

fn change(
    text: &str,
    program: &Program,
    edit: impl FnOnce(&str, Option<&Node>) -> Result<String, Fault>,
) -> Result<String, Fault> {
    let (bom, body) = without_bom(text);
    let before = tree(body)?;
    let after = edit(body, before.as_ref())?;
    let parsed = tree(&after).map_err(|_| Fault::Delicate("an unusual layout"))?;
    if rest(before.as_ref(), program) != rest(parsed.as_ref(), program) {
        return Err(Fault::Delicate("an unusual layout"));
    }
    Ok(format!("{bom}{after}"))
}

/// The meaning of everything else.
fn rest(root: Option<&Node>, program: &Program) -> Vec<String> {
    let mut out = Vec::new();
    for (key, value) in root.and_then(Node::pairs).unwrap_or_default() {
        if !key.is(EXTENSIONS) {
            key.mean(&mut out);
            value.mean(&mut out);
            continue;
        }
        let others: Vec<_> = value.pairs().unwrap_or_default().iter().collect();
        let others: Vec<_> = others.into_iter().filter(|(_, value)| !is_ours(value, program)).collect();
        if !others.is_empty() {
            key.mean(&mut out);
        }
        for (key, value) in others {
            key.mean(&mut out);
            value.mean(&mut out);
        }
    }
    if root.is_some_and(|root| root.pairs().is_none()) {
        root.into_iter().for_each(|root| root.mean(&mut out));
    }
    out
}

fn splice(text: &str, range: Range<usize>, with: &str) -> String {
    format!("{}{with}{}", &text[..range.start], &text[range.end..])
}

/// Puts lines in at the end of a line.
fn with_line(text: &str, at: usize, lines: &str, end: &str) -> String {
    let (before, after) = text.split_at(at);
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { end };
    match after {
        // The last line had no end, so the new last one gets none.
        "" if !gap.is_empty() => format!("{before}{gap}{}", lines.trim_end()),
        "" => format!("{before}{lines}"),
        _ if gap.is_empty() => format!("{before}{lines}{after}"),
        _ => format!("{before}{gap}{}{after}", lines.trim_end()),
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line ends that something ends in; where it ends itself if that is the start of a line.
fn line_end(text: &str, at: usize) -> usize {
    if text[..at].ends_with('\n') {
        return at;
    }
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    if text[..end].ends_with('\r') { end - 1 } else { end }
}

/// Where the line after starts.
fn next_line(text: &str, at: usize) -> usize {
    if text[..at].ends_with('\n') {
        return at;
    }
    text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
}

/// Where white space before this begins.
fn trim_start(text: &str, at: usize) -> usize {
    text[..at].trim_end().len()
}

/// A part of a document, and where it is.
#[derive(Debug)]
struct Node {
    kind: Kind,
    /// Bytes, without what follows the last character.
    span: Range<usize>,
    is_flow: bool,
    /// Anchor and tag.
    marks: String,
}

#[derive(Debug)]
enum Kind {
    Scalar(String, ScalarStyle),
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
    Alias(usize),
}

impl Node {
    fn pairs(&self) -> Option<&[(Node, Node)]> {
        if let Kind::Mapping(pairs) = &self.kind { Some(pairs) } else { None }
    }

    fn get(&self, name: &str) -> Option<&Node> {
        self.pairs()?.iter().find(|(key, _)| key.is(name)).map(|(_, value)| value)
    }

    fn text(&self) -> Option<&str> {
        if let Kind::Scalar(text, _) = &self.kind { Some(text) } else { None }
    }

    fn is(&self, name: &str) -> bool {
        self.text() == Some(name)
    }

    fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, ScalarStyle::Plain) if matches!(text.as_str(), "" | "~" | "null"))
            && self.marks.is_empty()
    }

    fn mean(&self, out: &mut Vec<String>) {
        match &self.kind {
            Kind::Scalar(text, style) => out.push(format!("{} {style:?} {text}", self.marks)),
            Kind::Alias(of) => out.push(format!("alias {of}")),
            Kind::Sequence(items) => {
                out.push(format!("{} [", self.marks));
                items.iter().for_each(|item| item.mean(out));
                out.push("]".to_owned());
            }
            Kind::Mapping(pairs) => {
                out.push(format!("{} {{", self.marks));
                for (key, value) in pairs {
                    key.mean(out);
                    value.mean(out);
                }
                out.push("}".to_owned());
            }
        }
    }
}

type Events<'a> = std::vec::IntoIter<(Event<'a>, Range<usize>)>;

/// The one document of a text, if there is anything in it.
fn tree(text: &str) -> Result<Option<Node>, Fault> {
    let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let byte = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Fault::Unreadable(error.to_string()))?;
        events.push((event, byte(span.start.index())..byte(span.end.index())));
    }
    let documents = events.iter().filter(|(event, _)| matches!(event, Event::DocumentStart(_))).count();
    if documents > 1 {
        return Err(Fault::Delicate("it holds several documents"));
    }
    let mut events = events.into_iter();
    match events.find(|(event, _)| matches!(event, Event::DocumentStart(_))) {
        None => Ok(None),
        Some(_) => node(text, &mut events).map(Some),
    }
}

fn node(text: &str, events: &mut Events<'_>) -> Result<Node, Fault> {
    let early = || Fault::Unreadable("it ends too early".to_owned());
    let (event, span) = events.next().ok_or_else(early)?;
    let is_flow = matches!(text[span.clone()].chars().next(), Some('{' | '['));
    let plain = |kind, span, marks| Node { kind, span, is_flow, marks };
    match event {
        Event::Scalar(value, style, anchor, tag) => {
            let marks =
                if anchor == 0 && tag.is_none() { String::new() } else { format!("{anchor} {tag:?}") };
            // A block scalar is reported up to what follows.
            let end = span.start + text[span.clone()].trim_end().len();
            Ok(plain(Kind::Scalar(value.into_owned(), style), span.start..end, marks))
        }
        Event::Alias(of) => Ok(plain(Kind::Alias(of), span, String::new())),
        Event::SequenceStart(anchor, tag) => {
            let mut items = Vec::new();
            while !matches!(events.as_slice().first(), None | Some((Event::SequenceEnd, _))) {
                items.push(node(text, events)?);
            }
            let end = events.next().ok_or_else(early)?.1.start + 1;
            let last = items.last().map_or(span.end, |item: &Node| item.span.end);
            let end = if is_flow { end } else { last };
            Ok(plain(Kind::Sequence(items), span.start..end, format!("{anchor} {tag:?}")))
        }
        Event::MappingStart(anchor, tag) => {
            let mut pairs = Vec::new();
            while !matches!(events.as_slice().first(), None | Some((Event::MappingEnd, _))) {
                pairs.push((node(text, events)?, node(text, events)?));
            }
            let end = events.next().ok_or_else(early)?.1.start + 1;
            let last = pairs.last().map_or(span.end, |(key, value): &(Node, Node)| {
                // Nothing at all may be reported anywhere.
                if value.span.is_empty() { key.span.end } else { value.span.end }
            });
            let end = if is_flow { end } else { last };
            Ok(plain(Kind::Mapping(pairs), span.start..end, format!("{anchor} {tag:?}")))
        }
        other @ (Event::Nothing
        | Event::StreamStart
        | Event::StreamEnd
        | Event::DocumentStart(_)
        | Event::DocumentEnd
        | Event::SequenceEnd
        | Event::MappingEnd) => Err(Fault::Unreadable(format!("{other:?} out of place"))),
    }
}
