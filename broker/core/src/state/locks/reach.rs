//! Who waits for whom, directly or through others.
//!
//! A peer that waits waits for those who hold what it wants. It waits also for those whose earlier requests want the
//! same, unless that would close a circle: then it passes them. The requests are taken in their order, so the same
//! locks and requests give the same answer; and as a request is refused that closes a circle of holders, there is
//! none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::outlook::{Outlook, Wish};
use crate::id::PeerName;
use crate::record::LockMode;
use crate::target::Target;

/// The peers of a scope that wait, and the paths between them.
#[derive(Debug)]
pub(super) struct Reach {
    names: Vec<PeerName>,
    places: BTreeMap<PeerName, usize>,
    /// Whom each waits for, as far as it does not follow from others.
    next: Vec<BTreeSet<usize>>,
    /// Whom each waits for, directly or through others.
    all: Vec<Bits>,
}

impl Reach {
    /// Between all that wait, and one more.
    pub(super) fn new(outlook: &Outlook<'_>, more: &PeerName) -> Self {
        let waiting = outlook.waiters().map(|waiter| &waiter.peer);
        let names: BTreeSet<PeerName> = waiting.chain([more]).cloned().collect();
        let names: Vec<PeerName> = names.into_iter().collect();
        let places = names.iter().cloned().enumerate().map(|(place, name)| (name, place)).collect();
        let next = vec![BTreeSet::new(); names.len()];
        let all = vec![Bits::none(names.len()); names.len()];
        let mut reach = Self { names, places, next, all };
        reach.link_holders(outlook);
        reach.link_earlier(outlook);
        reach
    }

    /// True when one waits for the other.
    pub(super) fn leads(&self, from: &PeerName, to: &PeerName) -> bool {
        let (from, to) = (self.places.get(from), self.places.get(to));
        from.zip(to).is_some_and(|(from, to)| self.all[*from].has(*to))
    }

    /// A shortest way from one of some peers to another, both named.
    pub(super) fn path<'a>(
        &self,
        from: impl Iterator<Item = &'a PeerName>,
        to: &PeerName,
    ) -> Option<Vec<PeerName>> {
        let to = *self.places.get(to)?;
        let starts: BTreeSet<usize> = from.filter_map(|name| self.places.get(name)).copied().collect();
        let mut came_from: BTreeMap<usize, Option<usize>> =
            starts.iter().map(|start| (*start, None)).collect();
        let mut open: VecDeque<usize> = starts.into_iter().collect();
        while let Some(at) = open.pop_front() {
            if at == to {
                let back = std::iter::successors(Some(at), |at| came_from.get(at).copied().flatten());
                let mut path: Vec<PeerName> = back.map(|at| self.names[at].clone()).collect();
                path.reverse();
                return Some(path);
            }
            for next in &self.next[at] {
                if !came_from.contains_key(next) {
                    came_from.insert(*next, Some(at));
                    open.push_back(*next);
                }
            }
        }
        None
    }

    fn link_holders(&mut self, outlook: &Outlook<'_>) {
        // Many may wait for the same.
        let mut known: BTreeMap<(&Target, bool), BTreeSet<usize>> = BTreeMap::new();
        let mut links: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for waiter in outlook.waiters() {
            let Some(from) = self.places.get(&waiter.peer) else { continue };
            for target in &waiter.targets {
                let holders =
                    known.entry((target, waiter.mode == LockMode::Exclusive)).or_insert_with(|| {
                        let targets = std::slice::from_ref(target);
                        let wish = Wish { peer: None, targets, mode: waiter.mode, ticket: None };
                        let locks = outlook.locks_in_the_way(&wish);
                        locks.filter_map(|(_, lock)| self.places.get(&lock.holder)).copied().collect()
                    });
                let others = holders.iter().filter(|holder| *holder != from);
                links.entry(*from).or_default().extend(others);
            }
        }
        for (from, to) in links {
            self.link(from, to);
        }
    }

    fn link_earlier(&mut self, outlook: &Outlook<'_>) {
        let mut claims: BTreeMap<&Target, Claims> = BTreeMap::new();
        let mut claimed = BTreeSet::new();
        for waiter in outlook.waiters() {
            let Some(from) = self.places.get(&waiter.peer).copied() else { continue };
            let exclusive = waiter.mode == LockMode::Exclusive;
            let mut ahead = Bits::none(self.names.len());
            let wants: Vec<&Target> = outlook.wants(&Wish::of(waiter)).collect();
            for claims in outermost(&wants).filter_map(|target| claims.get(target)) {
                ahead.add_all(if exclusive { &claims.all } else { &claims.exclusive });
            }
            let passes = |to: &usize| *to == from || self.all[from].has(*to) || self.all[*to].has(from);
            let new = ahead.iter().filter(|to| !passes(to)).collect();
            self.link(from, new);
            let targets: Vec<&Target> = waiter.targets.iter().collect();
            for target in outermost(&targets).filter(|target| claimed.insert((*target, from, exclusive))) {
                for other in outlook.wanted_too(target) {
                    let claims = claims.entry(other).or_insert_with(|| Claims::none(self.names.len()));
                    claims.add(from, exclusive);
                }
            }
        }
    }

    /// One waits for some others.
    fn link(&mut self, from: usize, to: BTreeSet<usize>) {
        if to.is_empty() {
            return;
        }
        let mut more = Bits::none(self.names.len());
        for to in &to {
            more.add(*to);
            more.add_all(&self.all[*to]);
        }
        self.next[from].extend(to);
        for (place, all) in self.all.iter_mut().enumerate() {
            if place == from || all.has(from) {
                all.add_all(&more);
            }
        }
    }
}

/// Who wants something that a target intersects.
#[derive(Debug)]
struct Claims {
    all: Bits,
    /// Those that do not share it.
    exclusive: Bits,
}

impl Claims {
    fn none(capacity: usize) -> Self {
        Self { all: Bits::none(capacity), exclusive: Bits::none(capacity) }
    }

    fn add(&mut self, peer: usize, exclusive: bool) {
        self.all.add(peer);
        if exclusive {
            self.exclusive.add(peer);
        }
    }
}

/// Targets but for those inside a directory among them: what intersects one of those intersects the directory.
fn outermost<'a, 'b>(targets: &'b [&'a Target]) -> impl Iterator<Item = &'a Target> + use<'a, 'b> {
    let is_inside = |target: &Target| {
        targets.iter().any(|outer| outer.is_subtree() && *outer != target && outer.covers(target))
    };
    targets.iter().copied().filter(move |target| !is_inside(target))
}

/// A set of small numbers.
#[derive(Clone, Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn none(capacity: usize) -> Self {
        Self(vec![0; capacity.div_ceil(64)])
    }

    fn has(&self, bit: usize) -> bool {
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }

    fn add(&mut self, bit: usize) {
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * 64).filter(|bit| self.has(*bit))
    }

    fn add_all(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }
}
