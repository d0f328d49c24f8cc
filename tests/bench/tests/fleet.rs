//! A small fleet: what must hold of it however fast it is.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// The meshctl of the same build, unless `MESHCTL` names another.
fn meshctl() -> PathBuf {
    if let Some(named) = std::env::var_os("MESHCTL") {
        return named.into();
    }
    let path = PathBuf::from(env!("CARGO_BIN_EXE_mesh-bench")).with_file_name("meshctl");
    assert!(path.exists(), "no {}; run `cargo build --workspace` first", path.display());
    path
}

#[test]
fn a_fleet_with_crashes_loses_no_edit_and_is_told_of_the_other_worktree() {
    let mut fleet = Command::new(env!("CARGO_BIN_EXE_mesh-bench"));
    fleet.args(["fleet", "--agents", "4", "--edits", "60", "--files", "5", "--crash-every", "8"]);
    let output =
        fleet.args(["--seed", "7", "--mesh-only", "--json", "--meshctl"]).arg(meshctl()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let result: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{errors}"));
    let run = &result["runs"]["with the mesh"];
    assert_eq!(run["edits"], 60, "{run:#}");
    assert_eq!(run["lost_marks"], Value::Array(vec![]), "{run:#}");
    assert_eq!(run["untold"], 0, "{run:#}");
    assert!(run["crashes"].as_u64() > Some(0) && run["collisions"].as_u64() > Some(0), "{run:#}");
}
