//! The loss of power: what is acknowledged is on the device, not in a cache.
//!
//! The broker runs under `strace` while clients write. From the log of its system calls two things follow. First, for
//! every answer: the file that holds the write was synced, wholly between the write and the answer. Second, what the
//! device would hold if the power were cut at that line ([`disk`]): a broker started on it must open it, without help,
//! and know all that had been answered by then.
//!
//! What must hold: a call that may change a file in a way that is not modelled is an error, and so is a line that is
//! not understood.

pub mod cuts;
pub mod disk;
pub mod recording;
pub mod synced;
pub mod trace;
pub mod wire;

/// How the keys of the test begin.
pub const KEYS: &str = "power/";
