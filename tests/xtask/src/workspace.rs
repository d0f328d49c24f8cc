//! Where things are, and how a program is run there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

#[derive(Debug)]
pub(crate) struct Workspace {
    /// The directory of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// The prefix that holds the pinned tools: `bin/`, `node_modules/` and a Python virtual environment.
    pub(crate) tools: PathBuf,
    /// The prefix that holds the pinned agents: `bin/` and `node_modules/`.
    pub(crate) agents: PathBuf,
    /// The development build of the product; it need not exist yet.
    pub(crate) meshctl: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR").context("start me as `cargo xtask`")?;
        let root = Path::new(&manifest_dir)
            .ancestors()
            .nth(2)
            .context("tests/xtask is not two levels below the workspace")?
            .to_path_buf();
        let prefix = |variable: &str, default: &str| match std::env::var_os(variable) {
            Some(path) => std::path::absolute(path).with_context(|| format!("{variable} is not a path")),
            None => Ok(root.join(default)),
        };
        let (tools, agents) =
            (prefix("MESH_TOOLS", "target/tools")?, prefix("MESH_AGENTS", "target/agents")?);
        // Beside this program, so that it is right under any CARGO_TARGET_DIR.
        let meshctl = std::env::current_exe().context("cannot find myself")?.with_file_name("meshctl");
        Ok(Self { root, tools, agents, meshctl })
    }

    /// The cargo that started this program, in the workspace.
    pub(crate) fn cargo<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
    }

    /// A pinned tool, in the workspace.
    pub(crate) fn tool<S: AsRef<OsStr>>(
        &self,
        name: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Command> {
        let program = self.tools.join("bin").join(name);
        ensure!(program.exists(), "{} is not installed; run `cargo xtask install-tools`", program.display());
        Ok(self.command(program, args))
    }

    /// Any program, in the workspace, without input.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.root).stdin(Stdio::null());
        command.env("MESH_TOOLS", &self.tools).env("MESH_AGENTS", &self.agents);
        command
    }
}

/// Runs a command to its end, its output going where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

/// Runs a command to its end and returns what it wrote to its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program} ended with {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{program} wrote something other than UTF-8"))
}

/// True if the program exists and succeeds; says nothing either way.
pub(crate) fn succeeds<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
