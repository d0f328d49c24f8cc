//! What is done to a store while no broker serves it: back it up, restore it, check it.
//!
//! What must hold: a backup is read wholly before anything is touched; a store that gives way is kept; a check writes
//! nothing where the store is.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use uuid::Uuid;

use crate::backup::{self, BackupError, Header, Reader, Summary};
use crate::check::{Checker, Findings};
use crate::clock::Clock;
use crate::instance::{self, Instance};
use crate::store::{self, Identity, Secret, SledStore, Store};

/// The files that matter here.
#[derive(Clone, Debug)]
pub struct Place {
    /// Directory of the store.
    pub store: PathBuf,
    /// Held by whoever serves the store or works on it.
    pub lock: PathBuf,
}

/// Where and what a checked store or backup is.
#[derive(Debug)]
pub struct Checked {
    /// The format of its records, at most.
    pub format: u32,
    /// Names its history.
    pub incarnation: Uuid,
    /// When the store was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// What was found.
    pub findings: Findings,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the backup held.
    pub summary: Summary,
    /// Names the history that begins with it.
    pub incarnation: Uuid,
    /// Where the former store is, if there was one.
    pub former: Option<PathBuf>,
    /// What in the backup contradicts itself.
    pub contradictions: Vec<String>,
}

/// Whether a store may give way to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// There must be none with anything in it.
    Refuse,
    /// It is moved aside.
    MoveAside,
}

/// What a backup says of where it is from.
#[must_use]
pub fn header(identity: &Identity, store_format: u32) -> Header {
    Header {
        store_format,
        incarnation: identity.incarnation,
        created_ms: identity.created_ms,
        taken_ms: now_ms(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Writes a backup of a store that no broker serves.
pub fn back_up(place: &Place, out: &mut dyn Write) -> anyhow::Result<Summary> {
    if !place.store.exists() && !store::is_unfinished(&place.store) {
        bail!("there is no store in {}; nothing was ever kept here", place.store.display());
    }
    let _alone = Instance::claim(&place.lock, false)?;
    store::finish(&place.store)?;
    let store = Arc::new(SledStore::open_to_read(&place.store)?);
    let header = header(store.identity(), store.format());
    let mut snapshot = store.snapshot()?;
    Ok(backup::write(&header, snapshot.as_mut(), out)?)
}

/// Reads all of a backup and says what is in it.
pub fn check_backup(file: &Path) -> anyhow::Result<(Checked, Summary)> {
    let cannot = || format!("cannot read {}", file.display());
    let opened = File::open(file).with_context(cannot)?;
    let mut reader = Reader::open(BufReader::new(opened)).with_context(cannot)?;
    let mut checker = Checker::default();
    while let Some((key, value)) = reader.read_next().with_context(cannot)? {
        checker.take(key.as_bytes(), Ok(value));
    }
    let Some(summary) = reader.summary() else { bail!("{} has no end", file.display()) };
    let Header { store_format: format, incarnation, created_ms, .. } = *reader.header();
    let findings = checker.finish(Some(summary.revision));
    Ok((Checked { format, incarnation, created_ms, findings }, summary))
}

/// Checks a copy of the store in `dir`, made in the empty directory `copy`.
pub fn check_store(dir: &Path, copy: &Path) -> anyhow::Result<Checked> {
    let store = SledStore::open_copy(dir, copy)?;
    let mut checker = Checker::default();
    if let Err(error) = store.examine(|key, value| checker.take(key, value)) {
        checker.note_damage(error.to_string());
    }
    let identity = store.identity();
    let (incarnation, created_ms) = (identity.incarnation, identity.created_ms);
    let findings = checker.finish(store.marked());
    Ok(Checked { format: store.format(), incarnation, created_ms, findings })
}

/// Puts what a backup holds in the place of the store, as the beginning of a history of its own: cursors and sessions of
/// the former one are refused.
pub fn restore(place: &Place, file: &Path, former: Former) -> anyhow::Result<Restored> {
    let _alone = Instance::claim(&place.lock, false)?;
    let (checked, summary) = check_backup(file)?;
    if let Some(damage) = checked.findings.damage.first() {
        bail!("{} cannot be restored: {damage}", file.display());
    }
    store::finish(&place.store)?;
    let held = holds(&place.store);
    if held && former == Former::Refuse {
        bail!(
            "there is a store in {}; --force moves it aside and restores the backup in its place",
            place.store.display()
        );
    }
    let identity = Identity {
        incarnation: Uuid::new_v4(),
        secret: Secret::new(instance::random()?),
        created_ms: now_ms(),
    };
    let incarnation = identity.incarnation;
    fill(&store::scratch(&place.store), identity, file, summary)?;
    let aside = free_name(&place.store);
    store::put_in_place(&place.store, Some(&aside))?;
    let former = aside.exists().then_some(aside);
    Ok(Restored { summary, incarnation, former, contradictions: checked.findings.contradictions })
}

/// Makes a store of a backup that was read before, and must still be the same.
fn fill(dir: &Path, identity: Identity, file: &Path, expected: Summary) -> Result<(), BackupError> {
    let mut reader = Reader::open(BufReader::new(File::open(file)?))?;
    store::write_anew(dir, identity, |filler| {
        while let Some((key, value)) = reader.read_next()? {
            filler.put(key, value)?;
        }
        match reader.summary() {
            Some(summary) if summary == expected => Ok(()),
            Some(_) | None => Err(BackupError::Damaged("it changed while it was read".into())),
        }
    })
}

/// Whether there is something that should not be lost, readable or not.
fn holds(store: &Path) -> bool {
    std::fs::read_dir(store).is_ok_and(|mut entries| entries.next().is_some())
}

/// A name for a store that gives way.
fn free_name(store: &Path) -> PathBuf {
    let named = |number: u32| {
        let mut name = store.as_os_str().to_owned();
        name.push(format!(".replaced-{number}"));
        PathBuf::from(name)
    };
    (1..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(0))
}

fn now_ms() -> u64 {
    Clock::starting_at(mesh_core::time::Timestamp::default()).now().wall.0
}
