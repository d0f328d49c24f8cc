//! The wire: any calls, in any order, of anybody, against a broker in memory.
//!
//! Each is answered, or refused with a reason; afterwards no two peers hold conflicting locks, and what a restart finds on
//! the disk is what was there.

mod broker;
mod made;

use mesh_core::State;
use mesh_core::record::{LockMode, Record};

use self::broker::{Broker, Credentials};
use self::made::Maker;
use crate::choices::Choices;

pub(crate) const TARGET: crate::Target = crate::Target {
    name: "wire",
    run,
    seeds,
    words: &[
        "\u{1}",
        "\u{2}",
        "\u{12}",
        "\u{1a}",
        "\u{22}",
        "\0\0\0\0\0\0",
        "\u{7f}\u{7f}",
        "src/",
        "fox",
        "\u{3}\u{4}\u{5}\u{6}\u{7}",
    ],
    cases: 700,
};

/// Calls of one case at most.
const CALLS: usize = 24;

/// Every method with its first fields, alone and after others.
fn seeds() -> Vec<Vec<u8>> {
    let bytes = |method: u8| -> Vec<u8> {
        (0..24).map(|at: u8| at.wrapping_mul(method.wrapping_mul(7) | 1)).collect()
    };
    let alone = (0..made::methods()).map(|method| [&[method, 1][..], &bytes(method)].concat());
    let several = (0..made::methods()).map(|from| {
        (0..12)
            .flat_map(|step| [vec![from.wrapping_add(step * 5), 1 + step % 3], bytes(from ^ step)].concat())
            .collect()
    });
    let raw = (0..made::methods()).map(|method| [&[method, 0x81, 6][..], &[0x0a, 4], b"a/b\xff"].concat());
    alone.chain(several).chain(raw).collect()
}

fn run(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::start().await;
        calls(&broker, bytes).await;
        let (before, after) = broker.restart();
        assert_eq!(before, after, "a restart finds what was there");
    });
}

/// Makes the calls that the bytes say.
async fn calls(broker: &Broker, bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    for _ in 0..CALLS {
        if choices.is_empty() {
            break;
        }
        let method = made::method(choices.byte());
        let flags = choices.byte();
        let who = match flags & 3 {
            0 => Credentials::None,
            1 => Credentials::Peer(0),
            2 => Credentials::Peer(1),
            _ => Credentials::Nonsense,
        };
        let message = if flags & 0x80 == 0 {
            Maker::new(&mut choices, broker.met()).message(&method.input())
        } else {
            let length = usize::from(choices.byte());
            choices.take(length).to_vec()
        };
        broker.call(&method, who, message).await;
        exclusive(&broker.view());
    }
}

/// No two peers hold what is the other's.
fn exclusive(state: &State) {
    let locks: Vec<_> = state.locks.list(None, None).cloned().collect();
    for (at, one) in locks.iter().enumerate() {
        for two in &locks[at + 1..] {
            let share = one.mode == LockMode::Shared && two.mode == LockMode::Shared;
            let both =
                one.scope == two.scope && one.holder != two.holder && one.target.intersects(&two.target);
            assert!(share || !both, "{one:?} and {two:?} are both held");
        }
    }
}

/// All that a state holds, in an order of its own.
fn contents(state: &State) -> Vec<Record> {
    let heads = state.heads(None).cloned().map(Record::Scope);
    let peers = state.peers.list(None, None).cloned().map(Record::Peer);
    let locks = state.locks.list(None, None).cloned().map(Record::Lock);
    let entries = state.entries.all(None).cloned().map(Record::Entry);
    heads.chain(peers).chain(locks).chain(entries).collect()
}

/// What the store of a mesh holds in which a good deal was done: keys and values.
pub(crate) fn stored() -> Vec<(Vec<u8>, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::start().await;
        for seed in seeds() {
            calls(&broker, &seed).await;
        }
        broker.stored()
    })
}
