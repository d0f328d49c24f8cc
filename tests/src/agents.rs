//! Real agents: their command lines, as `cargo xtask install-agents` puts them, with a model that a test scripts.
//!
//! A [`Desk`] is the machine of one user: an empty home, a project under git, and a mesh. An agent sits at a desk and is
//! either run to its end ([`Running`]) or used in a terminal ([`Terminal`]). What must hold: an agent sees nothing of the
//! developer's machine but its programs, reaches nothing but loopback, and no process outlives its desk.

mod claude;
mod codex;
mod desk;
mod gemini;
mod opencode;
mod running;
mod terminal;

use std::path::{Path, PathBuf};

pub use claude::Claude;
pub use codex::{Codex, PLAIN, SCRIPTING};
pub use desk::Desk;
pub use gemini::Gemini;
pub use opencode::Opencode;
pub use running::{Finished, Running};
pub use terminal::Terminal;

/// The program of an agent.
///
/// # Panics
/// When it is not installed.
#[must_use]
pub fn agent(name: &str) -> PathBuf {
    let program = programs().join(name);
    assert!(program.exists(), "{} is not installed; run `cargo xtask install-agents`", program.display());
    program
}

/// The directory with the programs of all agents.
fn programs() -> PathBuf {
    let agents = std::env::var_os("MESH_AGENTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/agents"), PathBuf::from);
    agents.join("bin")
}
