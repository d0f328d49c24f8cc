//! Waking an idle agent: a process of ours that waits for mail beside it, and hands it over in the host's own way.
//!
//! | way | started by | hands over |
//! |---|---|---|
//! | `async-rewake` | the host, by a hook that may run in the background | text on standard error, exit code 2 |
//! | `monitor` | the host, from its plugin | one line on standard output for each |
//! | `codex-queue` | the hook at the start of a session | `codex queue` |
//! | `opencode` | the host's plugin | text on standard output, and ends |
//! | `stop-hook` | nobody | the turn is not let end; an idle agent is not woken |
//!
//! What must hold: mail is stored first and stays so; there is one waiting process for each agent session, and one
//! wake at a time, until the agent's next hook shows that it has arrived; acknowledgements and what goes to all wake
//! nobody, unless it is urgent; a waiting process ends with its agent.

mod due;
mod queue;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use mesh_client::agent::{Identity, Kept, Process, Registry};
use mesh_client::proto::event::Event as Kind;
use mesh_client::proto::{EventBatch, EventFilter, EventType, MessageSent, PeerActivity};
use mesh_client::{Client, Config, JoinOptions, Liveness, Session, Watch, WatchItem, WatchOptions};
use mesh_hook::{Host, Output};
use tokio::time::Instant;

use self::due::Due;
pub(crate) use self::queue::start;
use crate::desk::LEASE;
use crate::problem::Problem;

/// The turn is not let end; all that there is for hosts that nothing wakes.
pub(crate) const STOP_HOOK: &str = "stop-hook";
/// How often the agent's process is looked at.
const LOOK: Duration = Duration::from_secs(3);
/// How often the session's lease is renewed: well within it.
const RENEW: Duration = Duration::from_secs(5 * 60);
/// How long the session may take to begin, and how often it is looked for.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);
const BEGINS_LOOK: Duration = Duration::from_millis(100);

/// How mail is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By an exit code that wakes the agent.
    Rewake,
    /// By a line of output.
    Monitor,
    /// To a queue of the host.
    Queue,
}

impl Way {
    /// As the command line names it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "wait" => Some(Self::Rewake),
            "monitor" => Some(Self::Monitor),
            "queue" => Some(Self::Queue),
            _ => None,
        }
    }

    fn name(self, host: Host) -> &'static str {
        match self {
            Self::Rewake if host == Host::Opencode => "opencode",
            Self::Rewake => "async-rewake",
            Self::Monitor => "monitor",
            Self::Queue => "codex-queue",
        }
    }
}

/// The way that a host has, in the words of `PeerInfo.wake`.
pub(crate) fn way_of(host: Host) -> &'static str {
    match host {
        Host::ClaudeCode => "async-rewake",
        Host::Codex => "codex-queue",
        Host::Opencode => "opencode",
        Host::Cursor | Host::Gemini | Host::Vscode | Host::Copilot | Host::Goose => STOP_HOOK,
        Host::Windsurf => "",
    }
}

/// Whether a process of ours waits beside a session of this host.
pub(crate) fn has_process(host: Host) -> bool {
    match host {
        Host::ClaudeCode | Host::Codex | Host::Opencode => true,
        Host::Cursor | Host::Gemini | Host::Vscode | Host::Goose | Host::Copilot | Host::Windsurf => false,
    }
}

/// Whether a process that is to wait has nobody to wake. Other hosts read Claude Code's settings and run its hooks; and
/// without a terminal Claude Code waits for a hook that should run beside the session, so that its first request is
/// never made.
pub(crate) fn is_in_vain(host: Host, way: Way, var: &dyn Fn(&str) -> Option<OsString>) -> bool {
    let is_alone =
        || way == Way::Rewake && var("CLAUDE_CODE_SESSION_ATTENDED").is_some_and(|value| value == "0");
    host == Host::ClaudeCode && (var("CLAUDECODE").is_none_or(|value| value.is_empty()) || is_alone())
}

/// One waiting process.
struct Waiter {
    host: Host,
    way: Way,
    client: Client,
    kept: Kept,
}

/// Waits for the agent session that an environment and a payload name. Needs a runtime.
pub(crate) async fn wait(
    host: Host,
    way: Way,
    session: Option<String>,
    config: Config,
    var: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Output, Problem> {
    let registry = Registry::of(&config.home);
    let who = identity(host, session, var);
    let begun = Instant::now();
    let kept = loop {
        // The process before the session: its environment may be older than a `/clear`.
        let by_process = who.process.and_then(|process| registry.of_process(&who.kind, process));
        let agent = if way == Way::Monitor {
            by_process.or_else(|| registry.find(&who))
        } else {
            registry.find(&who)
        };
        let kept = agent.map(|agent| Kept::new(agent, &config)).filter(|kept| !kept.scopes().is_empty());
        match kept {
            Some(kept) => break kept,
            None if begun.elapsed() > BEGINS_WITHIN => return Ok(Output::default()),
            None => tokio::time::sleep(BEGINS_LOOK).await,
        }
    };
    let claim = kept.agent().claim("wake")?;
    let Some(_claim) = claim else { return Ok(Output::default()) };
    let client = Client::new(config)?;
    let waiter = Waiter { host, way, client, kept };
    waiter.tell_way().await;
    waiter.until_the_agent_ends().await
}

fn identity(host: Host, session: Option<String>, var: &dyn Fn(&str) -> Option<OsString>) -> Identity {
    let text = |name: &str| var(name).and_then(|value| value.into_string().ok());
    let claude = host == Host::ClaudeCode;
    let told = text("CLAUDE_PID").filter(|_| claude).and_then(|pid| Process::of(pid.parse().ok()?));
    Identity {
        kind: host.agent_kind().to_owned(),
        session: session.or_else(|| text("CLAUDE_CODE_SESSION_ID").filter(|_| claude)),
        process: told.or_else(Process::above),
    }
}

impl Waiter {
    /// Hands over what is due until there is nothing to wait for: the agent has ended, or this way ends with a wake.
    async fn until_the_agent_ends(&self) -> Result<Output, Problem> {
        let mut scopes = self.kept.scopes();
        let mut watch = self.watch(&scopes);
        let mut look = tokio::time::interval(LOOK);
        let mut renewed = Instant::now();
        let mut concerned = true;
        loop {
            if !self.goes_on() {
                self.leave().await;
                return Ok(Output::default());
            }
            if concerned && let Some(output) = self.hand_over().await {
                return Ok(output);
            }
            concerned = tokio::select! {
                item = watch.next() => match item {
                    Some(Ok(WatchItem::Batch(batch))) => self.concerns(&batch),
                    // After a gap, and when the stream is there.
                    Some(Ok(WatchItem::Created)) | Some(Err(_)) => true,
                    Some(Ok(_)) => false,
                    None => {
                        tokio::time::sleep(LOOK).await;
                        watch = self.watch(&scopes);
                        true
                    }
                },
                _ = look.tick() => {
                    // The agent may have begun to work in another project.
                    let now = self.kept.scopes();
                    if now != scopes {
                        watch = self.watch(&now);
                        scopes = now;
                    }
                    if renewed.elapsed() > RENEW {
                        self.renew().await;
                        renewed = Instant::now();
                    }
                    false
                }
            };
        }
    }

    fn watch(&self, scopes: &[String]) -> Watch {
        let types = [EventType::MessageSent, EventType::LockReleaseRequested, EventType::PeerUpdated];
        let filter = EventFilter { types: types.map(Into::into).to_vec(), ..EventFilter::default() };
        let options =
            WatchOptions { scopes: scopes.to_vec(), filter: Some(filter), ..WatchOptions::default() };
        self.client.watch(options)
    }

    /// Whether the agent is there and has not left.
    fn goes_on(&self) -> bool {
        let record = self.kept.agent().read();
        let runs = record.and_then(|record| record.process).is_none_or(Process::is_alive);
        runs && !self.kept.scopes().is_empty()
    }

    /// Ends what a killed agent has left: no hook tells of its end, and where no tool of the mesh was used, no stream ends.
    async fn leave(&self) {
        Registry::of(&self.client.config().home).bury(&self.client).await;
        for scope in self.kept.scopes() {
            if let Some(session) = self.session(&scope)
                && let Err(error) = session.leave().await
            {
                tracing::debug!(%error, "the session had ended");
            }
        }
    }

    /// Whether something may be due since a batch.
    fn concerns(&self, batch: &EventBatch) -> bool {
        let Some(me) = self.kept.read(&batch.scope).map(|member| member.session.name) else { return false };
        batch.events.iter().any(|event| match &event.event {
            Some(Kind::MessageSent(sent)) => is_for(sent, &me),
            Some(Kind::LockReleaseRequested(asked)) => {
                asked.request.as_ref().is_some_and(|request| request.holder == me)
            }
            Some(Kind::PeerUpdated(updated)) => updated.peer.as_ref().is_some_and(|peer| {
                let idle = peer.info.as_ref().is_some_and(|info| info.activity() == PeerActivity::Idle);
                peer.name == me && idle
            }),
            _ => false,
        })
    }

    /// Hands over what is due; the output when that ends this process.
    async fn hand_over(&self) -> Option<Output> {
        for scope in self.kept.scopes() {
            let Some(session) = self.session(&scope) else { continue };
            let due = match due::take(&self.kept, &session, &scope, self.way == Way::Monitor).await {
                Ok(Some(due)) => due,
                Ok(None) => continue,
                Err(problem) => {
                    tracing::warn!(%problem, "mail that is due is not known");
                    continue;
                }
            };
            if let Some(output) = self.hand(&session, &scope, &due).await {
                return Some(output);
            }
        }
        None
    }

    async fn hand(&self, session: &Session, scope: &str, due: &Due) -> Option<Output> {
        let (output, problem) = match self.way {
            Way::Rewake => (Some(rewake(self.host, &due.text)), None),
            Way::Monitor => {
                let mut out = std::io::stdout().lock();
                let written = writeln!(out, "{}", due.text).and_then(|()| out.flush());
                // A host that no longer reads has ended.
                (written.is_err().then(Output::default), written.err().map(|error| error.to_string()))
            }
            Way::Queue => {
                (None, queue::send(&self.kept, &due.text).await.err().map(|problem| problem.to_string()))
            }
        };
        due::settle(&self.kept, scope, due, problem.is_none()).await;
        due::report(session, self.way.name(self.host), due, problem).await;
        output
    }

    /// Says on the mesh how this agent is woken, from now on by this process.
    async fn tell_way(&self) {
        for scope in self.kept.scopes() {
            due::take_back(&self.kept, &scope).await;
            let Some(session) = self.session(&scope) else { continue };
            let info = mesh_client::proto::PeerInfo {
                wake: self.way.name(self.host).to_owned(),
                ..mesh_client::proto::PeerInfo::default()
            };
            if let Err(error) = session.update(info, &["wake"]).await {
                tracing::debug!(%error, "how the agent is woken stays untold");
            }
        }
    }

    async fn renew(&self) {
        for scope in self.kept.scopes() {
            if let Some(session) = self.session(&scope)
                && let Err(error) = session.heartbeat().await
            {
                tracing::debug!(%error, "the lease is not renewed");
            }
        }
    }

    fn session(&self, scope: &str) -> Option<Session> {
        let options = JoinOptions {
            scope: scope.to_owned(),
            lease_ttl: Some(LEASE),
            liveness: Liveness::Unattended,
            ..JoinOptions::default()
        };
        // Only one that is there: whoever ends it has ended it for this process too.
        Session::enter_kept(&self.client, self.kept.clone(), options)
    }
}

fn rewake(host: Host, text: &str) -> Output {
    // The plugin of opencode reads what is printed.
    if host == Host::Opencode {
        return Output { stdout: text.as_bytes().to_vec(), ..Output::default() };
    }
    Output { stderr: text.to_owned(), code: 2, ..Output::default() }
}

/// Whether a message may wake a peer: see the head of this module.
fn is_for(sent: &MessageSent, me: &str) -> bool {
    sent.from != me && (sent.to.iter().any(|name| name == me) || sent.urgent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Host, way, environment, and whether there is nobody to wake.
    type Case<'a> = (Host, Way, &'a [(&'a str, &'a str)], bool);

    #[test]
    fn nobody_waits_for_another_host_nor_where_it_would_be_waited_for() {
        const CODE: (&str, &str) = ("CLAUDECODE", "1");
        let attended = |value| ("CLAUDE_CODE_SESSION_ATTENDED", value);
        let table: [Case<'_>; 8] = [
            (Host::ClaudeCode, Way::Rewake, &[CODE, attended("1")], false),
            (Host::ClaudeCode, Way::Rewake, &[CODE], false),
            (Host::ClaudeCode, Way::Rewake, &[CODE, attended("0")], true),
            (Host::ClaudeCode, Way::Rewake, &[], true),
            (Host::ClaudeCode, Way::Monitor, &[CODE, attended("0")], false),
            (Host::ClaudeCode, Way::Monitor, &[("CLAUDECODE", "")], true),
            (Host::Opencode, Way::Rewake, &[], false),
            (Host::Codex, Way::Queue, &[attended("0")], false),
        ];
        for (host, way, vars, vain) in table {
            let find =
                |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
            assert_eq!(is_in_vain(host, way, &find), vain, "{host} {way:?} {vars:?}");
        }
    }
}
