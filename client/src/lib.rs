//! client

pub mod scope;
pub mod worktree;
