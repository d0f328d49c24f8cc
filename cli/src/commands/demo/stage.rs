//! What is shown: the narrator's line, the agents' calls with what came of them, and the live tail between them.
//!
//! Owns the tail, which is read whenever nothing else is to be shown, so that its lines stand where they belong.
//! What must hold: the tail shows every event, and misses none across the end of the broker.

use std::collections::VecDeque;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use mesh_client::proto::EventBatch;
use mesh_client::proto::event::Event as Kind;
use mesh_client::{Client, Watch, WatchItem, WatchOptions};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::agent::{Agent, Answer, Waiting};
use super::fold::fold;
use crate::error::CliError;
use crate::output::{Output, Paint, name_style};
use crate::render::event::{self, EventLines, WHAT_COLUMN};
use crate::time::Clock;

/// How long the tail may take to show what has happened, or to be back after the end of the broker.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Time to read. All of it together is about ten seconds.
const BETWEEN_ACTS: Duration = Duration::from_millis(200);
const AFTER_TITLE: Duration = Duration::from_millis(350);
const AFTER_ANSWER: Duration = Duration::from_millis(150);
const AFTER_REFUSAL: Duration = Duration::from_millis(500);
const AFTER_EVENT: Duration = Duration::from_millis(50);
/// How wide lines are where nothing says otherwise, and at most and least.
const WIDTH: usize = 80;
const WIDEST: usize = 110;
const NARROWEST: usize = 60;
/// What stands before the lines of the tail.
const TAIL: &str = "│ ";
/// Where the agents' words begin, below their names.
const SPEECH: usize = 11;

/// A space that lines are not folded at.
const NO_BREAK: char = '\u{a0}';

/// How fast it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// With time to read.
    Readable,
    /// As fast as it can.
    Fast,
}

/// An argument of a tool call, in the order in which it is shown.
pub(super) type Argument<'a> = (&'a str, Value);

/// The way out, and the tail.
#[derive(Debug)]
pub(super) struct Stage {
    out: Output,
    paint: Paint,
    width: usize,
    pace: Pace,
    lines: EventLines,
    watch: Option<Watch>,
    act: &'static str,
    acts: usize,
    events: usize,
    /// Of the last batch that the tail showed.
    sequence: u64,
    /// What the tail has shown, and nobody has looked for yet.
    shown: VecDeque<WatchItem>,
}

impl Stage {
    pub(super) fn new(out: Output, pace: Pace) -> Self {
        let paint = out.paint();
        let lines = EventLines::new(paint, Clock::local(), false, true);
        let width = out.width().unwrap_or(WIDTH).clamp(NARROWEST, WIDEST);
        Self {
            out,
            paint,
            width,
            pace,
            lines,
            watch: None,
            act: "",
            acts: 0,
            events: 0,
            sequence: 0,
            shown: VecDeque::new(),
        }
    }

    /// Ends the tail; how many acts there were, and how many events it showed.
    pub(super) fn close(self) -> (usize, usize) {
        (self.acts, self.events)
    }

    /// An error with the act that it belongs to.
    pub(super) fn blame(&self, error: CliError) -> CliError {
        match self.act {
            "" => error,
            act => CliError { message: format!("act {}, \"{act}\": {}", self.acts, error.message), ..error },
        }
    }

    /// Announces what is going to happen.
    pub(super) async fn act(&mut self, title: &'static str) -> Result<(), CliError> {
        self.pause(BETWEEN_ACTS).await?;
        self.acts += 1;
        self.act = title;
        let title = fold(&format!("{}. {title}", self.acts), self.width, 3);
        self.write(&format!("\n{}\n", self.paint.bold(&title)))?;
        self.pause(AFTER_TITLE).await
    }

    /// Tells what the demo itself does.
    pub(super) fn note(&self, text: &str) -> Result<(), CliError> {
        self.write(&format!("  {}\n", fold(text, self.width - 2, 4)))
    }

    /// Starts the tail, as `meshctl watch --all-scopes` does; returns when it is open.
    pub(super) async fn follow(&mut self, client: &Client) -> Result<(), CliError> {
        self.watch = Some(client.watch(WatchOptions::default()));
        self.until("itself", |item| matches!(item, WatchItem::Created)).await
    }

    /// A tool call with its answer.
    pub(super) async fn call(
        &mut self,
        agent: &mut Agent,
        tool: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<Answer, CliError> {
        let waiting = self.begin(agent, tool, arguments).await?;
        let answer = agent.answer(waiting).await?;
        self.answered("", &answer)?;
        self.pause(if answer.is_error { AFTER_REFUSAL } else { AFTER_ANSWER }).await?;
        Ok(answer)
    }

    /// Begins a tool call that will be answered later.
    pub(super) async fn begin(
        &mut self,
        agent: &mut Agent,
        tool: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<Waiting, CliError> {
        let said: Vec<_> =
            arguments.iter().map(|(name, value)| format!("{name}:{NO_BREAK}{}", plain(value))).collect();
        let text = format!("{tool} {}", said.join(", "));
        self.speak(agent.name, '▸', Style::new(), text.trim_end())?;
        let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        agent.call(tool, Value::Object(arguments)).await
    }

    /// The answer to a call begun earlier.
    pub(super) async fn finish(&mut self, agent: &mut Agent, waiting: Waiting) -> Result<Answer, CliError> {
        let answer = agent.answer(waiting).await?;
        self.answered(agent.name, &answer)?;
        Ok(answer)
    }

    /// Lets the tail run on until it shows an event, after the one last looked for.
    pub(super) async fn see(&mut self, what: &str, pick: impl Fn(&Kind) -> bool) -> Result<(), CliError> {
        let picked = |item: &WatchItem| {
            let WatchItem::Batch(batch) = item else { return false };
            batch.events.iter().filter_map(|event| event.event.as_ref()).any(&pick)
        };
        self.until(what, picked).await?;
        self.pause(AFTER_EVENT).await
    }

    /// Lets the tail run on until it is back after an interruption.
    pub(super) async fn see_resumed(&mut self) -> Result<(), CliError> {
        self.until("its own return", |item| matches!(item, WatchItem::Created)).await
    }

    /// Time for the audience to see that an agent waits.
    pub(super) async fn dwell(&mut self) -> Result<(), CliError> {
        self.pause(AFTER_REFUSAL).await
    }

    /// Time to read, in which the tail runs on.
    async fn pause(&mut self, time: Duration) -> Result<(), CliError> {
        if self.pace == Pace::Fast {
            return Ok(());
        }
        let end = Instant::now() + time;
        while let Ok(shown) = timeout_at(end, self.show()).await {
            shown?;
        }
        Ok(())
    }

    async fn until(&mut self, what: &str, pick: impl Fn(&WatchItem) -> bool) -> Result<(), CliError> {
        let shown = async {
            loop {
                match self.shown.pop_front() {
                    Some(item) if pick(&item) => return Ok(()),
                    Some(_) => {}
                    None => self.show().await?,
                }
            }
        };
        match timeout(SEEN_WITHIN, shown).await {
            Ok(shown) => shown,
            Err(_) => Err(CliError::failure(format_args!("the tail did not show {what}"))),
        }
    }

    /// Shows the next item of the tail. Safe to cancel.
    async fn show(&mut self) -> Result<(), CliError> {
        let ended = || CliError::failure("the tail has ended");
        let watch = self.watch.as_mut().ok_or_else(ended)?;
        let item = watch.next().await.ok_or_else(ended)??;
        match &item {
            WatchItem::Batch(batch) => self.happened(batch)?,
            WatchItem::Interrupted(why) => {
                self.tail(&self.paint.dim(&event::interrupted(why)), 0)?;
            }
            WatchItem::Created if self.sequence > 0 => {
                let revision = watch.cursor().revision;
                self.tail(&self.paint.dim(&event::resumed(revision)), 0)?;
            }
            WatchItem::Created
            | WatchItem::State(_)
            | WatchItem::StateEnd(_)
            | WatchItem::Progress(_)
            | _ => {}
        }
        self.shown.push_back(item);
        Ok(())
    }

    fn happened(&mut self, batch: &EventBatch) -> Result<(), CliError> {
        // All of it happens in one scope, so a gap would show.
        if self.sequence > 0 && batch.sequence != self.sequence + 1 {
            let gap = format!("sequence {} came after {}", batch.sequence, self.sequence);
            return Err(CliError::failure(format_args!("the tail has lost events: {gap}")));
        }
        self.sequence = batch.sequence;
        self.events += batch.events.len();
        let lines = self.lines.batch(batch);
        lines.lines().try_for_each(|line| self.tail(line, WHAT_COLUMN))
    }

    fn tail(&self, line: &str, indent: usize) -> Result<(), CliError> {
        let rail = self.paint.style(Style::new().fg_color(Some(AnsiColor::Green.into())), TAIL);
        let folded = fold(line, self.width - TAIL.chars().count(), indent);
        self.write(&folded.lines().map(|line| format!("{rail}{line}\n")).collect::<String>())
    }

    fn answered(&self, who: &str, answer: &Answer) -> Result<(), CliError> {
        let color = if answer.is_error { AnsiColor::Red } else { AnsiColor::Green };
        self.speak(who, '◂', Style::new().fg_color(Some(color.into())), &answer.text)
    }

    fn speak(&self, who: &str, sign: char, style: Style, text: &str) -> Result<(), CliError> {
        let sign = self.paint.style(style, &sign.to_string());
        let who = format!(
            "{}{}",
            " ".repeat((SPEECH - 3).saturating_sub(who.len())),
            self.paint.style(name_style(who), who)
        );
        let room = self.width - SPEECH;
        let folded: Vec<_> = text.lines().map(|line| fold(line, room, 2).replace(NO_BREAK, " ")).collect();
        let indented = folded.join("\n").replace('\n', &format!("\n{}", " ".repeat(SPEECH)));
        self.write(&format!("{who} {sign} {indented}\n"))
    }

    fn write(&self, text: &str) -> Result<(), CliError> {
        if self.out.is_json() { Ok(()) } else { self.out.text(text) }
    }
}

/// An argument as it is read best: without quotes where it is one word.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains([' ', '"']) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Object(_) | Value::Null => {
            value.to_string()
        }
    }
}
