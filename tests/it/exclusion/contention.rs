//! Many clients on overlapping targets, some refused at once, some waiting in the queue; judged by the history alone.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_client::proto::event::Event;
use mesh_client::proto::{Lock, LockMode, LockWaiter};
use mesh_client::{Acquired, Session};
use mesh_tests::{Mesh, events, history, lock, share, within};
use tokio::task::JoinSet;

const CLIENTS: usize = 50;
const ROUNDS: usize = 12;

/// What is locked, with everything that there is in it of [`ATOMS`]: overlap, written a second time and by hand.
const CONTENDED: [(&[&str], &[usize]); 12] = [
    (&["src/a.rs"], &[0, 1, 2]),
    (&["src/"], &[0, 1, 2, 3, 4, 5, 9]),
    (&["src/b.rs", "docs/x.md"], &[3, 6]),
    (&["/"], &[0, 1, 2, 3, 4, 5, 6, 7, 9]),
    (&["src/deep/c.rs"], &[4]),
    (&["docs/"], &[6, 7]),
    (&["src/deep/", "docs/x.md"], &[4, 5, 6]),
    (&["src/*.rs"], &[0, 1, 2, 3, 9]),
    (&["src/**/c.*", "docs/[y-z].md"], &[4, 7, 9]),
    (&["src/a.rs#Parser"], &[0, 1]),
    (&["src/a.rs#Parser::next"], &[0]),
    (&["api:billing", "src/a.rs#Lexer"], &[2, 8]),
];

/// The parts of the world that [`CONTENDED`] tells apart.
const ATOMS: [&str; 10] = [
    "src/a.rs#Parser::next",
    "src/a.rs#Parser",
    "src/a.rs#Lexer",
    "src/b.rs",
    "src/deep/c.rs",
    "src/deep/d.rs",
    "docs/x.md",
    "docs/y.md",
    "api:billing",
    "src/c.rs",
];

#[derive(Debug, Default)]
struct Tally {
    grants: usize,
    refusals: usize,
    deadlocks: usize,
}

async fn contender(session: Session, number: usize) -> Tally {
    let mut tally = Tally::default();
    for round in 0..ROUNDS {
        let (paths, _) = CONTENDED[(number * 5 + round * 7) % CONTENDED.len()];
        let request = if (number + round).is_multiple_of(3) { lock(paths) } else { share(paths) };
        let patience = if round.is_multiple_of(2) { Duration::from_secs(60) } else { Duration::ZERO };
        match session.acquire_wait(request, patience).await {
            Ok(Acquired::Refused(_)) => tally.refusals += 1,
            Ok(Acquired::Granted(_)) => {
                tally.grants += 1;
                session.heartbeat().await.unwrap();
                // Some ask for more while they hold, and for that without patience.
                if (number + round).is_multiple_of(5) {
                    let more = CONTENDED[(number + round) % CONTENDED.len()].0;
                    let more = session.acquire_wait(share(more), Duration::from_secs(60)).await;
                    match more {
                        Ok(Acquired::Granted(_)) => tally.grants += 1,
                        Ok(Acquired::Refused(_)) => tally.refusals += 1,
                        Err(_) => tally.deadlocks += 1,
                    }
                }
                session.release(vec![]).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    tally
}

/// Who holds what and who waits, as the history tells it.
#[derive(Default)]
struct Table {
    held: BTreeMap<(String, String), LockMode>,
    /// The largest token so far of each part of the world.
    tokens: [u64; ATOMS.len()],
    waiting: BTreeMap<u64, LockWaiter>,
    handed_over: usize,
}

fn atoms(path: &str) -> Vec<usize> {
    let direct = |(paths, atoms): &(&[&str], &'static [usize])| (paths == &[path]).then_some(*atoms);
    if let Some(atoms) = CONTENDED.iter().find_map(direct) {
        return atoms.to_vec();
    }
    match path {
        "src/b.rs" => vec![3],
        "docs/x.md" => vec![6],
        "src/deep/" => vec![4, 5],
        "src/**/c.*" => vec![4, 9],
        "docs/[y-z].md" => vec![7],
        "api:billing" => vec![8],
        "src/a.rs#Lexer" => vec![2],
        other => panic!("{other} is nothing that was asked for"),
    }
}

fn overlap(one: &str, other: &str) -> bool {
    let other = atoms(other);
    atoms(one).iter().any(|atom| other.contains(atom))
}

impl Table {
    fn granted(&mut self, new: &Lock) {
        for ((path, holder), mode) in &self.held {
            let exclusive = *mode == LockMode::Exclusive || new.mode() == LockMode::Exclusive;
            let conflict = *holder != new.holder && exclusive && overlap(path, &new.path);
            assert!(!conflict, "{} got {} while {holder} held {path}", new.holder, new.path);
        }
        for atom in atoms(&new.path) {
            let before = self.tokens[atom];
            // One peer's own locks may overlap in one grant; nothing is granted twice with one token otherwise.
            assert!(new.fencing_token >= before, "{} of {} after {before}", new.fencing_token, new.path);
            self.tokens[atom] = new.fencing_token;
        }
    }

    fn happened(&mut self, event: &Event) {
        match event {
            Event::FileLocked(granted) => {
                for new in &granted.locks {
                    self.granted(new);
                }
                for new in &granted.locks {
                    self.held.insert((new.path.clone(), new.holder.clone()), new.mode());
                }
                if granted.ticket != 0 {
                    self.handed_over += 1;
                    assert!(
                        self.waiting.remove(&granted.ticket).is_some(),
                        "{} did not wait",
                        granted.ticket
                    );
                }
            }
            Event::FileUnlocked(ended) => {
                for path in &ended.paths {
                    assert!(self.held.remove(&(path.clone(), ended.holder.clone())).is_some());
                }
            }
            Event::LockQueued(queued) => {
                let waiter = queued.waiter.clone().unwrap();
                self.waiting.insert(waiter.ticket, waiter);
            }
            Event::LockWaitEnded(ended) => assert!(self.waiting.remove(&ended.ticket).is_some()),
            _ => {}
        }
    }

    /// After each revision the first in the queue has something of another peer in its way.
    fn assert_the_first_must_wait(&self, revision: u64) {
        let Some(first) = self.waiting.values().next() else { return };
        let in_the_way = self.held.iter().any(|((path, holder), mode)| {
            let exclusive = *mode == LockMode::Exclusive || first.mode() == LockMode::Exclusive;
            *holder != first.peer && exclusive && first.paths.iter().any(|wanted| overlap(path, wanted))
        });
        assert!(in_the_way, "nothing is in the way of {first:?} at {revision}");
    }
}

#[tokio::test]
async fn fifty_clients_contending_never_hold_conflicting_locks_at_any_revision() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut contenders = JoinSet::new();
    for number in 0..CLIENTS {
        let session = mesh.join_unattended(&format!("peer-{number}")).await;
        contenders.spawn(contender(session, number));
    }
    let tallies = within("the contenders", contenders.join_all()).await;
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    let (grants, refusals) = (sum(|tally| tally.grants), sum(|tally| tally.refusals));
    assert!(grants > CLIENTS && refusals > CLIENTS, "no contention: {grants} grants, {refusals} refusals");
    let mut table = Table::default();
    for batch in history(&mesh.client(), 1).await {
        for event in events(&batch) {
            table.happened(event);
        }
        table.assert_the_first_must_wait(batch.revision);
    }
    assert!(table.handed_over > CLIENTS, "{} hand-overs", table.handed_over);
    assert!(table.held.is_empty() && table.waiting.is_empty(), "{:?} {:?}", table.held, table.waiting);
}
