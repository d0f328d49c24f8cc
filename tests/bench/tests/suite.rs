//! A small suite: every row works on every server that is here, however fast.

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
fn every_row_is_measured_on_both_ways_and_names_what_is_missing() {
    let mut suite = Command::new(env!("CARGO_BIN_EXE_mesh-bench"));
    suite.args(["suite", "--quick", "--rounds", "1", "--seconds", "1", "--json", "--meshctl"]).arg(meshctl());
    let output = suite.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let result: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{errors}"));
    let figures = result["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 15, "{result:#}");
    for figure in figures {
        let servers = figure["servers"].as_array().unwrap();
        for way in ["mesh (Unix)", "mesh (TCP)"] {
            assert!(servers.iter().any(|server| server["server"] == way), "{figure:#}");
        }
        assert!(servers.iter().all(|server| server["count"].as_u64() > Some(0)), "{figure:#}");
        assert!(figure["missing"].is_array(), "{figure:#}");
    }
    let sheets = result["sheets"].as_array().unwrap();
    assert_eq!(sheets.len(), 10, "{result:#}");
    for sheet in sheets {
        let lines = sheet["lines"].as_array().unwrap();
        assert!(!lines.is_empty() && sheet["missing"].is_array(), "{sheet:#}");
        for line in lines {
            let numbers = line["numbers"].as_object().unwrap();
            assert!(!numbers.is_empty(), "{sheet:#}");
            assert!(numbers.values().all(|number| number["median"].as_f64() >= Some(0.0)), "{sheet:#}");
        }
    }
}
