//! A deterministic simulation of everything above the store: core, writer, event log, leases, services and gate, and the
//! real client with its retries, its rejoining and its resuming, on virtual time, one thread and one seed.
//!
//! The disk is the store in memory with faults, the network loses, doubles and delays, processes die and stop. Every
//! answer is looked at as it leaves the broker ([`door`]), every transaction as it becomes durable ([`books`]), both
//! against a naive model ([`model`]). What must hold: the same seed gives the same bytes, and no seed breaks a promise.

pub mod actor;
pub mod books;
pub mod bugbook;
pub mod clocks;
pub mod dice;
pub mod disk;
pub mod door;
pub mod follow;
pub mod model;
pub mod mutants;
pub mod net;
pub mod process;
pub mod reader;
pub mod run;
pub mod suite;
pub mod weather;

pub use run::{Keep, Outcome, run};
