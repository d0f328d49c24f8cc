//! `meshctl answer`: answers a request to make way.

use std::path::PathBuf;

use mesh_client::proto::{AnswerReleaseRequest, ReleaseAnswer};
use serde::Serialize;

use super::unlock;
use crate::context::Context;
use crate::error::CliError;
use crate::identity;
use crate::json;
use crate::target;

/// Answer somebody who asks you to make way
///
/// `meshctl locks` shows who asks, with the ids. The asker sees the answer at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl answer 4711 release
  meshctl answer 4711 keep --note 'ten more minutes'
  meshctl answer 4711 narrow --keep src/auth.rs")]
pub(crate) struct Args {
    /// Id of the request
    id: u64,

    /// The answer
    answer: Verdict,

    /// With narrow: go on holding this, which is part of it; may be given several times
    #[arg(long, num_args = 1.., value_name = "PATH", required_if_eq("answer", "narrow"))]
    keep: Vec<PathBuf>,

    /// A word to the asker
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Verdict {
    /// You keep the locks
    Keep,
    /// You release them
    Release,
    /// You hold something narrower instead
    Narrow,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: u64,
    answer: String,
    paths: &'a [String],
    kept: Vec<json::Lock<'a>>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    if !args.keep.is_empty() && args.answer != Verdict::Narrow {
        return Err(CliError::usage("--keep goes with the answer `narrow` only"));
    }
    let answer = ReleaseAnswer::from(args.answer);
    let request = AnswerReleaseRequest {
        id: args.id,
        answer: answer.into(),
        keep: target::paths(ctx, &args.keep)?,
        note: args.note.unwrap_or_default(),
        request_id: String::new(),
    };
    let session = identity::act(ctx).await?;
    let answered = session.answer_release(request).await?;
    if args.answer != Verdict::Keep {
        identity::relax(ctx, &session).await?;
    }
    if ctx.out.is_json() {
        return ctx.out.json(&Answer {
            id: args.id,
            answer: json::word(answer.as_str_name(), "RELEASE_ANSWER_"),
            paths: &answered.paths,
            kept: answered.kept.iter().map(json::Lock::from).collect(),
        });
    }
    match args.answer {
        Verdict::Keep => ctx.out.text("told them that you keep it\n"),
        Verdict::Release | Verdict::Narrow => ctx.out.text(&unlock::told(&answered.paths, &answered.kept)),
    }
}

impl From<Verdict> for ReleaseAnswer {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Keep => Self::Keep,
            Verdict::Release => Self::Release,
            Verdict::Narrow => Self::Narrow,
        }
    }
}
