//! `meshctl about`: all that the mesh knows about a path.

use std::path::PathBuf;

use mesh_client::display::{printable, printable_line};
use mesh_client::proto::{DescribePathRequest, DescribePathResponse, Entry, FileActivity, Intent, LockMode};

use super::{locks, who};
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::{self, read};
use crate::json;
use crate::output::Paint;
use crate::render::letter::letters;
use crate::render::table::{Cell, table};
use crate::render::{entry_line, lock_left, quoted};
use crate::target;
use crate::time::Clock;

/// Show all that is known about a file
///
/// Who holds it and who waits for it, who changes what it depends on, what is remembered about it, who read or edited
/// it lately and on which branch, who works on it, and which messages mention it; all as of one moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl about src/auth.rs
  meshctl about src/billing/ --limit 5
  meshctl about api:billing --json | jq .intents")]
pub(crate) struct Args {
    /// A file; a directory, pattern, symbol or subject as well
    path: PathBuf,

    /// Show at most so many of each kind
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let path = target::one(ctx, &args.path)?;
    let request =
        DescribePathRequest { scope: ctx.scope()?, path, limit: args.limit, peek: !ctx.out.is_json() };
    let reader = identity::reader(ctx).await?;
    let about = read!(reader, paths.describe_path(request))?;
    if ctx.out.is_json() {
        return ctx.out.json(&json::About::from(&about));
    }
    ctx.out.text(&view(ctx.out.paint(), &Clock::local(), &about))
}

/// One section per kind of which there is something.
fn view(paint: Paint, clock: &Clock, about: &DescribePathResponse) -> String {
    let sections = [
        ("locks", "Locked", locks::locks_table(paint, &about.locks, false)),
        ("waiters", "Waiting", locks::waiters_table(paint, clock, &about.waiters, false)),
        (
            "release_requests",
            "Asked to make way",
            locks::requests_table(paint, clock, &about.release_requests, false),
        ),
        ("intents", "Intents", about.intents.iter().map(|intent| intent_lines(paint, intent)).collect()),
        (
            "entries",
            "Remembered",
            about.entries.iter().map(|entry| entry_lines(paint, clock, entry)).collect(),
        ),
        ("activity", "Read and edited", activity_table(paint, clock, &about.activity)),
        ("peers", "Working on it", who::peers_table(paint, clock, &about.peers, false)),
        ("messages", "Said about it", letters(paint, clock, &about.messages)),
    ];
    let mut text = String::new();
    for (field, title, section) in sections.iter().filter(|(_, _, section)| !section.is_empty()) {
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}{}\n{}\n", paint.bold(title), section.trim_end_matches('\n')));
        if about.more.iter().any(|more| more == field) {
            text.push_str(&format!("{}\n", paint.dim("there are more; see --limit")));
        }
    }
    if text.is_empty() { format!("nothing is known about {}\n", printable_line(&about.path)) } else { text }
}

fn intent_lines(paint: Paint, intent: &Intent) -> String {
    let mut text = String::new();
    if let Some(lock) = &intent.lock {
        let does = match lock.mode() {
            LockMode::Shared => "depends on",
            LockMode::Unspecified | LockMode::Exclusive => "changes",
        };
        let (holder, subject) = (printable_line(&lock.holder), printable_line(&lock.path));
        let left = paint.dim(&format!("for {}", duration::show(lock_left(lock))));
        let reason = match lock.reason.as_str() {
            "" => String::new(),
            reason => format!("  {}", quoted(reason)),
        };
        text.push_str(&format!("{holder} {does} {subject}{reason}  {left}\n"));
    }
    if let Some(contract) = &intent.contract {
        text.push_str(&indented(&contract.value));
    }
    text
}

fn entry_lines(paint: Paint, clock: &Clock, entry: &Entry) -> String {
    format!("{}\n{}", paint.dim(&entry_line(clock, entry)), indented(&entry.value))
}

/// Indented, so that no text of somebody can pass for a line about it.
fn indented(value: &str) -> String {
    printable(value).lines().map(|line| format!("  {line}\n")).collect()
}

fn activity_table(paint: Paint, clock: &Clock, activity: &[FileActivity]) -> String {
    let since = |time: Option<&prost_types::Timestamp>| match clock.since(time) {
        Some(ago) => format!("{} ago", duration::show(ago)),
        None => String::new(),
    };
    let row = |activity: &FileActivity| {
        vec![
            Cell::plain(printable_line(&activity.path)),
            Cell::name(&activity.peer),
            Cell::plain(printable_line(&activity.branch)),
            Cell::plain(since(activity.edit_time.as_ref())),
            Cell::dim(since(activity.read_time.as_ref())),
        ]
    };
    let rows: Vec<_> = activity.iter().map(row).collect();
    table(paint, &["PATH", "WHO", "BRANCH", "EDITED", "READ"], &rows)
}

#[cfg(test)]
mod tests {
    use mesh_client::proto::{Lock, Message};

    use super::*;

    #[test]
    fn only_what_there_is_has_a_section() {
        let ago = |seconds: i64| Some(prost_types::Timestamp { seconds: 1_000_000 - seconds, nanos: 0 });
        let lock = Lock {
            path: "api:billing".to_owned(),
            holder: "amber-fox".to_owned(),
            reason: "new signature".to_owned(),
            remaining: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            ..Lock::default()
        };
        let entry = |key: &str, value: &str| Entry {
            key: key.to_owned(),
            value: value.to_owned(),
            version: 2,
            writer: "blue-owl".to_owned(),
            write_time: ago(90),
            paths: vec!["src/billing/".to_owned()],
            tags: vec!["decision".to_owned()],
            ..Entry::default()
        };
        let about = DescribePathResponse {
            path: "src/billing/api.rs".to_owned(),
            intents: vec![Intent {
                lock: Some(lock),
                contract: Some(entry("contract/api:billing", "charge(amount)\nLocked\n\u{1b}[2J")),
            }],
            entries: vec![entry("decisions/money", "integers, in cents")],
            activity: vec![FileActivity {
                path: "src/billing/api.rs".to_owned(),
                peer: "blue-owl".to_owned(),
                branch: "fix/rounding".to_owned(),
                edit_time: ago(40),
                ..FileActivity::default()
            }],
            messages: vec![Message {
                message_id: "01".to_owned(),
                from: "blue-owl".to_owned(),
                broadcast: true,
                body: "I round up".to_owned(),
                send_time: ago(30),
                ..Message::default()
            }],
            more: vec!["entries".to_owned()],
            ..DescribePathResponse::default()
        };
        let clock = Clock::at(jiff::Timestamp::new(1_000_000, 0).unwrap());
        insta::assert_snapshot!(view(Paint::plain(), &clock, &about), @r#"
        Intents
        amber-fox changes api:billing  "new signature"  for 10m
          charge(amount)
          Locked
          ␛[2J

        Remembered
        decisions/money  v2 by blue-owl 1m 30s ago  src/billing/  #decision
          integers, in cents
        there are more; see --limit

        Read and edited
        PATH                WHO       BRANCH        EDITED   READ
        src/billing/api.rs  blue-owl  fix/rounding  40s ago

        Said about it
        1970-01-12 13:46:10  blue-owl → everyone  id 01
          I round up
        "#);
        let nothing = DescribePathResponse { path: "src/\u{1b}x".to_owned(), ..Default::default() };
        assert_eq!(view(Paint::plain(), &clock, &nothing), "nothing is known about src/␛x\n");
    }
}
