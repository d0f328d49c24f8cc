//! A file system that keeps nothing it was not told to keep.
//!
//! Replays the calls of a trace on files below one directory. What is written is pending until the file is synced;
//! what is created, renamed or removed is pending until its directory is. A power cut keeps what is durable and any
//! part of what is pending: none, all, whole sectors of some writes. This is less than what any file system promises,
//! and what POSIX does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::trace::{Call, Trace};
use crate::dice::Dice;

const SECTOR: usize = 512;

/// A change of a file that may not be on the device.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Resize(usize),
}

/// A change of a directory that may not be on the device.
#[derive(Clone, Debug)]
enum Entry {
    Add(String, usize),
    Remove(String),
    Rename(String, String),
}

#[derive(Clone, Debug, Default)]
struct Node {
    durable: Vec<u8>,
    /// With the lines at which each began and ended.
    pending: Vec<(usize, usize, Change)>,
    /// As programs see it.
    length: usize,
    /// Only of a directory.
    directory: Option<Directory>,
    /// A socket's file, which means nothing without the process that listens.
    is_socket: bool,
}

#[derive(Clone, Debug, Default)]
struct Directory {
    now: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    pending: Vec<(usize, Entry)>,
}

/// A descriptor of a file.
#[derive(Clone, Copy, Debug)]
struct Open {
    node: usize,
    position: usize,
    append: bool,
}

/// The files below one directory, as of some line.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    descriptors: BTreeMap<u64, Open>,
}

/// How much of what is pending a power cut keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing.
    Nothing,
    /// All.
    All,
    /// Of each change, nothing, all, or some sectors; of each name, the old or the new one.
    Some,
}

impl Disk {
    /// An empty directory at this path, which itself is durable.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        let node = Node { directory: Some(Directory::default()), ..Node::default() };
        Self { root: root.to_path_buf(), nodes: vec![node], descriptors: BTreeMap::new() }
    }

    /// Applies every call of a process that ended before a line, and what may have begun.
    pub fn replay(&mut self, trace: &Trace, from: usize, to: usize) -> Result<()> {
        for call in trace.calls.iter().filter(|call| (from..to).contains(&call.end)) {
            self.apply(call).with_context(|| format!("line {}: {}(…)", call.end + 1, call.name))?;
        }
        Ok(())
    }

    /// What began before a line and had not ended: writes may be on the device in part.
    pub fn begin_what_is_under_way(&mut self, trace: &Trace, line: usize) -> Result<()> {
        let under_way = |call: &&Call| call.start < line && call.end >= line;
        for call in trace.calls.iter().filter(under_way) {
            // A sync that has not returned promises nothing.
            if matches!(call.name.as_str(), "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2") {
                self.apply(call)?;
            }
        }
        Ok(())
    }

    /// The process is gone, and its descriptors with it. A write that a kill cut off was done as far as the files show.
    pub fn process_ended(&mut self, trace: &Trace, files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
        for call in trace.cut_off.iter().filter(|call| call.name == "pwrite64") {
            let Some(open) = self.descriptors.get(&number(call)?).copied() else { continue };
            let (_, name) = call.descriptor()?;
            let name = PathBuf::from(String::from_utf8(name)?);
            let Some(content) = name.strip_prefix(&self.root).ok().and_then(|name| files.get(name)) else {
                continue;
            };
            let (offset, mut data) = (usize::try_from(last_number(call)?)?, call.strings()?.concat());
            let there = content.get(offset..).unwrap_or_default();
            data.truncate(data.iter().zip(there).take_while(|(written, there)| written == there).count());
            self.nodes[open.node].pending.push((call.start, call.end, Change::Write { offset, data }));
        }
        self.descriptors.clear();
        // Whatever comes later comes after all of it: each trace counts its lines from the first.
        for node in &mut self.nodes {
            node.pending.iter_mut().for_each(|(start, end, _)| (*start, *end) = (0, 0));
            node.directory.iter_mut().flat_map(|dir| &mut dir.pending).for_each(|(line, _)| *line = 0);
        }
        Ok(())
    }

    fn apply(&mut self, call: &Call) -> Result<()> {
        let Some(result) = call.result() else { return Ok(()) };
        match call.name.as_str() {
            "openat" | "open" | "creat" => self.open(call, result),
            "mkdir" | "mkdirat" => {
                self.create(call.end, &self.path(call, 0)?, Some(Directory::default())).map(|_| ())
            }
            "bind" => self.bind(call),
            "close" => {
                self.descriptors.remove(&number(call)?);
                Ok(())
            }
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => self.write(call),
            "read" | "readv" => self.advance(call, result),
            "lseek" => self.seek(call, result),
            "ftruncate" => {
                let length = usize::try_from(last_number(call)?)?;
                self.change(call, number(call)?, Change::Resize(length));
                Ok(())
            }
            "fsync" | "fdatasync" => self.sync(call),
            "rename" | "renameat" | "renameat2" => self.rename(call),
            "unlink" | "unlinkat" | "rmdir" => self.remove(call.end, &self.path(call, 0)?),
            // Not one that makes anything durable for good, as the system call's own manual says.
            "sync_file_range" => Ok(()),
            "mmap" | "fallocate" | "copy_file_range" | "sendfile" | "splice" | "dup" | "dup2" | "dup3"
            | "truncate" | "link" | "linkat" | "symlink" | "symlinkat" => self.is_elsewhere(call),
            _ => Ok(()),
        }
    }

    /// A call that this model does not know must not touch the files.
    fn is_elsewhere(&self, call: &Call) -> Result<()> {
        let touches = self.descriptors.keys().any(|fd| call.args.contains(&format!("{fd}<")));
        let named =
            call.strings()?.iter().any(|path| path.starts_with(self.root.as_os_str().as_encoded_bytes()));
        let reads = call.name == "mmap" && !call.args.contains("PROT_WRITE");
        ensure!(reads || !touches && !named, "it may change a file in a way that is not modelled");
        Ok(())
    }

    /// The path that is the string argument of this number, if it is one below the root.
    fn path(&self, call: &Call, which: usize) -> Result<Option<Vec<String>>> {
        let strings = call.strings()?;
        let named = strings.get(which).context("no path")?;
        let named = PathBuf::from(String::from_utf8(named.clone())?);
        let absolute = if named.is_absolute() {
            named
        } else {
            // All of the broker's paths are absolute, but for looks at /proc and the like.
            let (_, base) = call.descriptor().unwrap_or_default();
            PathBuf::from(String::from_utf8(base)?).join(named)
        };
        let Ok(below) = absolute.strip_prefix(&self.root) else { return Ok(None) };
        let names = below.components().map(|name| name.as_os_str().to_string_lossy().into_owned());
        Ok(Some(names.collect()))
    }

    fn find(&self, names: &[String]) -> Option<usize> {
        names.iter().try_fold(0, |node, name| self.nodes[node].directory.as_ref()?.now.get(name).copied())
    }

    fn parent(&mut self, names: &[String]) -> Result<(&mut Directory, String)> {
        let (name, parent) = names.split_last().context("the root itself is changed")?;
        let node = self.find(parent).with_context(|| format!("no directory {parent:?}"))?;
        let directory = self.nodes[node].directory.as_mut().context("a file is taken for a directory")?;
        Ok((directory, name.clone()))
    }

    fn create(
        &mut self,
        line: usize,
        path: &Option<Vec<String>>,
        directory: Option<Directory>,
    ) -> Result<Option<usize>> {
        let Some(names) = path else { return Ok(None) };
        let node = self.nodes.len();
        let (parent, name) = self.parent(names)?;
        parent.now.insert(name.clone(), node);
        parent.pending.push((line, Entry::Add(name, node)));
        self.nodes.push(Node { directory, ..Node::default() });
        Ok(Some(node))
    }

    fn bind(&mut self, call: &Call) -> Result<()> {
        if !call.args.contains("sun_path=\"") {
            return Ok(());
        }
        if let Some(node) = self.create(call.end, &self.path(call, 0)?, None)? {
            self.nodes[node].is_socket = true;
        }
        Ok(())
    }

    fn open(&mut self, call: &Call, fd: u64) -> Result<()> {
        // Numbers are used again.
        self.descriptors.remove(&fd);
        let path = self.path(call, 0)?;
        let Some(names) = &path else { return Ok(()) };
        let node = match self.find(names) {
            Some(node) => node,
            None if call.args.contains("O_CREAT") => {
                self.create(call.end, &path, None)?.context("it was not created")?
            }
            None => bail!("{names:?} was opened, and the trace has not made it"),
        };
        let append = call.args.contains("O_APPEND");
        self.descriptors.insert(fd, Open { node, position: 0, append });
        if call.args.contains("O_TRUNC") {
            self.change(call, fd, Change::Resize(0));
        }
        Ok(())
    }

    fn change(&mut self, call: &Call, fd: u64, change: Change) {
        let Some(open) = self.descriptors.get(&fd) else { return };
        let node = &mut self.nodes[open.node];
        node.length = match &change {
            Change::Write { offset, data } => node.length.max(offset + data.len()),
            Change::Resize(length) => *length,
        };
        node.pending.push((call.start, call.end, change));
    }

    fn write(&mut self, call: &Call) -> Result<()> {
        let fd = number(call)?;
        let Some(open) = self.descriptors.get(&fd).copied() else { return Ok(()) };
        let data = call.data()?;
        let placed = call.name.starts_with("pwrite");
        let offset = match (placed, open.append) {
            (true, _) => usize::try_from(last_number(call)?)?,
            (false, true) => self.nodes[open.node].length,
            (false, false) => open.position,
        };
        if !placed {
            self.descriptors.insert(fd, Open { position: offset + data.len(), ..open });
        }
        self.change(call, fd, Change::Write { offset, data });
        Ok(())
    }

    fn advance(&mut self, call: &Call, bytes: u64) -> Result<()> {
        let bytes = usize::try_from(bytes)?;
        if let Some(open) = self.descriptors.get_mut(&number(call)?) {
            open.position += bytes;
        }
        Ok(())
    }

    fn seek(&mut self, call: &Call, position: u64) -> Result<()> {
        let position = usize::try_from(position)?;
        if let Some(open) = self.descriptors.get_mut(&number(call)?) {
            open.position = position;
        }
        Ok(())
    }

    fn sync(&mut self, call: &Call) -> Result<()> {
        let Some(open) = self.descriptors.get(&number(call)?) else { return Ok(()) };
        let node = &mut self.nodes[open.node];
        // What had not ended when the sync began may have come too late for it.
        let (early, late): (Vec<_>, Vec<_>) =
            node.pending.drain(..).partition(|(_, end, _)| *end < call.start);
        for (.., change) in early {
            change.apply(&mut node.durable);
        }
        node.pending = late;
        if let Some(directory) = &mut node.directory {
            let (early, late): (Vec<_>, Vec<_>) =
                directory.pending.drain(..).partition(|(end, _)| *end < call.start);
            for (_, entry) in early {
                entry.apply(&mut directory.durable);
            }
            directory.pending = late;
        }
        Ok(())
    }

    fn rename(&mut self, call: &Call) -> Result<()> {
        let (Some(from), Some(to)) = (self.path(call, 0)?, self.path(call, 1)?) else { return Ok(()) };
        let is_near = from[..from.len() - 1] == to[..to.len() - 1];
        let (directory, old) = self.parent(&from)?;
        let new = to.last().context("no name")?.clone();
        let node = directory.now.remove(&old).with_context(|| format!("no {old}"))?;
        if is_near {
            directory.now.insert(new.clone(), node);
            directory.pending.push((call.end, Entry::Rename(old, new)));
            return Ok(());
        }
        // Two directories change, each by itself: no matter for a socket, which a cut takes anyway.
        directory.pending.push((call.end, Entry::Remove(old)));
        ensure!(self.nodes[node].is_socket, "a rename into another directory");
        let (directory, new) = self.parent(&to)?;
        directory.now.insert(new.clone(), node);
        directory.pending.push((call.end, Entry::Add(new, node)));
        Ok(())
    }

    fn remove(&mut self, line: usize, path: &Option<Vec<String>>) -> Result<()> {
        let Some(names) = path else { return Ok(()) };
        let (directory, name) = self.parent(names)?;
        directory.now.remove(&name).with_context(|| format!("no {name}"))?;
        directory.pending.push((line, Entry::Remove(name)));
        Ok(())
    }

    /// Cuts the power: writes what is left into an empty directory.
    pub fn cut(&self, keeps: Keeps, dice: &mut Dice, into: &Path) -> Result<()> {
        self.leave(0, keeps, dice, into)
    }

    fn leave(&self, node: usize, keeps: Keeps, dice: &mut Dice, at: &Path) -> Result<()> {
        let node = &self.nodes[node];
        if node.is_socket {
            return Ok(());
        }
        let Some(directory) = &node.directory else {
            let mut content = node.durable.clone();
            for (.., change) in &node.pending {
                change.keep(keeps, dice, &mut content);
            }
            return fs::write(at, content).with_context(|| format!("cannot write {}", at.display()));
        };
        let mut names = directory.durable.clone();
        for (_, entry) in &directory.pending {
            if keeps == Keeps::All || keeps == Keeps::Some && dice.percent(50) {
                entry.apply(&mut names);
            }
        }
        fs::create_dir_all(at)?;
        names.iter().try_for_each(|(name, child)| self.leave(*child, keeps, dice, &at.join(name)))
    }

    /// Whether anything is pending.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.nodes.iter().any(|node| {
            !node.pending.is_empty() || node.directory.as_ref().is_some_and(|dir| !dir.pending.is_empty())
        })
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => place(content, *offset, data),
            Self::Resize(length) => content.resize(*length, 0),
        }
    }

    fn keep(&self, keeps: Keeps, dice: &mut Dice, content: &mut Vec<u8>) {
        let fate = if keeps == Keeps::Some { dice.among(0..3) } else { u64::from(keeps == Keeps::All) };
        match (fate, self) {
            (0, _) => {}
            (2, Self::Write { offset, data }) => {
                // A sector is written whole or not at all; sectors lie where the device has them.
                let mut from = 0;
                while from < data.len() {
                    let to = data.len().min((offset + from) / SECTOR * SECTOR + SECTOR - offset);
                    if dice.percent(50) {
                        place(content, offset + from, &data[from..to]);
                    }
                    from = to;
                }
            }
            (_, change) => change.apply(content),
        }
    }
}

impl Entry {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Add(name, node) => {
                names.insert(name.clone(), *node);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(old, new) => {
                // A name that never reached the device cannot become another.
                if let Some(node) = names.remove(old) {
                    names.insert(new.clone(), node);
                }
            }
        }
    }
}

fn place(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(data);
}

/// The descriptor that is the first argument.
fn number(call: &Call) -> Result<u64> {
    let digits = call.args.split(['<', ',', ')']).next().unwrap_or_default();
    digits.trim().parse().with_context(|| format!("no descriptor: {digits}"))
}

/// The last argument.
fn last_number(call: &Call) -> Result<u64> {
    let last = call.args.rsplit(", ").next().unwrap_or_default();
    last.trim().parse().with_context(|| format!("no number: {last}"))
}
