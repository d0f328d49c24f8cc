use super::{Mesh, name, scope, to, topic};
use crate::command::Command;
use crate::event::{Event, PeerField};
use crate::id::{SessionId, TopicName};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::Recipients;
use crate::rejection::Rejection;
use crate::revision::Revision;
use crate::state::PageSize;

fn follow(mesh: &mut Mesh, who: SessionId, follow: &[&str], unfollow: &[&str]) -> Result<Outcome, Rejection> {
    let topics = |names: &[&str]| names.iter().map(|text| topic(text)).collect();
    mesh.by(who, Command::Follow { follow: topics(follow), unfollow: topics(unfollow) })
}

fn following(names: &[&str]) -> Result<Outcome, Rejection> {
    Ok(Outcome::Following { topics: names.iter().map(|text| topic(text)).collect() })
}

fn on(text: &str) -> Recipients {
    Recipients::Topic(topic(text))
}

#[test]
fn a_topic_is_followed_from_then_on() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.send(ann, on("#a")).unwrap();
    assert_eq!(mesh.unread("bob"), 0);
    assert_eq!(follow(&mut mesh, bob, &["#a"], &[]), following(&["#a", "#notes"]));
    assert_eq!(mesh.unread("bob"), 0, "what was before is not news");
    mesh.send(ann, on("#a")).unwrap();
    mesh.send(bob, on("#a")).unwrap();
    assert_eq!(
        (mesh.unread("bob"), mesh.unread("ann")),
        (1, 0),
        "neither one's own nor what one does not follow"
    );
    mesh.restart();
    assert_eq!(mesh.unread("bob"), 1);
    follow(&mut mesh, bob, &["#a", "#b"], &[]).unwrap();
    assert_eq!(mesh.unread("bob"), 1, "to follow it again is not to begin anew");
    follow(&mut mesh, bob, &[], &["#a"]).unwrap();
    assert_eq!(mesh.unread("bob"), 0);
}

#[test]
fn following_says_what_is_followed_and_is_an_event_when_it_changed() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.events();
    assert_eq!(follow(&mut mesh, ann, &["#z", "#a", "#z"], &[]), following(&["#a", "#notes", "#z"]));
    let events = mesh.events();
    let [Event::PeerUpdated { peer, changed }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(peer.topics.keys().cloned().collect::<Vec<_>>(), [topic("#a"), topic("#z")]);
    assert_eq!(changed.fields, [PeerField::Topics]);
    for (more, less) in [(&["#a"][..], &[][..]), (&[], &["#b"]), (&["#notes"], &[]), (&[], &[])] {
        assert_eq!(follow(&mut mesh, ann, more, less), following(&["#a", "#notes", "#z"]));
        assert_eq!(mesh.events(), []);
    }
    assert_eq!(follow(&mut mesh, ann, &["#b"], &["#a", "#z"]), following(&["#b", "#notes"]));
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let names: Vec<String> = (0..=limits::TOPICS_PER_PEER).map(|at| format!("#t{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let field = |outcome: Result<Outcome, Rejection>| match outcome {
        Err(Rejection::InvalidField { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(follow(&mut mesh, ann, &[], &["#notes"])), "unfollow");
    assert_eq!(field(follow(&mut mesh, ann, &["#a"], &["#a"])), "unfollow");
    assert_eq!(field(follow(&mut mesh, ann, &names, &[])), "follow");
    assert!(follow(&mut mesh, ann, &names[1..], &[]).is_ok());
    assert!(follow(&mut mesh, ann, &["#notes"], &[]).is_ok(), "it takes no place");
    assert_eq!(field(follow(&mut mesh, ann, &names[..1], &[])), "follow");
    assert!(follow(&mut mesh, ann, &names[..1], &names[1..2]).is_ok());
}

#[test]
fn notes_are_for_everybody_from_their_first_join_on() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.send(ann, on("#notes")).unwrap();
    mesh.join("cat");
    assert_eq!((mesh.unread("ann"), mesh.unread("bob"), mesh.unread("cat")), (0, 1, 0));
    mesh.by(bob, Command::Leave).unwrap();
    mesh.send(ann, on("#notes")).unwrap();
    mesh.join("bob");
    assert_eq!((mesh.unread("bob"), mesh.unread("cat")), (2, 1));
}

#[test]
fn the_answer_names_the_followers_that_are_online() {
    let mut mesh = Mesh::default();
    let (ann, bob, cat) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cat"));
    mesh.join("dan");
    for who in [ann, bob, cat] {
        follow(&mut mesh, who, &["#a"], &[]).unwrap();
    }
    mesh.by(cat, Command::Leave).unwrap();
    let told = |outcome| match outcome {
        Ok(Outcome::Sent { deliveries, online, .. }) => {
            (deliveries.iter().map(|told| told.peer.to_string()).collect::<Vec<_>>(), online)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(told(mesh.send(ann, on("#a"))), (vec!["bob".to_owned()], 1));
    assert_eq!(told(mesh.send(ann, on("#notes"))), (vec!["bob".to_owned(), "dan".to_owned()], 2));
    assert_eq!(told(mesh.send(ann, on("#b"))), (vec![], 0));
}

#[test]
fn a_topic_keeps_its_newest_messages() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.send(ann, on("#b")).unwrap();
    let first = mesh.state.revision().next();
    for _ in 0..limits::MESSAGES_PER_TOPIC + 3 {
        mesh.send(ann, on("#a")).unwrap();
    }
    let topics: Vec<_> = mesh.state.messages.topics(&scope()).map(|(t, n, at)| (t.clone(), n, at)).collect();
    let expected = [
        (topic("#a"), limits::MESSAGES_PER_TOPIC, mesh.state.revision()),
        (topic("#b"), 1, Revision(first.0 - 1)),
    ];
    assert_eq!(topics, expected);
    let oldest = mesh.state.messages.topic(&scope(), &topic("#a"), Revision(1), PageSize::of(1));
    assert_eq!(oldest[0].revision, Revision(first.0 + 3));
}

#[test]
fn a_topic_is_read_after_a_revision_or_from_its_end() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let first = mesh.state.revision().next().0;
    for _ in 0..5 {
        mesh.send(ann, on("#a")).unwrap();
    }
    let read = |after: u64, items: usize| {
        let page = mesh.state.messages.topic(&scope(), &topic("#a"), Revision(after), PageSize::of(items));
        page.iter().map(|message| message.revision.0 - first).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 2), [3, 4]);
    assert_eq!(read(0, 9), [0, 1, 2, 3, 4]);
    assert_eq!(read(first, 2), [1, 2]);
    assert_eq!(read(first + 4, 2), Vec::<u64>::new());
    let none = mesh.state.messages.topic(&scope(), &topic("#b"), Revision::ZERO, PageSize::of(2));
    assert_eq!(none, []);
}

#[test]
fn a_scope_has_only_so_many_topics_and_always_a_place_for_notes() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.join("bob");
    for at in 0..limits::TOPICS_PER_SCOPE {
        mesh.send(ann, on(&format!("#t{at}"))).unwrap();
    }
    let full = Err(Rejection::LimitReached { what: "topics of one scope", limit: limits::TOPICS_PER_SCOPE });
    assert_eq!(mesh.send(ann, on("#new")), full);
    assert!(mesh.send(ann, on("#t0")).is_ok());
    assert!(mesh.send(ann, Recipients::Topic(TopicName::notes())).is_ok());
    assert!(mesh.send(ann, to(&["bob"])).is_ok());
    assert_eq!(mesh.send(ann, on("#new")), full);
    mesh.pass(limits::TOPIC_RETENTION);
    assert_eq!(mesh.state.messages.topics(&scope()).count(), 0);
    let ann = mesh.join("ann");
    assert!(mesh.send(ann, on("#new")).is_ok());
    assert!(mesh.state.peers.get(&scope(), &name("ann")).is_some());
}
