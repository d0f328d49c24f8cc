//! A session with what belongs to it, and what is told to it and to the hooks of the same agent session.

use std::sync::Arc;

use mesh_client::agent::Membership;
use mesh_client::proto::{AcknowledgeMessagesResponse, PeerInfo};
use mesh_client::{ClientError, Session};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::Shared;
use crate::call::Showed;
use crate::news::{Reached, SharedNews};
use crate::place::Place;
use crate::wake::{self, Way};

/// A session with what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    /// The session.
    pub(crate) session: Session,
    /// What happened meanwhile.
    pub(crate) news: SharedNews,
    /// Where the agent works.
    pub(crate) place: Arc<Place>,
    /// Where the session is shared with the hooks of the same agent session.
    pub(super) shared: Option<Shared>,
    way: Option<Way>,
    _tasks: Arc<Vec<AbortOnDropHandle<()>>>,
}

/// What a session is tied to.
pub(super) struct Ties {
    /// Where the agent works.
    pub(super) place: Arc<Place>,
    /// The record that it is in.
    pub(super) shared: Option<Shared>,
    /// How this process wakes the agent.
    pub(super) way: Option<Way>,
}

impl Joined {
    /// A session, with the tasks that end with it. They must not hold this.
    pub(super) fn new(session: Session, news: SharedNews, ties: Ties, tasks: Vec<JoinHandle<()>>) -> Self {
        let Ties { place, shared, way } = ties;
        let tasks = tasks.into_iter().map(AbortOnDropHandle::new).collect();
        Self { session, news, place, shared, way, _tasks: Arc::new(tasks) }
    }

    /// Name of the peer.
    pub(crate) fn name(&self) -> String {
        self.session.peer().name
    }

    /// Whether another process has taken the peer over.
    pub(super) fn is_replaced(&self) -> bool {
        self.news.lock().replaced
    }

    /// Whether the session outlives this process: hooks tell when the agent has ended, or another process serves it.
    pub(super) fn goes_on(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.is_hooked() || !shared.is_served_here())
    }

    /// Whether the agent session has not left.
    pub(super) fn is_kept(&self) -> bool {
        self.membership().is_some()
    }

    /// What the agent should know besides an answer; not of mail that hooks have shown.
    pub(super) fn footer(&self, reached: Reached) -> String {
        if self.news.lock().has_mail()
            && let Some(member) = self.membership()
        {
            self.news.lock().shown_by_hooks(member.shown.max(member.acknowledged));
        }
        self.news.lock().footer(reached)
    }

    /// Mail up to here was shown by hooks, which have yet to acknowledge it; 0 when there is none.
    pub(crate) fn shown_by_hooks(&self) -> u64 {
        let member = self.membership().filter(|_| self.goes_on());
        member.filter(|member| member.shown > member.acknowledged).map_or(0, |member| member.shown)
    }

    /// What is kept for the hooks.
    fn membership(&self) -> Option<Membership> {
        self.shared.as_ref()?.kept.read(&self.session.scope())
    }

    /// Marks mail up to a revision as read, for the hooks too.
    pub(crate) async fn ack(&self, upto: u64) -> Result<AcknowledgeMessagesResponse, ClientError> {
        let answer = self.session.ack(upto).await?;
        self.change(|member| {
            member.shown = member.shown.max(upto);
            member.acknowledged = member.acknowledged.max(upto);
        })
        .await;
        self.news.signals.mail();
        Ok(answer)
    }

    /// The agent has been given mail: nothing need show it again.
    pub(crate) async fn mail_shown(&self, showed: Showed) {
        self.news.lock().mail_read(showed.from, showed.upto);
        self.change(|member| {
            // After a gap hooks would never show what is in it.
            if showed.from <= member.shown.max(member.acknowledged) {
                member.shown = member.shown.max(showed.upto);
            }
        })
        .await;
    }

    /// The agent has answered a message. One that was handed to its host has arrived, then, with those before it.
    pub(crate) async fn answered(&self, revision: u64) {
        if revision == 0 || revision > self.news.lock().pushed() {
            return;
        }
        if let Err(error) = self.ack(revision).await {
            tracing::debug!(%error, "what was answered stays unread");
        }
    }

    /// The agent has fetched the result of a task with mail, for which it waited.
    pub(crate) async fn woken_by_task(&self, showed: Showed) {
        self.mail_shown(showed).await;
        wake::report(&self.session, wake::TASK, showed.upto, None).await;
    }

    /// Says on the mesh how the agent is woken, unless hooks or another process do.
    pub(crate) async fn tell_wake(&self) {
        if self.goes_on() {
            return;
        }
        let way = self.way.as_ref().map(Way::name).unwrap_or_default();
        let wake = if self.news.lock().is_waited_for() { wake::TASK } else { way };
        let told = self.session.peer().info.is_some_and(|info| info.wake == wake);
        let info = PeerInfo { wake: wake.to_owned(), ..PeerInfo::default() };
        if !told && let Err(error) = self.session.update(info, &["wake"]).await {
            tracing::debug!(%error, "how the agent is woken stays untold");
        }
    }

    async fn change(&self, change: impl FnOnce(&mut Membership)) {
        let Some(shared) = &self.shared else { return };
        if let Err(error) = shared.kept.change(&self.session.scope(), change).await {
            tracing::warn!(%error, "hooks may show mail again");
        }
    }
}
