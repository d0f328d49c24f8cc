//! What one sync of this disk takes, so that a durable answer can be held against what it cannot do without.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::stats::Latencies;

const PROBE: Duration = Duration::from_millis(300);

/// Appends 200 bytes and syncs, over and over.
pub(crate) fn probe(dir: &Path) -> Result<Latencies> {
    let mut file = File::create(dir.join("probe"))?;
    let mut latencies = Latencies::new()?;
    let start = Instant::now();
    while start.elapsed() < PROBE {
        let before = Instant::now();
        file.write_all(&[b'x'; 200])?;
        file.sync_data()?;
        latencies.record(before.elapsed())?;
    }
    Ok(latencies)
}

/// Refuses a directory that is no disk: a sync there says nothing.
pub(crate) fn check(dir: &Path) -> Result<()> {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    let kind = rustix::fs::statfs(dir)?.f_type;
    if kind == TMPFS || kind == RAMFS {
        bail!("{} is in memory, where a sync costs nothing; name a --dir on a disk", dir.display());
    }
    Ok(())
}
