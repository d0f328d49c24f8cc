use super::{Mesh, name, scope, target, to, topic};
use crate::command::{Command, Send, Update};
use crate::event::Event;
use crate::id::{MessageId, ScopeId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{Activity, Intent, Recipients};
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::state::PageSize;
use crate::state::messages::{Receipt, Receipts};
use crate::target::Target;
use crate::time::{Millis, WallTime};

fn acknowledge(up_to: Revision) -> Command {
    Command::Acknowledge { up_to }
}

#[test]
fn an_unknown_recipient_refuses_the_whole_message() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    let refused = mesh.send(ann, to(&["bob", "nobody"]));
    assert_eq!(refused, Err(Rejection::PeerNotFound { name: name("nobody") }));
    assert_eq!(mesh.unread("bob"), 0);
    assert!(matches!(mesh.send(ann, to(&["ann"])), Err(Rejection::InvalidField { field: "to", .. })));
}

#[test]
fn the_answer_says_who_is_offline_since_when() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.join("cat");
    mesh.pass(Millis(700));
    mesh.by(bob, Command::Leave).unwrap();
    let Ok(Outcome::Sent { deliveries, online, .. }) = mesh.send(ann, to(&["bob", "cat"])) else {
        panic!("refused")
    };
    let since = Some(WallTime(700));
    let told: Vec<_> = deliveries.into_iter().map(|told| (told.peer, told.offline_since)).collect();
    assert_eq!((told, online), (vec![(name("bob"), since), (name("cat"), None)], 1));
}

#[test]
fn the_answer_says_who_is_at_work_and_how_it_is_woken() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.join("cat");
    let told = |mesh: &mut Mesh| {
        let Ok(Outcome::Sent { deliveries, .. }) = mesh.send(ann, to(&["bob", "cat"])) else {
            panic!("refused")
        };
        deliveries.into_iter().map(|told| (told.activity, told.wake)).collect::<Vec<_>>()
    };
    let unknown = (Activity::Unknown, String::new());
    let monitor = || Some("monitor".to_owned());
    let update = |activity| Update { activity: Some(activity), wake: monitor(), ..Update::default() };
    for activity in [Activity::Working, Activity::Idle] {
        mesh.by(bob, Command::Update(update(activity))).unwrap();
        assert_eq!(told(&mut mesh), [(activity, "monitor".to_owned()), unknown.clone()]);
    }
    mesh.by(bob, Command::Leave).unwrap();
    assert_eq!(told(&mut mesh), [unknown.clone(), unknown]);
}

#[test]
fn a_full_inbox_takes_no_more_direct_mail_until_some_is_read() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.join("cat");
    for _ in 0..limits::INBOX {
        mesh.send(ann, to(&["bob", "cat"])).unwrap();
    }
    let full = Err(Rejection::InboxFull { name: name("bob") });
    assert_eq!(mesh.send(ann, to(&["bob"])), full);
    assert!(mesh.send(ann, Recipients::Broadcast).is_ok(), "broadcasts do not count");
    let first = mesh.log[3].revision;
    mesh.by(bob, acknowledge(first)).unwrap();
    assert!(mesh.send(ann, to(&["bob"])).is_ok(), "only unread mail counts");
    assert_eq!(mesh.send(ann, to(&["bob"])), full);
}

#[test]
fn a_cursor_never_moves_back_nor_ahead_of_the_mesh() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.send(ann, to(&["bob"])).unwrap();
    let newest = mesh.state.revision();
    let read = Ok(Outcome::Acknowledged { acknowledged: newest, unread: 0 });
    assert_eq!(mesh.by(bob, acknowledge(newest)), read);
    assert_eq!(mesh.by(bob, acknowledge(Revision(1))), read);
    let ahead = mesh.by(bob, acknowledge(mesh.state.revision().next()));
    assert!(matches!(ahead, Err(Rejection::InvalidField { field: "up_to_revision", .. })));
}

#[test]
fn a_broadcast_to_ten_thousand_peers_is_one_record() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    for n in 0..10_000 {
        mesh.join(&format!("peer-{n}"));
    }
    let before = mesh.stored.len();
    let Outcome::Sent { online, deliveries, .. } = mesh.send(ann, Recipients::Broadcast).unwrap() else {
        panic!("not sent")
    };
    assert_eq!((online, deliveries.len()), (10_000, limits::DELIVERIES_SHOWN));
    assert_eq!(mesh.stored.len(), before + 1);
    assert_eq!((mesh.unread("peer-0"), mesh.unread("peer-9999"), mesh.unread("ann")), (1, 1, 0));
}

#[test]
fn a_scope_keeps_its_newest_broadcasts() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    for _ in 0..limits::BROADCASTS_PER_SCOPE + 5 {
        mesh.send(ann, Recipients::Broadcast).unwrap();
    }
    assert_eq!(mesh.unread("bob") as usize, limits::BROADCASTS_PER_SCOPE);
    assert_eq!(mesh.unread("ann"), 0, "not to oneself");
    let bob = mesh.state.peers.get(&scope(), &name("bob")).unwrap();
    let (oldest, _) = mesh.state.messages.inbox(bob, Revision::ZERO, PageSize::of(1));
    assert_eq!(oldest[0].revision, Revision(8));
    let slots: std::collections::BTreeSet<u32> = mesh
        .state
        .messages
        .inbox(bob, Revision::ZERO, PageSize::of(1_000))
        .0
        .iter()
        .map(|m| m.slot)
        .collect();
    assert_eq!(slots.len(), limits::BROADCASTS_PER_SCOPE);
    assert!(slots.iter().all(|slot| (*slot as usize) <= limits::BROADCASTS_PER_SCOPE), "slots are reused");
}

#[test]
fn an_inbox_is_all_that_is_for_a_peer_in_one_order() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.join("cat");
    let follow = Command::Follow { follow: vec![topic("#a"), topic("#b")], unfollow: Vec::new() };
    mesh.by(bob, follow).unwrap();
    let kinds = [
        to(&["bob"]),
        Recipients::Topic(topic("#b")),
        Recipients::Broadcast,
        to(&["cat"]),
        Recipients::Topic(topic("#a")),
        Recipients::Topic(topic("#notes")),
        Recipients::Topic(topic("#other")),
    ];
    let mut expected = Vec::new();
    for kind in kinds.iter().chain(&kinds).chain(&kinds) {
        mesh.send(ann, kind.clone()).unwrap();
        // What bob sends himself is not for him.
        let own = if matches!(kind, Recipients::Direct(_)) { to(&["ann"]) } else { kind.clone() };
        mesh.send(bob, own).unwrap();
        if *kind != to(&["cat"]) && *kind != Recipients::Topic(topic("#other")) {
            expected.push((mesh.state.revision().0 - 1, kind.clone()));
        }
    }
    let shown = |mesh: &Mesh, after: u64, items: usize| {
        let bob = mesh.state.peers.get(&scope(), &name("bob")).unwrap();
        let (inbox, more) = mesh.state.messages.inbox(bob, Revision(after), PageSize::of(items));
        (inbox.iter().map(|m| (m.revision.0, m.to.clone())).collect::<Vec<_>>(), more)
    };
    assert_eq!(shown(&mesh, 0, 100), (expected.clone(), false));
    assert_eq!(shown(&mesh, 0, 4), (expected[..4].to_vec(), true));
    assert_eq!(shown(&mesh, expected[3].0, 100), (expected[4..].to_vec(), false));
    assert_eq!(mesh.unread("bob"), 15);
    mesh.restart();
    assert_eq!(shown(&mesh, 0, 100), (expected, false));
}

#[test]
fn what_messages_mention_counts_for_what_a_page_holds() {
    let mut mesh = Mesh::default();
    let (ann, _bob) = (mesh.join("ann"), mesh.join("bob"));
    let long = |n: usize| target(&format!("{}/{n:02}", "x".repeat(1_000)));
    let paths: Vec<Target> = (0..limits::MENTIONS).map(long).collect();
    for _ in 0..40 {
        let message = Send { paths: paths.clone(), ..mesh.message(to(&["bob"])) };
        mesh.by(ann, Command::Send(message)).unwrap();
    }
    let bob = mesh.state.peers.get(&scope(), &name("bob")).unwrap();
    let (page, more) = mesh.state.messages.inbox(bob, Revision::ZERO, PageSize::of(100));
    assert_eq!((page.len(), more), (limits::PAGE_BYTES / (limits::MENTIONS * 1_003 + "hello".len()), true));
}

#[test]
fn the_same_message_again_is_a_duplicate_and_another_under_its_id_is_refused() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.join("cat");
    let first = mesh.message(to(&["bob", "cat"]));
    let Ok(Outcome::Sent { revision, duplicate: false, .. }) = mesh.by(ann, Command::Send(first.clone()))
    else {
        panic!("refused")
    };
    mesh.by(bob, Command::Leave).unwrap();
    mesh.events();
    let mentions = Send { paths: vec![target("src/a.rs")], ..first.clone() };
    let other_order = Send { to: to(&["cat", "bob"]), ..first.clone() };
    for same in [first.clone(), mentions, other_order] {
        let Ok(Outcome::Sent { id, deliveries, online, revision: again, duplicate }) =
            mesh.by(ann, Command::Send(same))
        else {
            panic!("refused")
        };
        assert_eq!((id, online, again, duplicate), (first.id, 1, revision, true));
        assert_eq!(deliveries.len(), 2, "with what is known by now");
    }
    assert_eq!(mesh.events(), []);
    let others = [
        Send { to: to(&["bob"]), ..first.clone() },
        Send { to: Recipients::Broadcast, ..first.clone() },
        Send { body: "bye".into(), ..first.clone() },
        Send { reply_to: Some(first.id), ..first.clone() },
        Send { intent: Intent::Ack, ..first.clone() },
        Send { urgent: true, ..first.clone() },
    ];
    for other in others {
        assert_eq!(mesh.by(ann, Command::Send(other)), Err(Rejection::MessageIdReused));
    }
    let bob = mesh.join("bob");
    let of_bob = Send { to: to(&["cat"]), ..first.clone() };
    assert_eq!(mesh.by(bob, Command::Send(of_bob)), Err(Rejection::MessageIdReused));
    mesh.restart();
    let again = mesh.by(ann, Command::Send(first));
    assert!(matches!(again, Ok(Outcome::Sent { duplicate: true, .. })), "after a restart too: {again:?}");
}

#[test]
fn a_full_inbox_does_not_refuse_a_duplicate() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    let first = mesh.message(to(&["bob"]));
    mesh.by(ann, Command::Send(first.clone())).unwrap();
    for _ in 1..limits::INBOX {
        mesh.send(ann, to(&["bob"])).unwrap();
    }
    assert_eq!(mesh.send(ann, to(&["bob"])), Err(Rejection::InboxFull { name: name("bob") }));
    assert!(mesh.by(ann, Command::Send(first)).is_ok());
}

#[test]
fn the_event_says_whom_a_message_is_for_and_what_it_mentions() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.events();
    let root = MessageId(mesh.id());
    let message = Send {
        reply_to: Some(root),
        paths: vec![target("src/a.rs")],
        ..mesh.message(Recipients::Topic(topic("#a")))
    };
    mesh.by(ann, Command::Send(message)).unwrap();
    let events = mesh.events();
    let [Event::MessageSent { to, thread, paths, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*to, Recipients::Topic(topic("#a")));
    assert_eq!((*thread, &paths[..]), (Some(root), &[target("src/a.rs")][..]));
}

#[test]
fn messages_that_mention_a_target_are_each_told_once() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    let table: [&[&str]; 5] =
        [&["src/a.rs", "src/b.rs"], &["src/"], &["doc/x"], &[], &["src/a.rs", "src/a.rs"]];
    let mut sent = Vec::new();
    for mentioned in table {
        let paths = mentioned.iter().map(|path| target(path)).collect();
        let message = Send { paths, ..mesh.message(to(&["bob"])) };
        mesh.by(ann, Command::Send(message)).unwrap();
        sent.push(mesh.state.revision());
    }
    let about = |mesh: &Mesh, path: &str| {
        let mut found: Vec<_> =
            mesh.state.messages.about(&scope(), &target(path)).map(|message| message.revision).collect();
        found.sort();
        found.iter().map(|at| sent.iter().position(|sent| sent == at).unwrap()).collect::<Vec<_>>()
    };
    for restarted in [false, true] {
        if restarted {
            mesh.restart();
        }
        assert_eq!(about(&mesh, "src/"), [0, 1, 4]);
        assert_eq!(about(&mesh, "src/a.rs"), [0, 1, 4]);
        assert_eq!(about(&mesh, "src/c.rs"), [1]);
        assert_eq!(about(&mesh, "/"), [0, 1, 2, 4]);
        assert_eq!(about(&mesh, "doc/y"), Vec::<usize>::new());
    }
    assert_eq!(mesh.state.messages.about(&ScopeId::global(), &target("/")).count(), 0);
    mesh.pass(limits::MESSAGE_RETENTION);
    assert_eq!(mesh.state.messages.about(&scope(), &target("/")).count(), 0);
}

#[test]
fn receipts_say_who_has_read_a_message() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let cat = mesh.join("cat");
    mesh.by(bob, Command::Follow { follow: vec![topic("#a")], unfollow: Vec::new() }).unwrap();
    let mut ids = Vec::new();
    for kind in [to(&["cat", "bob"]), Recipients::Broadcast, Recipients::Topic(topic("#a"))] {
        let message = mesh.message(kind);
        ids.push(message.id);
        mesh.by(ann, Command::Send(message)).unwrap();
    }
    mesh.by(cat, Command::Follow { follow: vec![topic("#a")], unfollow: Vec::new() }).unwrap();
    mesh.by(bob, acknowledge(mesh.state.revision())).unwrap();
    mesh.pass(Millis(9));
    mesh.by(cat, Command::Leave).unwrap();
    mesh.join("dan");
    let receipts = |mesh: &Mesh, at: usize| mesh.state.receipts(mesh.state.messages.by_id(ids[at]).unwrap());
    let away = Receipt::Unread { offline_since: Some(WallTime(9)) };
    let expected = [
        (vec![(name("cat"), away), (name("bob"), Receipt::Read)], 1, 2),
        (vec![(name("bob"), Receipt::Read), (name("cat"), away), (name("dan"), Receipt::Read)], 2, 3),
        (vec![(name("bob"), Receipt::Read)], 1, 1),
    ];
    for (at, (deliveries, read, recipients)) in expected.into_iter().enumerate() {
        assert_eq!(receipts(&mesh, at), Receipts { deliveries, read, recipients });
    }
    let cat = mesh.join("cat");
    let here = (name("cat"), Receipt::Unread { offline_since: None });
    assert_eq!(receipts(&mesh, 0).deliveries[0], here);
    mesh.by(cat, acknowledge(mesh.state.revision())).unwrap();
    assert_eq!((receipts(&mesh, 0).read, receipts(&mesh, 1).read), (2, 3));
}

#[test]
fn receipts_of_a_broadcast_name_only_so_many_peers() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    for at in 0..limits::DELIVERIES_SHOWN + 5 {
        mesh.join(&format!("p{at}"));
    }
    let message = mesh.message(Recipients::Broadcast);
    let id = message.id;
    let Ok(Outcome::Sent { deliveries, online, .. }) = mesh.by(ann, Command::Send(message)) else {
        panic!("refused")
    };
    assert_eq!((deliveries.len(), online as usize), (limits::DELIVERIES_SHOWN, limits::DELIVERIES_SHOWN + 5));
    let receipts = mesh.state.receipts(mesh.state.messages.by_id(id).unwrap());
    assert_eq!(receipts.deliveries.len(), limits::DELIVERIES_SHOWN);
    assert_eq!((receipts.read, receipts.recipients as usize), (0, limits::DELIVERIES_SHOWN + 5));
}
