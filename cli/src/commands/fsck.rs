//! `meshctl fsck`: whether a store, or a backup, is sound.

use std::path::PathBuf;

use jiff::Timestamp;
use mesh_broker::check::Findings;
use mesh_broker::maintenance::{self, Checked};
use mesh_client::display::printable_line;
use serde::Serialize;

use super::backup::{failure, place};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::render::bytes;

/// Check that a store or a backup is sound; exit code 1 if it is not
///
/// Reads every record, compares every checksum, and looks for what contradicts itself. It changes nothing: of a store
/// it reads a copy, which it makes in the directory for temporary files and removes. While a broker runs, take a backup
/// and check that.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl stop && meshctl fsck
  meshctl fsck mesh.backup")]
pub(crate) struct Args {
    /// A backup, a store or a home [default: the store of this home]
    path: Option<PathBuf>,
}

/// The verdict on one that is not, and what to do.
const UNSOUND: &str = "is not sound; move it aside and restore a backup that is (`meshctl restore FILE`)";

#[derive(Serialize)]
struct Answer<'a> {
    path: String,
    sound: bool,
    format: u32,
    incarnation: String,
    created_ms: u64,
    revision: u64,
    oldest_revision: u64,
    bytes: u64,
    records: &'a std::collections::BTreeMap<&'static str, u64>,
    problems: Vec<&'a str>,
}

pub(crate) fn run(ctx: &Context, args: Args) -> Result<u8, CliError> {
    let path = match args.path {
        None => place(ctx)?.store,
        Some(path) if path.join("store").is_dir() => path.join("store"),
        Some(path) => path,
    };
    let checked = if path.is_file() {
        maintenance::check_backup(&path).map(|(checked, _)| checked).map_err(|error| failure(&error))?
    } else {
        let copy = tempfile::tempdir().map_err(CliError::failure)?;
        maintenance::check_store(&path, copy.path()).map_err(|error| {
            failure(&error).hint("`meshctl backup FILE` while a broker runs; `meshctl stop` ends it")
        })?
    };
    let findings = &checked.findings;
    let shown = path.display().to_string();
    if ctx.out.is_json() {
        ctx.out.json(&Answer {
            path: shown,
            sound: findings.is_sound(),
            format: checked.format,
            incarnation: checked.incarnation.to_string(),
            created_ms: checked.created_ms,
            revision: findings.revision.0,
            oldest_revision: findings.oldest.0,
            bytes: findings.bytes,
            records: &findings.records,
            problems: problems(findings).collect(),
        })?;
    } else {
        ctx.out.text(&text(&shown, &checked))?;
    }
    Ok(if findings.is_sound() { Exit::Ok } else { Exit::Failure }.code())
}

fn problems(findings: &Findings) -> impl Iterator<Item = &str> {
    findings.damage.iter().chain(&findings.contradictions).map(String::as_str)
}

fn text(path: &str, checked: &Checked) -> String {
    let findings = &checked.findings;
    let created = i64::try_from(checked.created_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let created = created.map(|at| at.to_string()).unwrap_or_default();
    let mut rows = vec![
        ("store", format!("format {}, created {created}", checked.format)),
        ("revision", format!("{}, events kept from {}", findings.revision.0, findings.oldest.0)),
        ("content", bytes(findings.bytes)),
    ];
    rows.extend(findings.records.iter().map(|(kind, count)| (*kind, count.to_string())));
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:<20}  {value}\n")).collect();
    for problem in problems(findings) {
        text.push_str(&format!("problem: {}\n", printable_line(problem)));
    }
    let verdict = if findings.is_sound() { "is sound" } else { UNSOUND };
    text.push_str(&format!("{} {verdict}\n", printable_line(path)));
    text
}
