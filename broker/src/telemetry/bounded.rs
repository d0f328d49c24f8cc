//! A log file that is moved aside when it is long, so that it and its predecessor are all that there is.

use std::fs::{File, OpenOptions};
use std::io::{self, Stderr, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::fmt::MakeWriter;

/// How long a log file gets.
const BYTES: u64 = 4 << 20;

/// Stderr, which is a file that this program may move.
#[derive(Debug)]
pub(super) struct Bounded {
    path: PathBuf,
    written: AtomicU64,
    limit: u64,
}

/// Stderr, for one line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    log: &'a Bounded,
    stderr: Stderr,
}

impl Bounded {
    /// If stderr is the file at this path.
    pub(super) fn stderr(path: &Path) -> Option<Self> {
        let written = length_if_same(path)?;
        Some(Self { path: path.to_owned(), written: AtomicU64::new(written), limit: BYTES })
    }

    /// Moves the file aside, in place of the one moved last, and goes on in a new one.
    fn turn(&self) -> io::Result<()> {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        std::fs::rename(&self.path, aside)?;
        let next = open_new(&self.path)?;
        rustix::stdio::dup2_stderr(&next)?;
        Ok(())
    }
}

/// How long the file is, if stderr is it.
fn length_if_same(path: &Path) -> Option<u64> {
    let open = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
    let named = std::fs::symlink_metadata(path).ok()?;
    let same = (open.dev(), open.ino()) == (named.dev(), named.ino());
    (same && named.is_file()).then_some(named.len())
}

fn open_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)
}

impl<'a> MakeWriter<'a> for Bounded {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { log: self, stderr: io::stderr() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Locked, so that nobody writes between the move and the new file.
        let mut stderr = self.stderr.lock();
        let before = self.log.written.load(Ordering::Relaxed);
        if before >= self.log.limit {
            // Without room for another file the old one goes on, and the next turn is a whole length away.
            let _ = self.log.turn();
            self.log.written.store(0, Ordering::Relaxed);
        }
        let written = stderr.write(line)?;
        self.log.written.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stderr.flush()
    }
}
