//! Real agents on the mesh: their own command lines, with a model that the test scripts.
//!
//! They need `cargo xtask install-agents`; without it they fail and say so.

mod claude;
mod codex;
mod gemini;
mod opencode;

/// The answer of `mesh_who` to one who is alone.
fn is_alone(who: &str) -> bool {
    who.contains("(you, ") && who.lines().filter(|line| line.contains("(you, ")).count() == 1
}
