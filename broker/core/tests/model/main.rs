//! The core against a naive model of it: random requests, time and restarts, compared after each step.

mod harness;
mod log;
mod naive;
mod world;

use harness::Harness;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/regressions.txt");

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_core_does_as_the_naive_model(ops in world::ops()) {
        let mut harness = Harness::default();
        for op in &ops {
            harness.step(op);
        }
        harness.finish();
    }
}

/// What the random requests must come upon, or the comparison proves little.
const KINDS: [&str; 41] = [
    "FileLocked",
    "FileUnlocked Expired",
    "FileUnlocked Left",
    "FileUnlocked Released",
    "FileUnlocked SessionEnded",
    "InvalidField",
    "KeyExists",
    "KeyNotFound",
    "LockNotHeld",
    "MessageSent",
    "PeerJoined",
    "PeerLeft Disconnected",
    "PeerLeft Expired",
    "PeerLeft Left",
    "PeerLeft Replaced",
    "PeerNameTaken",
    "PeerNotFound",
    "PeerUpdated",
    "PermissionDenied",
    "SessionExpired",
    "SessionRequired",
    "StateChanged",
    "StateDeleted Deleted",
    "StateDeleted Expired",
    "VersionMismatch",
    "answer Acknowledged",
    "answer Conflicts",
    "answer Done",
    "answer Released",
    "answer Renewed",
    "answer Updated",
    "commit Acknowledged",
    "commit Deleted",
    "commit Done",
    "commit Granted",
    "commit Joined",
    "commit Released",
    "commit Renewed",
    "commit Sent",
    "commit Updated",
    "commit Written",
];

#[test]
fn random_requests_reach_every_kind_of_decision() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..48 {
        let ops = world::ops().new_tree(&mut runner).expect("operations").current();
        let mut harness = Harness::default();
        ops.iter().for_each(|op| harness.step(op));
        seen.append(&mut harness.seen);
    }
    let missed: Vec<&str> = KINDS.into_iter().filter(|kind| !seen.contains(*kind)).collect();
    assert_eq!(missed, [""; 0], "of {seen:#?}");
}
