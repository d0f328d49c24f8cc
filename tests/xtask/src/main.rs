//! `cargo xtask`: the one command that checks everything, on a developer's machine and in CI alike.
//!
//! It owns `target/tools` and `target/agents` (what the checks need, pinned by `tests/tools/`) and nothing else. A task
//! that runs several checks runs all of them, whatever the first one said.
//!
//! Tests find the tools at `$MESH_TOOLS/bin`, by default `target/tools/bin` of the workspace: `python` (with
//! `grpcio-tools`, `mcp` and `pytest`), `node` (22), `buf` and `mcp-inspector`, called by their full path. They find the
//! agents likewise at `$MESH_AGENTS/bin`: `claude`, `codex`, `gemini` and `opencode`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task runner talks to a terminal")]

mod agents;
mod lint;
mod mcp;
mod prefix;
mod repo;
mod report;
mod suite;
mod tools;
mod units;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::report::Report;
use crate::workspace::Workspace;

const HELP: &str = "\
cargo xtask <task>

  test [--fast]   install what the tests need, then lint, build and test everything;
                  the last line is `N passed, N failed` (a failed check counts as one)
                  --fast: do not install, use what is there
  lint            fmt, clippy, rustdoc, protobuf, Docker files, service units and check-repo
  check-repo      rules of this repository that no linter knows
  install-tools   install the pinned tools of tests/tools below target/tools
  install-agents  install the pinned agents of tests/tools/agents below target/agents (1 GB)
  tokens          count the tokens of the MCP adapter's tools/list, per tool
  pytest          run the Python example's tests
  mcp-inspect     run the MCP inspector against the adapter, in both protocol eras

Environment:
  MESH_TOOLS      where the tools are kept, instead of target/tools
  MESH_AGENTS     where the agents are kept, instead of target/agents
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match args {
        [] | ["help" | "-h" | "--help"] => print!("{HELP}"),
        ["test"] => return Ok(test(&workspace, Install::Yes)),
        ["test", "--fast"] => return Ok(test(&workspace, Install::No)),
        ["lint"] => {
            let mut report = Report::default();
            lint::all(&workspace, &mut report);
            return Ok(report.finish());
        }
        ["check-repo"] => repo::check(&workspace)?,
        ["install-tools"] => tools::install(&workspace)?,
        ["install-agents"] => {
            tools::install(&workspace)?;
            agents::install(&workspace)?;
        }
        ["tokens"] => {
            mcp::build(&workspace)?;
            mcp::tokens(&workspace)?;
        }
        ["pytest"] => {
            mcp::build(&workspace)?;
            let mut report = Report::default();
            report.tests("pytest", || suite::pytest(&workspace));
            return Ok(report.finish_tests());
        }
        ["mcp-inspect"] => {
            mcp::build(&workspace)?;
            mcp::inspect(&workspace)?;
        }
        other => bail!("no task `{}`; `cargo xtask --help` lists them", other.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Clone, Copy)]
enum Install {
    Yes,
    No,
}

fn test(workspace: &Workspace, install: Install) -> ExitCode {
    let mut report = Report::default();
    let ready = match install {
        Install::Yes => {
            report.check("install-tools", || tools::install(workspace))
                && report.check("install-agents", || agents::install(workspace))
        }
        Install::No => true,
    };
    if ready {
        lint::all(workspace, &mut report);
        if report.check("build", || suite::build(workspace)) {
            report.tests("cargo test", || suite::run(workspace));
            report.tests("pytest", || suite::pytest(workspace));
            report.check("tokens", || mcp::tokens(workspace));
            report.check("mcp-inspect", || mcp::inspect(workspace));
        }
    }
    report.finish_tests()
}
