//! The loss of power, from the system calls of a real broker.

#![cfg(target_os = "linux")]
#![expect(clippy::print_stderr, reason = "a test prints its seed")]

use std::time::{SystemTime, UNIX_EPOCH};

use mesh_chaos::dice::Dice;
use mesh_chaos::power::recording::{End, Recording};
use mesh_chaos::power::{cuts, synced};

fn dice() -> Dice {
    let seed = u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos());
    eprintln!("seed {seed}");
    Dice::new(seed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_survives_a_power_cut_at_any_instant() {
    let mut dice = dice();
    let ends = [End::Killed, End::Asked, End::Killed, End::Asked];
    let recording = Recording::make(&[], &ends, 30, &mut dice).await.unwrap();
    let mut answers = 0;
    for life in &recording.lives {
        let (good, early) = synced::check(life).unwrap();
        assert_eq!(early, []);
        answers += good;
    }
    assert!(answers > 100, "{answers} answers");
    let outcome = cuts::run(&recording, 60, &mut dice).await.unwrap();
    eprintln!("{answers} answers after their sync; {outcome:#?}");
    assert_eq!(outcome.violations, [""; 0]);
    assert!(outcome.with_pending > 10, "nothing was there to be lost: {outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_its_sync_is_found() {
    let mut dice = dice();
    let recording =
        Recording::make(&["--durability", "process"], &[End::Asked], 30, &mut dice).await.unwrap();
    let (good, early) = synced::check(&recording.lives[0]).unwrap();
    // sled syncs twice a second of its own accord, which may come in time for some.
    assert!(early.len() > good, "{} of {} answers", early.len(), early.len() + good);
    assert!(early.iter().all(|early| early.why.starts_with("nothing synced the file")), "{early:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_only_with_the_operating_system_is_gone_after_a_power_cut() {
    let mut dice = dice();
    let recording =
        Recording::make(&["--durability", "process"], &[End::Killed], 30, &mut dice).await.unwrap();
    let outcome = cuts::run(&recording, 20, &mut dice).await.unwrap();
    assert!(!outcome.violations.is_empty(), "the simulated device keeps what nobody synced: {outcome:?}");
}
