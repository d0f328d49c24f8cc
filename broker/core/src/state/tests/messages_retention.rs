use std::sync::Arc;

use super::{Mesh, name, scope, to, topic};
use crate::command::{Command, Join, Request, Send};
use crate::id::{MessageId, PeerName, ScopeId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{Intent, MessageRecord, Recipients, Record, RecordKey, Write};
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::state::Decision;
use crate::time::{Millis, Now, Timestamp, WallTime};

fn acknowledge(mesh: &Mesh) -> Command {
    Command::Acknowledge { up_to: mesh.state.revision() }
}

#[test]
fn a_message_stays_for_a_day_once_all_recipients_have_read_it() {
    for restarted in [false, true] {
        let mut mesh = Mesh::default();
        let (ann, bob, cat) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cat"));
        mesh.send(ann, to(&["bob", "cat"])).unwrap();
        mesh.by(bob, acknowledge(&mesh)).unwrap();
        mesh.pass(limits::READ_RETENTION);
        assert_eq!(mesh.state.messages.count(), 1, "one has not read it");
        let cat = if mesh.state.peers.by_session(cat).is_some() { cat } else { mesh.join("cat") };
        mesh.by(cat, acknowledge(&mesh)).unwrap();
        assert_eq!(mesh.unread("cat"), 0);
        if restarted {
            mesh.pass(Millis(limits::READ_RETENTION.0 / 2));
            mesh.restart();
        }
        mesh.pass(Millis(limits::READ_RETENTION.0 - 1));
        assert_eq!(mesh.state.messages.count(), 1, "late, never early");
        mesh.pass(Millis(1));
        assert_eq!(mesh.state.messages.count(), 0);
    }
}

#[test]
fn being_read_does_not_keep_a_message_for_longer() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    mesh.send(ann, to(&["bob"])).unwrap();
    mesh.pass(Millis(limits::MESSAGE_RETENTION.0 - 10));
    let bob = mesh.join("bob");
    mesh.by(bob, acknowledge(&mesh)).unwrap();
    mesh.pass(Millis(10));
    assert_eq!(mesh.state.messages.count(), 0);
}

#[test]
fn broadcasts_and_topics_do_not_go_because_they_were_read() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.send(ann, Recipients::Broadcast).unwrap();
    mesh.send(ann, Recipients::Topic(topic("#notes"))).unwrap();
    mesh.by(bob, acknowledge(&mesh)).unwrap();
    mesh.pass(Millis(limits::MESSAGE_RETENTION.0 - 1));
    assert_eq!(mesh.state.messages.count(), 2);
    mesh.pass(Millis(1));
    assert_eq!(mesh.state.messages.count(), 1);
    mesh.pass(Millis(limits::TOPIC_RETENTION.0 - limits::MESSAGE_RETENTION.0 - 1));
    assert_eq!(mesh.state.messages.count(), 1, "a topic is kept for longer");
    mesh.pass(Millis(1));
    assert_eq!(mesh.state.messages.count(), 0);
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

#[test]
fn a_recipient_that_is_forgotten_counts_as_having_read() {
    for restarted in [false, true] {
        let mut mesh = Mesh::default();
        let bob = mesh.join("bob");
        mesh.by(bob, Command::Leave).unwrap();
        mesh.pass(Millis(limits::PEER_RETENTION.0 - 1));
        let ann = mesh.join("ann");
        let message = mesh.message(to(&["bob"]));
        let id = message.id;
        mesh.by(ann, Command::Send(message)).unwrap();
        mesh.pass(Millis(1));
        assert_eq!(mesh.state.peers.get(&scope(), &name("bob")), None);
        let receipts = mesh.state.receipts(mesh.state.messages.by_id(id).unwrap());
        assert_eq!((receipts.read, receipts.recipients), (0, 1), "but it has not");
        if restarted {
            mesh.restart();
        }
        mesh.pass(Millis(limits::READ_RETENTION.0 - 1));
        assert_eq!(mesh.state.messages.count(), 1);
        mesh.pass(Millis(1));
        assert_eq!(mesh.state.messages.count(), 0);
    }
}

#[test]
fn messages_of_a_scope_expire_together_as_many_as_a_transaction_deletes() {
    let (count, bytes) = limits::DELETES_PER_TRANSACTION;
    // A record is a little longer than its body: one body fewer than the bytes would hold.
    let at_once = bytes / limits::BODY_BYTES - 1;
    let long = "x".repeat(limits::BODY_BYTES);
    for (body, expected) in [("x".to_owned(), vec![count, 10]), (long, vec![at_once; 60 / at_once])] {
        let mut mesh = Mesh::default();
        let ann = mesh.join("ann");
        mesh.join("bob");
        let body: Arc<str> = body.into();
        for _ in 0..count + 10 {
            let message = Send { body: body.clone(), ..mesh.message(to(&["bob"])) };
            mesh.by(ann, Command::Send(message)).unwrap();
        }
        // The sessions end first.
        mesh.pass(Millis(limits::MESSAGE_RETENTION.0 - 1));
        mesh.log.clear();
        let before = mesh.state.revision();
        mesh.pass(Millis(1));
        assert_eq!(mesh.state.messages.count(), 0);
        assert_eq!(mesh.state.revision().0 - before.0, expected.len() as u64);
        assert_eq!(mesh.events(), [], "nothing is said of it");
    }
}

#[test]
fn messages_of_other_scopes_expire_on_their_own() {
    let mut mesh = Mesh::default();
    for at in 0..4_u32 {
        let scope = ScopeId::parse(if at % 2 == 0 { "a" } else { "b" }).unwrap();
        let record = record(at, scope, "x", to(&["bob"]));
        mesh.state.apply(&Write::Put(Record::Message(Arc::new(record))), Timestamp(0));
    }
    let now = Now { at: Timestamp(limits::MESSAGE_RETENTION.0), wall: WallTime(0) };
    let due = mesh.state.due(now.at).unwrap();
    let decision = mesh.state.decide(&Request::internal(Command::Expire(due)), now).unwrap();
    let Decision::Commit(transaction) = decision else { panic!("{decision:?}") };
    assert_eq!(transaction.log.scope, ScopeId::parse("a").unwrap());
    assert_eq!(
        transaction.writes,
        [0, 2].map(|slot| Write::Delete(RecordKey::Message(slot))),
        "without a head: there is no event"
    );
}

#[test]
fn a_full_scope_gives_up_what_is_read_for_what_is_new() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let body: Arc<str> = "x".repeat(limits::BODY_BYTES).into();
    let fits = limits::MESSAGE_BYTES_PER_SCOPE / limits::BODY_BYTES;
    for at in 0..fits {
        let to = to(&[&format!("p{}", at / limits::INBOX)]);
        if at % limits::INBOX == 0 {
            mesh.join(&format!("p{}", at / limits::INBOX));
        }
        let message = Send { body: body.clone(), to, ..mesh.message(Recipients::Broadcast) };
        mesh.by(ann, Command::Send(message)).unwrap();
    }
    mesh.join("bob");
    let full = Err(Rejection::LimitReached {
        what: "bytes of messages of one scope",
        limit: limits::MESSAGE_BYTES_PER_SCOPE,
    });
    assert_eq!(mesh.send(ann, to(&["bob"])), full);
    let reader = mesh.try_join(None, Some("p1")).unwrap();
    let oldest = mesh.state.messages.inbox(&reader, Revision::ZERO, crate::state::PageSize::of(1)).0;
    let read = mesh.by(super::session(&reader), Command::Acknowledge { up_to: oldest[0].revision });
    assert!(read.is_ok());
    assert!(mesh.send(ann, to(&["bob"])).is_ok());
    assert_eq!((mesh.state.messages.count(), mesh.unread("p0") as usize), (fits, limits::INBOX));
    assert_eq!(mesh.state.messages.by_id(oldest[0].id), None, "what was read is gone");
    let large = Send { body, ..mesh.message(to(&["bob"])) };
    assert_eq!(mesh.by(ann, Command::Send(large)), full, "there is no more that is read");
}

#[test]
fn room_is_made_for_a_message_within_one_transaction_only() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let (count, _) = limits::DELETES_PER_TRANSACTION;
    for _ in 0..count + 1 {
        mesh.send(ann, to(&["bob"])).unwrap();
    }
    mesh.by(bob, acknowledge(&mesh)).unwrap();
    let large = "x".repeat(limits::MESSAGE_BYTES - (count + 1) * "hello".len());
    let elsewhere = ScopeId::parse("elsewhere").unwrap();
    let filler = record(count as u32 + 1, elsewhere, &large, Recipients::Broadcast);
    mesh.state.apply(&Write::Put(Record::Message(Arc::new(filler))), Timestamp(0));
    let of = |mesh: &mut Mesh, size: usize| {
        let message = Send { body: "x".repeat(size).into(), ..mesh.message(to(&["bob"])) };
        let request = Request { caller: Some(ann), ..Request::internal(Command::Send(message)) };
        mesh.state.decide(&request, Now::default())
    };
    let Ok(Decision::Commit(transaction)) = of(&mut mesh, count * "hello".len()) else { panic!("refused") };
    assert_eq!(transaction.writes.len(), count + 2, "the deletions, the message and the head");
    let more = of(&mut mesh, count * "hello".len() + 1);
    assert!(matches!(more, Err(Rejection::LimitReached { .. })), "{more:?}");
}

#[test]
fn a_mesh_holds_only_so_many_messages() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    for slot in 0..u32::try_from(limits::MESSAGES).unwrap() {
        let elsewhere = ["one", "two"].get(slot as usize % 3);
        let elsewhere = elsewhere.map(|name| (ScopeId::parse(name).unwrap(), Recipients::Broadcast));
        let (scope, recipients) = elsewhere.unwrap_or_else(|| (scope(), to(&["bob"])));
        let record = record(slot, scope, "", recipients);
        mesh.state.apply(&Write::Put(Record::Message(Arc::new(record))), Timestamp(0));
    }
    let full = Err(Rejection::LimitReached { what: "messages", limit: limits::MESSAGES });
    assert_eq!(mesh.send(ann, Recipients::Broadcast), full);
    mesh.state.remove_message(7);
    assert!(matches!(mesh.send(ann, Recipients::Broadcast), Ok(Outcome::Sent { .. })));
    assert_eq!(mesh.send(ann, Recipients::Broadcast), full);
}

#[test]
fn one_scope_cannot_fill_the_mesh_with_messages() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    for slot in 1..=u32::try_from(limits::MESSAGES_PER_SCOPE).unwrap() {
        let record = record(slot - 1, scope(), "", to(&["bob"]));
        mesh.state.apply(&Write::Put(Record::Message(Arc::new(record))), Timestamp(0));
    }
    let (what, limit) = ("messages of one scope", limits::MESSAGES_PER_SCOPE);
    assert_eq!(mesh.send(ann, Recipients::Broadcast), Err(Rejection::LimitReached { what, limit }));
    let elsewhere = Join { scope: ScopeId::parse("elsewhere").unwrap(), ..mesh.joining(None, None) };
    let session = elsewhere.session;
    mesh.ask(&Request::internal(Command::Join(elsewhere))).unwrap();
    assert!(mesh.send(session, Recipients::Broadcast).is_ok(), "there is room elsewhere");
    mesh.state.remove_message(7);
    assert!(mesh.send(ann, Recipients::Broadcast).is_ok(), "and here when something is gone");
}

#[test]
fn a_free_slot_between_others_is_used_again_after_a_restart() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.join("cat");
    for who in ["cat", "bob", "cat"] {
        mesh.send(ann, to(&[who])).unwrap();
    }
    mesh.by(bob, acknowledge(&mesh)).unwrap();
    mesh.pass(limits::READ_RETENTION);
    let ann = mesh.join("ann");
    assert_eq!(mesh.state.messages.count(), 2);
    mesh.restart();
    for count in [3, 4] {
        mesh.send(ann, to(&["cat"])).unwrap();
        assert_eq!(mesh.state.messages.count(), count, "no message is put in the place of another");
    }
    mesh.restart();
    assert_eq!(mesh.unread("cat"), 4);
}

/// A message as a store may hold it, without a peer that sent it.
fn record(slot: u32, scope: ScopeId, body: &str, to: Recipients) -> MessageRecord {
    MessageRecord {
        slot,
        id: MessageId(uuid::Uuid::from_u64_pair(1, slot.into())),
        revision: Revision(1_000_000 + u64::from(slot)),
        scope,
        from: PeerName::parse("nobody").unwrap(),
        to,
        body: body.into(),
        reply_to: None,
        intent: Intent::Inform,
        urgent: false,
        at: Timestamp(0),
        sent: WallTime(0),
        thread: None,
        paths: Vec::new(),
    }
}
