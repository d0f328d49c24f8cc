use super::{Mesh, UNREAD, named, put};
use crate::command::{Command, Put, Send, Touch, Update};
use crate::id::{MessageId, SessionId, TopicName};
use crate::record::{Intent, LockMode, Recipients, TouchKind};
use crate::state::about::About;
use crate::state::tests::{name, scope, target, to};
use crate::time::Millis;

impl Mesh {
    fn about(&self, path: &str, reader: Option<&str>, limit: usize) -> About {
        let reader = reader.and_then(|who| self.state.peers.get(&scope(), &name(who)));
        self.state.about(&scope(), &target(path), reader.map(|peer| &**peer), limit)
    }

    fn note(&mut self, who: SessionId, key: &str, paths: &[&str]) {
        let paths = paths.iter().map(|path| target(path)).collect();
        self.by(who, Command::Put(Put { key: named(key), paths, ..put(UNREAD) })).unwrap();
    }
}

fn locks(about: &About) -> Vec<String> {
    about.locks.iter().map(|lock| format!("{} {}", lock.target, lock.holder)).collect()
}

fn intents(about: &About) -> Vec<String> {
    let text = |contract: Option<&str>| contract.map(|key| format!(" {key}")).unwrap_or_default();
    let intents = about.intents.iter().map(|(lock, contract)| {
        let contract = contract.as_ref().map(|entry| entry.key.as_str());
        format!("{} {}{}", lock.target, lock.holder, text(contract))
    });
    intents.collect()
}

fn entries(about: &About) -> Vec<&str> {
    about.entries.iter().map(|entry| entry.key.as_str()).collect()
}

#[test]
fn of_what_nobody_knows_there_is_nothing() {
    let mut mesh = Mesh::default();
    mesh.join("ann");
    assert_eq!(mesh.about("src/a.rs", Some("ann"), 20), About::default());
}

#[test]
fn locks_entries_and_peers_on_a_path_are_shown_in_order() {
    let mut mesh = Mesh::default();
    let (bob, ann) = (mesh.join("bob"), mesh.join("ann"));
    mesh.lock(bob, LockMode::Shared, &["src/a.rs", "src/", "docs/"]);
    mesh.lock(ann, LockMode::Shared, &["src/a.rs"]);
    mesh.note(ann, "b", &["src/a.rs", "src/"]);
    mesh.note(ann, "a", &["src/"]);
    mesh.note(ann, "other", &["docs/"]);
    for who in [ann, bob] {
        let files = Some(vec![target("src/")]);
        mesh.by(who, Command::Update(Update { files, ..Update::default() })).unwrap();
    }
    let about = mesh.about("src/a.rs", None, 20);
    assert_eq!(locks(&about), ["src/ bob", "src/a.rs ann", "src/a.rs bob"]);
    assert_eq!(entries(&about), ["a", "b"], "the latest written first");
    assert_eq!(about.peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(), ["ann", "bob"]);
    assert!(about.more.is_empty());
    mesh.by(bob, Command::Leave).unwrap();
    assert_eq!(mesh.about("src/a.rs", None, 20).peers.len(), 1, "those who are here");
}

#[test]
fn lists_are_cut_at_the_limit_and_named() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.lock(ann, LockMode::Shared, &["src/a", "src/b", "src/c"]);
    for key in ["k1", "k2"] {
        mesh.note(ann, key, &["src/"]);
    }
    let about = mesh.about("src/", None, 2);
    assert_eq!((locks(&about).len(), entries(&about).len(), about.more), (2, 2, vec!["locks"]));
    let about = mesh.about("src/", None, 1);
    assert_eq!((entries(&about), &about.more[..]), (vec!["k2"], &["locks", "entries"][..]));
}

#[test]
fn intents_are_the_subjects_locked_with_it_and_those_whose_contract_names_it() {
    let mut mesh = Mesh::default();
    let (ann, bob, cyd) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cyd"));
    mesh.lock(ann, LockMode::Exclusive, &["src/a.rs", "task:one"]);
    mesh.lock(ann, LockMode::Exclusive, &["task:elsewhere"]);
    mesh.lock(bob, LockMode::Shared, &["api:billing"]);
    mesh.lock(cyd, LockMode::Shared, &["api:billing", "api:other"]);
    mesh.note(ann, "contract/api:billing", &["src/"]);
    mesh.note(ann, "contract/api:unlocked", &["src/"]);
    mesh.note(ann, "contract/task:one", &["docs/"]);
    let about = mesh.about("src/a.rs", None, 20);
    assert_eq!(
        intents(&about),
        [
            "api:billing bob contract/api:billing",
            "api:billing cyd contract/api:billing",
            "task:one ann contract/task:one",
        ]
    );
    assert_eq!(entries(&about), ["contract/api:unlocked"], "the contracts shown are not repeated");
    assert_eq!(locks(&about), ["src/a.rs ann"]);

    let about = mesh.about("src/a.rs", None, 1);
    assert_eq!(about.more, ["intents"]);
    assert_eq!(mesh.about("src/b.rs", None, 20).intents.len(), 2);
    assert_eq!(intents(&mesh.about("docs/", None, 20)), ["task:one ann contract/task:one"]);
}

#[test]
fn a_contract_whose_intent_was_cut_is_among_the_entries() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.lock(ann, LockMode::Exclusive, &["api:a", "api:b"]);
    mesh.note(ann, "contract/api:a", &["src/"]);
    mesh.note(ann, "contract/api:b", &["src/"]);
    let about = mesh.about("src/a.rs", None, 1);
    assert_eq!(intents(&about), ["api:a ann contract/api:a"]);
    assert_eq!((entries(&about), &about.more[..]), (vec!["contract/api:b"], &["intents"][..]));
}

#[test]
fn of_a_subject_the_intents_are_the_locks_that_overlap_it() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.lock(ann, LockMode::Exclusive, &["api:billing/v2", "src/a.rs"]);
    mesh.lock(bob, LockMode::Shared, &["api:other"]);
    mesh.note(bob, "contract/api:billing/v2", &["api:billing/v2", "src/"]);
    let about = mesh.about("api:billing", None, 20);
    assert_eq!(locks(&about), ["api:billing/v2 ann"]);
    assert_eq!(intents(&about), ["api:billing/v2 ann contract/api:billing/v2"]);
    assert!(entries(&about).is_empty());
}

#[test]
fn of_a_subject_those_that_were_locked_with_it_are_intents_too() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.lock(ann, LockMode::Exclusive, &["api:billing/v2", "task:one"]);
    mesh.lock(ann, LockMode::Exclusive, &["task:elsewhere"]);
    assert_eq!(intents(&mesh.about("api:billing", None, 20)), ["api:billing/v2 ann", "task:one ann"]);
}

#[test]
fn messages_that_mention_it_are_for_all_or_concern_the_reader() {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.join("cyd");
    let say = |mesh: &mut Mesh, who, to, paths: &[&str], body: &str| {
        let id = MessageId(mesh.id());
        let paths = paths.iter().map(|path| target(path)).collect();
        let (body, reply_to, intent) = (body.into(), None, Intent::Inform);
        mesh.by(who, Command::Send(Send { id, to, body, reply_to, intent, urgent: false, paths })).unwrap();
    };
    say(&mut mesh, ann, Recipients::Broadcast, &["src/"], "all");
    say(&mut mesh, ann, Recipients::Broadcast, &["docs/"], "elsewhere");
    say(&mut mesh, ann, to(&["bob"]), &["src/a.rs"], "direct");
    say(&mut mesh, bob, Recipients::Topic(TopicName::notes()), &["src/a.rs", "src/"], "note");
    let seen = |mesh: &Mesh, reader| {
        let about = mesh.about("src/a.rs", reader, 20);
        about.messages.iter().map(|message| message.body.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(seen(&mesh, None), "note all");
    assert_eq!(seen(&mesh, Some("ann")), "note direct all");
    assert_eq!(seen(&mesh, Some("bob")), "note direct all");
    assert_eq!(seen(&mesh, Some("cyd")), "note all");
}

#[test]
fn who_touched_it_last_comes_first() {
    let mut mesh = Mesh::default();
    let (ann, bob, cyd) = (mesh.join("ann"), mesh.join("bob"), mesh.join("cyd"));
    let touch = |mesh: &mut Mesh, who, path: &str, kind| {
        let touches = vec![(target(path), kind)];
        mesh.by(who, Command::Touch(Touch { touches, branch: None, worktree: None })).unwrap();
    };
    touch(&mut mesh, cyd, "src/a.rs", TouchKind::Read);
    touch(&mut mesh, bob, "src/a.rs", TouchKind::Edit);
    mesh.pass(Millis::seconds(1));
    touch(&mut mesh, ann, "src/b.rs", TouchKind::Edit);
    touch(&mut mesh, ann, "docs/c.md", TouchKind::Edit);
    let about = mesh.about("src/", None, 20);
    let who: Vec<_> = about.activity.iter().map(|touch| touch.peer.as_str()).collect();
    assert_eq!(who, ["ann", "bob", "cyd"]);
    assert_eq!(mesh.about("src/", None, 2).more, ["activity"]);
}
