use super::{Mesh, name, scope, to, topic};
use crate::command::{Command, Request, Send};
use crate::id::{MessageId, ScopeId, SessionId};
use crate::limits;
use crate::record::Recipients;
use crate::revision::Revision;
use crate::state::PageSize;
use crate::state::messages::Messages;
use crate::time::Millis;

/// Sends a message, and says its id.
fn say(mesh: &mut Mesh, who: SessionId, to: Recipients, reply_to: Option<MessageId>) -> MessageId {
    let message = Send { reply_to, ..mesh.message(to) };
    let id = message.id;
    mesh.by(who, Command::Send(message)).unwrap();
    id
}

fn thread_of(mesh: &Mesh, id: MessageId) -> Option<MessageId> {
    mesh.state.messages.by_id(id).unwrap().thread
}

fn thread(mesh: &Mesh, of: MessageId, reader: &str, after: Revision, items: usize) -> Vec<MessageId> {
    let messages = &mesh.state.messages;
    let reader = mesh.state.peers.get(&scope(), &name(reader)).unwrap();
    let thread = messages.thread(messages.by_id(of).unwrap(), reader, after, PageSize::of(items));
    thread.iter().map(|message| message.id).collect()
}

#[test]
fn an_answer_belongs_to_the_thread_of_what_it_answers() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let root = say(&mut mesh, ann, to(&["bob"]), None);
    let answer = say(&mut mesh, bob, to(&["ann"]), Some(root));
    let again = say(&mut mesh, ann, to(&["bob"]), Some(answer));
    let unknown = MessageId(mesh.id());
    let lost = say(&mut mesh, ann, to(&["bob"]), Some(unknown));
    let after_lost = say(&mut mesh, bob, to(&["ann"]), Some(lost));
    let table = [
        (root, None),
        (answer, Some(root)),
        (again, Some(root)),
        (lost, Some(unknown)),
        (after_lost, Some(unknown)),
    ];
    for (id, expected) in table {
        assert_eq!(thread_of(&mesh, id), expected);
    }
    for restarted in [false, true] {
        if restarted {
            mesh.restart();
        }
        for of in [root, answer, again] {
            assert_eq!(thread(&mesh, of, "ann", Revision::ZERO, 9), [root, answer, again]);
        }
        assert_eq!(thread(&mesh, lost, "ann", Revision::ZERO, 9), [lost, after_lost]);
        let at = mesh.state.messages.by_id(root).unwrap().revision;
        assert_eq!(thread(&mesh, root, "ann", at, 1), [answer], "the oldest after a revision");
        assert_eq!(thread(&mesh, root, "ann", Revision::ZERO, 2), [answer, again], "the newest of all");
    }
}

#[test]
fn a_message_that_nobody_answered_is_a_thread_of_one() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    mesh.join("cat");
    let alone = say(&mut mesh, ann, to(&["bob"]), None);
    assert_eq!(thread(&mesh, alone, "bob", Revision::ZERO, 9), [alone]);
    assert_eq!(thread(&mesh, alone, "bob", mesh.state.revision(), 9), []);
    assert_eq!(thread(&mesh, alone, "cat", Revision::ZERO, 9), []);
}

#[test]
fn a_thread_shows_only_what_its_reader_sent_or_got() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.join("cat");
    let root = say(&mut mesh, ann, Recipients::Broadcast, None);
    let secret = say(&mut mesh, bob, to(&["ann"]), Some(root));
    let told = say(&mut mesh, ann, to(&["cat"]), Some(secret));
    let public = say(&mut mesh, bob, Recipients::Topic(topic("#a")), Some(secret));
    assert_eq!(thread(&mesh, root, "ann", Revision::ZERO, 9), [root, secret, told, public]);
    assert_eq!(thread(&mesh, root, "bob", Revision::ZERO, 9), [root, secret, public]);
    assert_eq!(thread(&mesh, root, "cat", Revision::ZERO, 9), [root, told, public]);
    assert_eq!(
        thread(&mesh, root, "cat", Revision::ZERO, 2),
        [told, public],
        "what is not shown takes no place"
    );
}

#[test]
fn what_goes_leaves_the_rest_of_its_thread() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    let root = say(&mut mesh, ann, to(&["bob"]), None);
    mesh.pass(Millis(10));
    let answer = say(&mut mesh, bob, to(&["ann"]), Some(root));
    mesh.pass(Millis(limits::MESSAGE_RETENTION.0 - 10));
    assert_eq!(mesh.state.messages.by_id(root), None);
    assert_eq!(thread(&mesh, answer, "ann", Revision::ZERO, 9), [answer]);
    let ann = mesh.join("ann");
    let late = say(&mut mesh, ann, to(&["bob"]), Some(root));
    assert_eq!(thread(&mesh, late, "ann", Revision::ZERO, 9), [answer, late]);
}

#[test]
fn a_reply_is_the_first_answer_of_another_peer_that_the_asker_may_read() {
    let mut mesh = Mesh::default();
    let (ann, bob, cat) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cat"));
    let question = say(&mut mesh, ann, to(&["bob", "cat"]), None);
    let reply = |mesh: &Mesh| {
        let messages = &mesh.state.messages;
        messages.reply_to(messages.by_id(question).unwrap()).map(|message| message.id)
    };
    let more = say(&mut mesh, ann, to(&["bob"]), Some(question));
    say(&mut mesh, bob, to(&["cat"]), Some(question));
    say(&mut mesh, bob, to(&["ann"]), Some(more));
    assert_eq!(reply(&mesh), None);
    let first = say(&mut mesh, cat, to(&["bob", "ann"]), Some(question));
    say(&mut mesh, bob, to(&["ann"]), Some(question));
    assert_eq!(reply(&mesh), Some(first));
    mesh.restart();
    assert_eq!(reply(&mesh), Some(first));
}

#[test]
fn a_message_of_another_scope_is_not_answered() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    let root = say(&mut mesh, ann, to(&["bob"]), None);
    let answer = say(&mut mesh, ann, to(&["bob"]), Some(root));
    let mut elsewhere = mesh.joining(Some("ann"), None);
    elsewhere.scope = ScopeId::global();
    let spy = elsewhere.session;
    mesh.ask(&Request::internal(Command::Join(elsewhere))).unwrap();
    let foreign = say(&mut mesh, spy, Recipients::Broadcast, Some(answer));
    assert_eq!(thread_of(&mesh, foreign), Some(answer), "an unknown id, to it");
    assert_eq!(thread(&mesh, root, "ann", Revision::ZERO, 9), [root, answer]);
    let messages = &mesh.state.messages;
    let spy = mesh.state.peers.get(&ScopeId::global(), &name("ann")).unwrap();
    assert!(!Messages::concerns(messages.by_id(root).unwrap(), spy));
    assert_eq!(messages.thread(messages.by_id(root).unwrap(), spy, Revision::ZERO, PageSize::of(9)), []);
    assert_eq!(messages.reply_to(messages.by_id(answer).unwrap()), None);
}
