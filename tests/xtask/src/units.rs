//! The service units of `docs/service`: that a service manager takes them as they are.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::workspace::{self, Workspace};

const UNITS: [&str; 2] = ["docs/service/mesh.service", "docs/service/user/mesh.service"];
const PLIST: &str = "docs/service/mesh.plist";
/// What the units start; it need not be on the machine that checks them.
const PROGRAM: &str = "/usr/local/bin/meshctl";

pub(crate) fn check(ws: &Workspace) -> Result<()> {
    for name in UNITS {
        let text = fs::read_to_string(ws.root.join(name)).with_context(|| format!("cannot read {name}"))?;
        structure(&text).with_context(|| name.to_owned())?;
        // Only where there is systemd; elsewhere the structure has to do.
        if workspace::succeeds("systemd-analyze", ["--version"]) {
            verify(ws, &text).with_context(|| name.to_owned())?;
        }
    }
    let read = "import plistlib, sys; p = plistlib.load(open(sys.argv[1], 'rb')); \
                assert p['ProgramArguments'][1] == 'serve' and p['Label'] == 'mesh', p";
    workspace::run(&mut ws.tool("python", ["-c", read, PLIST])?)
}

/// What a broker needs of any service manager.
fn structure(text: &str) -> Result<()> {
    let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
    let settings: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
    let is = |name: &str, value: &str| {
        ensure!(settings.get(name) == Some(&value), "{name} is not {value}");
        Ok(())
    };
    is("Type", "notify")?;
    is("Restart", "on-failure")?;
    is("NoNewPrivileges", "yes")?;
    let start = settings.get("ExecStart").copied().unwrap_or_default();
    ensure!(start.starts_with(&format!("{PROGRAM} serve")), "ExecStart is `{start}`");
    ensure!(!start.contains("--auto"), "a service is not started by a client");
    Ok(())
}

fn verify(ws: &Workspace, text: &str) -> Result<()> {
    let dir = ws.root.join("target/units");
    fs::create_dir_all(&dir)?;
    let unit = dir.join("mesh.service");
    fs::write(&unit, text.replace(PROGRAM, "/bin/true"))?;
    workspace::run(ws.command("systemd-analyze", ["verify"]).arg(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_are_as_a_broker_needs_them_and_others_are_refused() {
        let ours = [
            include_str!("../../../docs/service/mesh.service"),
            include_str!("../../../docs/service/user/mesh.service"),
        ];
        for unit in ours {
            structure(unit).unwrap();
            for (from, to) in [
                ("Type=notify", "Type=simple"),
                ("Restart=on-failure", "Restart=no"),
                ("NoNewPrivileges=yes", ""),
                ("meshctl serve", "meshctl serve --auto"),
            ] {
                assert!(structure(&unit.replace(from, to)).is_err(), "{from}");
            }
        }
    }
}
