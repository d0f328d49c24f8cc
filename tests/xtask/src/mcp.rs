//! Checks of the MCP adapter from outside: what it costs an agent, and whether strict clients accept it.
//!
//! Each runs against a mesh of its own, in a temporary `MESH_HOME`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::workspace::{self, Workspace};

/// Protocol eras of the inspector: `initialize` (up to 2025-11-25) and stateless (2026-07-28).
const ERAS: [&str; 2] = ["legacy", "modern"];

pub(crate) fn build(ws: &Workspace) -> Result<()> {
    workspace::run(&mut ws.cargo(["build", "--quiet", "--package", "meshctl"]))
}

/// Fails if `tools/list` costs an agent more than it may.
pub(crate) fn tokens(ws: &Workspace) -> Result<()> {
    let mesh = Mesh::new(ws)?;
    let mut command = ws.tool("node", ["tests/tools/tokens.mjs"])?;
    workspace::run(command.arg(&ws.tools).arg(&ws.meshctl).env("MESH_HOME", mesh.home.path()))
}

/// Lists the tools under the inspector's strictest rules and calls one, in both eras.
pub(crate) fn inspect(ws: &Workspace) -> Result<()> {
    let mesh = Mesh::new(ws)?;
    let calls: [&[&str]; 2] =
        [&["--method", "tools/list", "--strict"], &["--method", "tools/call", "--tool-name", "mesh_status"]];
    for era in ERAS {
        for call in calls {
            println!("{era}: {}", call.join(" "));
            // The inspector gives the server only a few variables of its own.
            let home = format!("MESH_HOME={}", mesh.home.path().display());
            let mut command = ws.tool("mcp-inspector", ["--cli"])?;
            command.arg(&ws.meshctl).args(["mcp", "-e", &home, "--protocol-era", era]).args(call);
            workspace::run(command.stdout(Stdio::null()))
                .with_context(|| format!("the {era} era, {}", call.join(" ")))?;
        }
    }
    Ok(())
}

/// A mesh that ends with the check.
#[derive(Debug)]
struct Mesh<'a> {
    ws: &'a Workspace,
    home: TempDir,
}

impl<'a> Mesh<'a> {
    fn new(ws: &'a Workspace) -> Result<Self> {
        Ok(Self { ws, home: tempfile::tempdir().context("cannot make a MESH_HOME")? })
    }

    fn stop(&self) -> Command {
        let mut command = self.ws.command(&self.ws.meshctl, ["stop"]);
        command.env("MESH_HOME", self.home.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Mesh<'_> {
    fn drop(&mut self) {
        // The adapter may never have started a broker, so a refusal is as good as a success.
        let _ = self.stop().status();
    }
}
