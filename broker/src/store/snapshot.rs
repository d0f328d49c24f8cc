//! The records of a store as they are between two commits, while commits go on.
//!
//! A snapshot is read in key order. What a commit replaces ahead of the reader is kept aside as it was, until the reader
//! has come past it. So whatever is read is what was there when the snapshot began: the value kept aside if there is one,
//! else the one in the store, which no commit has touched since. Nothing is copied beforehand, nobody waits but for the
//! few records that are read at a time, and memory holds no more than what is replaced meanwhile, up to [`KEPT_BYTES`].

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::{Batch, Key, Store, StoreError};

/// Most bytes kept aside; a snapshot that needs more is given up.
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// Records that are read at a time, and about how many bytes of them.
pub(super) const STEP: (usize, usize) = (256, 1024 * 1024);

/// Records in key order.
pub trait Snapshot: Send + fmt::Debug {
    /// The next records; none when there are no more.
    fn next(&mut self) -> Result<Vec<(Key, Bytes)>, StoreError>;
}

/// A copy of all records; the bytes are shared with the store, if it keeps them in memory.
#[derive(Debug)]
pub(super) struct Copied(Vec<(Key, Bytes)>);

impl Copied {
    pub(super) fn of<S: Store + ?Sized>(store: &S) -> Result<Self, StoreError> {
        let mut rows = Vec::new();
        store.load(&mut |key, value| {
            rows.push((Key::new(key.to_vec())?, value));
            Ok(())
        })?;
        Ok(Self(rows))
    }
}

impl Snapshot for Copied {
    fn next(&mut self) -> Result<Vec<(Key, Bytes)>, StoreError> {
        Ok(std::mem::take(&mut self.0))
    }
}

/// What was replaced ahead of the reader of a snapshot.
#[derive(Debug)]
pub(super) struct Kept {
    /// Most bytes of `values`.
    limit: usize,
    /// The last key that has been read.
    read: Option<Key>,
    /// Values as they were; none for a record that was not there.
    values: BTreeMap<Key, Option<Bytes>>,
    bytes: usize,
    is_over: bool,
    is_lost: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self::up_to(KEPT_BYTES)
    }
}

impl Kept {
    fn up_to(limit: usize) -> Self {
        Self { limit, read: None, values: BTreeMap::new(), bytes: 0, is_over: false, is_lost: false }
    }

    /// Keeps what `batch` is about to replace, as `fetch` finds it.
    pub(super) fn keep(
        &mut self,
        batch: &Batch,
        mut fetch: impl FnMut(&Key) -> Result<Option<Bytes>, StoreError>,
    ) -> Result<(), StoreError> {
        for (key, _) in batch.writes() {
            if self.is_over
                || self.is_lost
                || self.read.as_ref().is_some_and(|read| key <= read)
                || self.values.contains_key(key)
            {
                continue;
            }
            let value = fetch(key)?;
            self.bytes += weight(key, value.as_ref());
            self.values.insert(key.clone(), value);
            if self.bytes > self.limit {
                *self = Self { is_lost: true, ..Self::up_to(self.limit) };
            }
        }
        Ok(())
    }

    /// The key after which the reader goes on.
    pub(super) fn read(&self) -> Option<&Key> {
        self.read.as_ref()
    }

    /// Whether all has been read.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes in that the store has these records next, all there are up to the last one, or to the end. Returns them
    /// as they were.
    pub(super) fn settle(
        &mut self,
        found: Vec<(Key, Bytes)>,
        is_end: bool,
    ) -> Result<Vec<(Key, Bytes)>, StoreError> {
        if self.is_lost {
            return Err(StoreError::SnapshotLost);
        }
        let kept = match found.last() {
            Some((last, _)) if !is_end => {
                let last = last.clone();
                let later = self.values.split_off(&last);
                let mut kept = std::mem::replace(&mut self.values, later);
                if let Some(value) = self.values.remove(&last) {
                    kept.insert(last.clone(), value);
                }
                self.read = Some(last);
                kept
            }
            Some(_) | None => {
                self.is_over = true;
                std::mem::take(&mut self.values)
            }
        };
        self.bytes -= kept.iter().map(|(key, value)| weight(key, value.as_ref())).sum::<usize>();
        let mut rows: BTreeMap<Key, Option<Bytes>> =
            found.into_iter().map(|(key, value)| (key, Some(value))).collect();
        rows.extend(kept);
        Ok(rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }
}

fn weight(key: &Key, value: Option<&Bytes>) -> usize {
    size_of::<(Key, Option<Bytes>)>() + key.as_bytes().len() + value.map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Op;

    const VALUE: Bytes = Bytes::from_static(&[7; 1_000]);

    fn key(number: u8) -> Key {
        Key::new(vec![5, number]).unwrap()
    }

    /// A snapshot with room for `limit` bytes, of a store in which this many values were replaced since.
    fn after(replaced: u8, limit: usize) -> Kept {
        let mut kept = Kept::up_to(limit);
        for number in 0..replaced {
            let batch = Batch::from_iter([Op::Put { key: key(number), value: Bytes::new() }]);
            kept.keep(&batch, |_| Ok(Some(VALUE))).unwrap();
        }
        kept
    }

    #[test]
    fn a_snapshot_keeps_as_much_as_it_may_and_is_lost_beyond() {
        let each = weight(&key(0), Some(&VALUE));
        for (limit, is_kept) in [(3 * each + 1, true), (3 * each, true), (3 * each - 1, false)] {
            let mut kept = after(3, limit);
            match kept.settle(Vec::new(), true) {
                Ok(rows) => {
                    assert!(is_kept, "kept beyond {limit}");
                    assert_eq!(rows, Vec::from_iter((0..3).map(|number| (key(number), VALUE))));
                    assert_eq!(kept.bytes, 0);
                }
                Err(error) => {
                    assert!(!is_kept, "lost at {limit}");
                    assert!(matches!(error, StoreError::SnapshotLost), "{error}");
                    assert!(kept.values.is_empty() && kept.bytes == 0, "it takes nothing any longer");
                }
            }
        }
        assert_eq!(Kept::default().limit, KEPT_BYTES);
    }

    #[test]
    fn what_has_been_read_makes_room() {
        let each = weight(&key(0), Some(&VALUE));
        let mut kept = after(2, 2 * each);
        kept.settle(vec![(key(1), Bytes::new())], false).unwrap();
        for number in [0, 1, 2, 3] {
            let batch = Batch::from_iter([Op::Delete { key: key(number) }]);
            kept.keep(&batch, |_| Ok(Some(VALUE))).unwrap();
        }
        assert_eq!(kept.settle(Vec::new(), true).unwrap(), [(key(2), VALUE), (key(3), VALUE)]);
    }
}
