//! The script. Each step says what must come of it; what does not come ends the demo.

use mesh_client::proto::LeaveCause;
use mesh_client::proto::event::Event as Kind;
use serde_json::json;

use super::agent::{Agent, Role};
use super::cast::{self, Cast};
use super::checkout::{BRANCH, Checkout, FILE};
use super::stage::Stage;
use crate::error::CliError;

/// Arguments of a tool call, as an agent writes them.
macro_rules! args {
    ($($name:ident: $value:expr),* $(,)?) => { &[$((stringify!($name), json!($value))),*] };
}

/// The scope that both checkouts belong to.
const SCOPE: &str = "github.com/acme/app";
const KEY: &str = "auth/refresh";

/// Plays all of it. What was started in it ends with it.
pub(super) async fn play(stage: &mut Stage, cast: &Cast) -> Result<(), CliError> {
    let checkout = Checkout::make(cast.path()).await?;
    let (claude, codex) = (Role::claude(&checkout.main), Role::codex(&checkout.linked));
    let mut claude = Agent::start(&claude, cast).await?;
    let mut codex_of_old = Agent::start(&codex, cast).await?;
    open(stage, cast).await?;
    meet(stage, &mut claude, &mut codex_of_old).await?;
    talk(stage, &mut claude, &mut codex_of_old).await?;
    remember(stage, &mut claude, &mut codex_of_old).await?;
    merge(stage, &mut claude, &mut codex_of_old).await?;
    let token = collide(stage, &mut claude, &mut codex_of_old).await?;
    lose_the_broker(stage, cast, &mut claude).await?;
    make_way(stage, &mut claude, &mut codex_of_old, token).await?;
    lose_an_agent(stage, &mut claude, codex_of_old).await?;
    let mut codex = Agent::start(&codex, cast).await?;
    come_back(stage, &mut codex).await?;
    leave(stage, claude, codex).await
}

async fn open(stage: &mut Stage, cast: &Cast) -> Result<(), CliError> {
    stage.follow(&cast.client).await?;
    let broker = cast.broker().await?;
    let place = cast.path().display();
    stage.note(&format!("A broker (pid {}) and a git repository, in {place}.", broker.pid))?;
    stage.note("Lines with │ are the live tail, as `meshctl watch` shows it.")
}

async fn meet(stage: &mut Stage, claude: &mut Agent, codex: &mut Agent) -> Result<(), CliError> {
    stage.act("Two agents, each in a worktree of one repository, check in and meet.").await?;
    let said = args! { name: "claude", files: [FILE], focus: "token refresh" };
    let answer = stage.call(claude, "mesh_checkin", said).await?;
    answer.done(&[&format!("you are claude in {SCOPE} on main"), "nobody else"])?;
    stage.see("claude joining", |event| joined(event, "claude")).await?;
    let said = args! { name: "codex", focus: "tests of expiry" };
    let answer = stage.call(codex, "mesh_checkin", said).await?;
    answer.done(&[&format!("you are codex in {SCOPE} on {BRANCH}"), "claude (claude-code, on main)"])?;
    stage.see("codex joining", |event| joined(event, "codex")).await?;
    let answer = stage.call(claude, "mesh_who", args! {}).await?;
    answer.done(&["claude (you", &format!("codex (codex, on {BRANCH})")]).map(drop)
}

async fn talk(stage: &mut Stage, claude: &mut Agent, codex: &mut Agent) -> Result<(), CliError> {
    stage.act("They talk. Mail is kept until it is read.").await?;
    let ask = args! { to: "claude", body: "Who does refresh?", intent: "request" };
    stage.call(codex, "mesh_send", ask).await?.done(&["queued for claude (online)"])?;
    stage.see("a message of codex", |event| sent(event, "codex")).await?;
    let mail = stage.call(claude, "mesh_inbox", args! { ack: true }).await?;
    let mail = mail.done(&["from codex, request", "> Who does refresh?"])?;
    let number: u64 = first_number(&mail)?;
    let reply = args! { to: "codex", reply_to: number, body: "I do. Lock before you edit." };
    stage.call(claude, "mesh_send", reply).await?.done(&["queued for codex"])?;
    stage.see("a message of claude", |event| sent(event, "claude")).await?;
    let mail = stage.call(codex, "mesh_inbox", args! { ack: true, wait_seconds: 5 }).await?;
    mail.done(&["from claude, reply", "> I do. Lock before you edit."]).map(drop)
}

async fn remember(stage: &mut Stage, claude: &mut Agent, codex: &mut Agent) -> Result<(), CliError> {
    stage.act("What one remembers, the other recalls, knowing only the file.").await?;
    let note = args! { key: KEY, value: "one at a time", paths: [FILE] };
    stage.call(claude, "mesh_remember", note).await?.done(&[&format!("remembered {KEY} version 1")])?;
    stage.see("the note", |event| matches!(event, Kind::StateChanged(it) if it.key == KEY)).await?;
    let found = stage.call(codex, "mesh_recall", args! { path: FILE }).await?;
    found.done(&["working on it: claude on main", KEY, "\"one at a time\""]).map(drop)
}

async fn merge(stage: &mut Stage, claude: &mut Agent, codex: &mut Agent) -> Result<(), CliError> {
    stage.act("Both change that note. Nothing is overwritten unread: the second merges.").await?;
    let note = args! { key: KEY, value: "one at a time, on 401" };
    stage.call(claude, "mesh_remember", note).await?.done(&[&format!("remembered {KEY} version 2")])?;
    stage.see("the note", |event| matches!(event, Kind::StateChanged(it) if it.version == 2)).await?;
    let note = args! { key: KEY, value: "one at a time, tested" };
    let refused = stage.call(codex, "mesh_remember", note).await?;
    refused.refused(&["one at a time, on 401", "claude", "one at a time, tested"])?;
    let merged = args! { key: KEY, value: "one at a time, on 401, tested" };
    stage.call(codex, "mesh_remember", merged).await?.done(&[&format!("remembered {KEY} version 3")])?;
    stage.see("the merged note", |event| matches!(event, Kind::StateChanged(it) if it.version == 3)).await
}

/// Returns the fencing token of the first lock.
async fn collide(stage: &mut Stage, claude: &mut Agent, codex: &mut Agent) -> Result<u64, CliError> {
    stage.act("Both want one file. The second is told who has it and why, and asks for it.").await?;
    let want = args! { paths: [FILE], reason: "rewriting refresh()" };
    let locked = stage.call(claude, "mesh_lock", want).await?.done(&["locked src/auth.rs for 30m"])?;
    stage.see("the lock", |event| locked_by(event, "claude")).await?;
    let refused = stage.call(codex, "mesh_lock", args! { paths: [FILE], ask: "a test of it" }).await?;
    refused.refused(&["held by claude", "left", "reason \"rewriting refresh()\"", "Next:"])?;
    stage.see("the request", |event| matches!(event, Kind::LockReleaseRequested(_))).await?;
    token(&locked)
}

async fn lose_the_broker(stage: &mut Stage, cast: &Cast, claude: &mut Agent) -> Result<(), CliError> {
    stage.act("The broker is killed. Whoever needs it starts it; nothing is lost.").await?;
    let before = cast.broker().await?;
    stage.note(&format!("$ kill -9 {}   # the broker", before.pid))?;
    cast::kill(&before)?;
    stage.see_resumed().await?;
    let after = cast.broker().await?;
    if after.pid == before.pid {
        return Err(CliError::failure("the broker outlived kill -9"));
    }
    let status = stage.call(claude, "mesh_status", args! {}).await?;
    status
        .done(&["you are claude", "locks: src/auth.rs (", "codex", "a test of it", "online here: 2"])
        .map(drop)
}

async fn make_way(
    stage: &mut Stage,
    claude: &mut Agent,
    codex: &mut Agent,
    former: u64,
) -> Result<(), CliError> {
    stage.act("Codex waits in the queue. Claude makes way; the lock is handed over at once.").await?;
    let want = args! { paths: [FILE], reason: "a test", wait_seconds: 30 };
    let waiting = stage.begin(codex, "mesh_lock", want).await?;
    stage.see("codex in the queue", |event| matches!(event, Kind::LockQueued(_))).await?;
    stage.dwell().await?;
    let freed = stage.call(claude, "mesh_unlock", args! { paths: [FILE], note: "refresh() is done" }).await?;
    freed.done(&["unlocked src/auth.rs"])?;
    stage.see("the lock handed over", |event| locked_by(event, "codex")).await?;
    let locked = stage.finish(codex, waiting).await?.done(&["locked src/auth.rs"])?;
    if token(&locked)? <= former {
        return Err(CliError::failure(format_args!("the token is not larger than {former}: {locked}")));
    }
    let word = args! { to: "codex", intent: "ack", body: "All yours." };
    stage.call(claude, "mesh_send", word).await?.done(&["queued for codex"])?;
    stage.see("a message of claude", |event| sent(event, "claude")).await
}

async fn lose_an_agent(stage: &mut Stage, claude: &mut Agent, codex: Agent) -> Result<(), CliError> {
    stage.act("Codex is killed. No ghost stays; its lock is kept 10 s for its return.").await?;
    stage.note(&format!("$ kill -9 {}   # codex's adapter", codex.pid()))?;
    codex.kill().await?;
    let gone = |event: &Kind| left(event, "codex", LeaveCause::Disconnected);
    stage.see("codex leaving", gone).await?;
    let want = args! { paths: [FILE] };
    let refused = stage.call(claude, "mesh_lock", want).await?;
    refused.refused(&["held by codex, who is gone: free in", "Next: mesh_lock again"]).map(drop)
}

async fn come_back(stage: &mut Stage, codex: &mut Agent) -> Result<(), CliError> {
    stage.act("Codex is back in time: the same peer, with its mail and its lock.").await?;
    let want = args! { paths: [FILE], reason: "a test" };
    stage.call(codex, "mesh_lock", want).await?.done(&["locked src/auth.rs"])?;
    stage.see("the lock", |event| locked_by(event, "codex")).await?;
    let mail = stage.call(codex, "mesh_inbox", args! { ack: true }).await?;
    mail.done(&["from claude, ack", "> All yours."]).map(drop)
}

async fn leave(stage: &mut Stage, mut claude: Agent, mut codex: Agent) -> Result<(), CliError> {
    stage.act("Both leave, and their locks with them.").await?;
    stage.call(&mut codex, "mesh_checkout", args! {}).await?.done(&["codex left; 1 lock freed"])?;
    stage.see("codex leaving", |event| left(event, "codex", LeaveCause::Left)).await?;
    stage.call(&mut claude, "mesh_checkout", args! {}).await?.done(&["claude left"])?;
    stage.see("claude leaving", |event| left(event, "claude", LeaveCause::Left)).await?;
    codex.close().await?;
    claude.close().await
}

fn joined(event: &Kind, name: &str) -> bool {
    matches!(event, Kind::PeerJoined(it) if it.peer.as_ref().is_some_and(|peer| peer.name == name))
}

fn left(event: &Kind, name: &str, cause: LeaveCause) -> bool {
    matches!(event, Kind::PeerLeft(it) if it.name == name && it.cause() == cause)
}

fn sent(event: &Kind, from: &str) -> bool {
    matches!(event, Kind::MessageSent(it) if it.from == from)
}

fn locked_by(event: &Kind, name: &str) -> bool {
    matches!(event, Kind::FileLocked(it) if it.locks.iter().any(|lock| lock.holder == name && lock.path == FILE))
}

/// The number after `token` in the answer to a lock.
fn token(text: &str) -> Result<u64, CliError> {
    first_number(text.split("(token ").nth(1).unwrap_or_default())
}

fn first_number(text: &str) -> Result<u64, CliError> {
    let digits = &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())];
    digits
        .parse()
        .map_err(|_| CliError::failure(format_args!("there is no number where one should be: {text}")))
}
