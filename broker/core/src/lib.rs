//! What may happen on a mesh: a pure core without I/O, clock or randomness.
//!
//! [`State`] is a cache of [`record::Record`]s. [`State::decide`] says what a [`command::Request`] would do: a
//! refusal, an answer, or a [`state::Transaction`] of writes, events and an outcome. [`State::apply`] takes writes
//! in; it is the same function for a fresh commit and for recovery. Time and new ids are arguments.
//!
//! What must hold, whatever is asked in whatever order:
//!
//! * One transaction, one revision; a transaction with events takes the next sequence of its scope.
//! * At no revision do two peers hold conflicting locks, and a grant's token is larger than that of every
//!   earlier grant of an overlapping target.
//! * Nobody waits for a lock that could be granted: it is handed over in the transaction that frees it, or, where
//!   that has no room, in the ones that follow at once. No circle of peers waits for each other.
//! * No value of another peer is overwritten unread, but where a policy, the lock of a contract or the
//!   caller says so.
//! * Nothing ends before its deadline, and every end of a session, a lock, a wait and an entry is an event with its
//!   cause. What makes room by itself (messages, former versions, touches) is no news.
//! * A message stays until every recipient has acknowledged it, it expires, or newer ones of its scope or topic take
//!   its place; a cursor never moves back.
//! * What the broker does by itself fits into one transaction of the store, and leaves nothing due twice.
//! * The same state, request and time give the same decision.

pub mod command;
pub mod event;
pub mod id;
pub mod idempotency;
pub mod limits;
pub mod mutation;
pub mod outcome;
pub mod pattern;
pub mod record;
pub mod rejection;
pub mod revision;
pub mod state;
pub mod target;
pub mod time;

pub use rejection::Rejection;
pub use state::State;
