//! What a reader of the log must get: every batch of its scopes after its cursor, once and in order, just as it was
//! committed.

use mesh_proto::v1 as pb;

use crate::books::Books;

/// A reader's place.
#[derive(Clone, Debug)]
pub struct Follower {
    scopes: Vec<String>,
    /// The next revision that it has not been told of; none while that is not known.
    next: Option<u64>,
}

impl Follower {
    /// A reader of some scopes, or of all.
    #[must_use]
    pub fn new(scopes: Vec<String>) -> Self {
        Self { scopes, next: None }
    }

    /// It begins at a revision.
    pub fn begin(&mut self, start: u64) {
        self.next = Some(start);
    }

    /// Where it is.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// The next batch that is for it, up to a revision.
    fn due(&self, books: &Books, up_to: u64) -> Option<u64> {
        let concerns = |revision: &u64| {
            books.at(*revision).is_some_and(|log| {
                let scope = log.scope.as_str();
                !log.events.is_empty() && (self.scopes.is_empty() || self.scopes.iter().any(|at| at == scope))
            })
        };
        (self.next?..=up_to).find(concerns)
    }

    /// It gets a batch.
    pub fn batch(&mut self, books: &Books, batch: &pb::EventBatch) -> Result<(), String> {
        let due = self.due(books, batch.revision);
        if self.next.is_some() && due != Some(batch.revision) {
            return Err(format!("revision {} came where {due:?} was due", batch.revision));
        }
        self.next = Some(batch.revision + 1);
        let Some(log) = books.at(batch.revision) else {
            return Err(format!("revision {} was never committed", batch.revision));
        };
        let told = (batch.sequence, batch.prev_revision, batch.events.len(), batch.scope.as_str());
        let kept = (log.sequence.0, log.prev_revision.0, log.events.len(), log.scope.as_str());
        if told != kept {
            return Err(format!("revision {} came as {told:?} and is {kept:?}", batch.revision));
        }
        Ok(())
    }

    /// It is told that everything up to a revision was delivered.
    pub fn progress(&mut self, books: &Books, revision: u64) -> Result<(), String> {
        if let Some(missing) = self.due(books, revision) {
            return Err(format!("all up to {revision} counts as delivered, and {missing} is not"));
        }
        self.next = self.next.map(|next| next.max(revision + 1));
        Ok(())
    }

    /// At the end: nothing is missing.
    pub fn complete(&self, books: &Books) -> Result<(), String> {
        match self.due(books, books.durable()) {
            Some(missing) => Err(format!("revision {missing} never came")),
            None => Ok(()),
        }
    }
}
