//! `meshctl demo`: the mesh at work, in front of one's eyes.
//!
//! Two agents' MCP adapters in two worktrees of a temporary repository, a broker of their own, and the live tail
//! between their calls. Modules: `cast` (what takes part, and its end), `checkout` (the repository), `agent` (one
//! adapter, driven over MCP), `stage` (what is shown), `acts` (the script).
//!
//! What must hold: nothing that is shown is made up, and every step checks what really came of it, so that this is
//! a test of the whole as well; whatever happens, nothing is left behind and nobody's own mesh is touched.

mod acts;
mod agent;
mod cast;
mod checkout;
mod fold;
mod stage;

use std::time::Instant;

use serde::Serialize;

use self::cast::Cast;
use self::stage::{Pace, Stage};
use crate::context::Context;
use crate::error::CliError;
use crate::signals::Signals;

/// See two agents work through a mesh of their own
///
/// Starts a broker and two agents' adapters in a temporary directory with a git repository, lets them meet, talk,
/// remember, collide on a lock and make way, kills what should survive that, and shows the live tail meanwhile. Ends
/// with 0 if everything went as it should; with --json tells only that. Leaves nothing behind; needs git.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl demo
  meshctl demo --fast")]
pub(crate) struct Args {
    /// Without pauses to read in
    #[arg(long)]
    fast: bool,
}

/// What is told to programs, which need no story.
#[derive(Serialize)]
struct Summary {
    acts: usize,
    events: usize,
    seconds: f32,
}

/// What to do once one has seen it.
const NEXT: [(&str, &str); 3] = [
    ("cargo install --path cli", "meshctl, the one binary"),
    ("claude mcp add -s user mesh -- meshctl mcp", "or: codex mcp add mesh -- …"),
    ("meshctl watch", "all of this, in your project"),
];

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let mut signals = Signals::ending()?;
    let began = Instant::now();
    let cast = Cast::new()?;
    let mut stage = Stage::new(ctx.out, if args.fast { Pace::Fast } else { Pace::Readable });
    let played = tokio::select! {
        biased;
        _ = signals.next() => Err(interrupted()),
        played = acts::play(&mut stage, &cast) => played,
    };
    let interrupted = played.as_ref().is_err_and(|error| error.reason == INTERRUPTED);
    let played = played.map_err(|error| if interrupted { error } else { stage.blame(error) });
    // The tail would start the broker again.
    let (acts, events) = stage.close();
    let ended = cast.end(interrupted).await;
    played?;
    ended?;
    let seconds = began.elapsed().as_secs_f32();
    if ctx.out.is_json() {
        return ctx.out.json(&Summary { acts, events, seconds });
    }
    let paint = ctx.out.paint();
    let mut text = format!(
        "\n{} {acts} acts and {events} events in {seconds:.1} s, nothing left behind.\n\n",
        paint.bold("Done:")
    );
    for (command, what) in NEXT {
        text.push_str(&format!("  {command:<44}{}\n", paint.dim(&format!("# {what}"))));
    }
    ctx.out.text(&text)
}

/// The reason of [`interrupted`].
const INTERRUPTED: &str = "INTERRUPTED";

fn interrupted() -> CliError {
    CliError::new(crate::exit::Exit::Failure, INTERRUPTED, "interrupted; everything is stopped and removed")
}
