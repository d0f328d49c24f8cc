//! What a scope and a mesh hold at most: below the bound, at it and beyond, on a state that no requests have built.

use std::sync::Arc;

use super::{Mesh, name, session, target};
use crate::command::{Acquire, Command, Join, Request};
use crate::id::{ScopeId, SessionId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{LockMode, LockRecord, PeerRecord, Record, Write};
use crate::rejection::Rejection;
use crate::revision::{FencingToken, Revision};
use crate::time::{Millis, Timestamp, WallTime};

fn full<T>(what: &'static str, limit: usize) -> Result<T, Rejection> {
    Err(Rejection::LimitReached { what, limit })
}

fn here() -> ScopeId {
    super::scope()
}

fn elsewhere(number: usize) -> ScopeId {
    ScopeId::parse(&format!("elsewhere/{number}")).unwrap()
}

fn put(mesh: &mut Mesh, record: Record) {
    mesh.state.apply(&Write::Put(record), Timestamp(0));
}

fn join(mesh: &mut Mesh, scope: &ScopeId, who: &str) -> Result<SessionId, Rejection> {
    let join = Join { scope: scope.clone(), ..mesh.joining(Some(who), None) };
    let outcome = mesh.ask(&Request::internal(Command::Join(join)))?;
    let Outcome::Joined { peer, .. } = outcome else { panic!("{outcome:?}") };
    Ok(session(&peer))
}

/// Makes so many peers known that are not here.
fn know(mesh: &mut Mesh, scope: &ScopeId, count: usize) {
    let pattern = mesh.try_join(Some("pattern"), None).unwrap();
    mesh.by(session(&pattern), Command::Leave).unwrap();
    let pattern = mesh.state.peers.get(&here(), &pattern.name).unwrap().clone();
    for number in 0..count {
        let name = name(&format!("p{number}"));
        let known = PeerRecord { scope: scope.clone(), name, ..(*pattern).clone() };
        put(mesh, Record::Peer(Arc::new(known)));
    }
}

#[test]
fn a_scope_and_a_mesh_know_only_so_many_peers() {
    let mut mesh = Mesh::default();
    // The pattern is of this scope too.
    know(&mut mesh, &here(), limits::PEERS_PER_SCOPE - 2);
    join(&mut mesh, &here(), "below").unwrap();
    let refused = full("peers of one scope", limits::PEERS_PER_SCOPE);
    assert_eq!(join(&mut mesh, &here(), "above"), refused);
    assert_eq!(join(&mut mesh, &here(), "p7").map(|_| ()), Ok(()), "who is known comes back");
    know(&mut mesh, &elsewhere(1), limits::PEERS - limits::PEERS_PER_SCOPE - 1);
    join(&mut mesh, &elsewhere(2), "below").unwrap();
    assert_eq!(mesh.state.peers.known_count(), limits::PEERS);
    assert_eq!(join(&mut mesh, &elsewhere(2), "above"), full("peers", limits::PEERS));
}

/// Gives peers so many locks, on files that nobody asks for.
fn hold(mesh: &mut Mesh, scope: &ScopeId, count: usize) {
    let holder = join(mesh, scope, "holder").unwrap();
    for number in 0..count {
        let lock = LockRecord {
            scope: scope.clone(),
            target: target(&format!("held/{number}")),
            holder: name("holder"),
            session: holder,
            mode: LockMode::Exclusive,
            token: FencingToken(Revision(1)),
            reason: String::new(),
            ttl: Millis::minutes(60),
            acquired: WallTime(0),
            ticket: None,
        };
        put(mesh, Record::Lock(Arc::new(lock)));
    }
}

#[test]
fn a_scope_and_a_mesh_hold_only_so_many_locks() {
    let mut mesh = Mesh::default();
    let take = |mesh: &mut Mesh, who, paths: &[&str], wait| {
        let targets = paths.iter().map(|path| target(path)).collect();
        let (mode, ttl, reason) = (LockMode::Exclusive, Millis::minutes(30), String::new());
        mesh.by(who, Command::Acquire(Acquire { targets, mode, ttl, reason, wait, contract: None }))
    };
    let (now, later) = (Millis::ZERO, Millis::minutes(5));
    let ann = mesh.join("ann");
    hold(&mut mesh, &here(), limits::LOCKS_PER_SCOPE - 2);
    let refused = full("locks of one scope", limits::LOCKS_PER_SCOPE);
    assert_eq!(take(&mut mesh, ann, &["a", "b", "c"], now), refused);
    take(&mut mesh, ann, &["a"], now).unwrap();
    take(&mut mesh, ann, &["held/1"], later).unwrap();
    assert_eq!(take(&mut mesh, ann, &["b"], now), refused, "what is waited for is counted");
    take(&mut mesh, ann, &["a"], now).unwrap();

    let bob = join(&mut mesh, &elsewhere(1), "bob").unwrap();
    hold(&mut mesh, &elsewhere(2), limits::LOCKS - limits::LOCKS_PER_SCOPE - 1);
    take(&mut mesh, bob, &["a"], now).unwrap();
    assert_eq!(take(&mut mesh, bob, &["b"], now), full("locks", limits::LOCKS));
    mesh.by(bob, Command::Release { targets: Vec::new(), keep: Vec::new(), note: String::new() }).unwrap();
    take(&mut mesh, bob, &["b"], now).unwrap();
}
