//! What an agent session knows of files: in which state each was when it read or wrote it, and when it took its lock.
//!
//! One line is appended for each look, beside the record: `K 00c0ffee00c0ffee main …/app/a.rs`. It stays on this
//! machine. What must hold: a state that is noted for a read is not younger than what was read.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Agent;

/// Size at which the older half is forgotten.
const LARGE: usize = 512 << 10;

/// What the session did with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is about to read it.
    Before,
    /// It has read or written it, and knows what is in it.
    Knows,
    /// It has locked it, to edit it.
    Locks,
}

/// The notes of one agent session.
#[derive(Clone, Debug)]
pub struct Seen {
    path: PathBuf,
    text: Vec<u8>,
}

impl Agent {
    /// What the session knows of files, as of this call.
    pub fn seen(&self) -> Seen {
        let path = self.beside("seen");
        Seen { text: fs::read(&path).unwrap_or_default(), path }
    }
}

/// What tells one state of a file from the next: when it was written, its size, its inode; 0 where there is none.
pub fn state_of(path: &Path) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    let time = metadata.mtime().unsigned_abs().wrapping_mul(1_000_000_007);
    let time = time.wrapping_add(metadata.mtime_nsec().unsigned_abs());
    time.rotate_left(17) ^ metadata.size() ^ metadata.ino().rotate_left(40)
}

impl Seen {
    /// Notes a state of a file, for the agent itself or a sub-agent.
    pub fn note(&mut self, look: Look, who: &str, file: &Path, state: u64) -> io::Result<()> {
        let Some(line) = line(look, who, file, state) else { return Ok(()) };
        if self.text.len() + line.len() > LARGE {
            self.forget_half()?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).mode(0o600).open(&self.path)?;
        // One write, so that processes do not mix their lines.
        file.write_all(&line)?;
        self.text.extend(line);
        Ok(())
    }

    /// The state in which this agent or sub-agent knows the file.
    pub fn known(&self, who: &str, file: &Path) -> Option<u64> {
        self.of(file)
            .find(|note| note.look == Look::Knows && note.who == who.as_bytes())
            .map(|note| note.state)
    }

    /// The state at its last look, if that was before a read which has not been told of since.
    pub fn before(&self, who: &str, file: &Path) -> Option<u64> {
        let last = self.of(file).find(|note| note.look != Look::Locks && note.who == who.as_bytes())?;
        (last.look == Look::Before).then_some(last.state)
    }

    /// The state at the session's last look at it, whoever of it looked.
    pub fn last(&self, file: &Path) -> Option<u64> {
        self.of(file).find(|note| note.look != Look::Before).map(|note| note.state)
    }

    /// Whether the file is another one than at the last look; no when there was none.
    pub fn differs(&self, file: &Path) -> bool {
        self.last(file).is_some_and(|state| state != state_of(file))
    }

    /// The files whose name ends so, relative to any checkout, that the session has looked at.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Path> {
        let files = self.notes().map(|note| Path::new(OsStr::from_bytes(note.file)));
        files.filter(move |file| file.ends_with(name))
    }

    /// What is noted of a file, the last first.
    fn of<'a>(&'a self, file: &'a Path) -> impl Iterator<Item = Note<'a>> {
        self.notes().filter(move |note| note.file == file.as_os_str().as_bytes())
    }

    fn notes(&self) -> impl Iterator<Item = Note<'_>> {
        self.text.rsplit(|byte| *byte == b'\n').filter_map(Note::read)
    }

    fn forget_half(&mut self) -> io::Result<()> {
        let half = self.text.len() / 2;
        let start = self.text[half..].iter().position(|byte| *byte == b'\n').map_or(0, |at| half + at + 1);
        self.text.drain(..start);
        let aside = self.path.with_extension("seen-new");
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&aside)?;
        file.write_all(&self.text)?;
        fs::rename(aside, &self.path)
    }
}

/// One line.
struct Note<'a> {
    look: Look,
    state: u64,
    who: &'a [u8],
    file: &'a [u8],
}

impl<'a> Note<'a> {
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let look = match parts.next()? {
            b"B" => Look::Before,
            b"K" => Look::Knows,
            b"L" => Look::Locks,
            _ => return None,
        };
        let state = u64::from_str_radix(std::str::from_utf8(parts.next()?).ok()?, 16).ok()?;
        Some(Self { look, state, who: parts.next()?, file: parts.next()? })
    }
}

/// `None` for what does not fit on a line.
fn line(look: Look, who: &str, file: &Path, state: u64) -> Option<Vec<u8>> {
    let file = file.as_os_str().as_bytes();
    if file.contains(&b'\n') || who.is_empty() || who.contains([' ', '\n']) {
        return None;
    }
    let letter = match look {
        Look::Before => 'B',
        Look::Knows => 'K',
        Look::Locks => 'L',
    };
    Some([format!("{letter} {state:016x} {who} ").as_bytes(), file, b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> (tempfile::TempDir, Seen) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a-1.seen");
        (dir, Seen { path, text: vec![] })
    }

    fn again(seen: &Seen) -> Seen {
        Seen { text: fs::read(&seen.path).unwrap(), path: seen.path.clone() }
    }

    #[test]
    fn the_last_look_counts_and_each_agent_has_its_own() {
        let (dir, mut seen) = seen();
        let file = dir.path().join("some file.rs");
        assert_eq!(seen.known("main", &file), None);
        seen.note(Look::Before, "main", &file, 1).unwrap();
        assert_eq!((seen.known("main", &file), seen.before("main", &file)), (None, Some(1)));
        seen.note(Look::Knows, "main", &file, 1).unwrap();
        seen.note(Look::Knows, "child", &file, 2).unwrap();
        seen.note(Look::Locks, "main", &file, 3).unwrap();
        for seen in [&seen, &again(&seen)] {
            assert_eq!((seen.known("main", &file), seen.before("main", &file)), (Some(1), None));
            assert_eq!(seen.known("child", &file), Some(2));
            assert_eq!(seen.named("some file.rs").next(), Some(file.as_path()));
            assert_eq!(seen.named("file.rs").next(), None);
        }
    }

    #[test]
    fn a_file_written_again_has_another_state() {
        let (dir, mut seen) = seen();
        let file = dir.path().join("f");
        fs::write(&file, "one").unwrap();
        assert!(!seen.differs(&file));
        let first = state_of(&file);
        seen.note(Look::Knows, "main", &file, first).unwrap();
        assert!(!seen.differs(&file));
        fs::write(&file, "longer").unwrap();
        assert!(seen.differs(&file));
        seen.note(Look::Locks, "main", &file, state_of(&file)).unwrap();
        assert!(!seen.differs(&file));
        fs::remove_file(&file).unwrap();
        assert!(seen.differs(&file));
        assert_eq!(state_of(&file), 0);
    }

    #[test]
    fn notes_stay_within_their_size_and_the_latest_stay() {
        let (_dir, mut seen) = seen();
        let file = |n: u64| PathBuf::from(format!("/work/{}/{n}", "long".repeat(200)));
        for n in 0..2000 {
            seen.note(Look::Knows, "main", &file(n), n).unwrap();
        }
        let seen = again(&seen);
        assert!(seen.text.len() <= LARGE, "{}", seen.text.len());
        assert_eq!((seen.known("main", &file(0)), seen.known("main", &file(1999))), (None, Some(1999)));
    }

    #[test]
    fn what_does_not_fit_on_a_line_is_left_out() {
        let (_dir, mut seen) = seen();
        seen.note(Look::Knows, "main", Path::new("/a\nb"), 1).unwrap();
        seen.note(Look::Knows, "two words", Path::new("/a"), 1).unwrap();
        assert_eq!(seen.text, b"");
    }
}
