//! Installing and uninstalling: what each file becomes, and making it so.
//!
//! What must hold: what is shown by a dry run is what a real one does; one file that must be left alone keeps no other
//! from being changed; installing twice is installing once.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::edit::{Fault, Found};
use crate::file::{self, Readers};
use crate::host::Host;
use crate::hosts::{self, Choice};
use crate::piece::{Content, Piece};
use crate::places::{Places, Scope};
use crate::program::Program;
use crate::receipt::{Receipt, Receipts, hash};

/// Changes the hosts' files of one user.
#[derive(Debug)]
pub struct Installer {
    places: Places,
    receipts: Receipts,
    program: Program,
    dry: bool,
}

/// What became of the files of one host.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The host.
    pub host: Host,
    /// For whom.
    pub scope: Scope,
    /// One per file, in the order they were changed.
    pub files: Vec<Step>,
    /// What the user has to do besides.
    pub notes: Vec<String>,
}

/// What became of one file.
#[derive(Debug, Serialize)]
pub struct Step {
    /// The file.
    pub path: PathBuf,
    /// What was done, or, in a dry run, would be.
    pub what: What,
    /// The change as a unified diff; empty if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub diff: String,
    /// Why the file was left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to add by hand, since it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<String>,
}

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// There was none.
    Created,
    /// Our entries were put in, or brought up to date.
    Changed,
    /// All is there already, or nothing of ours is.
    Unchanged,
    /// It is as it was before we came.
    Restored,
    /// Somebody changed it since: only our entries were taken out.
    Cleaned,
    /// It was ours alone and is gone.
    Deleted,
    /// Another host still needs it.
    Shared,
    /// It was left alone.
    Refused,
}

impl What {
    /// As it is told in a list.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Restored => "restored",
            Self::Cleaned => "cleaned",
            Self::Deleted => "deleted",
            Self::Shared => "shared",
            Self::Refused => "refused",
        }
    }
}

/// What is to become of a file.
struct Next {
    what: What,
    /// `None` is no file.
    new: Option<Vec<u8>>,
    /// What to put into the receipt; `None` forgets it.
    receipt: Option<(Receipt, Option<Vec<u8>>)>,
}

/// Why a file was left alone.
enum Refusal {
    Fault(Fault),
    Io(io::Error),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Installer {
    /// For the files of these places, with receipts in the home of a mesh. A dry run changes nothing.
    pub fn new(places: Places, mesh_home: &Path, program: Program, dry: bool) -> Self {
        Self { places, receipts: Receipts::of(mesh_home), program, dry }
    }

    /// Registers the mesh with a host.
    pub fn install(&self, host: Host, choice: Choice) -> Outcome {
        let pieces = hosts::pieces(host, choice, &self.places, &self.program);
        let mut files = Vec::new();
        // What another choice had put elsewhere would do the same twice.
        let wanted = |path: &Path| pieces.iter().any(|piece| piece.path == path);
        let all = hosts::all_pieces(host, choice.scope, &self.places, &self.program);
        for piece in all.iter().rev().filter(|piece| !wanted(&piece.path)) {
            let step = self.step(piece, |old| self.uninstalled(host, piece, old));
            files.extend((step.what != What::Unchanged).then_some(step));
        }
        let installed = pieces.iter().map(|piece| self.step(piece, |old| self.installed(host, piece, old)));
        files.extend(installed);
        let notes = hosts::notes(host, choice);
        Outcome { host, scope: choice.scope, files, notes }
    }

    /// Takes the mesh out of a host again. `scope` says of which files.
    pub fn uninstall(&self, host: Host, scope: Scope) -> Outcome {
        let pieces = hosts::all_pieces(host, scope, &self.places, &self.program);
        // The innermost directory first, so that the outer ones are empty in the end.
        let pieces = pieces.iter().rev();
        let files = pieces.map(|piece| self.step(piece, |old| self.uninstalled(host, piece, old)));
        let files = files.filter(|step| step.what != What::Unchanged).collect();
        Outcome { host, scope, files, notes: Vec::new() }
    }

    fn step(&self, piece: &Piece, next: impl FnOnce(Option<&[u8]>) -> Result<Next, Refusal>) -> Step {
        let done = file::read(&piece.path).map_err(Refusal::from).and_then(|old| {
            let next = next(old.as_deref())?;
            if !self.dry {
                self.apply(&piece.path, old.as_deref(), &next)?;
            }
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let (old, new) = (text(old.as_deref()), text(next.new.as_deref()));
            let diff = crate::unified(&self.places.show(&piece.path), old.as_deref(), new.as_deref());
            Ok((next.what, diff))
        });
        let path = piece.path.clone();
        match done {
            Ok((what, diff)) => Step { path, what, diff, why: None, by_hand: None },
            Err(refusal) => {
                let (why, by_hand) = match refusal {
                    Refusal::Fault(fault) => (fault.to_string(), Some(piece.snippet(&self.program))),
                    Refusal::Io(error) => (error.to_string(), None),
                };
                let by_hand = by_hand.filter(|text| !text.is_empty());
                Step { path, what: What::Refused, diff: String::new(), why: Some(why), by_hand }
            }
        }
    }

    fn installed(&self, host: Host, piece: &Piece, old: Option<&[u8]>) -> Result<Next, Refusal> {
        let text = old.map(utf8).transpose()?;
        let known = self.receipts.get(&piece.path)?;
        let untouched = |receipt: &Receipt| old.is_some_and(|old| hash(old) == receipt.written);
        let as_left = known.as_ref().is_some_and(|(receipt, _)| untouched(receipt));
        let whole = matches!(piece.content, Content::Whole(_));
        let program = self.known_as(known.as_ref());
        let new = piece.install(text.filter(|_| !(whole && as_left)), &program)?.map(String::into_bytes);
        if new.as_deref() == old {
            let receipt = known.map(|(mut receipt, original)| {
                receipt.hosts.insert(host);
                (receipt, original)
            });
            return Ok(Next { what: What::Unchanged, new, receipt });
        }
        let what = if old.is_some() { What::Changed } else { What::Created };
        let (mut receipt, original) = match known {
            Some((receipt, original)) if as_left => (receipt, original),
            known => {
                let original = original(piece, text, &program, known.as_ref())?;
                let hosts = known.map(|(receipt, _)| receipt.hosts).unwrap_or_default();
                let existed = original.is_some();
                let (path, command, written) = (piece.path.clone(), String::new(), String::new());
                (Receipt { path, hosts, existed, command, written }, original)
            }
        };
        receipt.hosts.insert(host);
        self.program.command().clone_into(&mut receipt.command);
        receipt.written = hash(new.as_deref().unwrap_or_default());
        Ok(Next { what, new, receipt: Some((receipt, original)) })
    }

    /// The program, recognised by what was registered last as well.
    fn known_as(&self, known: Option<&(Receipt, Option<Vec<u8>>)>) -> Program {
        known.map_or_else(|| self.program.clone(), |(receipt, _)| self.program.once(&receipt.command))
    }

    fn uninstalled(&self, host: Host, piece: &Piece, old: Option<&[u8]>) -> Result<Next, Refusal> {
        let keep = |what, receipt| Next { what, new: old.map(<[u8]>::to_vec), receipt };
        let known = self.receipts.get(&piece.path)?;
        let Some(old_bytes) = old else { return Ok(keep(What::Unchanged, None)) };
        if let Some((receipt, original)) = &known {
            let mut receipt = receipt.clone();
            if receipt.hosts.remove(&host) && !receipt.hosts.is_empty() {
                return Ok(keep(What::Shared, Some((receipt, original.clone()))));
            }
            if hash(old_bytes) == receipt.written {
                let what = if original.is_some() { What::Restored } else { What::Deleted };
                return Ok(Next { what, new: original.clone(), receipt: None });
            }
        }
        let original = known.as_ref().map(|(_, original)| original.as_deref());
        let original = original.map(|original| original.and_then(|bytes| utf8(bytes).ok()));
        let program = self.known_as(known.as_ref());
        let new = piece.remove(utf8(old_bytes)?, &program, original)?.map(String::into_bytes);
        let what = match &new {
            None => What::Deleted,
            Some(new) if new == old_bytes => What::Unchanged,
            Some(_) => What::Cleaned,
        };
        Ok(Next { what, new, receipt: None })
    }

    fn readers(&self, path: &Path) -> Readers {
        let places = &self.places;
        let of_project = places.project != places.home && path.starts_with(&places.project);
        if of_project { Readers::Anybody } else { Readers::Owner }
    }

    /// Makes a file what it is to be.
    fn apply(&self, path: &Path, old: Option<&[u8]>, next: &Next) -> io::Result<()> {
        if let Some((receipt, original)) = &next.receipt {
            self.receipts.put(receipt, original.as_deref())?;
        }
        match &next.new {
            Some(new) if Some(new.as_slice()) != old => {
                self.receipts.made(&file::write(path, new, self.readers(path))?)?;
            }
            None if old.is_some() => {
                file::remove(path)?;
                self.receipts.unmake(path)?;
            }
            Some(_) | None => {}
        }
        if next.receipt.is_none() {
            self.receipts.forget(path)?;
        }
        Ok(())
    }
}

/// What counts as having been there before us. Our own entries, of whatever origin, do not.
fn original(
    piece: &Piece,
    text: Option<&str>,
    program: &Program,
    known: Option<&(Receipt, Option<Vec<u8>>)>,
) -> Result<Option<Vec<u8>>, Fault> {
    let Some(text) = text else { return Ok(None) };
    if piece.find(text, program) == Found::default() && !matches!(piece.content, Content::Whole(_)) {
        return Ok(Some(text.as_bytes().to_vec()));
    }
    let before = known.map(|(_, original)| original.as_deref().and_then(|bytes| utf8(bytes).ok()));
    Ok(piece.remove(text, program, before)?.map(String::into_bytes))
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::Unreadable("it is not UTF-8".to_owned()))
}
