//! The core against a naive model of it: random requests, time and restarts, compared as they go.
//!
//! Each aggregate has histories that are mostly about it, and there are some about all of them, short and long ones.
//! `MESH_CASES=N` runs N histories in each test in place of the number it has. A failure prints the shortest history
//! that fails and its seed, which is kept in `regressions.txt` and tried first from then on.

mod harness;
mod log;
mod naive;
mod world;

use std::collections::BTreeSet;
use std::ops::Range;

use harness::Harness;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestRng, TestRunner};
use world::Focus;

const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/regressions.txt");

/// Histories of each kind, so that together there are more than ten thousand.
const CASES: u32 = 1_700;
/// Operations of a short and of a long history.
const SHORT: Range<usize> = 1..80;
const LONG: Range<usize> = 160..320;

fn check(focus: Focus, cases: u32, length: Range<usize>) {
    #[expect(clippy::disallowed_methods, reason = "the test, not the core, is told how much to do")]
    let asked = std::env::var("MESH_CASES").ok();
    let config = Config {
        cases: asked.map_or(cases, |cases| cases.parse().expect("MESH_CASES is a number")),
        // Half of the time would be spent on better numbers.
        rng_algorithm: RngAlgorithm::XorShift,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&world::ops(focus, length), |ops| {
        Harness::new(8).run(&ops);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn peers_come_and_go_as_in_the_naive_model() {
    check(Focus::Peers, CASES, SHORT);
}

#[test]
fn locks_are_held_and_waited_for_as_in_the_naive_model() {
    check(Focus::Locks, CASES, SHORT);
}

#[test]
fn entries_are_written_and_merged_as_in_the_naive_model() {
    check(Focus::Entries, CASES, SHORT);
}

#[test]
fn messages_are_sent_and_read_as_in_the_naive_model() {
    check(Focus::Messages, CASES, SHORT);
}

#[test]
fn files_are_touched_as_in_the_naive_model() {
    check(Focus::Touches, CASES, SHORT);
}

#[test]
fn everything_goes_together_as_in_the_naive_model() {
    check(Focus::Everything, CASES, SHORT);
}

#[test]
fn long_histories_go_as_in_the_naive_model() {
    check(Focus::Everything, 60, LONG);
    check(Focus::Locks, 60, LONG);
}

/// What the random requests must come upon, or the comparison proves little.
const KINDS: [&str; 101] = [
    "ContractChanged",
    "ContractChanged deleted",
    "ContractChanged expired",
    "Deadlock",
    "Fenced",
    "FileLocked",
    "FileLocked after waiting",
    "FileTouched",
    "FileUnlocked Expired",
    "FileUnlocked Forced",
    "FileUnlocked Left",
    "FileUnlocked Narrowed",
    "FileUnlocked Released",
    "FileUnlocked SessionEnded",
    "InvalidField contract",
    "InvalidField follow",
    "InvalidField keep",
    "InvalidField operations",
    "InvalidField reason",
    "InvalidField to",
    "InvalidField touches",
    "InvalidField unfollow",
    "InvalidField up_to_revision",
    "InvalidField value",
    "KeyExists",
    "KeyNotFound",
    "LockNotHeld",
    "LockQueued",
    "LockReleaseAnswered Keep",
    "LockReleaseAnswered Narrow",
    "LockReleaseAnswered Release",
    "LockReleaseRequested",
    "LockWaitEnded Cancelled",
    "LockWaitEnded SessionEnded",
    "LockWaitEnded TimedOut",
    "MessageIdReused",
    "MessageSent",
    "OverwriteNeedsVersion",
    "PeerJoined",
    "PeerJoined again",
    "PeerLeft Disconnected",
    "PeerLeft Expired",
    "PeerLeft Left",
    "PeerLeft Replaced",
    "PeerNameTaken",
    "PeerNotFound",
    "PeerUpdated",
    "PeerUpdated with sub-agents",
    "PermissionDenied",
    "PolicyChanged None",
    "PolicyChanged Some(Append)",
    "PolicyChanged Some(LastWriteWins)",
    "PolicyChanged Some(MergePatch)",
    "PolicyChanged Some(RequireVersion)",
    "ReleaseRequestNotFound",
    "SessionExpired",
    "SessionRequired",
    "StateChanged",
    "StateDeleted Deleted",
    "StateDeleted Expired",
    "VersionMismatch",
    "VersionNotFound",
    "answer Acknowledged",
    "answer Conflicts with locks",
    "answer Conflicts with requests",
    "answer Done",
    "answer Following",
    "answer Forced",
    "answer ReleaseRequested",
    "answer Released",
    "answer Released and kept",
    "answer Renewed",
    "answer Sent again",
    "answer Transacted",
    "answer Updated",
    "commit Acknowledged",
    "commit Deleted",
    "commit Done",
    "commit Following",
    "commit Forced",
    "commit Granted",
    "commit Joined",
    "commit Queued",
    "commit ReleaseRequested",
    "commit Released",
    "commit Released and kept",
    "commit Renewed",
    "commit Sent",
    "commit Transacted",
    "commit Updated",
    "commit Written",
    "due Entry",
    "due Handover",
    "due Lock",
    "due Message",
    "due Past",
    "due Peer",
    "due ReleaseRequest",
    "due Session",
    "due Touch",
    "due Waiter",
];

#[test]
fn random_requests_reach_every_kind_of_decision() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::XorShift);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut seen = BTreeSet::new();
    for focus in Focus::ALL {
        for _ in 0..80 {
            let ops = world::ops(focus, LONG).new_tree(&mut runner).expect("operations").current();
            let mut harness = Harness::new(u64::MAX);
            harness.run(&ops);
            seen.append(&mut harness.seen);
        }
    }
    let missed: Vec<&str> = KINDS.into_iter().filter(|kind| !seen.contains(*kind)).collect();
    assert_eq!(missed, [""; 0], "of {seen:#?}");
}
