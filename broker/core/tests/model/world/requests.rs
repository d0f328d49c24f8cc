//! The request that an operation stands for at a moment.

mod locking;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use mesh_core::command::{
    Command, Delete, Fence, Join, Labels, Operation, Precondition, Put, Request, Restore, Send, SetPolicy,
    Touch, Update,
};
use mesh_core::event::LeaveCause;
use mesh_core::id::{MessageId, ResumeKey, ScopeId, SessionId, TopicName};
use mesh_core::limits;
use mesh_core::pattern::Pattern;
use mesh_core::record::{
    Activity, ChildAgent, Intent, LockMode, PeerInfo, PeerRecord, PolicyKind, Recipients, TouchKind,
};
use mesh_core::revision::{FencingToken, Revision, Version};
use mesh_core::state::deadlines::Due;
use mesh_core::target::Target;
use mesh_core::time::Millis;
use proptest::sample::Index;
use uuid::Uuid;

use super::ops::{self, Ask, Kind, Locking, Op, Reply, Seen, To, Twist, UpTo, When, Who, Write};
use super::{KEYS, PREFIXES, key, name, scope, target, topic};
use crate::naive::Naive;

/// What is written; the empty one stands for a text that is long.
pub(crate) const VALUES: [&str; 13] = [
    "one",
    "two",
    "three",
    "\u{1b}[31m\nfour",
    r#"{"x":1}"#,
    r#"{"x":2}"#,
    r#"{"x":null,"y":1}"#,
    r#"{"x":{"p":1}}"#,
    r#"{"x":{"q":{"r":2}},"y":null}"#,
    r#"{"x":{}}"#,
    r#"{"y":{"p":{"q":null}},"a/~":1}"#,
    "{}",
    "",
];

fn value(at: usize) -> Arc<str> {
    static LONG: OnceLock<Arc<str>> = OnceLock::new();
    if VALUES[at].is_empty() {
        LONG.get_or_init(|| "é".repeat(20_000).into()).clone()
    } else {
        VALUES[at].into()
    }
}

fn texts(at: usize) -> String {
    ["", "reading", "writing"][at].to_owned()
}

fn activity(at: usize) -> Activity {
    [Activity::Unknown, Activity::Working, Activity::Idle][at]
}

/// Sub-agents; two of them have the same id, but not the same focus, and only the first of these counts.
fn children(all: &[usize]) -> Vec<ChildAgent> {
    let mut ids = BTreeSet::new();
    let child = |at: &usize| ChildAgent {
        id: format!("child-{}", at % 3),
        kind: "explore".to_owned(),
        focus: if *at == 3 { "writing".to_owned() } else { String::new() },
    };
    all.iter().map(child).filter(|child| ids.insert(child.id.clone())).collect()
}

fn targets(all: &[usize]) -> Vec<Target> {
    all.iter().map(|at| target(*at)).collect()
}

fn mode(shared: bool) -> LockMode {
    if shared { LockMode::Shared } else { LockMode::Exclusive }
}

/// The request that an operation stands for at this moment, if there is one to make.
pub(crate) fn request(op: &Op, naive: &Naive, sessions: &[SessionId], serial: u64) -> Option<Request> {
    let find = |who: &Who| find(who, naive, sessions);
    Some(match op {
        Op::Join { scope: at, name: asked, key, ttl, focus, branch } => {
            let info = PeerInfo {
                focus: texts(*focus),
                branch: texts(*branch),
                worktree: format!("/{focus}"),
                activity: activity(*branch),
                wake: texts(*focus),
                children: children(&[*focus, 3]),
                ..PeerInfo::default()
            };
            Request::internal(Command::Join(Join {
                scope: scope(*at),
                name: asked.map(name),
                allowed: Pattern::any(),
                resume_key: key.map(|key| ResumeKey::parse(&format!("key-{key}")).expect("a resume key")),
                info,
                ttl: Millis(*ttl),
                session: SessionId(Uuid::from_u64_pair(1, serial)),
                name_seed: serial % 3,
            }))
        }
        Op::Rejoin { peer, ttl } => {
            let peer = (!naive.peers.is_empty()).then(|| peer.get(&naive.peers))?;
            let by_name = peer.resume_key.is_none();
            Request::internal(Command::Join(Join {
                scope: peer.scope.clone(),
                name: by_name.then(|| peer.name.clone()),
                allowed: Pattern::any(),
                resume_key: peer.resume_key.clone(),
                info: peer.info.clone(),
                ttl: Millis(*ttl),
                session: SessionId(Uuid::from_u64_pair(1, serial)),
                name_seed: 0,
            }))
        }
        Op::Ask { who, what } => {
            let caller = fitting(what, naive).map_or_else(|| find(who), Some)?;
            let command = command(what, naive, caller, serial)?;
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
        Op::Handover(at) => Request::internal(Command::Expire(Due::Handover(scope(*at)))),
        Op::Alive(_) | Op::Wait(_) | Op::Restart => return None,
    })
}

/// The session of an operation; none when there is none yet.
pub(crate) fn find(who: &Who, naive: &Naive, sessions: &[SessionId]) -> Option<Option<SessionId>> {
    match who {
        Who::First => Some(naive.leases.first().map(|(session, _)| *session)),
        Who::Live(at) if !naive.leases.is_empty() => Some(Some(at.get(&naive.leases).0)),
        Who::Any(at) if !sessions.is_empty() => Some(Some(*at.get(sessions))),
        Who::Nobody => Some(None),
        Who::Live(_) | Who::Any(_) => None,
    }
}

/// The session whose business a request is, if it should come from there.
fn fitting(ask: &Ask, naive: &Naive) -> Option<Option<SessionId>> {
    let session = |at: Option<usize>| Some(Some(naive.peers[at?].session.as_ref()?.id));
    if let Ask::Resend { which, own: true, .. } = ask {
        let message = pick(which, &naive.messages)?;
        return session(naive.peer(&message.record.scope, &message.record.from));
    }
    if let Ask::Locking(Locking::Abandon { which, own: true }) = ask {
        let tickets = naive.tickets();
        let (_, peer) = pick(which, &tickets)?;
        return session(naive.peer(&peer.scope, &peer.name));
    }
    if let Ask::Locking(Locking::AnswerRelease { which, own: true, .. }) = ask {
        let request = &pick(which, &naive.requests)?.record;
        return session(naive.peer(&request.scope, &request.holder));
    }
    None
}

fn pick<'a, T>(at: &Index, all: &'a [T]) -> Option<&'a T> {
    (!all.is_empty()).then(|| at.get(all))
}

fn command(ask: &Ask, naive: &Naive, caller: Option<SessionId>, serial: u64) -> Option<Command> {
    let own = naive.by_session(caller);
    Some(match ask {
        Ask::Update { focus, branch, files, activity: doing, wake, children: agents, ttl } => {
            Command::Update(Update {
                focus: focus.map(texts),
                branch: branch.map(texts),
                files: files.as_ref().map(|files| targets(files)),
                activity: doing.map(activity),
                wake: wake.map(texts),
                children: agents.as_ref().map(|agents| children(agents)),
                ttl: ttl.map(Millis),
                ..Update::default()
            })
        }
        Ask::Leave => Command::Leave,
        Ask::Send { .. } => Command::Send(send(ask, naive, serial)),
        Ask::Resend { which, twist, .. } => {
            Command::Send(resend(&pick(which, &naive.messages)?.record, twist))
        }
        Ask::Acknowledge(up_to) => Command::Acknowledge {
            up_to: Revision(match up_to {
                UpTo::Newest => naive.revision,
                UpTo::Past(at) => at.index(usize::try_from(naive.revision).expect("small") + 1) as u64,
                UpTo::Future => naive.revision + 1,
            }),
        },
        Ask::Follow { follow, unfollow } => Command::Follow {
            follow: follow.iter().map(|at| topic(*at)).collect(),
            unfollow: unfollow.iter().map(|at| topic(*at)).collect(),
        },
        Ask::FollowTooMany => Command::Follow {
            follow: (0..=limits::TOPICS_PER_PEER)
                .map(|n| TopicName::parse(&format!("#t{n}")).expect("a topic"))
                .collect(),
            unfollow: Vec::new(),
        },
        Ask::Put(write) => Command::Put(put(write, naive, own, write.scope)),
        Ask::Delete(write) => Command::Delete(delete(write, naive, own, write.scope)),
        Ask::Restore { write, version } => {
            let (_, present) = looked_up(write, naive, own, write.scope);
            Command::Restore(Restore {
                scope: write.scope.map(scope),
                key: key(write.key),
                version: Version((present.unwrap_or(1) + 1).saturating_sub(*version).max(1)),
                precondition: precondition(write, naive, own, write.scope),
            })
        }
        Ask::Transact { scope: to, operations } => Command::Transact(mesh_core::command::Transact {
            scope: to.map(scope),
            operations: operations.iter().map(|op| operation(op, naive, own, *to)).collect(),
        }),
        Ask::SetPolicy { scope: to, prefix, kind } => Command::SetPolicy(SetPolicy {
            scope: to.map(scope),
            prefix: PREFIXES[*prefix].to_owned(),
            kind: kind.map(|kind| {
                use PolicyKind::{Append, LastWriteWins, MergePatch, RequireVersion};
                [RequireVersion, LastWriteWins, MergePatch, Append][kind]
            }),
        }),
        Ask::Touch { touches, branch } => Command::Touch(Touch {
            touches: touches
                .iter()
                .map(|(at, edit)| (target(*at), if *edit { TouchKind::Edit } else { TouchKind::Read }))
                .collect(),
            branch: branch.map(texts),
            worktree: branch.map(|branch| format!("/{}", texts(branch))),
        }),
        Ask::Locking(what) => locking::command(what, naive, own),
    })
}

fn send(ask: &Ask, naive: &Naive, serial: u64) -> Send {
    let Ask::Send { to, body, reply, paths, urgent } = ask else { panic!("{ask:?} sends nothing") };
    let mut mentioned = targets(paths);
    mentioned.dedup();
    Send {
        id: MessageId(Uuid::from_u64_pair(2, serial)),
        to: match to {
            To::Direct(names) => Recipients::Direct(names.iter().map(|at| name(*at)).collect()),
            To::Broadcast => Recipients::Broadcast,
            To::Topic(at) => Recipients::Topic(topic(*at)),
        },
        body: value(*body),
        reply_to: match reply {
            Reply::Nothing => None,
            Reply::Stored(at) => pick(at, &naive.messages).map(|message| message.record.id),
            Reply::Unknown(ahead) => Some(MessageId(Uuid::from_u64_pair(2, serial + ahead))),
        },
        intent: Intent::Inform,
        urgent: *urgent,
        paths: mentioned,
    }
}

fn resend(message: &mesh_core::record::MessageRecord, twist: &Twist) -> Send {
    let mut send = Send {
        id: message.id,
        to: message.to.clone(),
        body: message.body.clone(),
        reply_to: message.reply_to,
        intent: message.intent,
        urgent: message.urgent,
        paths: message.paths.clone(),
    };
    match twist {
        Twist::Nothing => {}
        Twist::Order => {
            if let Recipients::Direct(names) = &mut send.to {
                names.reverse();
            }
        }
        Twist::Paths => send.paths = vec![target(0)],
        Twist::Body => send.body = "another".into(),
        Twist::Urgency => send.urgent = !send.urgent,
        Twist::Intent => send.intent = Intent::Ack,
        Twist::Reply => send.reply_to = Some(message.id),
        Twist::Recipients => {
            send.to = match message.to {
                Recipients::Broadcast => Recipients::Topic(topic(0)),
                Recipients::Direct(_) | Recipients::Topic(_) => Recipients::Broadcast,
            }
        }
    }
    send
}

/// The scope that a write goes to and the version of its entry, if there is one.
fn looked_up(
    write: &Write,
    naive: &Naive,
    own: Option<&PeerRecord>,
    to: Option<usize>,
) -> (Option<ScopeId>, Option<u64>) {
    let scope = to.map(scope).or(own.map(|peer| peer.scope.clone()));
    let version = scope.as_ref().and_then(|scope| naive.entry(scope, &key(write.key))).map(|at| at.version.0);
    (scope, version)
}

fn put(write: &Write, naive: &Naive, own: Option<&PeerRecord>, to: Option<usize>) -> Put {
    Put {
        scope: to.map(scope),
        key: key(write.key),
        value: value(write.value),
        precondition: precondition(write, naive, own, to),
        ttl: write.ttl.map(Millis),
        paths: write.path.into_iter().map(target).collect(),
        tags: write.tag.into_iter().map(|at| format!("tag-{at}")).collect(),
        labels: if write.keep { Labels::Keep } else { Labels::Replace },
        fence: fence(write, naive, own, to),
    }
}

fn delete(write: &Write, naive: &Naive, own: Option<&PeerRecord>, to: Option<usize>) -> Delete {
    Delete {
        scope: to.map(scope),
        key: key(write.key),
        precondition: precondition(write, naive, own, to),
        fence: fence(write, naive, own, to),
    }
}

fn operation(
    (kind, write): &(Kind, Write),
    naive: &Naive,
    own: Option<&PeerRecord>,
    to: Option<usize>,
) -> Operation {
    match kind {
        Kind::Put => Operation::Put(put(write, naive, own, to)),
        Kind::Delete => Operation::Delete(delete(write, naive, own, to)),
        Kind::Check => {
            Operation::Check { key: key(write.key), precondition: precondition(write, naive, own, to) }
        }
    }
}

fn precondition(write: &Write, naive: &Naive, own: Option<&PeerRecord>, to: Option<usize>) -> Precondition {
    let (scope, version) = looked_up(write, naive, own, to);
    let key = key(write.key);
    let seen = |seen: &Seen| {
        let scope = scope.as_ref()?;
        match seen {
            Seen::Never => None,
            Seen::Present => naive.entry(scope, &key).map(|entry| entry.revision),
            Seen::Former(at) => {
                let former: Vec<Revision> =
                    naive.past(scope, &key).iter().map(|past| past.entry.revision).collect();
                pick(at, &former).copied()
            }
            Seen::Wrong => Some(Revision(naive.revision + 1)),
        }
    };
    match &write.when {
        When::Any => Precondition::Any,
        When::Absent => Precondition::MustNotExist,
        When::Version(off) => Precondition::Version(Version((version.unwrap_or(1) + off).saturating_sub(1))),
        When::Revision(at) => Precondition::Revision(seen(at).unwrap_or(Revision::ZERO)),
        When::LastRead(at) => Precondition::LastRead(seen(at)),
    }
}

fn fence(write: &Write, naive: &Naive, own: Option<&PeerRecord>, to: Option<usize>) -> Option<Fence> {
    let ops::Fence { lock, target: asked, is_old } = write.fence.as_ref()?;
    let (scope, _) = looked_up(write, naive, own, to);
    let locks: Vec<_> = naive.locks.iter().filter(|held| Some(&held.lock.scope) == scope.as_ref()).collect();
    let found = pick(lock, &locks).map(|held| (held.lock.target.clone(), held.lock.token.0.0));
    let (on, token) = found.unwrap_or_else(|| (target(1), 1));
    let token = if *is_old { token.saturating_sub(1) } else { token };
    Some(Fence { target: asked.map_or(on, target), token: FencingToken(Revision(token)) })
}

const _: () = assert!(KEYS.len() == 8, "strategies name keys by their place");
