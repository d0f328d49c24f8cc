//! Many peers at random, judged by a naive reading of the rules after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Mesh, ended, name, scope, target};
use crate::command::{Acquire, AnswerRelease, Command, RequestRelease};
use crate::event::LeaveCause;
use crate::id::{PeerName, SessionId};
use crate::outcome::Outcome;
use crate::record::LockMode::{self, Exclusive, Shared};
use crate::record::{LockRecord, ReleaseAnswer, WaiterRecord};
use crate::rejection::Rejection;
use crate::target::Target;
use crate::time::Millis;

const PEERS: [&str; 6] = ["ann", "bob", "cid", "dan", "eve", "fay"];
const TARGETS: [&str; 9] = ["/", "a/", "a/x", "a/y", "b/", "b/x", "c", "task:t", "task:t/u"];

/// Numbers that are as good as random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn targets(&mut self, most: usize) -> Vec<Target> {
        let count = 1 + self.roll(most);
        let chosen: BTreeSet<&str> = (0..count).map(|_| TARGETS[self.roll(TARGETS.len())]).collect();
        chosen.into_iter().map(target).collect()
    }

    fn mode(&mut self) -> LockMode {
        if self.roll(3) == 0 { Shared } else { Exclusive }
    }
}

fn clash(left: LockMode, right: LockMode) -> bool {
    left == Exclusive || right == Exclusive
}

fn meet(left: &[Target], right: &[Target]) -> bool {
    left.iter().any(|left| right.iter().any(|right| left.intersects(right)))
}

/// What there is, and who waits for whom.
struct Picture {
    locks: Vec<Arc<LockRecord>>,
    waiters: Vec<Arc<WaiterRecord>>,
    edges: BTreeMap<PeerName, BTreeSet<PeerName>>,
}

impl Picture {
    fn of(mesh: &Mesh) -> Self {
        let locks = mesh.state.locks.list(None, None).cloned().collect();
        let waiters = mesh.state.locks.waiters(&scope()).cloned().collect();
        let mut picture = Self { locks, waiters, edges: BTreeMap::new() };
        let waiters = picture.waiters.clone();
        for waiter in &waiters {
            let holders: BTreeSet<PeerName> = picture.holders_in_the_way(waiter);
            picture.edges.entry(waiter.peer.clone()).or_default().extend(holders);
        }
        for (at, later) in waiters.iter().enumerate() {
            for earlier in &waiters[..at] {
                if picture.rivals(later, earlier) && !picture.leads(&earlier.peer, &later.peer) {
                    picture.edges.entry(later.peer.clone()).or_default().insert(earlier.peer.clone());
                }
            }
        }
        picture
    }

    fn holders_in_the_way(&self, waiter: &WaiterRecord) -> BTreeSet<PeerName> {
        let in_the_way = |lock: &&Arc<LockRecord>| {
            lock.holder != waiter.peer
                && clash(lock.mode, waiter.mode)
                && meet(std::slice::from_ref(&lock.target), &waiter.targets)
        };
        self.locks.iter().filter(in_the_way).map(|lock| lock.holder.clone()).collect()
    }

    /// True when the first wants something that the second wants too, and has not got it already.
    fn rivals(&self, first: &WaiterRecord, second: &WaiterRecord) -> bool {
        let has = |target: &&Target| {
            self.locks.iter().any(|lock| {
                let enough = lock.mode == Exclusive || lock.mode == first.mode;
                lock.holder == first.peer && enough && lock.target.covers(target)
            })
        };
        let wanted: Vec<Target> = first.targets.iter().filter(|target| !has(target)).cloned().collect();
        first.peer != second.peer && clash(first.mode, second.mode) && meet(&wanted, &second.targets)
    }

    fn leads(&self, from: &PeerName, to: &PeerName) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.clone()];
        while let Some(at) = open.pop() {
            for next in self.edges.get(&at).into_iter().flatten() {
                if next == to {
                    return true;
                }
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        false
    }

    fn check(&self) {
        for (at, left) in self.locks.iter().enumerate() {
            for right in &self.locks[at + 1..] {
                let apart = left.holder == right.holder || !clash(left.mode, right.mode);
                assert!(apart || !left.target.intersects(&right.target), "{left:?} and {right:?}");
            }
        }
        for peer in self.edges.keys() {
            assert!(!self.leads(peer, peer), "{peer} waits for itself: {:?}", self.edges);
        }
        for (at, waiter) in self.waiters.iter().enumerate() {
            let held = !self.holders_in_the_way(waiter).is_empty();
            let behind = self.waiters.iter().enumerate().any(|(other, rival)| {
                self.rivals(waiter, rival)
                    && if other < at {
                        !self.leads(&rival.peer, &waiter.peer)
                    } else {
                        self.leads(&waiter.peer, &rival.peer)
                    }
            });
            assert!(held || behind, "{waiter:?} can be granted: {:?}", self.locks);
        }
    }
}

/// What a peer does next.
fn command(mesh: &Mesh, dice: &mut Dice, who: &PeerName) -> Command {
    let note = String::new();
    match dice.roll(16) {
        0..=8 => {
            let wait = if dice.roll(4) == 0 { Millis::ZERO } else { Millis::seconds(60) };
            let ttl = Millis::seconds(20 + dice.roll(60) as u64);
            let (targets, mode, reason) = (dice.targets(3), dice.mode(), String::new());
            Command::Acquire(Acquire { targets, mode, ttl, reason, wait, contract: None })
        }
        9 => Command::Release { targets: Vec::new(), keep: Vec::new(), note },
        10..=12 => {
            let own: Vec<_> = mesh.state.locks.list(None, None).filter(|lock| lock.holder == *who).collect();
            let Some(lock) = own.get(dice.roll(own.len().max(1))) else { return Command::Leave };
            let inside = TARGETS.iter().map(|text| target(text)).filter(|other| lock.target.covers(other));
            let keep = inside.filter(|_| dice.roll(4) == 0).collect();
            Command::Release { targets: vec![lock.target.clone()], keep, note }
        }
        13 => {
            let own: Vec<_> =
                mesh.state.locks.waiters(&scope()).filter(|waiter| waiter.peer == *who).collect();
            let Some(waiter) = own.get(dice.roll(own.len().max(1))) else {
                return Command::Renew { targets: Vec::new(), ttl: None };
            };
            Command::Abandon { ticket: waiter.ticket }
        }
        14 => {
            let (targets, mode, reason) = (dice.targets(2), dice.mode(), String::new());
            match dice.roll(3) {
                0 => Command::ForceRelease { targets, reason: "now".into() },
                _ => Command::RequestRelease(RequestRelease { targets, mode, reason, urgent: false }),
            }
        }
        _ => {
            let asked = mesh.state.locks.release_requests(&scope()).find(|request| request.holder == *who);
            let Some(asked) = asked else { return Command::Renew { targets: Vec::new(), ttl: None } };
            let answers = [ReleaseAnswer::Keep, ReleaseAnswer::Release];
            let answer = answers[dice.roll(2)];
            Command::AnswerRelease(AnswerRelease { id: asked.id, answer, keep: Vec::new(), note })
        }
    }
}

fn step(mesh: &mut Mesh, dice: &mut Dice, sessions: &mut BTreeMap<&str, SessionId>) {
    let who = PEERS[dice.roll(PEERS.len())];
    match dice.roll(40) {
        0 => drop(sessions.insert(who, mesh.join(who))),
        1 => drop(mesh.ask(&ended(sessions[who], LeaveCause::Disconnected)).unwrap()),
        2..=5 => mesh.pass(Millis(dice.roll(15_000) as u64)),
        6 => mesh.restart(),
        _ => {
            let command = command(mesh, dice, &name(who));
            let acquire = if let Command::Acquire(acquire) = &command { Some(acquire.clone()) } else { None };
            let free = acquire.filter(|acquire| acquire.targets.len() == 1).map(|acquire| {
                mesh.state.is_free(&scope(), Some(&name(who)), &acquire.targets[0], acquire.mode)
            });
            match mesh.by(sessions[who], command) {
                Err(Rejection::SessionExpired { .. }) => drop(sessions.insert(who, mesh.join(who))),
                Err(Rejection::Deadlock { cycle }) => {
                    assert!(cycle.len() > 2 && cycle.first() == cycle.last())
                }
                Err(Rejection::LimitReached { .. }) => {}
                Err(other) => panic!("{other:?}"),
                Ok(outcome) => {
                    let granted = matches!(outcome, Outcome::Granted { .. });
                    assert!(free.is_none_or(|free| free == granted), "{free:?} {outcome:?}");
                }
            }
        }
    }
    mesh.pass(Millis::ZERO);
}

#[test]
fn at_no_time_do_locks_conflict_or_requests_wait_in_vain() {
    let (mut most, mut circles) = (0, 0);
    for seed in 1..=40_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut mesh = Mesh::default();
        let mut sessions: BTreeMap<&str, SessionId> =
            PEERS.iter().map(|who| (*who, mesh.join(who))).collect();
        for _ in 0..300 {
            step(&mut mesh, &mut dice, &mut sessions);
            let picture = Picture::of(&mesh);
            picture.check();
            most = most.max(picture.waiters.len());
            circles += picture.edges.values().filter(|edges| edges.len() > 1).count();
        }
        for _ in 0..200 {
            mesh.pass(Millis::minutes(1));
        }
        assert_eq!((mesh.state.locks.count(), mesh.state.locks.waiters(&scope()).count()), (0, 0), "{seed}");
        assert_eq!(mesh.state.locks.release_requests(&scope()).count(), 0, "{seed}");
    }
    assert!(most > 12 && circles > 100, "the queues are long: {most}, {circles}");
}
