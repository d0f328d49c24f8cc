//! The simulated disk: the store in memory, with faults as the weather has it, and a copy of every commit for the books.

use bytes::Bytes;
use mesh_broker::store::{
    Batch, Fault, Identity, Key, MemoryDisk, MemoryStore, Secret, Store, StoreError, Visitor,
};
use uuid::Uuid;

use crate::books::Shared;

/// One broker's hold on the disk.
#[derive(Debug)]
pub struct Disk {
    disk: MemoryDisk,
    store: MemoryStore,
    books: Shared,
}

impl Disk {
    /// Opens the disk after a crash, or for the first time.
    pub fn open(disk: &MemoryDisk, books: &Shared) -> Result<Self, StoreError> {
        disk.crash();
        let identity =
            Identity { incarnation: Uuid::from_u128(7), secret: Secret::new([7; 32]), created_ms: 0 };
        Ok(Self { disk: disk.clone(), store: MemoryStore::open(disk, identity)?, books: books.clone() })
    }
}

impl Store for Disk {
    fn identity(&self) -> &Identity {
        self.store.identity()
    }

    fn load(&self, visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        self.store.load(visit)
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.store.get(key)
    }

    fn reads_wait(&self) -> bool {
        false
    }

    fn cost(&self, batch: &Batch) -> usize {
        self.store.cost(batch)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let fault = self.books.with(|books| {
            books.committing(batch);
            books.next_disk_fault()
        });
        if let Some(fault) = fault {
            self.disk.inject(1, fault);
        }
        let done = self.store.commit(batch);
        let kept = match fault {
            None => done.is_ok(),
            Some(Fault::AnswerLost | Fault::CrashAfter) => true,
            Some(Fault::Refused | Fault::CrashBefore) => false,
        };
        if kept {
            self.books.with(|books| books.committed(batch));
        }
        if done.is_ok() {
            self.books.with(|books| books.confirm());
        }
        done
    }

    fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }
}
