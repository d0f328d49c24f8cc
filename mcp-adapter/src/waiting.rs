//! Calls that wait: in the background where the client can have them there, else with signs of life.
//!
//! | client | what a call that waits becomes |
//! |---|---|
//! | declares the Tasks extension, on a connection without handshake | a task, whose result the host fetches |
//! | gives a progress token | a call that tells its progress |
//! | else | a call that is answered late |
//!
//! What must hold: a call that is answered at once is an ordinary one everywhere; progress rises and ends before the
//! answer; waiting ends when the client cancels the call or the task, and when the process ends; mail in the result of a
//! task counts as shown once the result was fetched, not before.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{
    CallToolResponse, CallToolResult, CreateTaskResult, DetailedTask, ErrorData, ProgressNotificationParam,
    ProgressToken, ProtocolVersion, TaskPayload,
};
use rmcp::service::{Peer, RequestContext, RoleServer};
use rmcp::task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call::{LONGEST_IN_BACKGROUND, LONGEST_WAIT, Patience, Showed};
use crate::news::Waiting;

/// How soon an answer makes a call an ordinary one, though it was ready to wait.
const AT_ONCE: Duration = Duration::from_millis(300);
/// How often a client should ask for the state of a task.
const POLL_MS: u64 = 1000;
/// How long a task is kept.
const TASK_TTL: Duration = LONGEST_IN_BACKGROUND.saturating_add(Duration::from_secs(600));
/// Tasks at a time; further calls are waited for.
const TASKS: usize = 32;
/// How long a result with mail may lie before something else tells the agent of the mail.
const FETCHED_WITHIN: Duration = Duration::from_secs(60);
/// Time between signs of life, which grows.
const FIRST_PROGRESS: Duration = Duration::from_millis(500);
const LONGEST_PROGRESS: Duration = Duration::from_secs(15);

/// What comes of a call.
#[derive(Debug)]
pub(crate) struct Done {
    /// The result for the client.
    pub(crate) result: CallToolResult,
    /// Mail that it shows, and that nothing else need tell until it was handed over.
    pub(crate) showed: Option<Showed>,
    /// Kept until then.
    pub(crate) waiting: Option<Waiting>,
}

/// A call under way.
pub(crate) type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What a client can do about a call that waits.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    /// It fetches the result of a task.
    Tasks,
    /// It takes signs of life, for a call to which it gave this token.
    Progress {
        /// What it knows the call by.
        token: ProgressToken,
        /// A call that goes on for long is put into the background by the host.
        patient: bool,
    },
    /// It waits, for about a minute.
    Plain,
}

impl Client {
    /// The client behind a request of an agent of this kind.
    pub(crate) fn of(context: &RequestContext<RoleServer>, kind: &str) -> Self {
        let modern =
            context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        if modern && context.client_capabilities().is_some_and(|client| client.supports_tasks()) {
            return Self::Tasks;
        }
        match context.meta.get_progress_token() {
            Some(token) => Self::Progress { token, patient: kind == "claude-code" },
            None => Self::Plain,
        }
    }

    /// How long it lets a call wait. A token alone does not mean that it has more patience.
    pub(crate) fn patience(&self) -> Patience {
        match self {
            Self::Tasks => Patience { longest: LONGEST_IN_BACKGROUND, usual: LONGEST_IN_BACKGROUND },
            Self::Progress { patient: true, .. } => {
                Patience { longest: LONGEST_IN_BACKGROUND, usual: LONGEST_WAIT }
            }
            Self::Progress { .. } | Self::Plain => Patience::default(),
        }
    }
}

/// Mail in the results of tasks, by their ids, until they are fetched.
type Unfetched = BTreeMap<String, Mail>;

/// Mail in the result of a task.
#[derive(Debug)]
pub(crate) struct Mail {
    /// Which.
    pub(crate) showed: Showed,
    /// Until this goes, nothing else tells of it.
    _waiting: Option<Waiting>,
}

/// The tasks of this process.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    manager: TaskManager,
    mail: Arc<Mutex<Unfetched>>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("mail", &self.mail).finish_non_exhaustive()
    }
}

/// How a call that waits goes on.
pub(crate) enum Outcome {
    /// It was answered.
    Done(Done),
    /// It goes on as a task.
    Task(CallToolResponse),
}

impl Tasks {
    /// Sees a call through that is ready to wait; `stop` ends its waiting.
    pub(crate) async fn see_through(
        &self,
        client: Client,
        context: &RequestContext<RoleServer>,
        mut work: Work,
        stop: CancellationToken,
    ) -> Outcome {
        tokio::select! {
            done = &mut work => return Outcome::Done(done),
            () = context.ct.cancelled() => {
                stop.cancel();
                return Outcome::Done(work.await);
            }
            () = tokio::time::sleep(AT_ONCE) => {}
        }
        let peer = &context.peer;
        let signs_of_life = async {
            match &client {
                Client::Tasks | Client::Plain => std::future::pending().await,
                Client::Progress { token, .. } => progress(peer, token).await,
            }
        };
        if matches!(client, Client::Tasks) && self.manager.running_task_count() < TASKS {
            return Outcome::Task(self.start(work, stop));
        }
        tokio::select! {
            done = &mut work => return Outcome::Done(done),
            () = context.ct.cancelled() => stop.cancel(),
            () = signs_of_life => {}
        }
        Outcome::Done(work.await)
    }

    fn start(&self, work: Work, stop: CancellationToken) -> CallToolResponse {
        let ttl = u64::try_from(TASK_TTL.as_millis()).unwrap_or(u64::MAX);
        let options = TaskOptions::new().with_ttl_ms(ttl).with_poll_interval_ms(POLL_MS);
        let tasks = self.clone();
        let task = self.manager.spawn(options, |task| Box::pin(tasks.run(task, work, stop)));
        CallToolResponse::Task(CreateTaskResult::new(task))
    }

    async fn run(
        self,
        task: TaskContext,
        mut work: Work,
        stop: CancellationToken,
    ) -> Result<CallToolResult, TaskExit> {
        let done = tokio::select! {
            done = &mut work => done,
            () = task.cancelled() => {
                stop.cancel();
                work.await
            }
        };
        if task.is_cancel_requested() && done.result.is_error == Some(true) {
            return Err(TaskExit::Cancelled);
        }
        if let Some(showed) = done.showed {
            let id = task.task_id().to_owned();
            self.mail().insert(id.clone(), Mail { showed, _waiting: done.waiting });
            tokio::spawn(async move {
                tokio::time::sleep(FETCHED_WITHIN).await;
                self.mail().remove(&id);
            });
        }
        Ok(done.result)
    }

    /// The state of a task, and the mail that its client gets with it.
    pub(crate) fn get(&self, id: &str) -> Result<(DetailedTask, Option<Mail>), ErrorData> {
        let task = self.manager.get_task(id)?;
        let fetched = matches!(task.payload, TaskPayload::Completed { .. });
        Ok((task, if fetched { self.mail().remove(id) } else { None }))
    }

    /// What a client answers to questions of a task; none has any.
    pub(crate) fn update(
        &self,
        id: &str,
        answers: impl IntoIterator<Item = (String, serde_json::Value)>,
    ) -> Result<(), ErrorData> {
        self.manager.update_task(id, answers)
    }

    /// Ends the waiting of a task.
    pub(crate) fn cancel(&self, id: &str) -> Result<(), ErrorData> {
        self.manager.cancel_task(id)
    }

    /// Ends all of them.
    pub(crate) fn end(&self) {
        self.manager.shutdown();
        self.mail().clear();
    }

    fn mail(&self) -> MutexGuard<'_, Unfetched> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the client at growing intervals how long a call has waited; ends when the client takes no more.
async fn progress(peer: &Peer<RoleServer>, token: &ProgressToken) {
    let begun = Instant::now();
    let mut pause = FIRST_PROGRESS;
    loop {
        let seconds = begun.elapsed().as_secs_f64();
        let told = ProgressNotificationParam::new(token.clone(), seconds).with_message("waiting");
        if let Err(error) = peer.notify_progress(told).await {
            tracing::debug!(%error, "the client takes no progress");
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PROGRESS);
    }
}
