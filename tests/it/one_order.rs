//! Every change is one atomic transaction that carries its state and its events; revisions rise, and the
//! sequences of a scope have no gap.

use std::collections::{BTreeMap, BTreeSet};

use mesh_client::proto::event::Event;
use mesh_client::proto::{
    EventBatch, GetStatusRequest, ListEntriesRequest, ListLocksRequest, ListMessagesRequest,
    ListPeersRequest, PeerInfo,
};
use mesh_client::{Acquired, Client, JoinOptions, Session};
use mesh_tests::{Mesh, broadcast, events, follow, lock, message, options, overwrite, unattended, within};
use tokio::task::JoinSet;

const SCOPES: [&str; 3] = ["example.com/acme/one", "example.com/acme/two", "example.com/acme/three"];
const ROUNDS: usize = 12;

/// Changes everything that can be changed, and returns the revisions it was answered.
async fn writer(session: Session, number: usize) -> Vec<u64> {
    let mut revisions = Vec::new();
    for round in 0..ROUNDS {
        let entry = session.put(overwrite(&format!("k/{}", round % 5), &format!("{number}"))).await.unwrap();
        revisions.push(entry.header.unwrap().revision);
        let path = format!("src/{number}/{round}.rs");
        let Acquired::Granted(locks) = session.acquire(lock(&[&path])).await.unwrap() else {
            panic!("{path} is nobody else's")
        };
        revisions.push(locks[0].fencing_token);
        if round % 2 == 0 {
            session.release(vec![path]).await.unwrap();
        }
        revisions.push(session.send(broadcast("hello")).await.unwrap().header.unwrap().revision);
        let info = PeerInfo { focus: format!("round {round}"), ..PeerInfo::default() };
        session.update(info, &["focus"]).await.unwrap();
    }
    revisions
}

#[tokio::test]
async fn eight_writers_over_three_scopes_make_one_order_in_which_state_and_events_agree() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let client = mesh.client();
    let mut watch = follow(&client, 0).await;
    let mut writers = JoinSet::new();
    for number in 0..8 {
        let options =
            JoinOptions { scope: SCOPES[number % 3].into(), ..unattended(&format!("writer-{number}")) };
        let session = Session::join(&mesh.client(), options).await.unwrap();
        writers.spawn(writer(session, number));
    }
    let mut answered: Vec<u64> = within("the writers", writers.join_all()).await.concat();
    answered.sort_unstable();
    let status = client.admin().get_status(GetStatusRequest {}).await.unwrap().into_inner();
    watch.reach(status.header.unwrap().revision).await;
    watch.assert_gapless();
    assert_eq!(
        answered.len(),
        answered.iter().collect::<BTreeSet<_>>().len(),
        "one transaction, one revision"
    );
    let committed: BTreeSet<u64> = watch.seen.iter().map(|batch| batch.revision).collect();
    assert!(answered.iter().all(|revision| committed.contains(revision)), "each change has its event");
    for scope in SCOPES {
        let first = watch.seen.iter().find(|batch| batch.scope == scope).unwrap();
        assert_eq!((first.sequence, first.prev_revision), (1, 0), "{scope}");
        assert_eq!(replayed(&watch.seen, scope), listed(&client, scope).await, "{scope}");
    }
}

/// What a scope holds: keys with version, revision and writer; locks with token; peers with focus.
#[derive(Debug, Default, PartialEq)]
struct Held {
    entries: BTreeMap<String, (u64, u64, String)>,
    locks: BTreeMap<String, (String, u64)>,
    peers: BTreeMap<String, String>,
}

/// What the events say.
fn replayed(log: &[EventBatch], scope: &str) -> Held {
    let mut held = Held::default();
    for batch in log.iter().filter(|batch| batch.scope == scope) {
        for event in events(batch) {
            match event {
                Event::StateChanged(changed) => {
                    let now = (changed.version, batch.revision, changed.writer.clone());
                    let before = held.entries.insert(changed.key.clone(), now);
                    assert_eq!(changed.version, before.map_or(1, |(version, ..)| version + 1));
                    assert_eq!(changed.writer, batch.actor);
                }
                Event::FileLocked(granted) => {
                    for lock in &granted.locks {
                        assert_eq!(lock.fencing_token, batch.revision);
                        held.locks.insert(lock.path.clone(), (lock.holder.clone(), lock.fencing_token));
                    }
                }
                Event::FileUnlocked(ended) => {
                    for path in &ended.paths {
                        assert_eq!(held.locks.remove(path).unwrap().0, ended.holder);
                    }
                }
                Event::PeerJoined(joined) => {
                    held.peers.insert(joined.peer.clone().unwrap().name, String::new());
                }
                Event::PeerUpdated(updated) => {
                    let peer = updated.peer.clone().unwrap();
                    held.peers.insert(peer.name, peer.info.unwrap().focus);
                }
                _ => {}
            }
        }
    }
    held
}

/// What the broker says.
async fn listed(client: &Client, scope: &str) -> Held {
    let scope = scope.to_owned();
    let entries = ListEntriesRequest { scope: scope.clone(), ..ListEntriesRequest::default() };
    let entries = client.state().list_entries(entries).await.unwrap().into_inner().entries;
    let locks = ListLocksRequest { scope: scope.clone(), page_size: 1_000, ..ListLocksRequest::default() };
    let locks = client.locks().list_locks(locks).await.unwrap().into_inner().locks;
    let peers = ListPeersRequest { scope, ..ListPeersRequest::default() };
    let peers = client.peers().list_peers(peers).await.unwrap().into_inner().peers;
    Held {
        entries: entries.into_iter().map(|e| (e.key, (e.version, e.revision, e.writer))).collect(),
        locks: locks.into_iter().map(|l| (l.path, (l.holder, l.fencing_token))).collect(),
        peers: peers.into_iter().map(|p| (p.name, p.info.unwrap().focus)).collect(),
    }
}

#[tokio::test]
async fn all_readers_see_the_messages_in_one_order() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let readers = [mesh.join_unattended("reader-1").await, mesh.join_unattended("reader-2").await];
    let mut senders = JoinSet::new();
    for number in 0..4 {
        let sender = mesh.join_unattended(&format!("sender-{number}")).await;
        senders.spawn(async move {
            for round in 0..10 {
                let body = format!("{number}/{round}");
                let mut request = broadcast(&body);
                if round % 2 == 0 {
                    request = message("reader-1", &body);
                    request.to.push("reader-2".into());
                }
                sender.send(request).await.unwrap();
            }
        });
    }
    within("the senders", senders.join_all()).await;
    let mut read = Vec::new();
    for reader in &readers {
        let inbox = reader.inbox(ListMessagesRequest::default()).await.unwrap();
        read.push(inbox.messages.into_iter().map(|m| (m.revision, m.body)).collect::<Vec<_>>());
    }
    assert_eq!(read[0], read[1]);
    assert_eq!(read[0].len(), 40);
    assert!(read[0].is_sorted(), "in the order of the revisions");
    watch.reach(read[0].last().unwrap().0).await;
    let sent = watch.seen.iter().filter(|batch| events(batch).any(|e| matches!(e, Event::MessageSent(_))));
    assert!(sent.map(|batch| batch.revision).eq(read[0].iter().map(|(revision, _)| *revision)));
}

#[tokio::test]
async fn what_one_request_does_is_one_batch() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let first = mesh.join_unattended("fox").await;
    let second = Session::join(&mesh.client(), options("fox")).await.unwrap();
    let (batch, _) = watch.until_left("fox").await;
    let [Event::PeerLeft(left), Event::PeerJoined(joined)] = events(&batch).collect::<Vec<_>>()[..] else {
        panic!("not one batch: {batch:?}")
    };
    assert_eq!(left.session_id, first.peer().session_id);
    assert_eq!(joined.peer.as_ref().unwrap().session_id, second.peer().session_id);
    second.acquire(lock(&["a", "b/"])).await.unwrap();
    second.leave().await.unwrap();
    let (batch, _) = watch.until_left("fox").await;
    assert!(matches!(events(&batch).collect::<Vec<_>>()[..], [Event::FileUnlocked(_), Event::PeerLeft(_)]));
}
