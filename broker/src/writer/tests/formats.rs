//! A store that an earlier broker has left is taken over as it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mesh_core::command::{Command, Update};
use mesh_core::event::{Event, PeerField};
use mesh_core::id::{CredentialId, SessionId};
use mesh_core::record::Activity;
use mesh_core::revision::Revision;
use uuid::Uuid;

use super::{by, key, name, put, scope, target};
use crate::store::{Identity, STORE_FORMAT, Secret, SledOptions, SledStore};
use crate::writer::{self, Started, WriterConfig};

/// Records of format 1: name, key and value in hexadecimal, a line each.
const GOLDEN_V1: &str = include_str!("../../records/golden_v1.txt");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// As [`GOLDEN_V1`], of format 2.
const GOLDEN_V2: &str = include_str!("../../records/golden_v2.txt");

/// As [`GOLDEN_V1`], of format 3.
const GOLDEN_V3: &str = include_str!("../../records/golden_v3.txt");

/// The first example of what is under each key.
fn records(golden: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    for line in golden.lines() {
        let (key, value) = line.split_once(": ").unwrap().1.split_once(" = ").unwrap();
        records.entry(bytes(key)).or_insert_with(|| bytes(value));
    }
    records
}

/// A broker's writer on the store in a directory, and the format in which it found the store and left it.
pub(super) fn start(dir: &Path) -> (Started, u32) {
    let identity = Identity { incarnation: Uuid::from_u128(9), secret: Secret::new([9; 32]), created_ms: 0 };
    let store = SledStore::open(dir, SledOptions { durability: Default::default(), identity }).unwrap();
    let format = store.stored_format();
    (writer::start(WriterConfig::default(), Arc::new(store)).unwrap(), format)
}

pub(super) fn stop(started: Started) {
    let Started { handle, view, events, leases, clock: _, thread, commits: _ } = started;
    handle.stop();
    thread.join().unwrap().unwrap();
    drop((view, events, leases));
}

#[tokio::test]
async fn a_store_of_format_1_goes_on_in_the_present_format() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    SledStore::leave_of_format(1, &dir, records(GOLDEN_V1));
    let session = SessionId(Uuid::from_u128(1));

    let (started, format) = start(&dir);
    assert_eq!(format, STORE_FORMAT, "before anything new is written");
    {
        let state = started.view.read();
        assert_eq!(state.revision(), Revision(304));
        assert_eq!(state.peers.live(session).unwrap().name, name("amber-fox"));
        let lock = state.locks.get(&scope(), &target("src/auth/"), &name("amber-fox")).unwrap();
        assert_eq!((lock.session, lock.ticket), (session, None));
        assert_eq!(&*state.entries.get(&scope(), &key("plan/api")).unwrap().value, "use POST");
    }
    assert_eq!(started.events.oldest(), Revision(305), "what happened before is not told any longer");
    let reply = started.handle.submit(by(session, put("after", "new"))).await.unwrap();
    assert_eq!(reply.revision, Revision(305));
    stop(started);

    let (started, _) = start(&dir);
    {
        let state = started.view.read();
        assert_eq!(state.revision(), Revision(305));
        assert_eq!(&*state.entries.get(&scope(), &key("plan/api")).unwrap().value, "use POST");
        assert_eq!(&*state.entries.get(&scope(), &key("after")).unwrap().value, "new");
        let scope = scope();
        let head = state.heads(Some(&scope)).next().unwrap();
        assert_eq!((head.last_revision, head.sequence.0), (Revision(305), 41), "sequences have no gap");
    }
    stop(started);
}

#[tokio::test]
async fn a_store_of_format_2_goes_on_with_its_history() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    SledStore::leave_of_format(2, &dir, records(GOLDEN_V2));
    let session = SessionId(Uuid::from_u128(1));
    let peer = |started: &Started| started.view.read().peers.live(session).unwrap().clone();

    let (started, format) = start(&dir);
    assert_eq!(format, STORE_FORMAT, "before anything new is written");
    assert_eq!((peer(&started).name.clone(), peer(&started).info.wake.as_str()), (name("amber-fox"), ""));
    let topics: Vec<_> = peer(&started).topics.keys().map(ToString::to_string).collect();
    assert_eq!(topics, ["#deploys"]);
    assert_eq!(started.events.oldest(), Revision(304), "what happened before is still told");
    let update = Update { activity: Some(Activity::Idle), wake: Some("monitor".into()), ..Update::default() };
    started.handle.submit(by(session, Command::Update(update))).await.unwrap();
    stop(started);

    let (started, _) = start(&dir);
    assert_eq!(
        (peer(&started).info.activity, peer(&started).info.wake.as_str()),
        (Activity::Idle, "monitor")
    );
    let mut history = started.events.subscribe(Revision(304));
    let told = history.next().await.unwrap();
    assert!(
        matches!(&told[0].events[..], [Event::PeerJoined { peer, resumed: true }]
            if peer.name == name("amber-fox") && peer.info.children.is_empty()),
        "{told:?}"
    );
    let mut events = told.iter().flat_map(|log| &log.events);
    let changed = events.find_map(|event| {
        if let Event::PeerUpdated { changed, .. } = event { Some(&changed.fields) } else { None }
    });
    assert_eq!(changed, Some(&vec![PeerField::Activity, PeerField::Wake]), "{told:?}");
    stop(started);
}

#[tokio::test]
async fn a_store_of_format_3_goes_on_with_its_history_and_its_peers_are_the_owners() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    SledStore::leave_of_format(3, &dir, records(GOLDEN_V3));
    let session = SessionId(Uuid::from_u128(1));

    let (started, format) = start(&dir);
    assert_eq!(format, STORE_FORMAT, "before anything new is written");
    let peer = started.view.read().peers.live(session).unwrap().clone();
    assert_eq!((peer.name.clone(), peer.credential.clone()), (name("amber-fox"), CredentialId::unix()));
    assert_eq!(started.events.oldest(), Revision(304), "what happened before is still told");
    started.handle.submit(by(session, put("after", "new"))).await.unwrap();
    stop(started);

    let (started, _) = start(&dir);
    let told = started.events.subscribe(Revision(304)).next().await.unwrap();
    assert_eq!(told.iter().take(2).map(|log| log.revision.0).collect::<Vec<_>>(), [304, 305]);
    assert!(told.iter().all(|log| log.credential.is_none()), "{told:?}");
    stop(started);
}
