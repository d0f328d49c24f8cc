//! What is known about a path, as a client sees it.

use super::*;

async fn describe(caller: &Caller, path: &str) -> pb::DescribePathResponse {
    let request = pb::DescribePathRequest { path: path.into(), ..Default::default() };
    caller.paths().describe_path(request).await.unwrap().into_inner()
}

async fn touch(caller: &Caller, touches: &[(&str, pb::TouchKind)]) -> Result<u64, Status> {
    let touches = touches.iter().map(|(path, kind)| pb::Touch { path: (*path).into(), kind: (*kind).into() });
    let request = pb::TouchFilesRequest { touches: touches.collect(), ..Default::default() };
    Ok(revision(&caller.paths().touch_files(request).await?.into_inner().header))
}

#[tokio::test]
async fn all_that_is_known_about_a_path_is_told_at_one_revision() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let contract = pb::Contract { text: "v2 drops `name`".into(), paths: texts(&["src/api/"]) };
    let change = pb::AcquireLocksRequest {
        paths: texts(&["src/api/", "api:billing"]),
        contract: Some(contract),
        ..Default::default()
    };
    fox.locks().acquire_locks(change).await.unwrap();
    let ask = pb::RequestReleaseRequest { paths: texts(&["src/api/x.rs"]), ..Default::default() };
    lynx.locks().request_release(ask).await.unwrap();
    let note = pb::PutRequest {
        key: "notes".into(),
        value: "é".repeat(5_000),
        paths: texts(&["src/"]),
        ..Default::default()
    };
    lynx.state().put(note).await.unwrap();
    let update = pb::UpdatePeerRequest {
        info: Some(pb::PeerInfo { files: texts(&["src/api/x.rs"]), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: texts(&["files"]) }),
        ..Default::default()
    };
    lynx.peers().update_peer(update).await.unwrap();
    let read = touch(&lynx, &[("src/api/x.rs", pb::TouchKind::Read)]).await.unwrap();
    let say = |to: &[&str]| pb::SendRequest {
        to: texts(to),
        broadcast: to.is_empty(),
        body: "look at src/api/x.rs".into(),
        paths: texts(&["src/api/x.rs"]),
        ..Default::default()
    };
    fox.messages().send(say(&[])).await.unwrap();
    fox.messages().send(say(&["bold-lynx"])).await.unwrap();

    let known = describe(&lynx, "src/api/x.rs").await;
    assert_eq!((known.path.as_str(), revision(&known.header)), ("src/api/x.rs", broker.revision()));
    assert_eq!(known.locks.len(), 1);
    assert_eq!((known.locks[0].path.as_str(), known.locks[0].state()), ("src/api/", pb::LockState::Held));
    assert!(known.locks[0].remaining.unwrap().seconds > 1_700);
    assert_eq!(known.release_requests[0].from, "bold-lynx");
    let [intent] = known.intents.as_slice() else { panic!("{known:?}") };
    assert_eq!(intent.lock.as_ref().unwrap().path, "api:billing");
    assert_eq!(intent.contract.as_ref().unwrap().value, "v2 drops `name`");
    let [entry] = known.entries.as_slice() else { panic!("{known:?}") };
    assert_eq!((entry.key.as_str(), entry.value.len()), ("notes", 4_096));
    let [activity] = known.activity.as_slice() else { panic!("{known:?}") };
    assert_eq!((activity.peer.as_str(), activity.read_revision), ("bold-lynx", read));
    assert_eq!((activity.edit_revision, activity.edit_time), (0, None));
    assert_eq!(known.peers[0].name, "bold-lynx");
    assert_eq!(known.messages.len(), 2);
    assert_eq!(known.more, [""; 0]);

    let request =
        pb::DescribePathRequest { scope: SCOPE.into(), path: "src/api/x.rs".into(), ..Default::default() };
    let public = broker.nobody().paths().describe_path(request.clone()).await.unwrap().into_inner();
    assert_eq!(public.messages.len(), 1, "mail is for those it was sent to");
    let one = pb::DescribePathRequest { limit: 1, ..request };
    let cut = lynx.paths().describe_path(one).await.unwrap().into_inner();
    assert_eq!((cut.messages.len(), cut.more), (1, texts(&["messages"])));
}

#[tokio::test]
async fn what_is_shown_whole_counts_as_read() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    let put = |key: &str, value: &str| pb::PutRequest {
        key: key.into(),
        value: value.into(),
        paths: texts(&["a.rs"]),
        ..Default::default()
    };
    fox.state().put(put("short", "x")).await.unwrap();
    fox.state().put(put("long", &"x".repeat(4_097))).await.unwrap();
    assert_eq!(describe(&lynx, "a.rs").await.entries.len(), 2);
    lynx.state().put(put("short", "y")).await.unwrap();
    assert_eq!(reason(lynx.state().put(put("long", "y")).await), "OVERWRITE_NEEDS_VERSION");
}

#[tokio::test]
async fn those_who_wait_are_told_with_the_time_they_have_left() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let lynx = broker.join("bold-lynx").await;
    fox.lock(&["a"]).await;
    let wait = pb::AcquireLocksRequest { paths: texts(&["a"]), wait: seconds(600), ..Default::default() };
    let task = tokio::spawn(async move { lynx.locks().acquire_locks(wait).await });
    let known = soon(async {
        loop {
            let known = describe(&fox, "a").await;
            if !known.waiters.is_empty() {
                return known;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(known.waiters[0].peer, "bold-lynx");
    assert!((590..=600).contains(&known.waiters[0].remaining.unwrap().seconds));
    task.abort();
}

#[tokio::test]
async fn a_path_is_described_by_its_normal_form_and_in_one_scope() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    assert_eq!(describe(&fox, "src/auth/**").await.path, "src/auth/");
    let ask = |path: &str| pb::DescribePathRequest { path: path.into(), ..Default::default() };
    assert_eq!(field(fox.paths().describe_path(ask("../a")).await), "path");
    assert_eq!(field(broker.nobody().paths().describe_path(ask("a")).await), "scope");
    fox.leave().await;
    assert_eq!(reason(fox.paths().describe_path(ask("a")).await), "SESSION_EXPIRED");
    let named = pb::DescribePathRequest { scope: SCOPE.into(), ..ask("a") };
    fox.paths().describe_path(named).await.unwrap();
}

#[tokio::test]
async fn a_report_of_touches_is_bounded() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let edit = pb::TouchKind::Edit;
    let before = broker.revision();
    assert_eq!(touch(&fox, &[("a.rs", edit), ("a.rs", edit)]).await.unwrap(), before + 1);
    assert_eq!(field(touch(&fox, &[]).await), "touches");
    assert_eq!(field(touch(&fox, &[("a.rs", edit); 101]).await), "touches");
    assert_eq!(field(touch(&fox, &[("../a.rs", edit)]).await), "touches.path");
    assert_eq!(field(touch(&fox, &[("a.rs", pb::TouchKind::Unspecified)]).await), "touches.kind");
    assert_eq!(field(touch(&fox, &[("src/", edit)]).await), "touches", "not one file");
    let branch = "b".repeat(257);
    let touches = vec![pb::Touch { path: "a.rs".into(), kind: edit.into() }];
    let long = pb::TouchFilesRequest { touches, branch, ..Default::default() };
    assert_eq!(field(fox.paths().touch_files(long).await), "branch");
    assert_eq!(reason(touch(&broker.nobody(), &[("a.rs", edit)]).await), "SESSION_REQUIRED");
}

#[tokio::test]
async fn a_list_that_is_too_large_for_an_answer_is_cut_and_said_to_be() {
    let broker = Broker::start();
    let fox = broker.join("amber-fox").await;
    let files: Vec<String> = (0..100).map(|n| format!("src/{}/{n:02}", "x".repeat(1_000))).collect();
    for n in 0..12 {
        let info = Some(pb::PeerInfo { files: files.clone(), ..Default::default() });
        let name = format!("owl-{n}");
        let join = pb::JoinRequest { scope: SCOPE.into(), name, info, ..Default::default() };
        broker.nobody().peers().join(join).await.unwrap();
    }
    let request = pb::DescribePathRequest { path: "src/".into(), limit: 100, ..Default::default() };
    let known = fox.paths().describe_path(request).await.unwrap().into_inner();
    assert!((5..12).contains(&known.peers.len()), "{}", known.peers.len());
    assert_eq!(known.more, ["peers"]);
}
