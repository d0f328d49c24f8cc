use super::{Mesh, name, scope, to};
use crate::command::Command;
use crate::limits;
use crate::outcome::Outcome;
use crate::record::Recipients;
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::state::PageSize;
use crate::time::Millis;

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
    let since = Some(crate::time::WallTime(700));
    assert_eq!((deliveries, online), (vec![(name("bob"), since), (name("cat"), None)], 1));
}

#[test]
fn a_full_inbox_takes_no_more_direct_mail_until_some_is_read() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.join("cat");
    for _ in 0..limits::INBOX {
        // A second recipient keeps the message stored when bob has read it.
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
fn a_message_is_deleted_once_all_recipients_have_read_it() {
    let mut mesh = Mesh::default();
    let (ann, bob, cat) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cat"));
    mesh.send(ann, to(&["bob", "cat"])).unwrap();
    let newest = mesh.state.revision();
    mesh.by(bob, acknowledge(newest)).unwrap();
    assert_eq!((mesh.state.messages.count(), mesh.unread("bob"), mesh.unread("cat")), (1, 0, 1));
    mesh.by(cat, acknowledge(newest)).unwrap();
    assert_eq!(mesh.state.messages.count(), 0);
}

#[test]
fn one_acknowledgement_deletes_only_so_many_messages_and_bytes() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    for _ in 0..60 {
        mesh.send(ann, to(&["bob"])).unwrap();
    }
    mesh.by(bob, acknowledge(mesh.state.revision())).unwrap();
    assert_eq!((mesh.unread("bob"), mesh.state.messages.count()), (0, 10));
    mesh.pass(limits::MESSAGE_RETENTION);
    assert_eq!(mesh.state.messages.count(), 0, "the rest goes when it expires");
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
fn a_free_slot_between_others_is_used_again_after_a_restart() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.join("cat");
    for who in ["cat", "bob", "cat"] {
        mesh.send(ann, to(&[who])).unwrap();
    }
    mesh.by(bob, acknowledge(mesh.state.revision())).unwrap();
    mesh.restart();
    for count in [3, 4] {
        mesh.send(ann, to(&["cat"])).unwrap();
        assert_eq!(mesh.state.messages.count(), count, "no message is put in the place of another");
    }
    mesh.restart();
    assert_eq!(mesh.unread("cat"), 4);
}

#[test]
fn unread_mail_expires_after_its_retention_and_not_before() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    mesh.send(ann, to(&["bob"])).unwrap();
    mesh.pass(Millis(limits::MESSAGE_RETENTION.0 - 1));
    mesh.restart();
    assert_eq!(mesh.unread("bob"), 1);
    mesh.pass(Millis(1));
    assert_eq!(mesh.unread("bob"), 0);
}
