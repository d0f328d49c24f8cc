//! A short soak: what the broker takes does not grow with what has come and gone.

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

/// What the ring of recent events and the state may still take in the second half, in KiB: both are bounded, and
/// neither is full after so short a time.
const GROWTH_KIB: u64 = 24 * 1024;

#[test]
fn nothing_is_left_of_peers_and_subscribers_that_are_gone() {
    let mut soak = Command::new(env!("CARGO_BIN_EXE_mesh-bench"));
    soak.args(["soak", "--seconds", "20", "--workers", "8", "--json", "--meshctl"]).arg(meshctl());
    let output = soak.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let result: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{errors}"));
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{result:#}"));
    for (what, left) in [("peers_online", 1), ("locks", 0), ("watches", 0)] {
        assert_eq!(number(&result[what]), left, "{what}: {result:#}");
    }
    let (before, after) = (&result["before"], &result["after"]);
    for what in ["files", "threads"] {
        assert!(number(&after[what]) <= number(&before[what]), "{what}: {result:#}");
    }
    assert!(number(&result["lives"]) > 100, "{result:#}");
    let of = |quarter: usize| number(&result["quarters"][quarter]["rss_kib"]);
    assert!(of(3) <= of(1) + GROWTH_KIB, "{result:#}");
    let threads = |quarter: usize| number(&result["quarters"][quarter]["threads"]);
    assert!(threads(3) <= threads(1) + 16, "threads that read the store: {result:#}");
}
