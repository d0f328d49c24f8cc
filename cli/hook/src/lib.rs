//! Hooks of agent hosts: what a host tells a hook, and what a hook may answer, in words common to all hosts.
//!
//! A host runs `meshctl hook HOST` at points of an agent's session, with a JSON payload on standard input, and reads
//! standard output, standard error and the exit code. [`Host::parse`] makes a [`Call`] of the payload;
//! [`Host::shape`] makes an [`Output`] of a [`Reply`], in the one form that this host accepts.
//!
//! Modules in reading order: `call` and `reply` (the common model), `hosts` (one module per host: what is documented
//! where, and what a host cannot express), `payload` (the few fields that are read of a payload), `patch` (the files a
//! patch names), `shell` (what a shell command does to a checkout).
//!
//! What must hold:
//! * Nothing here does I/O, reads the environment or the clock: the environment comes as a function.
//! * No input panics. A payload is read for the fields of [`Call`] alone; file contents, prompts and results of tools
//!   are skipped unread, and no error repeats a part of a payload.
//! * An output never allows what the host would otherwise ask its user about, and never stops a session.

mod call;
mod hosts;
pub mod patch;
mod payload;
mod reply;
pub mod shell;

pub use call::{Call, Edited, End, Event, How, Source, Subagent, Tool};
pub use hosts::{Env, Host, UnknownHost};
pub use payload::Malformed;
pub use reply::{CONTEXT_LIMIT, Output, Reply, Verdict};
