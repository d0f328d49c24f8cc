//! `meshctl`: the one binary of the mesh.
//!
//! A thin front over the client library: every command parses, calls, prints. What must hold: a command that
//! only reads needs no session; what others said is never shown raw; nothing but results goes to stdout.

mod cli;
mod commands;
mod config;
mod context;
mod duration;
mod error;
mod exit;
mod help;
mod identity;
mod json;
mod list;
mod output;
mod render;
mod signals;
mod target;
mod time;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
