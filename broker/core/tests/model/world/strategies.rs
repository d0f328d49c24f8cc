//! Random histories, with the weight on one aggregate or on all of them.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::Index;

use super::ops::{Ask, Fence, Kind, Locking, Op, Reply, Seen, To, Twist, UpTo, When, Which, Who, Write};
use super::{KEYS, PREFIXES, SUBJECTS, TARGETS, TOPICS};
use crate::world::requests::VALUES;

/// What most of the requests are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Focus {
    Peers,
    Locks,
    Entries,
    Messages,
    Touches,
    Everything,
}

impl Focus {
    pub(crate) const ALL: [Focus; 6] =
        [Self::Peers, Self::Locks, Self::Entries, Self::Messages, Self::Touches, Self::Everything];

    fn weight(self, of: Self) -> u32 {
        if self == of {
            30
        } else if self == Self::Everything {
            6
        } else {
            1
        }
    }
}

pub(crate) fn ops(focus: Focus, length: Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    let ops = prop::collection::vec(op(focus), length);
    (prop::bool::weighted(0.8), ops).prop_map(move |(begun, ops)| {
        if begun { prelude(focus).into_iter().chain(ops).collect() } else { ops }
    })
}

/// Three peers are there, and policies are set where entries matter.
fn prelude(focus: Focus) -> Vec<Op> {
    let join = |name| {
        let (scope, key, ttl) = (0, None, 86_400_000);
        Op::Join { scope, name: Some(name), key, ttl, focus: 1, branch: 1 }
    };
    let policy = |(prefix, kind)| Op::Ask {
        who: Who::First,
        what: Ask::SetPolicy { scope: None, prefix, kind: Some(kind) },
    };
    let policies = if focus == Focus::Entries { vec![(2, 1), (3, 3), (4, 2)] } else { Vec::new() };
    (0..3).map(join).chain(policies.into_iter().map(policy)).collect()
}

fn op(focus: Focus) -> BoxedStrategy<Op> {
    let join = (
        prop::bool::weighted(0.25),
        prop::option::of(0..5_usize),
        prop::option::of(0..4_usize),
        ttl(),
        0..3_usize,
        0..3_usize,
    );
    let join = join.prop_map(|(global, name, key, ttl, focus, branch)| Op::Join {
        scope: usize::from(global),
        name,
        key,
        ttl,
        focus,
        branch,
    });
    let rejoin = (any::<Index>(), ttl()).prop_map(|(peer, ttl)| Op::Rejoin { peer, ttl });
    let often = match focus {
        Focus::Peers => 5,
        Focus::Locks | Focus::Everything => 2,
        Focus::Entries | Focus::Messages | Focus::Touches => 1,
    };
    prop_oneof![
        2 * often => join,
        2 * often => rejoin,
        60 => (who(), ask(focus)).prop_map(|(who, what)| Op::Ask { who, what }),
        often => who().prop_map(Op::Disconnect),
        2 => any::<Index>().prop_map(Op::Expire),
        1 => (0..2_usize).prop_map(Op::Handover),
        2 => who().prop_map(Op::Alive),
        10 => span().prop_map(Op::Wait),
        2 => Just(Op::Restart),
    ]
    .boxed()
}

fn who() -> BoxedStrategy<Who> {
    prop_oneof![
        37 => any::<Index>().prop_map(Who::Live),
        2 => any::<Index>().prop_map(Who::Any),
        1 => Just(Who::Nobody),
    ]
    .boxed()
}

fn ask(focus: Focus) -> BoxedStrategy<Ask> {
    prop_oneof![
        focus.weight(Focus::Peers) => presence(),
        focus.weight(Focus::Locks) => locking().prop_map(Ask::Locking),
        focus.weight(Focus::Entries) => remembering(),
        focus.weight(Focus::Messages) => talking(),
        focus.weight(Focus::Touches) => touching(),
    ]
    .boxed()
}

fn presence() -> BoxedStrategy<Ask> {
    let files = prop::option::of(prop::collection::vec(0..TARGETS.len(), 0..3));
    let text = || prop::option::of(0..3_usize);
    let children = prop::option::of(prop::sample::subsequence((0..4).collect::<Vec<usize>>(), 0..3));
    let ttl = prop::option::weighted(0.2, ttl());
    let update = (text(), text(), files, text(), text(), children, ttl);
    let update = update.prop_map(|(focus, branch, files, activity, wake, children, ttl)| Ask::Update {
        focus,
        branch,
        files,
        activity,
        wake,
        children,
        ttl,
    });
    prop_oneof![4 => update, 1 => Just(Ask::Leave)].boxed()
}

fn talking() -> BoxedStrategy<Ask> {
    let names = prop::sample::subsequence((0..5).collect::<Vec<usize>>(), 1..4).prop_shuffle();
    let some = prop::sample::subsequence((0..3).collect::<Vec<usize>>(), 1..3).prop_shuffle();
    let to = prop_oneof![
        4 => some.prop_map(To::Direct),
        1 => names.prop_map(To::Direct),
        2 => Just(To::Broadcast),
        3 => (0..TOPICS.len()).prop_map(To::Topic),
    ];
    let reply = prop_oneof![
        3 => Just(Reply::Nothing),
        3 => any::<Index>().prop_map(Reply::Stored),
        1 => (0..4_u64).prop_map(Reply::Unknown),
    ];
    let send = (to, 0..3_usize, reply, prop::collection::vec(0..TARGETS.len(), 0..3), any::<bool>());
    let send = send.prop_map(|(to, body, reply, paths, urgent)| Ask::Send { to, body, reply, paths, urgent });
    let twist = prop_oneof![
        3 => Just(Twist::Nothing),
        3 => Just(Twist::Order),
        1 => Just(Twist::Paths),
        1 => Just(Twist::Body),
        1 => Just(Twist::Urgency),
        1 => Just(Twist::Intent),
        1 => Just(Twist::Reply),
        1 => Just(Twist::Recipients),
    ];
    let resend = (any::<Index>(), twist, prop::bool::weighted(0.8));
    let resend = resend.prop_map(|(which, twist, own)| Ask::Resend { which, twist, own });
    let up_to = prop_oneof![
        6 => Just(UpTo::Newest),
        4 => any::<Index>().prop_map(UpTo::Past),
        1 => Just(UpTo::Future)
    ];
    let topics = || prop::collection::vec(0..TOPICS.len(), 0..2);
    let follow = (topics(), topics()).prop_map(|(follow, unfollow)| Ask::Follow { follow, unfollow });
    prop_oneof![
        12 => send,
        3 => resend,
        6 => up_to.prop_map(Ask::Acknowledge),
        4 => follow,
        1 => Just(Ask::FollowTooMany),
    ]
    .boxed()
}

fn remembering() -> BoxedStrategy<Ask> {
    let restore = (write(), 0..4_u64).prop_map(|(write, version)| Ask::Restore { write, version });
    let kind = prop_oneof![4 => Just(Kind::Put), 2 => Just(Kind::Delete), 1 => Just(Kind::Check)];
    let scope = || prop::option::weighted(0.2, 0..2_usize);
    let operations = prop::collection::vec((kind, write()), 0..4);
    let transact = (scope(), operations).prop_map(|(scope, operations)| Ask::Transact { scope, operations });
    let policy = (scope(), 0..PREFIXES.len(), prop::option::weighted(0.8, 0..4_usize));
    let policy = policy.prop_map(|(scope, prefix, kind)| Ask::SetPolicy { scope, prefix, kind });
    prop_oneof![
        10 => write().prop_map(Ask::Put),
        3 => write().prop_map(Ask::Delete),
        3 => restore,
        4 => transact,
        2 => policy,
    ]
    .boxed()
}

fn write() -> BoxedStrategy<Write> {
    let key = prop_oneof![3 => 0..KEYS.len(), 2 => 0..3_usize, 2 => 4..6_usize];
    let fence = (any::<Index>(), prop::option::weighted(0.3, 0..TARGETS.len()), prop::bool::weighted(0.2));
    let fence = fence.prop_map(|(lock, target, is_old)| Fence { lock, target, is_old });
    let entry = (prop::option::weighted(0.2, 0..2_usize), key, 0..VALUES.len(), when());
    let more = (
        prop::option::weighted(0.3, ttl()),
        prop::option::of(0..TARGETS.len()),
        prop::option::of(0..3_usize),
        any::<bool>(),
        prop::option::weighted(0.15, fence),
    );
    (entry, more)
        .prop_map(|((scope, key, value, when), (ttl, path, tag, keep, fence))| Write {
            scope,
            key,
            value,
            when,
            ttl,
            path,
            tag,
            keep,
            fence,
        })
        .boxed()
}

fn when() -> BoxedStrategy<When> {
    let seen = || {
        prop_oneof![
            2 => Just(Seen::Never),
            3 => Just(Seen::Present),
            3 => any::<Index>().prop_map(Seen::Former),
            1 => Just(Seen::Wrong),
        ]
    };
    prop_oneof![
        3 => Just(When::Any),
        1 => Just(When::Absent),
        2 => (0..3_u64).prop_map(When::Version),
        2 => seen().prop_map(When::Revision),
        5 => seen().prop_map(When::LastRead),
    ]
    .boxed()
}

fn touching() -> BoxedStrategy<Ask> {
    // Mostly two files, so that peers meet there.
    let path = prop_oneof![6 => 1..3_usize, 1 => 3..6_usize, 1 => 0..TARGETS.len()];
    let touches = prop::collection::btree_set((path, any::<bool>()), 1..4);
    (touches, prop::option::weighted(0.3, 0..3_usize))
        .prop_map(|(touches, branch)| Ask::Touch { touches: touches.into_iter().collect(), branch })
        .boxed()
}

fn locking() -> BoxedStrategy<Locking> {
    let wait = prop_oneof![2 => Just(0_u64), 3 => Just(5_000), 4 => Just(3_600_000)];
    let contract = prop::option::weighted(0.3, SUBJECTS..TARGETS.len());
    let acquire = (targets(), prop::bool::weighted(0.4), ttl(), 0..3_usize, wait, contract);
    let acquire = acquire.prop_map(|(targets, shared, ttl, reason, wait, contract)| Locking::Acquire {
        targets,
        shared,
        ttl,
        reason,
        wait,
        contract,
    });
    let abandon = (any::<Index>(), prop::bool::weighted(0.9));
    let abandon = abandon.prop_map(|(which, own)| Locking::Abandon { which, own });
    let renew = (which(), prop::option::of(ttl())).prop_map(|(which, ttl)| Locking::Renew { which, ttl });
    let keep = || prop_oneof![2 => Just(Vec::new()), 1 => few()];
    let release = (which(), keep(), prop::bool::weighted(0.8));
    let release = release.prop_map(|(which, keep, fits)| Locking::Release { which, keep, fits });
    let request = (targets(), prop::bool::weighted(0.3), 0..3_usize, any::<bool>());
    let request = request.prop_map(|(targets, shared, reason, urgent)| Locking::RequestRelease {
        targets,
        shared,
        reason,
        urgent,
    });
    let answer = (any::<Index>(), 0..3_usize, few(), prop::bool::weighted(0.9), prop::bool::weighted(0.8));
    let answer = answer.prop_map(|(which, answer, keep, own, fits)| Locking::AnswerRelease {
        which,
        answer,
        keep,
        own,
        fits,
    });
    let force = (targets(), 0..3_usize);
    let force = force.prop_map(|(targets, reason)| Locking::ForceRelease { targets, reason });
    prop_oneof![
        28 => acquire,
        3 => abandon,
        3 => renew,
        9 => release,
        5 => request,
        5 => answer,
        1 => force,
    ]
    .boxed()
}

fn which() -> BoxedStrategy<Which> {
    prop_oneof![
        2 => Just(Which::All),
        6 => any::<Index>().prop_map(Which::Own),
        1 => targets().prop_map(Which::These),
    ]
    .boxed()
}

fn few() -> BoxedStrategy<Vec<usize>> {
    prop::sample::subsequence((0..TARGETS.len()).collect::<Vec<usize>>(), 1..4).prop_shuffle().boxed()
}

fn targets() -> BoxedStrategy<Vec<usize>> {
    prop_oneof![
        16 => few(),
        // Where all want the same.
        8 => prop::sample::subsequence(vec![1_usize, 2, 5], 1..3).prop_shuffle(),
        2 => Just((0..TARGETS.len()).collect()),
    ]
    .boxed()
}

fn ttl() -> BoxedStrategy<u64> {
    prop_oneof![
        1 => Just(1_000_u64),
        1 => Just(9_999),
        2 => Just(60_000),
        3 => Just(1_800_000),
        3 => Just(86_400_000)
    ]
    .boxed()
}

fn span() -> BoxedStrategy<u64> {
    let day = 86_400_000_u64;
    prop_oneof![
        30 => 0..3_000_u64,
        20 => 3_000..12_000_u64,
        10 => 50_000..70_000_u64,
        8 => 70_000..4_000_000_u64,
        2 => Just(day),
        2 => Just(7 * day),
        // Who is offline is nearly forgotten then.
        2 => Just(29 * day),
        1 => Just(31 * day),
    ]
    .boxed()
}
