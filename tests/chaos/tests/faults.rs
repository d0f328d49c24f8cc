//! A short run of each kind of fault on real processes, with a seed of its own each time, which it prints.

use std::time::{SystemTime, UNIX_EPOCH};

use mesh_chaos::victim::Victims;
use mesh_chaos::{kills, storm};

fn seed() -> u64 {
    u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos())
}

fn victims() -> Victims {
    Victims::of(env!("CARGO_BIN_EXE_mesh-chaos").into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_break_no_promise() {
    let seed = seed();
    eprintln!("seed {seed}");
    let report = kills::run(seed, 50, &victims()).await.unwrap();
    eprintln!("{report}");
    assert_eq!(report.violations, []);
    assert!(report.acknowledged > 500, "no load");
    assert!(report.grants > 50, "no locks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pauses_and_cut_connections_break_no_promise() {
    let seed = seed();
    eprintln!("seed {seed}");
    let report = storm::run(seed, 40, &victims()).await.unwrap();
    eprintln!("{report}");
    assert_eq!(report.violations, []);
    assert!(report.acknowledged > 500, "no load");
}
