//! One call of a hook, from standard input to the exit code.
//!
//! What must hold: the answer comes within [`AWAY`] when no broker does, and within [`PATIENCE`] whatever the broker
//! does; the exit code is 0 unless the host's way to say no is another one.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use mesh_client::Config;
use mesh_hook::{Call, Event, Host, Output, Reply};

use crate::desk::Desk;
use crate::problem::Problem;
use crate::{git, guard, news, start, touched, turn, wake};

/// How long a broker may take to be there.
const AWAY: Duration = Duration::from_millis(80);
/// How long one may take that has to be started, when a session starts. Where that fails, it does so at once.
const STARTS: Duration = Duration::from_secs(1);
/// How long a broker that is there may take to answer everything.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long after a broker has not answered it gets as much time again.
const TRIED_AGAIN: Duration = Duration::from_secs(30);
/// How long what a failed call leaves behind may take.
const GIVEN_UP_WITHIN: Duration = Duration::from_millis(200);
/// Longest payload that is read: a tool that writes a file has its contents in it.
const PAYLOAD: u64 = 32 << 20;

/// Answers a host: `meshctl hook HOST [EVENT]`, or waits for mail: `meshctl hook HOST wait|monitor`.
///
/// `config` is asked only when there is something to do.
pub fn run(host: Host, event: Option<&str>, config: impl FnOnce() -> Result<Config, String>) -> u8 {
    let var = |name: &str| std::env::var_os(name);
    if var("MESH_HOOKS").is_some_and(|value| value == "off") {
        return leave(&host.silence());
    }
    let way = event.and_then(wake::Way::parse);
    if way.is_some_and(|way| wake::is_in_vain(host, way, &var)) {
        return 0;
    }
    // A monitor has no input at all.
    if io::stdin().is_terminal() && way.is_none() {
        say("a hook gets its host's JSON on standard input; try: meshctl doctor");
        return leave(&host.silence());
    }
    let mut payload = Vec::new();
    if let Err(error) = io::stdin().lock().take(PAYLOAD).read_to_end(&mut payload) {
        say(&format!("standard input: {error}"));
        return leave(&host.silence());
    }
    let work = match way {
        Some(way) => Work::Wait { host, way, session: session_named(&payload) },
        None => match host.parse(event, &payload, &var) {
            Ok(call) if call.event == Event::Other => {
                return leave(&call.host.shape(&call, &Reply::default()));
            }
            Ok(call) => Work::Answer(Box::new(call)),
            Err(error) => {
                say(&format!("{host}: {error}"));
                return leave(&host.silence());
            }
        },
    };
    let start = work.start().cloned();
    match config().map_err(Problem::from).and_then(|config| on_a_thread(work, config, &var)) {
        Ok(output) => leave(&output),
        Err(problem) => {
            say(&problem.to_string());
            // There is no place to remember that the user was told; a session starts once.
            let notice =
                Some(format!("mesh: hooks do nothing in this session ({problem}). See: meshctl doctor"));
            leave(&start.map_or_else(
                || host.silence(),
                |call| call.host.shape(&call, &Reply { notice, ..Reply::default() }),
            ))
        }
    }
}

/// The session that a waiting process is for. What starts one is not always an event of the host.
fn session_named(payload: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(alias = "sessionId", alias = "sessionID", alias = "conversation_id")]
        session_id: String,
    }
    let named: Named = serde_json::from_slice(payload).ok()?;
    Some(named.session_id).filter(|session| !session.is_empty())
}

/// What there is to do.
enum Work {
    /// To answer a call.
    Answer(Box<Call>),
    /// To wait for mail, for a session if it is named.
    Wait { host: Host, way: wake::Way, session: Option<String> },
}

impl Work {
    /// The call, if a session starts with it.
    fn start(&self) -> Option<&Call> {
        match self {
            Self::Answer(call) if matches!(call.event, Event::SessionStart(_)) => Some(call),
            Self::Answer(_) | Self::Wait { .. } => None,
        }
    }
}

fn on_a_thread(
    work: Work,
    config: Config,
    var: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Output, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let output = runtime.block_on(async {
        match work {
            Work::Answer(call) => {
                let host = call.host;
                let Some(desk) = Desk::open(*call, config, var)? else { return Ok(host.silence()) };
                let reply = within(&desk).await;
                Ok(desk.call.host.shape(&desk.call, &reply))
            }
            Work::Wait { host, way, session } => wake::wait(host, way, session, config, var).await,
        }
    });
    // What is still being tried has no one to tell.
    runtime.shutdown_background();
    output
}

/// The reply, or what is said when there can be none.
async fn within(desk: &Desk) -> Reply {
    // One that did not answer lately is not waited for by every hook, only now and then.
    let patient = desk.reached && !desk.was_away(TRIED_AGAIN);
    let starts = matches!(desk.call.event, Event::SessionStart(_)) && !desk.was_away(TRIED_AGAIN);
    let limit = match (patient, starts) {
        (true, _) => PATIENCE,
        // The first session of the day starts the broker.
        (false, true) => STARTS,
        (false, false) => AWAY,
    };
    let problem = match tokio::time::timeout(limit, reply(desk)).await {
        Ok(Ok(reply)) => {
            let back = desk.note_back();
            return if back { with_notice(reply, "mesh: the broker is back") } else { reply };
        }
        Ok(Err(problem)) if !problem.is_away() => {
            give_up(desk).await;
            say(&problem.to_string());
            let notice =
                format!("mesh: a hook failed, and nothing was checked ({problem}). See: meshctl doctor");
            return Reply { notice: Some(notice), ..Reply::default() };
        }
        Ok(Err(problem)) => problem.to_string(),
        Err(_) => format!("no answer within {limit:?}"),
    };
    give_up(desk).await;
    say(&problem);
    if !desk.note_away(patient) {
        return Reply::default();
    }
    let notice = format!(
        "mesh: the broker is away ({problem}); nobody's locks are checked until it is back. See: meshctl doctor"
    );
    let context = matches!(desk.call.event, Event::BeforeTool(_)).then(|| {
        "[mesh] the broker is away: other agents' locks and messages are not seen until it is back".to_owned()
    });
    Reply { notice: Some(notice), context, ..Reply::default() }
}

/// What must be so although the call failed: nothing that nobody sees counts as shown, and an agent whose turn is over can
/// be woken.
async fn give_up(desk: &Desk) {
    if tokio::time::timeout(GIVEN_UP_WITHIN, clear(desk)).await.is_err() {
        tracing::warn!("the record of the agent is in use");
    }
}

async fn clear(desk: &Desk) {
    news::take_back(desk).await;
    if !matches!(desk.call.event, Event::Stop { .. } | Event::Interrupted) {
        return;
    }
    for scope in desk.kept.scopes() {
        if let Err(error) = desk.kept.change(&scope, |member| member.working = false).await {
            tracing::warn!(%error, "the agent counts as working until its next turn ends");
        }
    }
}

fn with_notice(reply: Reply, notice: &str) -> Reply {
    Reply { notice: reply.notice.or_else(|| Some(notice.to_owned())), ..reply }
}

async fn reply(desk: &Desk) -> Result<Reply, Problem> {
    match &desk.call.event {
        Event::SessionStart(source) => start::oriented(desk, *source).await,
        Event::Prompt => turn::begins(desk).await,
        Event::BeforeTool(tool) => {
            turn::child_works(desk).await?;
            let edits = guard::before(desk, tool.edits()).await?;
            if edits.is_final() {
                return Ok(edits.reply());
            }
            let moves = git::before(desk, tool).await?;
            touched::before(desk, tool).await;
            Ok(edits.and(moves).reply())
        }
        Event::AfterTool(tool) => {
            let (touched, news) = tokio::join!(touched::after(desk, tool), news::told(desk));
            match (touched, news) {
                // News are noted as shown by now.
                (Err(problem), Ok(news)) => {
                    say(&problem.to_string());
                    Ok(news)
                }
                (_, news) => news,
            }
        }
        Event::SubagentStart => turn::child_starts(desk).await,
        Event::SubagentStop => turn::child_stops(desk).await,
        Event::Stop { .. } => turn::ends(desk).await,
        Event::Interrupted => turn::broke_off(desk).await,
        Event::SessionEnd(end) => turn::session_ends(desk, *end).await,
        Event::Other => Ok(Reply::default()),
    }
}

fn leave(output: &Output) -> u8 {
    // A host that no longer reads has no use for the answer.
    _ = io::stdout().lock().write_all(&output.stdout);
    if !output.stderr.is_empty() {
        _ = writeln!(io::stderr().lock(), "{}", output.stderr);
    }
    output.code
}

/// For whoever debugs the host: hosts show standard error only on demand.
fn say(text: &str) {
    _ = writeln!(io::stderr().lock(), "meshctl hook: {text}");
}
