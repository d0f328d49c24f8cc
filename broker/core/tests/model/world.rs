//! A world small enough to be enumerated, and random requests in it.

use mesh_core::command::{Acquire, Command, Delete, Join, Precondition, Put, Request, Send, Update};
use mesh_core::event::LeaveCause;
use mesh_core::id::{EntryKey, MessageId, PeerName, ResumeKey, ScopeId, SessionId};
use mesh_core::record::{Intent, LockMode, PeerInfo, Recipients};
use mesh_core::revision::{Revision, Version};
use mesh_core::target::Target;
use mesh_core::time::Millis;
use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use crate::naive::Naive;

pub(crate) const SCOPES: [&str; 2] = ["acme/app", "global"];
pub(crate) const NAMES: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];
pub(crate) const KEYS: [&str; 4] = ["a", "plan", "plan/api", "plan/ui"];
/// What can be locked.
pub(crate) const TARGETS: [&str; 11] =
    ["/", "a", "b", "d", "d/", "d/x", "d/e/", "d/e/y", "d/e/z", "d0", "dd/"];
/// Every file there is: at least one directly in each directory of [`TARGETS`].
const FILES: [&str; 9] = ["a", "b", "d", "d/x", "d/w", "d/e/y", "d/e/z", "d0", "dd/q"];

/// Something that happens to the mesh; who and what is looked up when it does.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Join {
        scope: usize,
        name: Option<usize>,
        key: Option<usize>,
        ttl: u64,
        focus: usize,
    },
    /// A known peer joins anew, by its resume key if it has one.
    Rejoin {
        peer: Index,
        ttl: u64,
    },
    Ask {
        who: Who,
        what: Ask,
    },
    /// The broker notices that a session's stream is gone.
    Disconnect(Who),
    /// The broker believes that something is over, and it may not be.
    Expire(Index),
    /// A session shows a sign of life.
    Touch(Who),
    /// Time goes by.
    Wait(u64),
    /// The broker is killed and starts again.
    Restart,
}

/// A session: mostly a live one.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Live(Index),
    Any(Index),
    Nobody,
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Update { focus: Option<usize>, files: Option<Vec<usize>> },
    Leave,
    Send { to: Option<Vec<usize>> },
    Acknowledge(UpTo),
    Put { scope: Option<usize>, key: usize, when: When, ttl: Option<u64> },
    Delete { scope: Option<usize>, key: usize, when: When },
    Acquire { targets: Vec<usize>, shared: bool, ttl: u64, reason: usize },
    Renew { which: Which, ttl: Option<u64> },
    Release { which: Which },
}

/// Locks to renew or release.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    All,
    /// One that the caller has.
    Own(Index),
    These(Vec<usize>),
}

#[derive(Clone, Debug)]
pub(crate) enum UpTo {
    Newest,
    Past(Index),
    Future,
}

#[derive(Clone, Debug)]
pub(crate) enum When {
    Any,
    Absent,
    /// The version as it is, or beside it.
    Version(u64),
    /// The revision as it is, or another.
    Revision(u64),
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..160)
}

fn op() -> impl Strategy<Value = Op> {
    let join = (0..2_usize, prop::option::of(0..5_usize), prop::option::of(0..4_usize), ttl(), 0..3_usize);
    let join = join.prop_map(|(scope, name, key, ttl, focus)| Op::Join { scope, name, key, ttl, focus });
    let rejoin = (any::<Index>(), ttl()).prop_map(|(peer, ttl)| Op::Rejoin { peer, ttl });
    prop_oneof![
        8 => join,
        6 => rejoin,
        50 => (who(), ask()).prop_map(|(who, what)| Op::Ask { who, what }),
        3 => who().prop_map(Op::Disconnect),
        2 => any::<Index>().prop_map(Op::Expire),
        3 => who().prop_map(Op::Touch),
        12 => span().prop_map(Op::Wait),
        3 => Just(Op::Restart),
    ]
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        17 => any::<Index>().prop_map(Who::Live),
        2 => any::<Index>().prop_map(Who::Any),
        1 => Just(Who::Nobody),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let files = prop::option::of(prop::collection::vec(0..TARGETS.len(), 0..3));
    let update =
        (prop::option::of(0..3_usize), files).prop_map(|(focus, files)| Ask::Update { focus, files });
    let names = prop::sample::subsequence((0..5).collect::<Vec<usize>>(), 1..4);
    let send = prop::option::weighted(0.6, names).prop_map(|to| Ask::Send { to });
    let up_to = prop_oneof![
        5 => Just(UpTo::Newest),
        4 => any::<Index>().prop_map(UpTo::Past),
        1 => Just(UpTo::Future)
    ];
    let put = (entry(), when(), prop::option::of(ttl()));
    let put = put.prop_map(|((scope, key), when, ttl)| Ask::Put { scope, key, when, ttl });
    let delete = (entry(), when()).prop_map(|((scope, key), when)| Ask::Delete { scope, key, when });
    let acquire = (targets(1), any::<bool>(), ttl(), 0..3_usize);
    let acquire =
        acquire.prop_map(|(targets, shared, ttl, reason)| Ask::Acquire { targets, shared, ttl, reason });
    let renew = (which(), prop::option::of(ttl())).prop_map(|(which, ttl)| Ask::Renew { which, ttl });
    prop_oneof![
        2 => update,
        1 => Just(Ask::Leave),
        8 => send,
        5 => up_to.prop_map(Ask::Acknowledge),
        6 => put,
        3 => delete,
        14 => acquire,
        4 => renew,
        4 => which().prop_map(|which| Ask::Release { which }),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        2 => Just(Which::All),
        5 => any::<Index>().prop_map(Which::Own),
        1 => targets(1).prop_map(Which::These),
    ]
}

fn entry() -> impl Strategy<Value = (Option<usize>, usize)> {
    (prop::option::of(0..2_usize), 0..KEYS.len())
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        3 => Just(When::Any),
        1 => Just(When::Absent),
        1 => (0..3_u64).prop_map(When::Version),
        1 => (0..3_u64).prop_map(When::Revision),
    ]
}

fn targets(least: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::sample::subsequence((0..TARGETS.len()).collect::<Vec<usize>>(), least..4).prop_shuffle()
}

fn ttl() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => Just(1_000_u64),
        1 => Just(9_999),
        2 => Just(60_000),
        3 => Just(1_800_000),
        3 => Just(86_400_000)
    ]
}

fn span() -> impl Strategy<Value = u64> {
    let day = 86_400_000_u64;
    prop_oneof![
        30 => 0..3_000_u64,
        20 => 3_000..12_000_u64,
        8 => 60_000..4_000_000_u64,
        2 => Just(day),
        1 => Just(7 * day),
        1 => Just(31 * day),
    ]
}

/// Whether a file belongs to a target.
fn covers(target: &Target, file: &str) -> bool {
    match target.as_str() {
        "/" => true,
        text => match text.strip_suffix('/') {
            Some(directory) => file
                .split_once(directory)
                .is_some_and(|(before, after)| before.is_empty() && after.starts_with('/')),
            None => text == file,
        },
    }
}

/// Whether some file belongs to both.
pub(crate) fn overlap(left: &Target, right: &Target) -> bool {
    FILES.iter().any(|file| covers(left, file) && covers(right, file))
}

pub(crate) fn scope(at: usize) -> ScopeId {
    ScopeId::parse(SCOPES[at]).expect("a scope")
}

pub(crate) fn name(at: usize) -> PeerName {
    PeerName::parse(NAMES[at]).expect("a name")
}

pub(crate) fn target(at: usize) -> Target {
    Target::parse("path", TARGETS[at]).expect("a target")
}

pub(crate) fn key(at: usize) -> EntryKey {
    EntryKey::parse(KEYS[at]).expect("a key")
}

fn texts(at: usize) -> String {
    ["", "reading", "writing"][at].to_owned()
}

/// The request that an operation stands for at this moment, if there is one to make.
pub(crate) fn request(op: &Op, naive: &Naive, sessions: &[SessionId], serial: u64) -> Option<Request> {
    let find = |who: &Who| find(who, naive, sessions);
    Some(match op {
        Op::Join { scope: at, name: asked, key, ttl, focus } => Request::internal(Command::Join(Join {
            scope: scope(*at),
            name: asked.map(name),
            resume_key: key.map(|key| ResumeKey::parse(&format!("key-{key}")).expect("a resume key")),
            info: PeerInfo { focus: texts(*focus), ..PeerInfo::default() },
            ttl: Millis(*ttl),
            session: SessionId(Uuid::from_u64_pair(1, serial)),
            name_seed: serial % 3,
        })),
        Op::Rejoin { peer, ttl } => {
            let peer = (!naive.peers.is_empty()).then(|| peer.get(&naive.peers))?;
            let by_name = peer.resume_key.is_none();
            Request::internal(Command::Join(Join {
                scope: peer.scope.clone(),
                name: by_name.then(|| peer.name.clone()),
                resume_key: peer.resume_key.clone(),
                info: peer.info.clone(),
                ttl: Millis(*ttl),
                session: SessionId(Uuid::from_u64_pair(1, serial)),
                name_seed: 0,
            }))
        }
        Op::Ask { who, what } => {
            let caller = find(who)?;
            let command = command(what, naive, caller, serial);
            Request { caller, ..Request::internal(command) }
        }
        Op::Disconnect(who) => {
            let (session, cause) = (find(who)??, LeaveCause::Disconnected);
            Request::internal(Command::End { session, cause })
        }
        Op::Expire(at) => {
            let deadlines = naive.deadlines();
            let due = (!deadlines.is_empty()).then(|| at.get(&deadlines).0.clone())?;
            Request::internal(Command::Expire(due))
        }
        Op::Touch(_) | Op::Wait(_) | Op::Restart => return None,
    })
}

/// The session of an operation; none when there is none yet.
pub(crate) fn find(who: &Who, naive: &Naive, sessions: &[SessionId]) -> Option<Option<SessionId>> {
    match who {
        Who::Live(at) if !naive.leases.is_empty() => Some(Some(at.get(&naive.leases).0)),
        Who::Any(at) if !sessions.is_empty() => Some(Some(*at.get(sessions))),
        Who::Nobody => Some(None),
        Who::Live(_) | Who::Any(_) => None,
    }
}

fn command(ask: &Ask, naive: &Naive, caller: Option<SessionId>, serial: u64) -> Command {
    let targets = |targets: &[usize]| targets.iter().map(|at| target(*at)).collect::<Vec<_>>();
    match ask {
        Ask::Update { focus, files } => Command::Update(Update {
            focus: focus.map(texts),
            files: files.as_ref().map(|files| targets(files)),
            ..Update::default()
        }),
        Ask::Leave => Command::Leave,
        Ask::Send { to } => Command::Send(Send {
            id: MessageId(Uuid::from_u64_pair(2, serial)),
            to: to.as_ref().map_or(Recipients::Broadcast, |to| {
                Recipients::Direct(to.iter().map(|at| name(*at)).collect())
            }),
            body: format!("message {serial}").into(),
            reply_to: None,
            intent: Intent::Inform,
            urgent: serial.is_multiple_of(2),
        }),
        Ask::Acknowledge(up_to) => Command::Acknowledge {
            up_to: Revision(match up_to {
                UpTo::Newest => naive.revision,
                UpTo::Past(at) => at.index(usize::try_from(naive.revision).expect("small") + 1) as u64,
                UpTo::Future => naive.revision + 1,
            }),
        },
        Ask::Put { scope: to, key: at, when, ttl } => Command::Put(Put {
            scope: to.map(scope),
            key: key(*at),
            value: format!("value {serial}").into(),
            precondition: precondition(when, naive, caller, *to, *at),
            ttl: ttl.map(Millis),
            paths: vec![target(*at)],
            tags: vec![format!("tag-{at}")],
        }),
        Ask::Delete { scope: to, key: at, when } => Command::Delete(Delete {
            scope: to.map(scope),
            key: key(*at),
            precondition: precondition(when, naive, caller, *to, *at),
        }),
        Ask::Acquire { targets: on, shared, ttl, reason } => Command::Acquire(Acquire {
            targets: targets(on),
            mode: if *shared { LockMode::Shared } else { LockMode::Exclusive },
            ttl: Millis(*ttl),
            reason: texts(*reason),
        }),
        Ask::Renew { which, ttl } => {
            Command::Renew { targets: named(which, naive, caller), ttl: ttl.map(Millis) }
        }
        Ask::Release { which } => Command::Release { targets: named(which, naive, caller) },
    }
}

/// Targets of the caller's locks, as an operation names them.
fn named(which: &Which, naive: &Naive, caller: Option<SessionId>) -> Vec<Target> {
    let own = naive.peers.iter().find(|peer| peer.session.as_ref().map(|session| session.id) == caller);
    match which {
        Which::All => Vec::new(),
        Which::These(targets) => targets.iter().map(|at| target(*at)).collect(),
        Which::Own(at) => {
            let held =
                naive.locks.iter().map(|held| &held.lock).filter(|lock| {
                    own.is_some_and(|peer| peer.scope == lock.scope && peer.name == lock.holder)
                });
            let held: Vec<Target> = held.map(|lock| lock.target.clone()).collect();
            if held.is_empty() { Vec::new() } else { vec![at.get(&held).clone()] }
        }
    }
}

fn precondition(
    when: &When,
    naive: &Naive,
    caller: Option<SessionId>,
    to: Option<usize>,
    at: usize,
) -> Precondition {
    let own = naive.peers.iter().find(|peer| peer.session.as_ref().map(|session| session.id) == caller);
    let scope = to.map(scope).or(own.map(|peer| peer.scope.clone()));
    let entry =
        naive.entries.iter().find(|entry| Some(&entry.scope) == scope.as_ref() && entry.key == key(at));
    let version = entry.map_or(1, |entry| entry.version.0);
    let revision = entry.map_or(1, |entry| entry.revision.0);
    match when {
        When::Any => Precondition::Any,
        When::Absent => Precondition::MustNotExist,
        When::Version(off) => Precondition::Version(Version((version + off).saturating_sub(1))),
        When::Revision(off) => Precondition::Revision(Revision((revision + off).saturating_sub(1))),
    }
}
