//! A watch delivers every visible event after its revision once and in order, or says that it cannot.

mod laggard;

use std::time::Duration;

use mesh_client::proto::event::Event;
use mesh_client::proto::state_item::Item;
use mesh_client::proto::watch_response::Payload;
use mesh_client::proto::{
    EventFilter, EventType, ListEventsRequest, ListEventsResponse, PeerInfo, PutRequest, WatchRequest,
};
use mesh_client::{Client, ErrorReason, JoinOptions, Session, WatchItem, WatchOptions};
use mesh_tests::{
    Mesh, broadcast, events, follow, follow_with, history, lock, put, refused, seconds, status_refused,
    unattended, within,
};
use tonic::Code;

const OTHER: &str = "example.com/acme/other";

async fn list(client: &Client, request: ListEventsRequest) -> ListEventsResponse {
    client.events().list_events(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_watch_resumes_after_any_revision() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let client = mesh.client();
    let fox = mesh.join_unattended("fox").await;
    for number in 0..10 {
        fox.put(put(&format!("k/{number}"), "v")).await.unwrap();
    }
    let all = history(&client, 1).await;
    assert_eq!(all.len(), 11);
    for start in 1..=11 {
        let mut watch = follow(&client, start).await;
        watch.reach(11).await;
        assert_eq!(watch.seen, all[usize::try_from(start).unwrap() - 1..], "from {start}");
    }
    let mut next = follow(&client, 12).await;
    fox.put(put("k", "v")).await.unwrap();
    assert_eq!(next.batch().await.revision, 12, "the revision after the newest may be asked for");
}

/// Two scopes, each with a change of every kind.
async fn some_of_everything(mesh: &Mesh) {
    for (scope, name) in [(mesh_tests::SCOPE, "fox"), (OTHER, "owl")] {
        let options = JoinOptions { scope: scope.into(), ..unattended(name) };
        let session = Session::join(&mesh.client(), options).await.unwrap();
        let about = |path: &str| PutRequest { paths: vec![path.into()], ..put("k", "v") };
        session.put(about("src/auth/a.rs")).await.unwrap();
        session.put(about("docs/")).await.unwrap();
        session.acquire(lock(&["src/auth/"])).await.unwrap();
        session.release(vec![]).await.unwrap();
        session.send(broadcast("hello")).await.unwrap();
        let info = PeerInfo { files: vec!["src/main.rs".into()], ..PeerInfo::default() };
        session.update(info, &["files"]).await.unwrap();
        let delete = mesh_client::proto::DeleteRequest { key: "k".into(), ..Default::default() };
        session.delete(delete).await.unwrap();
        session.leave().await.unwrap();
    }
}

fn kinds(response: &ListEventsResponse) -> Vec<&'static str> {
    let name = |event: &Event| match event {
        Event::PeerJoined(_) => "joined",
        Event::PeerUpdated(_) => "updated",
        Event::PeerLeft(_) => "left",
        Event::StateChanged(_) => "changed",
        Event::StateDeleted(_) => "deleted",
        Event::FileLocked(_) => "locked",
        Event::FileUnlocked(_) => "unlocked",
        Event::MessageSent(_) => "sent",
        Event::LockQueued(_) => "queued",
        Event::LockWaitEnded(_) => "waited",
        Event::LockReleaseRequested(_) => "asked",
        Event::LockReleaseAnswered(_) => "answered",
        Event::FileTouched(_) => "touched",
        Event::ContractChanged(_) => "contract",
        Event::PolicyChanged(_) => "policy",
        Event::TokenCreated(_) | Event::TokenRevoked(_) => "token",
    };
    response.batches.iter().flat_map(events).map(name).collect()
}

#[tokio::test]
async fn filters_show_what_they_name_and_a_watch_agrees_with_the_list() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let client = mesh.client();
    some_of_everything(&mesh).await;
    let one = ["joined", "changed", "changed", "locked", "unlocked", "sent", "updated", "deleted", "left"];
    let filter = |types: &[EventType], peers: &[&str], paths: &[&str]| EventFilter {
        types: types.iter().map(|kind| (*kind).into()).collect(),
        peers: peers.iter().map(ToString::to_string).collect(),
        paths: paths.iter().map(ToString::to_string).collect(),
    };
    let both = [one, one].concat();
    let table: [(&[&str], EventFilter, Vec<&str>); 10] = [
        (&[], filter(&[], &[], &[]), both.clone()),
        (&[OTHER], filter(&[], &[], &[]), one.to_vec()),
        (&[OTHER, mesh_tests::SCOPE], filter(&[], &[], &[]), both.clone()),
        (&["example.com/no/where"], filter(&[], &[], &[]), vec![]),
        (
            &[],
            filter(&[EventType::PeerJoined, EventType::PeerLeft], &[], &[]),
            vec!["joined", "left", "joined", "left"],
        ),
        (&[], filter(&[], &["owl"], &[]), one.to_vec()),
        (&[], filter(&[], &["nobody"], &[]), vec![]),
        (&[OTHER], filter(&[], &[], &["src/auth/a.rs"]), vec!["changed", "locked", "unlocked"]),
        (&[OTHER], filter(&[], &[], &["src/"]), vec!["changed", "locked", "unlocked", "updated"]),
        (
            &[OTHER],
            filter(&[EventType::StateChanged, EventType::StateDeleted], &["owl"], &["docs/x.md"]),
            vec!["changed", "deleted"],
        ),
    ];
    let head = history(&client, 1).await.last().unwrap().revision;
    for (scopes, filter, expected) in table {
        let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        let request = ListEventsRequest {
            scopes: scopes.clone(),
            start_revision: 1,
            filter: Some(filter.clone()),
            ..Default::default()
        };
        let listed = list(&client, request).await;
        assert_eq!(kinds(&listed), expected, "{scopes:?} {filter:?}");
        let options = WatchOptions {
            scopes,
            start_revision: 1,
            filter: Some(filter),
            progress_interval: Some(Duration::from_secs(1)),
            ..WatchOptions::default()
        };
        let mut watch = follow_with(&client, options).await;
        watch.reach(head).await;
        assert_eq!(watch.seen, listed.batches);
    }
}

#[tokio::test]
async fn initial_state_and_deltas_meet_without_gap_or_overlap_under_writers() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let client = mesh.client();
    let fox = mesh.join_unattended("fox").await;
    fox.acquire(lock(&["src/"])).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let fox = fox.clone();
            tokio::spawn(async move {
                for round in 0..40 {
                    fox.put(put(&format!("k/{number}"), &round.to_string())).await.unwrap();
                }
            })
        })
        .collect();
    let mut live = follow(&client, 0).await;
    for look in 0..5 {
        live.batch().await;
        let options = WatchOptions { initial_state: true, ..WatchOptions::default() };
        let mut watch = follow_with(&client, options).await;
        let (mut state, mut locks, mut peers) = (std::collections::BTreeMap::new(), 0, 0);
        let complete = loop {
            match watch.item().await {
                WatchItem::State(item) => match item.item.unwrap() {
                    Item::Entry(entry) => drop(state.insert(entry.key, (entry.version, entry.value))),
                    Item::Lock(_) => locks += 1,
                    Item::Peer(_) => peers += 1,
                },
                WatchItem::StateEnd(revision) => break revision,
                other => panic!("in the state: {other:?}"),
            }
        };
        assert_eq!((locks, peers), (1, 1));
        let end = fox.put(put("end", &look.to_string())).await.unwrap().entry.unwrap().revision;
        watch.reach(end).await;
        for batch in &watch.seen {
            assert!(batch.revision > complete, "{} is in the state of {complete}", batch.revision);
            for event in events(batch) {
                let Event::StateChanged(changed) = event else { panic!("{event:?}") };
                let version = state.get(&changed.key).map_or(0, |(version, _)| *version);
                assert_eq!(changed.version, version + 1, "{} in look {look}", changed.key);
                state.insert(changed.key.clone(), (changed.version, changed.preview.clone()));
            }
        }
        watch.assert_gapless();
    }
    for writer in writers {
        within("a writer", writer).await.unwrap();
    }
}

#[tokio::test]
async fn progress_tells_how_far_a_silent_stream_is() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let client = mesh.client();
    let filter = Some(EventFilter { peers: vec!["nobody".into()], ..EventFilter::default() });
    let request = WatchRequest { filter, progress_interval: seconds(1), ..WatchRequest::default() };
    let mut stream = client.events().watch(request).await.unwrap().into_inner();
    stream.message().await.unwrap();
    let revision =
        mesh.join_unattended("fox").await.put(put("k", "v")).await.unwrap().entry.unwrap().revision;
    let told = within("progress", stream.message()).await.unwrap().unwrap();
    assert!(matches!(told.payload, Some(Payload::Progress(_))));
    assert_eq!(told.header.unwrap().revision, revision);
}

#[tokio::test]
async fn past_retention_is_refused_with_the_oldest_revision_kept() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&["--history-count", "100"]);
    let client = mesh.client();
    let fox = mesh.join_unattended("fox").await;
    let mut head = 0;
    for number in 0..400 {
        head = fox.put(put("k", &number.to_string())).await.unwrap().entry.unwrap().revision;
    }
    let refusal = status_refused(
        &client,
        client.events().watch(WatchRequest { start_revision: 1, ..Default::default() }).await,
    );
    assert_eq!((refusal.code, refusal.reason), (Code::OutOfRange, ErrorReason::RevisionCompacted));
    let oldest: u64 = refusal.metadata["oldest_revision"].parse().unwrap();
    assert_eq!(refusal.metadata["current_revision"], head.to_string());
    assert!(oldest > head - 250 && oldest <= head - 99, "about the last 100 are kept: {oldest} of {head}");
    let request = ListEventsRequest { start_revision: oldest - 1, ..Default::default() };
    let listed = status_refused(&client, client.events().list_events(request).await);
    assert_eq!(listed.reason, ErrorReason::RevisionCompacted);
    let mut watch = follow(&client, oldest).await;
    watch.reach(head).await;
    assert_eq!(watch.seen.first().unwrap().revision, oldest);
    watch.assert_gapless();
    let mut watch = client.watch(WatchOptions { start_revision: 1, ..WatchOptions::default() });
    assert_eq!(refused(watch.next().await.unwrap()).reason, ErrorReason::RevisionCompacted);
    assert!(watch.next().await.is_none(), "the watch has ended");
}

#[tokio::test]
async fn a_revision_of_another_history_or_of_the_future_is_refused() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let (_broker, _other) = (mesh.serve(&[]), other.serve(&[]));
    let cursor = other.join_unattended("fox").await.joined_at().unwrap();
    let own = mesh.join_unattended("fox").await.joined_at().unwrap();
    let client = mesh.client();
    for (start_revision, incarnation) in
        [(1, cursor.incarnation.clone()), (3, String::new()), (u64::MAX, own.incarnation.clone())]
    {
        let request = WatchRequest { start_revision, incarnation: incarnation.clone(), ..Default::default() };
        let refusal = status_refused(&client, client.events().watch(request).await);
        assert_eq!((refusal.code, refusal.reason), (Code::OutOfRange, ErrorReason::IncarnationChanged));
        assert_eq!(refusal.metadata["incarnation"], own.incarnation);
        assert_eq!(refusal.metadata["current_revision"], own.revision.to_string());
        let request = ListEventsRequest { start_revision, incarnation, ..Default::default() };
        let refusal = status_refused(&client, client.events().list_events(request).await);
        assert_eq!(refusal.reason, ErrorReason::IncarnationChanged);
    }
    let request = WatchRequest { start_revision: 2, incarnation: own.incarnation, ..Default::default() };
    client.events().watch(request).await.unwrap();
}

#[tokio::test]
async fn pages_of_the_log_join_up() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let client = mesh.client();
    some_of_everything(&mesh).await;
    let all = history(&client, 1).await;
    for limit in [1, 2, 7, 1_000] {
        let mut request = ListEventsRequest { start_revision: 1, limit, ..Default::default() };
        let mut paged = Vec::new();
        loop {
            let page = list(&client, request.clone()).await;
            assert!(page.batches.len() <= usize::try_from(limit).unwrap());
            assert_eq!(page.oldest_revision, 1);
            request.start_revision = page.next_start_revision;
            paged.extend(page.batches);
            if !page.more {
                break;
            }
        }
        assert_eq!(paged, all, "{limit} a page");
    }
    let newest = list(&client, ListEventsRequest { limit: 3, ..Default::default() }).await;
    assert_eq!(newest.batches, all[all.len() - 3..]);
    assert_eq!(newest.next_start_revision, all.last().unwrap().revision + 1);
}

#[tokio::test]
async fn a_waiting_list_answers_with_the_first_event_or_when_the_time_is_over() {
    let mesh = Mesh::new();
    let _broker = mesh.serve(&[]);
    let client = mesh.client();
    let fox = mesh.join_unattended("fox").await;
    let next = fox.joined_at().unwrap().revision + 1;
    let request = ListEventsRequest { start_revision: next, wait: seconds(60), ..Default::default() };
    let waiting = client.clone();
    let waiting = tokio::spawn(async move { list(&waiting, request).await });
    fox.put(put("k", "v")).await.unwrap();
    let page = within("the event", waiting).await.unwrap();
    assert_eq!(page.batches.iter().map(|batch| batch.revision).collect::<Vec<_>>(), [next]);
    let request = ListEventsRequest { start_revision: next + 1, wait: seconds(1), ..Default::default() };
    let page = within("the end of the wait", list(&client, request)).await;
    assert_eq!((page.batches.len(), page.next_start_revision, page.more), (0, next + 1, false));
}

#[tokio::test]
async fn a_watch_survives_restarts_without_loss_or_repeats() {
    let mesh = Mesh::new();
    let mut broker = mesh.serve(&[]);
    let mut watch = follow(&mesh.client(), 0).await;
    let fox = mesh.join_unattended("fox").await;
    let mut written = vec![fox.joined_at().unwrap().revision];
    for round in 0..4 {
        for _ in 0..5 {
            written.push(fox.put(put("k", "v")).await.unwrap().entry.unwrap().revision);
        }
        if round % 2 == 0 {
            // What was read before makes it a resumption, what was not makes it a test of one.
            watch.batch().await;
        }
        broker.kill();
        broker = mesh.serve(&[]);
    }
    watch.reach(*written.last().unwrap()).await;
    assert_eq!(watch.seen.iter().map(|batch| batch.revision).collect::<Vec<_>>(), written);
    watch.assert_gapless();
}
