//! For every answer: the write it acknowledges was synced before.

use anyhow::Result;

use super::recording::Life;
use super::trace::Call;

/// An answer that left too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Early {
    /// Of which key.
    pub key: String,
    /// What is missing.
    pub why: String,
}

/// Counts the answers that came after their sync, and names the others.
pub fn check(life: &Life) -> Result<(usize, Vec<Early>)> {
    let mut files = Vec::new();
    for call in &life.trace.calls {
        let is_write = matches!(call.name.as_str(), "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2");
        let is_sync = matches!(call.name.as_str(), "fsync" | "fdatasync") && call.result() == Some(0);
        if (is_write && call.result().is_some()) || is_sync {
            let (_, name) = call.descriptor()?;
            if name.starts_with(b"/") {
                let data = if is_write { call.data()? } else { Vec::new() };
                files.push(FileCall { call, name, data, is_sync });
            }
        }
    }
    let (mut good, mut early) = (0, Vec::new());
    for exchange in &life.exchanges {
        let Some((answered, _)) = exchange.answered else { continue };
        match synced(&files, &exchange.value, exchange.asked, answered) {
            Ok(()) => good += 1,
            Err(why) => early.push(Early { key: exchange.key.clone(), why: why.into() }),
        }
    }
    Ok((good, early))
}

/// A write or sync of a file.
struct FileCall<'a> {
    call: &'a Call,
    name: Vec<u8>,
    data: Vec<u8>,
    is_sync: bool,
}

/// The beginning of a value is enough to know it, and is in one piece wherever the store puts it.
const MARK: usize = 64;

fn synced(files: &[FileCall<'_>], value: &str, asked: usize, answered: usize) -> Result<(), &'static str> {
    let mark = &value.as_bytes()[..value.len().min(MARK)];
    let holds = |file: &&FileCall<'_>| {
        !file.is_sync && file.call.start > asked && file.data.windows(mark.len()).any(|bytes| bytes == mark)
    };
    let write = files.iter().filter(holds).min_by_key(|file| file.call.start);
    let write = write.ok_or("no write to a file holds it")?;
    if write.call.end >= answered {
        return Err("it was written after the answer");
    }
    let sync = files.iter().any(|file| {
        file.is_sync
            && file.name == write.name
            && file.call.start > write.call.end
            && file.call.end < answered
    });
    sync.then_some(()).ok_or("nothing synced the file between the write and the answer")
}
