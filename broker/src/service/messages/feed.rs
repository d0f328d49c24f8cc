//! Topics and threads: what was said, whoever has read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::command::Command;
use mesh_core::id::{MessageId, TopicName};
use mesh_core::outcome::Outcome;
use mesh_core::record::PeerRecord;
use mesh_core::revision::Revision;
use mesh_core::state::PageSize;
use mesh_core::state::messages::Messages;
use mesh_core::{Rejection, limits};
use mesh_proto::v1 as pb;
use pb::list_feed_request::Feed;

use crate::service::auth::Caller;
use crate::service::convert::{count, messages as convert, request_key, size};
use crate::service::status::Refusal;
use crate::service::{Mesh, misfit};

pub(super) fn list(
    mesh: &Mesh,
    caller: &Caller,
    request: pb::ListFeedRequest,
) -> Result<pb::ListFeedResponse, Refusal> {
    let session = caller.require_session()?;
    let page = PageSize::of(size(request.limit));
    let after = Revision(request.after_revision);
    let missing = || Rejection::invalid("feed", "is missing; name a topic, or a message of a thread");
    let feed = Asked::parse(request.feed.ok_or_else(missing)?)?;
    let (revision, messages) = {
        let state = mesh.view.read();
        let peer = state.peers.live(session)?;
        let messages = match feed {
            Asked::Topic(topic) => state.messages.topic(&peer.scope, &topic, after, page),
            Asked::ThreadOf(id) => {
                let message = state.messages.by_id(id).filter(|message| Messages::concerns(message, peer));
                let message = message.ok_or(Rejection::MessageNotFound { id })?;
                state.messages.thread(message, peer, after, page)
            }
        };
        mesh.shown.note(&state, peer, &messages);
        (state.revision(), messages)
    };
    // With nothing to show, whatever comes later is later than this.
    let next = messages.last().map_or(after.max(revision), |message| message.revision);
    Ok(pb::ListFeedResponse {
        header: mesh.header(revision),
        messages: messages.iter().map(|message| convert::message(message)).collect(),
        next_after_revision: next.0,
    })
}

/// The feed that is asked for.
enum Asked {
    Topic(TopicName),
    ThreadOf(MessageId),
}

impl Asked {
    fn parse(feed: Feed) -> Result<Self, Rejection> {
        match feed {
            Feed::Topic(topic) => TopicName::parse(&topic).map(Self::Topic),
            Feed::ThreadOf(id) => MessageId::parse("thread_of", &id).map(Self::ThreadOf),
        }
    }
}

pub(super) async fn follow(
    mesh: &Mesh,
    caller: Caller,
    mut request: pb::FollowTopicsRequest,
) -> Result<pb::FollowTopicsResponse, Refusal> {
    let session = caller.require_session()?;
    let id = std::mem::take(&mut request.request_id);
    let key = request_key("FollowTopics", &id, &request)?;
    let follow = convert::topics("follow", &request.follow)?;
    let unfollow = convert::topics("unfollow", &request.unfollow)?;
    let reply = mesh.submit(caller.by(session), key, Command::Follow { follow, unfollow }).await?;
    let Outcome::Following { topics } = reply.outcome else { return Err(misfit("FollowTopics")) };
    Ok(pb::FollowTopicsResponse {
        header: mesh.header(reply.revision),
        topics: topics.iter().map(TopicName::to_string).collect(),
    })
}

pub(super) fn topics(
    mesh: &Mesh,
    caller: &Caller,
    request: &pb::ListTopicsRequest,
) -> Result<pb::ListTopicsResponse, Refusal> {
    let (revision, peers, mut topics) = {
        let state = mesh.view.read();
        let scope = mesh.one_scope(&state, caller, &request.scope)?;
        let peers: Vec<_> = state.peers.list(Some(&scope), None).cloned().collect();
        let named = |(name, messages, newest): (&TopicName, usize, Revision)| {
            let topic = pb::Topic {
                name: name.to_string(),
                followers: 0,
                messages: count(messages),
                last_revision: newest.0,
            };
            (name.clone(), topic)
        };
        let topics = state.messages.topics(&scope).map(named).collect::<BTreeMap<_, _>>();
        (state.revision(), peers, topics)
    };
    for (name, followers) in followers(&peers) {
        let topic = topics.entry(name.clone());
        topic.or_insert_with(|| pb::Topic { name: name.to_string(), ..pb::Topic::default() }).followers =
            followers;
    }
    Ok(pb::ListTopicsResponse {
        header: mesh.header(revision),
        topics: topics.into_values().take(limits::TOPICS_PER_SCOPE).collect(),
    })
}

/// How many of the peers follow each topic.
fn followers(peers: &[Arc<PeerRecord>]) -> BTreeMap<TopicName, u32> {
    let mut followers = BTreeMap::new();
    if !peers.is_empty() {
        followers.insert(TopicName::notes(), count(peers.len()));
    }
    for topic in
        peers.iter().flat_map(|peer| peer.topics.keys()).filter(|topic| **topic != TopicName::notes())
    {
        *followers.entry(topic.clone()).or_default() += 1;
    }
    followers
}
