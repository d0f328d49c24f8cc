//! `meshctl touch`: tells which files were read or edited.

use std::path::PathBuf;

use mesh_client::proto::{Touch, TouchFilesRequest, TouchKind};
use mesh_client::worktree::WorktreeInfo;
use serde::Serialize;

use crate::context::{Context, current_dir};
use crate::error::CliError;
use crate::identity;
use crate::json;
use crate::render::some_paths;
use crate::target;

/// Tell others that you edited files, or read them
///
/// Agents do so by themselves. Whoever asks about one of these files sees it for a day, with your branch.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl touch src/auth.rs
  git diff --name-only | xargs meshctl touch")]
pub(crate) struct Args {
    /// The files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// You only read them
    #[arg(long)]
    read: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    paths: &'a [String],
    kind: String,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let paths = target::paths(ctx, &args.paths)?;
    if let Some(directory) = paths.iter().find(|path| path.ends_with('/')) {
        return Err(CliError::usage(format_args!("{directory} is a directory")).hint("name the files"));
    }
    let kind = if args.read { TouchKind::Read } else { TouchKind::Edit };
    let request = TouchFilesRequest {
        touches: paths.iter().map(|path| Touch { path: path.clone(), kind: kind.into() }).collect(),
        branch: branch()?,
        request_id: String::new(),
        ..TouchFilesRequest::default()
    };
    let answer = identity::act(ctx).await?.touch_files(request).await?;
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        let kind = json::word(kind.as_str_name(), "TOUCH_KIND_");
        return ctx.out.json(&Answer { revision, paths: &paths, kind });
    }
    let verb = if args.read { "read" } else { "edited" };
    ctx.out.text(&format!("others see that you {verb} {}\n", some_paths(paths.iter().map(String::as_str))))
}

/// The branch one is on now, which need not be that of joining.
fn branch() -> Result<String, CliError> {
    let worktree = WorktreeInfo::read(&current_dir()?).ok().flatten();
    Ok(worktree.and_then(|worktree| worktree.branch).unwrap_or_default())
}
