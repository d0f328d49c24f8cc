//! `meshctl restore`: a backup in the place of the store.

use std::path::PathBuf;

use mesh_broker::maintenance::{self, Former};
use serde::Serialize;

use super::backup::{failure, place};
use crate::context::Context;
use crate::error::CliError;
use crate::output;

/// Bring back everything that is in a backup
///
/// Only while no broker runs (`meshctl stop`). The backup is read wholly before anything is changed. What was written
/// after it is not in it, so what the mesh keeps is a history of its own from here on: agents join again by
/// themselves, and whoever follows events is told to start anew.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl stop && meshctl restore mesh.backup
  meshctl restore --force mesh.backup     # the store that is there is kept aside")]
pub(crate) struct Args {
    /// The backup
    file: PathBuf,

    /// Move a store that is there aside
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Answer {
    records: u64,
    revision: u64,
    incarnation: String,
    former: Option<String>,
}

pub(crate) fn run(ctx: &Context, args: &Args) -> Result<(), CliError> {
    let home = ctx.mesh().home()?;
    home.create().map_err(CliError::failure)?;
    let former = if args.force { Former::MoveAside } else { Former::Refuse };
    let restored = maintenance::restore(&place(ctx)?, &args.file, former).map_err(|error| failure(&error))?;
    let (records, revision) = (restored.summary.records, restored.summary.revision);
    let former = restored.former.map(|path| path.display().to_string());
    for contradiction in restored.contradictions {
        output::note(format_args!("warning: {contradiction}"));
    }
    if ctx.out.is_json() {
        let incarnation = restored.incarnation.to_string();
        return ctx.out.json(&Answer { records, revision, incarnation, former });
    }
    if let Some(former) = former {
        output::note(format_args!("hint: the former store is in {former}; remove it when nothing is missed"));
    }
    ctx.out.text(&format!("restored {records} records, up to revision {revision}\n"))
}
