//! Registers the mesh with coding agents, and takes it out again.
//!
//! Reading order: `host` (which agents there are), `places` (where their files are), `program` (what is registered,
//! and how it is recognised), `edit` (changing JSON, TOML and YAML without touching anything else), `piece` (one file
//! of one host), `hosts` (which files each host gets), `receipt` (what was there before), `apply` (installing and
//! uninstalling), `diff`, `doctor` (whether it works).
//!
//! What must hold: nothing in a file but our own entries changes, which is checked by parsing before and after; a
//! file that cannot be parsed is left alone; uninstalling gives back the very bytes that were there, unless somebody
//! changed the file since, and then takes out our entries only; files are replaced in one step.

mod apply;
mod diff;
pub mod doctor;
mod edit;
mod file;
mod host;
mod hosts;
mod piece;
mod places;
mod program;
mod receipt;

pub use self::apply::{Installer, Outcome, Step, What};
pub use self::diff::unified;
pub use self::host::{Detected, Host, UnknownHost};
pub use self::hosts::{Choice, notes};
pub use self::places::{Places, Scope};
pub use self::program::Program;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
