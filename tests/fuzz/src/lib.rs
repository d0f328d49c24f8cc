//! What strangers can send, as functions of bytes.
//!
//! A target takes any bytes and panics when something does not hold. The suite runs each over its corpus, over every
//! input of the bug book, and over a number of mutations of both (`tests/short.rs`); cargo-fuzz runs the same functions
//! for as long as wished, guided by coverage (`guided/`). README.md has the commands.
//!
//! What must hold: a target depends on its bytes alone, leaves nothing behind, and ends.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a target fails by panicking")]

mod choices;
mod config;
mod hooks;
mod lines;
mod mutate;
mod shown;
mod stored;
mod targets;
mod wire;

pub use mutate::Mutator;

/// A function of bytes, with what is good to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its directories, and of its file in `guided/fuzz_targets`.
    pub name: &'static str,
    /// Panics when something does not hold.
    pub run: fn(&[u8]),
    /// Inputs that get far, made by code so that they stay true to it.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Texts that mean something there.
    pub words: &'static [&'static str],
    /// How many mutations the suite tries.
    pub cases: usize,
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    wire::TARGET,
    targets::TARGET,
    hooks::TARGET,
    stored::TARGET,
    lines::TARGET,
    config::TARGET,
    shown::TARGET,
];

/// The target of a name.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
}
