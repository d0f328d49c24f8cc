//! Installs the agents' command lines that the end-to-end tests drive, pinned by the manifests in `tests/tools/agents`.
//!
//! They come from npm, each under its vendor's terms (`docs/testing-agents.md`); none is redistributed. The native builds
//! are named directly and no install script runs. `bin/` holds one program per agent.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::workspace::{self, Workspace};
use crate::{prefix, tools};

const MANIFESTS: [&str; 2] = ["package.json", "package-lock.json"];

/// The agents that are one executable: the name in `bin/`, and where it is below `node_modules`, by machine.
const NATIVE: [(&str, &str, &str); 6] = [
    ("claude", "x86_64", "@anthropic-ai/claude-code-linux-x64/claude"),
    ("claude", "aarch64", "@anthropic-ai/claude-code-linux-arm64/claude"),
    ("codex", "x86_64", "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"),
    ("codex", "aarch64", "@openai/codex-linux-arm64/vendor/aarch64-unknown-linux-musl/bin/codex"),
    ("opencode", "x86_64", "opencode-linux-x64-baseline/bin/opencode"),
    ("opencode", "aarch64", "opencode-linux-arm64/bin/opencode"),
];

/// The agents that Node runs: the name in `bin/`, and the script below `node_modules`.
const SCRIPTS: [(&str, &str); 1] = [("gemini", "@google/gemini-cli/bundle/gemini.js")];

pub(crate) fn install(ws: &Workspace) -> Result<()> {
    let manifests = ws.root.join("tests/tools/agents");
    // Gemini runs under the pinned Node, so a new place for that is a new installation.
    let code = format!("{}\n{}", ws.tools.display(), include_str!("agents.rs"));
    let wanted = prefix::describe(&ws.agents, &code, &manifests, &MANIFESTS)?;
    prefix::fill(&ws.agents, &wanted, || {
        prefix::copy(&ws.agents, &manifests, &MANIFESTS)?;
        workspace::run(tools::npm_install(ws)?.current_dir(&ws.agents))?;
        fs::create_dir(ws.agents.join("bin"))?;
        native(&ws.agents)?;
        scripts(ws)
    })
}

fn native(agents: &Path) -> Result<()> {
    let mut found = false;
    for (name, machine, path) in NATIVE {
        if machine != std::env::consts::ARCH || !cfg!(target_os = "linux") {
            continue;
        }
        let program = agents.join("node_modules").join(path);
        ensure!(program.exists(), "npm did not install {}", program.display());
        symlink(program, agents.join("bin").join(name))?;
        found = true;
    }
    if !found {
        bail!("the agents are pinned for Linux on x86_64 and aarch64 only");
    }
    Ok(())
}

fn scripts(ws: &Workspace) -> Result<()> {
    let node = ws.tools.join("bin/node");
    for (name, path) in SCRIPTS {
        let script = ws.agents.join("node_modules").join(path);
        ensure!(script.exists(), "npm did not install {}", script.display());
        let program = ws.agents.join("bin").join(name);
        fs::write(&program, format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", node.display(), script.display()))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
