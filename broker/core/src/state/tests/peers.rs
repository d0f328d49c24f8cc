use super::{Mesh, name, scope, session};
use crate::command::{Command, Request, Update};
use crate::event::{Event, LeaveCause, PeerChange, PeerField};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::{Activity, ChildAgent, PeerInfo};
use crate::rejection::Rejection;
use crate::time::Millis;

#[test]
fn a_live_name_is_taken() {
    let mut mesh = Mesh::default();
    mesh.join("ann");
    let taken = Err(Rejection::PeerNameTaken { name: name("ann") });
    assert_eq!(mesh.try_join(Some("ann"), Some("other")), taken);
    assert_eq!(mesh.try_join(Some("ann"), None), taken);
}

#[test]
fn an_offline_name_is_taken_up_again_by_whoever_asks() {
    let mut mesh = Mesh::default();
    let first = mesh.try_join(Some("ann"), None).unwrap();
    mesh.by(session(&first), Command::Leave).unwrap();
    let second = mesh.try_join(Some("ann"), Some("key")).unwrap();
    assert_eq!(second.acknowledged, first.acknowledged, "it is the same peer");
    assert_eq!(mesh.state.peers.known_count(), 1);
}

#[test]
fn the_same_resume_key_replaces_the_session() {
    let mut mesh = Mesh::default();
    let first = mesh.join("ann");
    mesh.events();
    let second = session(&mesh.try_join(None, Some("ann")).unwrap());
    let events = mesh.events();
    assert!(
        matches!(&events[..], [
            Event::PeerLeft { session, cause: LeaveCause::Replaced, .. },
            Event::PeerJoined { resumed: true, .. },
        ] if *session == first),
        "{events:?}"
    );
    let gone = Err(Rejection::SessionExpired { cause: Some(LeaveCause::Replaced) });
    assert_eq!(mesh.by(first, Command::Leave), gone);
    assert_eq!(mesh.by(second, Command::Leave), Ok(Outcome::Done));
}

#[test]
fn a_resume_key_that_moves_to_another_name_ends_the_former_peer() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.events();
    let bob = mesh.try_join(Some("bob"), Some("ann")).unwrap();
    let events = mesh.events();
    assert!(
        matches!(&events[..], [
            Event::PeerLeft { name: left, session, cause: LeaveCause::Replaced },
            Event::PeerJoined { resumed: false, .. },
        ] if *left == name("ann") && *session == ann),
        "{events:?}"
    );
    assert_eq!(mesh.state.peers.get(&scope(), &name("ann")).unwrap().resume_key, None);
    mesh.by(session(&bob), Command::Leave).unwrap();
    assert_eq!(mesh.try_join(None, Some("ann")).unwrap().name, name("bob"));
}

#[test]
fn a_resume_key_survives_a_join_by_name_alone() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.by(ann, Command::Leave).unwrap();
    mesh.try_join(Some("ann"), None).unwrap();
    mesh.restart();
    assert_eq!(mesh.try_join(None, Some("ann")).unwrap().name, name("ann"));
}

#[test]
fn generated_names_are_nobody_elses() {
    let mut mesh = Mesh::default();
    let names: std::collections::BTreeSet<_> =
        (0..50).map(|_| mesh.try_join(None, None).unwrap().name.clone()).collect();
    assert_eq!(names.len(), 50, "the seed is the same each time");
}

#[test]
fn a_name_belongs_to_its_scope() {
    let mut mesh = Mesh::default();
    mesh.join("ann");
    let mut elsewhere = mesh.joining(Some("ann"), Some("ann"));
    elsewhere.scope = crate::id::ScopeId::global();
    assert!(mesh.ask(&Request::internal(Command::Join(elsewhere))).is_ok());
    assert_eq!(mesh.state.peers.online_count(), 2);
}

#[test]
fn an_update_that_changes_nothing_is_no_event() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.events();
    let update = || Command::Update(Update { focus: Some("login".into()), ..Update::default() });
    mesh.by(ann, update()).unwrap();
    assert_eq!(mesh.events().len(), 1);
    mesh.by(ann, update()).unwrap();
    assert_eq!(mesh.events(), []);
}

fn child(id: &str, focus: &str) -> ChildAgent {
    ChildAgent { id: id.into(), kind: "explore".into(), focus: focus.into() }
}

/// What the peer's last update changed.
fn change(mesh: &mut Mesh) -> PeerChange {
    let mut events = mesh.events();
    let Some(Event::PeerUpdated { changed, .. }) = events.pop() else { panic!("{events:?}") };
    changed
}

#[test]
fn an_update_tells_what_it_changed() {
    use PeerField as Field;
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let nothing = Update::default;
    let children = |children: &[ChildAgent]| Update { children: Some(children.to_vec()), ..nothing() };
    let (one, two) = (child("1", ""), child("2", ""));
    let fields = |fields: &[Field]| (fields.to_vec(), Vec::new(), Vec::new());
    let table = [
        (Update { activity: Some(Activity::Working), ..nothing() }, fields(&[Field::Activity])),
        (
            Update { activity: Some(Activity::Idle), wake: Some("monitor".into()), ..nothing() },
            fields(&[Field::Activity, Field::Wake]),
        ),
        (
            Update { activity: Some(Activity::Idle), focus: Some("x".into()), ..nothing() },
            fields(&[Field::Focus]),
        ),
        (Update { ttl: Some(Millis::minutes(1)), ..nothing() }, fields(&[Field::LeaseTtl])),
        (children(&[one, two.clone()]), (vec![Field::Children], vec!["1", "2"], vec![])),
        (children(&[child("1", "x"), two.clone()]), fields(&[Field::Children])),
        (children(&[child("3", ""), two]), (vec![Field::Children], vec!["3"], vec![child("1", "x")])),
        (children(&[]), (vec![Field::Children], vec![], vec![child("3", ""), child("2", "")])),
    ];
    for (update, (fields, started, ended)) in table {
        mesh.by(ann, Command::Update(update.clone())).unwrap();
        let started = started.into_iter().map(str::to_owned).collect();
        assert_eq!(change(&mut mesh), PeerChange { fields, started, ended }, "{update:?}");
    }
}

#[test]
fn what_is_true_of_a_session_ends_with_it() {
    type End = fn(&mut Mesh);
    let ann = |mesh: &Mesh| mesh.state.peers.get(&scope(), &name("ann")).unwrap().clone();
    let ends: [(&str, End); 4] = [
        ("left", |mesh| {
            let session = session(mesh.state.peers.get(&scope(), &name("ann")).unwrap());
            mesh.by(session, Command::Leave).unwrap();
        }),
        ("expired", |mesh| mesh.pass(Millis::minutes(61))),
        ("its key taken to another name", |mesh| drop(mesh.try_join(Some("bob"), Some("ann")).unwrap())),
        ("replaced", |mesh| {
            mesh.join("ann");
        }),
    ];
    for (how, end) in ends {
        let mut mesh = Mesh::default();
        let mut join = mesh.joining(Some("ann"), Some("ann"));
        let stays = PeerInfo { focus: "login".into(), ..PeerInfo::default() };
        join.info = PeerInfo {
            activity: Activity::Idle,
            wake: "monitor".into(),
            children: vec![child("1", "")],
            ..stays.clone()
        };
        mesh.ask(&Request::internal(Command::Join(join.clone()))).unwrap();
        assert_eq!(ann(&mesh).info, join.info);
        end(&mut mesh);
        let expected = if how == "replaced" { PeerInfo::default() } else { stays };
        assert_eq!(ann(&mesh).info, expected, "{how}");
        mesh.restart();
        assert_eq!(ann(&mesh).info, expected, "{how}");
    }
}

#[test]
fn a_session_is_refused_with_the_cause_of_its_end() {
    for cause in [LeaveCause::Expired, LeaveCause::Disconnected] {
        let mut mesh = Mesh::default();
        let session = mesh.join("ann");
        mesh.ask(&Request::internal(Command::End { session, cause })).unwrap();
        let ended = Err(Rejection::SessionExpired { cause: Some(cause) });
        assert_eq!(mesh.by(session, Command::Leave), ended);
        mesh.restart();
        assert_eq!(mesh.by(session, Command::Leave), ended, "after a restart too");
    }
}

#[test]
fn a_peer_is_forgotten_when_it_has_been_offline_long_enough() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.by(ann, Command::Leave).unwrap();
    mesh.pass(Millis(limits::PEER_RETENTION.0 - 1));
    mesh.restart();
    assert_eq!(mesh.state.peers.known_count(), 1);
    mesh.pass(Millis(1));
    assert_eq!(mesh.state.peers.known_count(), 0);
    assert_eq!(mesh.state.next_deadline(), None);
}

#[test]
fn a_peer_that_came_back_is_not_forgotten() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.by(ann, Command::Leave).unwrap();
    mesh.pass(Millis(limits::PEER_RETENTION.0 - 1));
    let mut join = mesh.joining(Some("ann"), None);
    join.ttl = Millis::days(60);
    mesh.ask(&Request::internal(Command::Join(join))).unwrap();
    mesh.pass(Millis::days(10));
    assert_eq!(mesh.state.peers.online_count(), 1);
}
