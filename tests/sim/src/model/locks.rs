//! Locks: who holds what, who waits for what, and who must have it by now.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::event::{UnlockCause, WaitEndCause};
use mesh_core::id::{PeerName, ScopeId, SessionId};
use mesh_core::limits::LOCK_DELAY;
use mesh_core::record::{LockMode, LockRecord, LogRecord, WaiterRecord};
use mesh_core::revision::Ticket;
use mesh_core::target::Target;

use super::Broken;
use super::peers::Peers;
use super::signs::Signs;

/// A lock that is held, or was.
#[derive(Clone, Debug)]
struct Held {
    mode: LockMode,
    token: u64,
    session: SessionId,
    ttl: u64,
    /// When it was granted or last renewed.
    since: u64,
}

/// A grant, for the answers that tell of it.
#[derive(Clone, Debug)]
pub struct Grant {
    /// To which session.
    pub session: SessionId,
    /// The revision at which it was over.
    pub ended: Option<u64>,
}

#[derive(Clone, Debug)]
struct Waiter {
    scope: ScopeId,
    peer: PeerName,
    session: SessionId,
    targets: Vec<String>,
    mode: LockMode,
    until: u64,
}

type Name = (ScopeId, String, PeerName);

/// All of them.
#[derive(Debug, Default)]
pub struct Locks {
    held: BTreeMap<Name, Held>,
    waiters: BTreeMap<Ticket, Waiter>,
    grants: BTreeMap<(ScopeId, String, PeerName, u64), Grant>,
    /// Scopes in which some grants are still to follow.
    handovers: BTreeSet<ScopeId>,
    /// Scopes that have changed since the queue was last looked at.
    changed: BTreeSet<ScopeId>,
}

/// Whether two targets have something in common: files, subjects, and subtrees, which end with a slash.
#[must_use]
pub fn overlap(left: &str, right: &str) -> bool {
    let within = |tree: &str, path: &str| tree.ends_with('/') && path.starts_with(tree);
    left == right || within(left, right) || within(right, left)
}

fn clash(left: LockMode, right: LockMode) -> bool {
    left == LockMode::Exclusive || right == LockMode::Exclusive
}

impl Locks {
    pub(super) fn granted(
        &mut self,
        log: &LogRecord,
        locks: &[std::sync::Arc<LockRecord>],
        ticket: Option<Ticket>,
        peers: &Peers,
    ) -> Result<(), Broken> {
        self.changed.insert(log.scope.clone());
        if let Some(ticket) = ticket {
            self.in_turn(ticket, locks)?;
        } else if let Some(first) = locks.first() {
            self.not_past_the_queue(log, first, locks)?;
        }
        for lock in locks {
            if peers.lives(lock.session).is_none() {
                return Err(("exclusion", format!("{} is granted to somebody who is gone", lock.target)));
            }
            if lock.token.0 != log.revision {
                let what = format!("{} is granted with token {}", lock.target, lock.token.0.0);
                return Err(("fencing tokens rise", what));
            }
            let others = self
                .held
                .iter()
                .filter(|((scope, _, holder), _)| *scope == lock.scope && *holder != lock.holder);
            for ((_, target, holder), held) in others {
                if clash(held.mode, lock.mode) && overlap(target, lock.target.as_str()) {
                    let what = format!("{} gets {} while {holder} holds {target}", lock.holder, lock.target);
                    return Err(("exclusion", what));
                }
            }
            self.hold(log, lock);
        }
        Ok(())
    }

    fn hold(&mut self, log: &LogRecord, lock: &LockRecord) {
        let name = (lock.scope.clone(), lock.target.to_string(), lock.holder.clone());
        let held = Held {
            mode: lock.mode,
            token: lock.token.0.0,
            session: lock.session,
            ttl: lock.ttl.0,
            since: log.at.0,
        };
        if let Some(former) = self.held.insert(name.clone(), held) {
            self.close(&name, former.token, log.revision.0);
        }
        let grant = Grant { session: lock.session, ended: None };
        self.grants.insert((name.0, name.1, name.2, lock.token.0.0), grant);
    }

    fn close(&mut self, name: &Name, token: u64, revision: u64) {
        if let Some(grant) = self.grants.get_mut(&(name.0.clone(), name.1.clone(), name.2.clone(), token)) {
            grant.ended = Some(revision);
        }
    }

    /// All of a request or nothing, and nobody before those who came first.
    fn in_turn(&mut self, ticket: Ticket, locks: &[std::sync::Arc<LockRecord>]) -> Result<(), Broken> {
        let Some(waiter) = self.waiters.remove(&ticket) else {
            return Err(("fair queue", format!("ticket {} is granted and waits for nothing", ticket.0.0)));
        };
        let granted: BTreeSet<&str> = locks.iter().map(|lock| lock.target.as_str()).collect();
        for target in &waiter.targets {
            let name = (waiter.scope.clone(), target.clone(), waiter.peer.clone());
            if !granted.contains(target.as_str()) && !self.held.contains_key(&name) {
                let what = format!("ticket {} is granted without {target}", ticket.0.0);
                return Err(("all or nothing", what));
            }
        }
        let fresh = waiter.targets.iter().filter(|target| !self.covers(&waiter.scope, &waiter.peer, target));
        let fresh: Vec<String> = fresh.cloned().collect();
        let wish = Wish { scope: &waiter.scope, peer: &waiter.peer, targets: &fresh, mode: waiter.mode };
        self.first_in_line(&wish, Some(ticket))
    }

    fn not_past_the_queue(
        &self,
        log: &LogRecord,
        first: &LockRecord,
        locks: &[std::sync::Arc<LockRecord>],
    ) -> Result<(), Broken> {
        // What is held in place of wider locks, or taken up again, was the holder's all the time.
        let narrowed =
            log.events.iter().any(|event| matches!(event, mesh_core::event::Event::FileUnlocked { .. }));
        let fresh = locks.iter().map(|lock| lock.target.to_string());
        let fresh: Vec<String> =
            fresh.filter(|target| !self.covers(&first.scope, &first.holder, target)).collect();
        if narrowed || fresh.is_empty() {
            return Ok(());
        }
        let wish = Wish { scope: &first.scope, peer: &first.holder, targets: &fresh, mode: first.mode };
        self.first_in_line(&wish, None)
    }

    /// Whether a peer holds something that covers a target.
    fn covers(&self, scope: &ScopeId, peer: &PeerName, target: &str) -> bool {
        self.held.keys().any(|(at, held, holder)| {
            at == scope
                && holder == peer
                && (held == target || (held.ends_with('/') && target.starts_with(held.as_str())))
        })
    }

    /// Nobody before it wants the same, but for those who can only be served after it.
    fn first_in_line(&self, wish: &Wish<'_>, ticket: Option<Ticket>) -> Result<(), Broken> {
        for (earlier, other) in &self.waiters {
            if ticket.is_some_and(|ticket| *earlier > ticket) || !wish.wants_what(other) {
                continue;
            }
            if self.waits_for(wish.scope, &other.peer, wish.peer) {
                continue;
            }
            let what = format!("{} gets {:?} before ticket {}", wish.peer, wish.targets, earlier.0.0);
            return Err(("fair queue", what));
        }
        Ok(())
    }

    /// Whether a peer waits for another, directly or through others.
    fn waits_for(&self, scope: &ScopeId, from: &PeerName, to: &PeerName) -> bool {
        let (mut open, mut seen) = (vec![from.clone()], BTreeSet::new());
        while let Some(peer) = open.pop() {
            if peer == *to {
                return true;
            }
            if !seen.insert(peer.clone()) {
                continue;
            }
            for (ticket, waiter) in self.waiters.iter().filter(|(_, w)| w.scope == *scope && w.peer == peer) {
                open.extend(self.holders_in_the_way(waiter));
                let wish = Wish { scope, peer: &peer, targets: &waiter.targets, mode: waiter.mode };
                let earlier = self.waiters.iter().filter(|(other, _)| *other < ticket);
                open.extend(earlier.filter(|(_, other)| wish.wants_what(other)).map(|(_, o)| o.peer.clone()));
            }
        }
        false
    }

    fn holders_in_the_way<'a>(&'a self, waiter: &'a Waiter) -> impl Iterator<Item = PeerName> + 'a {
        let others = self.held.iter().filter(|((scope, target, holder), held)| {
            *scope == waiter.scope
                && *holder != waiter.peer
                && clash(held.mode, waiter.mode)
                && waiter.targets.iter().any(|wanted| overlap(wanted, target))
        });
        others.map(|((_, _, holder), _)| holder.clone())
    }

    pub(super) fn ended(
        &mut self,
        log: &LogRecord,
        holder: &PeerName,
        targets: &[Target],
        cause: UnlockCause,
        peers: &Peers,
        signs: &Signs,
    ) -> Result<(), Broken> {
        self.changed.insert(log.scope.clone());
        for target in targets {
            let name = (log.scope.clone(), target.to_string(), holder.clone());
            let Some(held) = self.held.remove(&name) else {
                return Err(("exclusion", format!("{holder} loses {target}, which it did not hold")));
            };
            self.close(&name, held.token, log.revision.0);
            Self::may_end(log, &name, &held, cause, peers, signs)?;
        }
        Ok(())
    }

    fn may_end(
        log: &LogRecord,
        (_, target, holder): &Name,
        held: &Held,
        cause: UnlockCause,
        peers: &Peers,
        signs: &Signs,
    ) -> Result<(), Broken> {
        let (at, since) = (log.at.0, signs.since_start(held.since));
        let by_ttl = since + held.ttl;
        let over = peers.get(held.session).and_then(|session| session.ended).map(|(at, _)| at);
        let by_delay = over.map(|over| signs.since_start(over) + LOCK_DELAY.0.min(held.ttl));
        let due = match cause {
            UnlockCause::Expired => by_ttl,
            UnlockCause::SessionEnded => by_delay.map_or(by_ttl, |delay| delay.min(by_ttl)),
            UnlockCause::Released | UnlockCause::Narrowed => {
                let own = log.actor.as_ref() == Some(holder);
                let what =
                    || ("released by its holder", format!("{:?} released {target} of {holder}", log.actor));
                return own.then_some(()).ok_or_else(what);
            }
            UnlockCause::Left | UnlockCause::Forced => return Ok(()),
        };
        if at < due {
            let what = format!("{target} of {holder} ends at {at}, due at {due}: {cause:?}");
            return Err(("late, never early", what));
        }
        if at > signs.latest(due) {
            let what = format!("{target} of {holder} lived to {at}, due at {due}: {cause:?}");
            return Err(("no immortal locks", what));
        }
        Ok(())
    }

    pub(super) fn queued(&mut self, waiter: &WaiterRecord) -> Result<(), Broken> {
        self.changed.insert(waiter.scope.clone());
        let waits = Waiter {
            scope: waiter.scope.clone(),
            peer: waiter.peer.clone(),
            session: waiter.session,
            targets: waiter.targets.iter().map(ToString::to_string).collect(),
            mode: waiter.mode,
            until: waiter.at.0 + waiter.wait.0,
        };
        self.waiters.insert(waiter.ticket, waits);
        Ok(())
    }

    pub(super) fn wait_ended(
        &mut self,
        log: &LogRecord,
        ticket: Ticket,
        cause: WaitEndCause,
    ) -> Result<(), Broken> {
        self.changed.insert(log.scope.clone());
        let Some(waiter) = self.waiters.remove(&ticket) else {
            return Err(("fair queue", format!("ticket {} ends and did not wait", ticket.0.0)));
        };
        if cause == WaitEndCause::TimedOut && log.at.0 < waiter.until {
            let what = format!("ticket {} timed out at {}, due at {}", ticket.0.0, log.at.0, waiter.until);
            return Err(("late, never early", what));
        }
        Ok(())
    }

    pub(super) fn written(&mut self, lock: &LockRecord, end: &LogRecord) {
        let name = (lock.scope.clone(), lock.target.to_string(), lock.holder.clone());
        if let Some(held) = self.held.get_mut(&name) {
            (held.ttl, held.since) = (lock.ttl.0, end.at.0);
        }
    }

    pub(super) fn handover(&mut self, scope: &ScopeId, due: bool) {
        if due {
            self.handovers.insert(scope.clone());
        } else {
            self.handovers.remove(scope);
        }
    }

    /// Nobody waits whom nothing is in the way of: no lock, and nobody who came before.
    pub(super) fn nobody_waits_in_vain(&mut self, peers: &Peers) -> Result<(), Broken> {
        for scope in std::mem::take(&mut self.changed) {
            if self.handovers.contains(&scope) {
                self.changed.insert(scope);
                return Ok(());
            }
            for (ticket, waiter) in self.waiters.iter().filter(|(_, waiter)| waiter.scope == scope) {
                let own =
                    self.waiters.values().filter(|other| other.scope == scope && other.peer == waiter.peer);
                // With several requests of one peer, a later one of another may have to be served first.
                if own.count() > 1 || peers.lives(waiter.session).is_none() {
                    continue;
                }
                let wish =
                    Wish { scope: &scope, peer: &waiter.peer, targets: &waiter.targets, mode: waiter.mode };
                let mut earlier = self.waiters.range(..*ticket).map(|(_, other)| other);
                if self.holders_in_the_way(waiter).next().is_none()
                    && !earlier.any(|other| wish.wants_what(other))
                {
                    let what = format!("ticket {} of {} waits for nothing", ticket.0.0, waiter.peer);
                    return Err(("nobody waits in vain", what));
                }
            }
        }
        Ok(())
    }

    pub(super) fn none_immortal(&self, now: u64, peers: &Peers, signs: &Signs) -> Result<(), Broken> {
        for ((_, target, holder), held) in &self.held {
            let by_ttl = signs.since_start(held.since) + held.ttl;
            let over = peers.get(held.session).and_then(|session| session.ended).map(|(at, _)| at);
            let due = over.map_or(by_ttl, |over| by_ttl.min(signs.since_start(over) + LOCK_DELAY.0));
            if now > signs.latest(due) {
                let what = format!("{target} of {holder} lives at {now}, due at {due}");
                return Err(("no immortal locks", what));
            }
        }
        Ok(())
    }

    /// A grant to a peer, with a token.
    #[must_use]
    pub fn grant(&self, scope: &ScopeId, target: &str, holder: &PeerName, token: u64) -> Option<&Grant> {
        self.grants.get(&(scope.clone(), target.to_owned(), holder.clone(), token))
    }

    /// Whether anybody held a lock with a token just before a revision.
    #[must_use]
    pub fn was_held(&self, scope: &ScopeId, target: &str, token: u64, revision: u64) -> bool {
        self.grants.iter().any(|((at, held, _, with), grant)| {
            let covers = held == target || (held.ends_with('/') && target.starts_with(held.as_str()));
            at == scope && *with == token && covers && grant.ended.is_none_or(|ended| ended >= revision)
        })
    }

    pub(super) fn has(&self, lock: &LockRecord) -> bool {
        let name = (lock.scope.clone(), lock.target.to_string(), lock.holder.clone());
        self.held.get(&name).is_some_and(|held| (held.token, held.mode) == (lock.token.0.0, lock.mode))
    }

    pub(super) fn awaits(&self, waiter: &WaiterRecord) -> bool {
        self.waiters.contains_key(&waiter.ticket)
    }

    pub(super) fn count(&self) -> usize {
        self.held.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }
}

/// What somebody wants.
struct Wish<'a> {
    scope: &'a ScopeId,
    peer: &'a PeerName,
    targets: &'a [String],
    mode: LockMode,
}

impl Wish<'_> {
    /// Whether a request of another wants something of the same.
    fn wants_what(&self, other: &Waiter) -> bool {
        other.scope == *self.scope
            && other.peer != *self.peer
            && clash(other.mode, self.mode)
            && other.targets.iter().any(|theirs| self.targets.iter().any(|ours| overlap(ours, theirs)))
    }
}
