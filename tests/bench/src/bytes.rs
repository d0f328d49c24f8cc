//! What an operation takes on disk, and whether that goes on when there is no more to keep.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::args::Args;
use crate::mesh::{Mesh, VALUE_BYTES};
use crate::sheet::Sheet;
use crate::system::Caller;

/// Callers that share the work, so that several changes share a sync, and their connections.
const CALLERS: (usize, usize) = (64, 8);
/// Bytes of a block, as files are counted in.
const BLOCK: u64 = 512;

/// A broker for each kind of operation: disk before, at half of them, at the end.
pub(crate) async fn measure(args: &Args, quick: bool, dir: &Path) -> Result<Sheet> {
    // More than the event history has slots, so that the second half only writes over.
    let (puts, others) = if quick { (512, 256) } else { (300_000, 150_000) };
    let title =
        format!("disk, {puts} puts to 64 keys a caller, {others} messages, {others} locks; 64 callers");
    let aim = "≤ 1 KiB each, amortised; no more once the history is full";
    let columns = ["payload B", "first half, disk B each", "second half, disk B each", "in the end MiB"];
    let mut sheet = Sheet::new(title, aim, &columns);
    let (callers, connections) = CALLERS;
    let start = |name: &str| {
        let home = dir.join(name);
        anyhow::Ok((Mesh::start("mesh", &args.meshctl()?, &home)?, home))
    };
    let (mesh, home) = start("put")?;
    let work = mesh.writers(callers, connections).await?;
    sheet.record("put", &grow(work, puts, VALUE_BYTES, &home).await.context("put")?);
    let (mesh, home) = start("mail")?;
    let work = mesh.mailers(callers, connections).await?;
    let found = grow(work, others, VALUE_BYTES, &home).await;
    sheet.record("message, read and acknowledged", &found.context("mail")?);
    let (mesh, home) = start("lock")?;
    let path = |caller: usize| format!("src/{caller}.rs");
    let work = mesh.lockers(callers, connections, path).await?;
    let found = grow(work, others, path(0).len(), &home).await;
    sheet.record("lock, taken and released", &found.context("lock")?);
    Ok(sheet)
}

async fn grow<C: Caller>(mut callers: Vec<C>, count: u64, payload: usize, home: &Path) -> Result<[f64; 4]> {
    let each = count / 2 / u64::try_from(callers.len())?;
    let halves = each * u64::try_from(callers.len())?;
    let before = on_disk(home)?;
    callers = call(callers, 0, each).await?;
    let between = on_disk(home)?;
    call(callers, each, each * 2).await?;
    let after = on_disk(home)?;
    let grown = |from: u64, to: u64| number(to.saturating_sub(from)) / number(halves);
    let payload = number(u64::try_from(payload)?);
    Ok([payload, grown(before, between), grown(between, after), number(after) / f64::from(1 << 20)])
}

/// Every caller makes the calls of these numbers.
async fn call<C: Caller>(callers: Vec<C>, from: u64, to: u64) -> Result<Vec<C>> {
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        tasks.spawn(async move {
            for number in from..to {
                caller.call(number).await?;
            }
            anyhow::Ok(caller)
        });
    }
    let mut back = Vec::new();
    while let Some(done) = tasks.join_next().await {
        back.push(done.context("a caller panicked")??);
    }
    Ok(back)
}

/// What the files below a directory take on disk.
fn on_disk(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for file in std::fs::read_dir(dir)? {
        let file = file?;
        // A file may go while it is looked at.
        let Ok(metadata) = file.metadata() else { continue };
        sum += if metadata.is_dir() { on_disk(&file.path())? } else { metadata.blocks() * BLOCK };
    }
    Ok(sum)
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_below_a_directory_count_with_the_blocks_they_take() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("store")).unwrap();
        std::fs::write(dir.path().join("store/db"), vec![1; 10_000]).unwrap();
        std::fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
        let file = std::fs::File::open(dir.path().join("store/db")).unwrap();
        file.sync_all().unwrap();
        let found = on_disk(dir.path()).unwrap();
        assert!((10_000..1 << 20).contains(&found), "{found}");
    }
}
