//! A store written anew: all its records into a fresh one beside it, which then takes its place.
//!
//! sled's files stay within a small multiple of what is in them under every way of writing that we know, so this is for
//! those that we don't: a store that takes far more than it holds is made small again when a broker starts. What must
//! hold: the old store is whole until the new one is, and on disk (`swap` sees to the rest).

use std::path::Path;

use bytes::Bytes;

use super::{
    Batch, Durability, Identity, Key, MAX_BATCH_OPS, Op, SledOptions, SledStore, Store, StoreError, chunks,
    swap,
};

/// Files smaller than this are left alone: sled takes some megabytes for next to nothing.
const SMALL: u64 = 64 * 1024 * 1024;

/// How many times what it holds a store may take.
const FACTOR: u64 = 4;

/// What came of writing a store anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// Bytes of its files before.
    pub before: u64,
    /// Bytes of its files now.
    pub after: u64,
    /// Bytes of its keys and values.
    pub live: u64,
}

/// Takes records for a new store.
#[derive(Debug)]
pub struct Filler {
    store: SledStore,
    batch: Batch,
    cost: usize,
}

impl Filler {
    /// Adds a record; no key comes twice.
    pub fn put(&mut self, key: Key, value: Bytes) -> Result<(), StoreError> {
        let cost = chunks(value.len());
        if self.cost + cost > MAX_BATCH_OPS {
            self.store.commit(&std::mem::take(&mut self.batch))?;
            self.cost = 0;
        }
        self.cost += cost;
        self.batch.push(Op::Put { key, value });
        Ok(())
    }
}

/// Makes a new store in `dir`, of what `fill` puts into it; whole and on disk when it returns.
pub fn write_anew<E: From<StoreError>>(
    dir: &Path,
    identity: Identity,
    fill: impl FnOnce(&mut Filler) -> Result<(), E>,
) -> Result<(), E> {
    swap::remove(dir)?;
    let options = SledOptions { durability: Durability::Process, identity };
    let mut filler = Filler { store: SledStore::open(dir, options)?, batch: Batch::new(), cost: 0 };
    fill(&mut filler)?;
    filler.store.commit(&filler.batch)?;
    filler.store.close()?;
    Ok(())
}

/// Makes a store small that takes far more than it holds; none when it does not. `dir` is where it is.
pub fn compact(
    store: SledStore,
    dir: &Path,
    options: SledOptions,
) -> Result<(SledStore, Option<Growth>), StoreError> {
    compact_beyond(store, dir, options, SMALL)
}

fn compact_beyond(
    store: SledStore,
    dir: &Path,
    options: SledOptions,
    small: u64,
) -> Result<(SledStore, Option<Growth>), StoreError> {
    let before = store.size_bytes();
    if before < small {
        return Ok((store, None));
    }
    let mut live = 0;
    store.load(&mut |key, value| {
        live += (key.len() + value.len()) as u64;
        Ok(())
    })?;
    if before < small.max(live * FACTOR) {
        return Ok((store, None));
    }
    let written = write_anew(&swap::scratch(dir), store.identity().clone(), |filler| {
        store.load(&mut |key, value| filler.put(Key::new(key.to_vec())?, value))
    });
    if let Err(error) = written {
        // It is too large, not broken: the next start tries again, when there is room.
        tracing::warn!(%error, bytes = before, live, "cannot write the store anew");
        swap::remove(&swap::scratch(dir))?;
        return Ok((store, None));
    }
    let marked = store.marked();
    drop(store);
    swap::replace(dir)?;
    let store = SledStore::open(dir, options)?;
    store.mark(marked.unwrap_or_default())?;
    let after = store.size_bytes();
    Ok((store, Some(Growth { before, after, live })))
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{commit, contents, delete, identity, put, value};
    use super::*;

    #[test]
    fn a_store_that_takes_far_more_than_it_holds_is_made_small() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("store");
        let options = || SledOptions { durability: Durability::Process, identity: identity(1) };
        let store = SledStore::open(&dir, options()).unwrap();
        for round in 0..8 {
            for i in 0..40 {
                commit(&store, [put(&format!("{round} {i}"), value(i, 100_000))]);
            }
        }
        for round in 0..8 {
            commit(&store, (0..10).map(|i| delete(&format!("{round} {i}"))));
            (10..40).for_each(|i| commit(&store, [delete(&format!("{round} {i}"))]));
        }
        commit(&store, (0..100).map(|i| put(&format!("left {i}"), value(i, 3_000))));
        let before = contents(&store);
        let size = store.size_bytes();

        let (store, growth) = compact_beyond(store, &dir, options(), 1024 * 1024).unwrap();
        let growth = growth.unwrap();
        assert!(growth.before == size && growth.after < size / 2, "{growth:?}");
        assert!(contents(&store) == before);
        assert_eq!(store.identity(), &identity(1));
        assert!(!swap::scratch(&dir).exists());
        let (store, again) = compact_beyond(store, &dir, options(), 32 * 1024 * 1024).unwrap();
        assert_eq!(again, None, "what is small is left alone");
        commit(&store, [put("and", "on")]);
        drop(store);
        assert_eq!(contents(&SledStore::open(&dir, options()).unwrap()).len(), before.len() + 1);
    }

    /// What is written over and over takes no more and more.
    #[test]
    fn overwrites_do_not_make_the_files_grow() {
        let place = tempfile::tempdir().unwrap();
        let options = SledOptions { durability: Durability::Process, identity: identity(1) };
        let store = SledStore::open(&place.path().join("store"), options).unwrap();
        let mut half = 0;
        for round in 0..2_000_u32 {
            let key = |i: u32| format!("{:04}", (round * 7 + i * 131) % 1_000);
            commit(&store, (0..20).map(|i| put(&key(i), value(round as u8, 150))));
            if round == 1_000 {
                half = store.size_bytes();
            }
        }
        let size = store.size_bytes();
        assert!(size < 24 * 1024 * 1024, "{size} bytes for 1,000 values of 150 bytes");
        assert!(size < half * 2, "{half} bytes after half of the writes, {size} after all of them");
    }
}
