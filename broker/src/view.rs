//! What readers see: the state as of the last durable commit, never a revision that a crash could take back.
//!
//! The writer keeps a state of its own, ahead of the disk by what it is about to commit. After each commit it
//! applies the same writes here, and only then answers and publishes.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use mesh_core::State;
use mesh_core::revision::Revision;
use mesh_core::state::Transaction;
use mesh_core::time::Timestamp;

/// A shared, read-only state.
#[derive(Clone, Debug)]
pub struct View(Arc<RwLock<State>>);

impl View {
    /// Starts from a recovered state.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self(Arc::new(RwLock::new(state)))
    }

    /// The state at one revision, for as long as the guard lives: copy out, do not await.
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision that readers see.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.read().revision()
    }

    /// Takes in what is now durable.
    pub fn apply<'a>(&self, transactions: impl Iterator<Item = &'a Transaction>, now: Timestamp) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for transaction in transactions {
            state.apply_transaction(transaction, now);
        }
    }
}
