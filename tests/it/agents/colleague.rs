//! What a test sees of the agents on the mesh: a colleague of theirs, who asks the broker.

use mesh_client::Session;
use mesh_client::proto::event::Event;
use mesh_client::proto::{
    Delivery, DescribePathRequest, FileActivity, GetReceiptsRequest, ListLocksRequest, ListPeersRequest,
    Lock, Peer, PeerActivity, PeerStatus,
};
use mesh_tests::agents::Desk;
use mesh_tests::{Followed, follow, message, options, within};

/// A peer of the project that is no agent, and everything that it sees happen.
pub(super) struct Colleague {
    pub(super) session: Session,
    pub(super) events: Followed,
}

impl Colleague {
    /// Joins, and starts the broker if there is none.
    pub(super) async fn join(desk: &Desk, name: &str) -> Self {
        let client = desk.mesh().starting_client();
        let session = Session::join(&client, options(name)).await.unwrap();
        let events = follow(&client, 1).await;
        Self { session, events }
    }

    /// Everybody of a kind of agent who is here.
    pub(super) async fn agents(&self, kind: &str) -> Vec<Peer> {
        self.peers(kind).await.into_iter().filter(|peer| peer.status() == PeerStatus::Online).collect()
    }

    /// Everybody of a kind of agent who is or was here.
    pub(super) async fn peers(&self, kind: &str) -> Vec<Peer> {
        let scope = self.session.scope();
        let request = ListPeersRequest { scope, include_offline: true, ..ListPeersRequest::default() };
        let peers = self.session.list_peers(request).await.unwrap().peers;
        let is_of = |peer: &Peer| peer.info.as_ref().is_some_and(|info| info.agent_kind == kind);
        peers.into_iter().filter(is_of).collect()
    }

    /// The one agent of a kind who is here.
    pub(super) async fn agent(&self, kind: &str) -> Peer {
        let mut agents = self.agents(kind).await;
        assert_eq!(agents.len(), 1, "{agents:#?}");
        agents.remove(0)
    }

    /// Returns once the one agent of a kind can be woken that way.
    pub(super) async fn is_woken_by(&self, kind: &str, way: &str) {
        while self.agent(kind).await.info.unwrap_or_default().wake != way {
            // Said at the start, of which there may be no event any more.
            tokio::task::yield_now().await;
        }
    }

    /// Reads on until the agent of that name does something else, or nothing.
    pub(super) async fn until_activity(&mut self, name: &str, activity: PeerActivity) {
        let what = format!("{name} to be {activity:?}");
        let is = |event: &Event| match event {
            Event::PeerUpdated(updated) => {
                let peer = updated.peer.as_ref().filter(|peer| peer.name == name)?;
                let told = updated.changed.iter().any(|field| field == "activity");
                (told && peer.info.as_ref()?.activity() == activity).then_some(())
            }
            _ => None,
        };
        self.events.until(&what, is).await;
    }

    /// Reads on until somebody of that kind has joined, and returns the name.
    pub(super) async fn until_joined(&mut self, kind: &str) -> String {
        let what = format!("a {kind} to join");
        let is = |event: &Event| match event {
            Event::PeerJoined(joined) => {
                let peer = joined.peer.as_ref()?;
                (peer.info.as_ref()?.agent_kind == kind).then(|| peer.name.clone())
            }
            _ => None,
        };
        self.events.until(&what, is).await.1
    }

    /// Says something to an agent; the id of the message.
    pub(super) async fn tell(&self, name: &str, body: &str) -> String {
        self.session.send(message(name, body)).await.unwrap().message_id
    }

    /// What became of a message to one agent, as soon as it is as it should be.
    pub(super) async fn receipt(&self, id: &str, what: &str, fits: impl Fn(&Delivery) -> bool) -> Delivery {
        within(what, async {
            loop {
                let request = GetReceiptsRequest { message_id: id.to_owned() };
                let mut deliveries = self.session.receipts(request).await.unwrap().deliveries;
                assert_eq!(deliveries.len(), 1);
                if fits(&deliveries[0]) {
                    return deliveries.remove(0);
                }
                // Reading is no event.
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// The locks that there are.
    pub(super) async fn locks(&self) -> Vec<Lock> {
        self.session.list_locks(ListLocksRequest::default()).await.unwrap().locks
    }

    /// Who has read and edited a file.
    pub(super) async fn activity(&self, path: &str) -> Vec<FileActivity> {
        let request = DescribePathRequest {
            path: path.into(),
            limit: 20,
            peek: true,
            ..DescribePathRequest::default()
        };
        self.session.describe_path(request).await.unwrap().activity
    }
}
