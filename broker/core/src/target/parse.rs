//! Text to target: what kind it is, and its one normal form, which is read as itself again.

use std::sync::Arc;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::Shape;
use super::braces::Braced;
use super::glob::Glob;
use crate::limits;

pub(super) const NO_SEGMENT: &str = "has an empty segment";
pub(super) const NOT_RELATIVE: &str = "is absolute; paths are relative to the root of the checkout";

/// Reads a target: its normal form and what it is, or what is wrong with it.
pub(super) fn parse(text: &str) -> Result<(String, Shape), &'static str> {
    if text.is_empty() {
        return Err("a path is empty; `/` means the whole scope");
    }
    if text.len() > limits::PATH_BYTES {
        return Err("longer than 1,024 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character");
    }
    if text.contains('\\') {
        return Err("holds a backslash; paths are separated by `/`");
    }
    let text = composed(text);
    let (normal, shape) = if let Some(name) = subject_name(&text) {
        subject(&text, name)?
    } else if let Some((file, name)) = symbol_parts(&text) {
        symbol(file, name)?
    } else {
        path(&text)?
    };
    // The normal form may be longer than the text, and it is what is stored and read back.
    if normal.len() > limits::PATH_BYTES {
        return Err("longer than 1,024 bytes in its normal form");
    }
    Ok((normal, shape))
}

/// The text in Unicode NFC.
pub(super) fn composed(text: &str) -> String {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text.to_owned(),
        IsNormalized::No | IsNormalized::Maybe => text.nfc().collect(),
    }
}

/// Refuses what is no name of a file or directory.
pub(super) fn check_segment(segment: &str) -> Result<(), &'static str> {
    match segment {
        "" => Err(NO_SEGMENT),
        "." | ".." => Err("has a `.` or `..` segment; paths may not leave the scope"),
        _ => Ok(()),
    }
}

/// What follows the word and the colon of a subject; none for what is no subject.
pub(super) fn subject_name(text: &str) -> Option<&str> {
    let (word, name) = text.split_once(':')?;
    let tail = word.strip_prefix(|c: char| c.is_ascii_lowercase())?;
    let fits = tail.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (fits && (1..=31).contains(&tail.len())).then_some(name)
}

fn subject(text: &str, name: &str) -> Result<(String, Shape), &'static str> {
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.is_empty() {
        return Err("names no subject after the colon");
    }
    name.split('/').try_for_each(check_segment)?;
    Ok((text.strip_suffix('/').unwrap_or(text).to_owned(), Shape::Subject))
}

/// File and name of a symbol; none for what is no symbol.
fn symbol_parts(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('#').filter(|(_, name)| !name.is_empty() && !name.contains('/'))
}

fn symbol(file: &str, name: &str) -> Result<(String, Shape), &'static str> {
    if file.is_empty() || file.ends_with('/') {
        return Err("names a symbol of no file; the file stands before the `#`");
    }
    if file.contains(['*', '?']) || !Braced::of(file).is_plain() {
        return Err("names a symbol of several files; one file stands before the `#`");
    }
    if file.contains('{') && name.contains('}') {
        return Err("names a symbol inside braces; name each as a target of its own");
    }
    if file.starts_with('/') {
        return Err(NOT_RELATIVE);
    }
    // Brackets are ordinary here: there is one file, and it is spelled so.
    file.split('/').try_for_each(check_segment)?;
    let name = name.replace('.', "::");
    if name.starts_with("::") || name.ends_with("::") || name.contains(":::") {
        return Err("has a symbol with an empty part");
    }
    Ok((format!("{file}#{name}"), Shape::Symbol { file: file.len() }))
}

fn path(text: &str) -> Result<(String, Shape), &'static str> {
    if matches!(text, "/" | "/**") {
        return Ok(("/".to_owned(), Shape::Subtree));
    }
    if text.starts_with('/') {
        return Err(NOT_RELATIVE);
    }
    let normal = plainest(Braced::of(text).segments()).join("/");
    let braced = Braced::of(&normal);
    let glob = Glob::parse(&braced)?;
    if normal == "**" {
        return Ok(("/".to_owned(), Shape::Subtree));
    }
    if braced.is_plain() {
        if glob.is_just(&normal) {
            return Ok((normal, Shape::File));
        }
        if let Some(directory) = normal.strip_suffix("**")
            && directory == glob.directory()
        {
            return Ok((directory.to_owned(), Shape::Subtree));
        }
    }
    Ok((normal, Shape::Glob(Arc::new(glob))))
}

/// The fewest segments that mean the same: `**` once where it stands repeatedly, and alone at the end for everything
/// below, which may also be written with nothing or with `*` after it.
fn plainest(segments: Vec<&str>) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::with_capacity(segments.len());
    let last = segments.len() - 1;
    for (at, segment) in segments.into_iter().enumerate() {
        let segment = if at == last && at > 0 && segment.is_empty() { "**" } else { segment };
        if segment != "**" || out.last() != Some(&"**") {
            out.push(segment);
        }
    }
    if let [.., "**", "*"] = out.as_slice() {
        out.pop();
    }
    out
}
