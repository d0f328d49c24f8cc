//! One noisy peer cannot starve the rest: counted in requests, not in time.

use tokio::task::JoinSet;

use super::{Bench, by, put};
use crate::queue::{CallError, Reply};

#[test]
fn a_quiet_peer_is_served_between_the_requests_of_noisy_ones() {
    let mut bench = Bench::new();
    let noisy: Vec<_> = ["ann", "bob", "cat"].into_iter().map(|who| bench.join(who)).collect();
    let quiet = bench.join("dan");
    let before = bench.seen.view.revision().0;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut flood, mut calls) = (JoinSet::<Result<Reply, CallError>>::new(), JoinSet::new());
    let ask = |asked: &mut JoinSet<_>, session, key: String| {
        let (handle, request) = (bench.handle.clone(), by(session, put(&key, "x".repeat(200))));
        asked.spawn_on(async move { handle.submit(request).await }, runtime.handle());
    };
    for n in 0..1_000 {
        noisy.iter().for_each(|session| ask(&mut flood, *session, format!("{session:?}/{n}")));
    }
    for n in 0..10 {
        ask(&mut calls, quiet, format!("quiet/{n}"));
    }
    runtime.block_on(async {
        while bench.handle.depth() < 3_010 {
            tokio::task::yield_now().await;
        }
    });
    bench.turn().unwrap();
    let served = |asked: JoinSet<Result<Reply, CallError>>| {
        let mut at: Vec<u64> = runtime
            .block_on(asked.join_all())
            .into_iter()
            .map(|answer| answer.unwrap().revision.0 - before)
            .collect();
        at.sort_unstable();
        at
    };
    let quiet = served(calls);
    for (n, at) in (1..).zip(&quiet) {
        assert!(*at <= 4 * n, "{quiet:?}: one of each noisy peer before each of the quiet one's");
    }
    assert_eq!(served(flood).len(), 3_000, "and the noisy ones are served too");
}
