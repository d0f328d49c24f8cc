//! Whether what is registered works, by doing what the hosts do: starting the server, firing the hooks.
//!
//! What must hold: nothing is concluded from a file alone that can be tried; a probe that hangs is ended; a probe
//! leaves nothing behind.

mod hook;
mod lines;
mod payload;
mod probe;
mod run;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use self::lines::{Conversation, Failure};
use crate::edit::Found;
use crate::host::Host;
use crate::hosts::all_pieces;
use crate::places::{Places, Scope};
use crate::program::Program;
use crate::receipt::Receipts;

/// What came of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// The host; none if it is about the mesh itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// What was checked.
    pub what: &'static str,
    /// Whether it is as it should be; none if that could not be found out.
    pub ok: Option<bool>,
    /// What was found, in one line.
    pub found: String,
    /// The one thing to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What of ours a host has.
#[derive(Clone, Debug, Default)]
pub struct Registered {
    /// The files that name us, and for whom.
    pub files: Vec<(PathBuf, Scope)>,
    /// How the server is started.
    pub server: Option<Vec<String>>,
    /// Hooks: event and shell line.
    pub hooks: Vec<(String, String)>,
}

/// How probes are run.
#[derive(Clone, Debug)]
pub struct Probing {
    /// Set in the environment of what is started.
    pub variables: Vec<(&'static str, OsString)>,
    /// How long an answer may take.
    pub patience: Duration,
}

impl Check {
    /// All is well.
    pub fn good(host: Option<Host>, what: &'static str, found: impl Into<String>) -> Self {
        Self { host, what, ok: Some(true), found: found.into(), fix: None }
    }

    /// Something is wrong, and this is what to do.
    pub fn bad(
        host: Option<Host>,
        what: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { host, what, ok: Some(false), found: found.into(), fix: Some(fix.into()) }
    }

    /// It could not be found out, or need not be.
    pub fn open(
        host: Option<Host>,
        what: &'static str,
        found: impl Into<String>,
        fix: Option<String>,
    ) -> Self {
        Self { host, what, ok: None, found: found.into(), fix }
    }
}

/// Finds what of ours a host has, for the user or in the project. Receipts are in the home of a mesh.
pub fn registered(host: Host, places: &Places, mesh_home: &Path) -> Registered {
    let mut registered = Registered::default();
    let (plain, receipts) = (Program::new("meshctl"), Receipts::of(mesh_home));
    let is_home = places.project == places.home;
    for scope in [Scope::Project, Scope::User].into_iter().skip(usize::from(is_home)) {
        for piece in all_pieces(host, scope, places, &plain) {
            let Ok(text) = std::fs::read_to_string(&piece.path) else { continue };
            let receipt = receipts.get(&piece.path).ok().flatten();
            let program = receipt.map_or_else(|| plain.clone(), |(receipt, _)| plain.once(&receipt.command));
            let found = piece.find(&text, &program);
            if found != Found::default() {
                registered.files.push((piece.path, scope));
            }
            registered.server = registered.server.or(found.server);
            // The same hook for the user and the project is one.
            let new = found.hooks.into_iter().filter(|hook| !registered.hooks.contains(hook));
            registered.hooks.extend(new.collect::<Vec<_>>());
        }
    }
    registered
}

/// Checks a host. `asked` tells that somebody wants to know of this one.
pub fn check(host: Host, asked: bool, places: &Places, mesh_home: &Path, probing: &Probing) -> Vec<Check> {
    let install = format!("meshctl install {}", host.name());
    let registered = registered(host, places, mesh_home);
    let Some(server) = &registered.server else {
        if registered.hooks.is_empty() && !asked {
            let fix = Some(format!("`{install}`, if you want it"));
            return vec![Check::open(Some(host), "registered", "no", fix)];
        }
        return vec![Check::bad(Some(host), "registered", "no MCP server of the mesh", install)];
    };
    let files: Vec<_> = registered.files.iter().map(|(path, _)| places.show(path)).collect();
    let mut checks = vec![Check::good(Some(host), "registered", files.join(", "))];
    checks.extend(twice(host, &registered));
    checks.push(probe::server(host, server, &install, places, probing));
    if host.has_hooks() {
        checks.push(hook::fire(host, &registered.hooks, &install, probing));
    }
    checks.extend(probe::own(host, places, &registered, probing));
    checks
}

/// Hosts run the hooks of the user and those of the project. Of two plugins of one name Claude Code takes the user's.
fn twice(host: Host, registered: &Registered) -> Option<Check> {
    let is_plugin = |path: &Path| path.components().any(|part| part.as_os_str() == "skills");
    let has = |scope| registered.files.iter().any(|(path, of)| *of == scope && !is_plugin(path));
    let both = host.has_hooks() && has(Scope::User) && has(Scope::Project);
    both.then(|| {
        let fix = format!("meshctl uninstall {}, or with --project", host.name());
        Check::bad(Some(host), "registered once", "for you and in this project: each hook runs twice", fix)
    })
}
