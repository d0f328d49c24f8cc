//! Every check that runs no test.

use anyhow::{Context, Result};

use crate::report::Report;
use crate::workspace::{self, Workspace};
use crate::{repo, tools, units};

pub(crate) fn all(ws: &Workspace, report: &mut Report) {
    report.check("check-repo", || repo::check(ws));
    report.check("fmt", || {
        tools::component("fmt")?;
        workspace::run(&mut ws.cargo(["fmt", "--all", "--check"]))
    });
    report.check("clippy", || {
        tools::component("clippy")?;
        workspace::run(&mut ws.cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    report.check("doc", || {
        let mut command = ws.cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
        workspace::run(command.env("RUSTDOCFLAGS", "-D warnings"))
    });
    report.check("buf lint", || tool(ws, "buf", &["lint", "proto"]));
    report.check("buf format", || tool(ws, "buf", &["format", "--diff", "--exit-code", "proto"]));
    report.check("buf breaking", || {
        tool(ws, "buf", &["breaking", "proto", "--against", "proto/baseline.binpb"])
    });
    report.check("Dockerfile", || tool(ws, "hadolint", &["docker/Dockerfile"]));
    report.check("compose.yaml", || {
        let schema = ["--builtin-schema", "vendor.compose-spec", "docker/compose.yaml"];
        tool(ws, "check-jsonschema", &schema)
    });
    report.check("service units", || units::check(ws));
}

fn tool(ws: &Workspace, name: &str, args: &[&str]) -> Result<()> {
    workspace::run(&mut ws.tool(name, args)?).with_context(|| format!("`{name} {}`", args.join(" ")))
}
