//! Waking the agent from here, in the ways that need a process with a connection to its host.
//!
//! | way | chosen | hands over |
//! |---|---|---|
//! | `channel` | on demand: `--push channel` | a notification that the host puts into the session |
//! | `inbox-socket` | where Claude Code has opened its inbox to this process | a message of another session |
//! | `task` | by the agent, when it waits for mail and its client takes tasks | the result of the task |
//!
//! The ways that are processes of their own are those of the hooks, and come first: they know that what they say arrives.
//! Besides, whoever has subscribed to the inbox is told that it has changed; that is no wake, since few hosts act on it.
//!
//! What must hold: mail is stored first and stays so; while hooks serve the session, nothing is handed over as long as
//! the agent is at work or a process of theirs waits; there is one wake at a time, until the cursor of the inbox has moved
//! past it; acknowledgements, topics and what goes to all wake nobody, unless urgent; what was shown wakes nobody. What is
//! handed over this way does not count as shown, since neither way tells that it has arrived.

pub(crate) mod channel;
mod due;
mod socket;

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_client::agent::{Kept, Membership};
use mesh_client::proto::{ListMessagesRequest, ListReleaseRequestsRequest, ReportWakeRequest, WakeOutcome};
use mesh_client::{ClientError, Session};
use rmcp::service::{Peer, RoleServer};

use self::channel::Channel;
use self::due::{Due, Known};
pub(crate) use self::socket::Inbox;
use crate::news::{Changes, SharedNews};

/// The agent waits for mail in a task.
pub(crate) const TASK: &str = "task";
/// How long a process that hooks start has to be there before it is done without.
const PRECEDENCE: Duration = Duration::from_secs(2);
/// Longest note to a report that the contract takes.
const NOTE: usize = 256;

/// How mail is pushed into the agent's session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Push {
    /// As the host can take it, without being launched for it.
    #[default]
    Auto,
    /// As a channel of Claude Code, which must be launched for it; needs the handshake of older protocol versions.
    Channel,
    /// Not at all.
    Off,
}

/// One way to wake the agent.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// A notification on the MCP connection.
    Channel(Channel),
    /// The inbox of the session, a socket of the host.
    Socket(Inbox),
}

impl Way {
    /// The way that the host of an agent has, if there is one.
    pub(crate) fn choose(push: Push, inbox: Option<&Inbox>, peer: Option<&Peer<RoleServer>>) -> Option<Self> {
        match push {
            Push::Off => None,
            Push::Channel => peer.map(|peer| Self::Channel(Channel::new(peer.clone()))),
            Push::Auto => {
                let inbox = inbox?;
                if let Err(problem) = inbox.check() {
                    tracing::debug!(problem, "the inbox of the session is not used");
                    return None;
                }
                Some(Self::Socket(inbox.clone()))
            }
        }
    }

    /// In the words of `PeerInfo.wake`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Channel(_) => "channel",
            Self::Socket(_) => "inbox-socket",
        }
    }

    async fn hand_over(&self, due: &Due) -> Result<(), String> {
        match self {
            Self::Channel(channel) => channel.send(due).await,
            Self::Socket(inbox) => inbox.send(&due.text).await,
        }
    }
}

/// What hands mail over to the agent's host while a session lasts.
#[derive(Debug)]
pub(crate) struct Waker {
    way: Way,
    session: Session,
    news: SharedNews,
    kept: Option<Kept>,
    changes: Changes,
    /// Requests to make way that were handed over.
    asked: BTreeSet<u64>,
}

impl Waker {
    /// For a session, which may be shared with hooks.
    pub(crate) fn new(way: Way, session: Session, news: SharedNews, kept: Option<Kept>) -> Self {
        let changes = news.signals.changes();
        Self { way, session, news, kept, changes, asked: BTreeSet::new() }
    }

    /// Hands over what is due, whenever something may be. Not what was there before: the call that began the session
    /// tells of it, or hooks do.
    pub(crate) async fn run(mut self) {
        while self.changes.any().await {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "mail that is due is not known");
            }
        }
    }

    async fn look(&mut self) -> Result<(), ClientError> {
        let hooked = self.is_hooked();
        if hooked {
            tokio::time::sleep(PRECEDENCE).await;
        }
        let member = self.kept.as_ref().and_then(|kept| kept.read(&self.session.scope()));
        if self.news.lock().is_waited_for() || (hooked && !member.as_ref().is_some_and(is_free)) {
            return Ok(());
        }
        // Held while this hands over; whoever holds it already does so by itself.
        let claim = self.kept.as_ref().map(|kept| kept.agent().claim("wake"));
        if matches!(claim, Some(Ok(None))) {
            return Ok(());
        }
        let shown = member.map(|member| member.shown).unwrap_or_default();
        let Some(due) = self.due(shown, hooked).await? else { return Ok(()) };
        let problem = self.way.hand_over(&due).await.err();
        if problem.is_none() {
            self.news.lock().mail_pushed(due.upto);
            self.asked.extend(&due.asked);
        }
        self.report(&due, problem).await;
        Ok(())
    }

    async fn due(&self, shown: u64, brief: bool) -> Result<Option<Due>, ClientError> {
        let inbox = ListMessagesRequest { limit: 20, ..ListMessagesRequest::default() };
        let holder = self.session.peer().name;
        let asked = ListReleaseRequestsRequest { holder, ..ListReleaseRequestsRequest::default() };
        let (inbox, asked) =
            tokio::try_join!(self.session.inbox(inbox), self.session.list_release_requests(asked))?;
        let mut news = self.news.lock();
        inbox.messages.iter().for_each(|message| news.letters.keep(message));
        let known = Known {
            shown: shown.max(news.read()),
            pushed: news.pushed(),
            asked: &self.asked,
            letters: &news.letters,
            brief,
        };
        Ok(due::due(&inbox, &asked.requests, &known))
    }

    /// Tells the senders.
    async fn report(&self, due: &Due, problem: Option<String>) {
        if due.upto == 0 {
            return;
        }
        report(&self.session, self.way.name(), due.upto, problem).await;
    }

    fn is_hooked(&self) -> bool {
        self.kept.as_ref().and_then(|kept| kept.agent().read()).is_some_and(|record| record.hooked)
    }
}

/// Whether the agent is idle, and has shown that it has seen what was shown to it.
fn is_free(member: &Membership) -> bool {
    !member.working && member.shown <= member.acknowledged
}

/// Tells the senders of mail what came of waking the agent for it.
pub(crate) async fn report(session: &Session, via: &str, up_to_revision: u64, problem: Option<String>) {
    let outcome = if problem.is_none() { WakeOutcome::Taken } else { WakeOutcome::Failed };
    let mut note = problem.unwrap_or_default();
    note.retain(|c| !c.is_control());
    note.truncate(note.floor_char_boundary(NOTE));
    let request = ReportWakeRequest { via: via.to_owned(), outcome: outcome.into(), note, up_to_revision };
    if let Err(error) = session.report_wake(request).await {
        tracing::debug!(%error, "the senders are not told of the wake");
    }
}
