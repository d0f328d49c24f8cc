//! `meshctl backup`: the whole store in one file.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use mesh_broker::maintenance::{self, Place};
use mesh_client::proto::BackupRequest;
use mesh_client::{Client, ClientError};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::render::bytes;

/// Write everything that the mesh keeps into one file
///
/// The file holds the store as it was at one revision. A running broker goes on meanwhile; without one the store is
/// read where it is. The file appears when it is whole, and only you may read it: it holds all that is remembered and
/// said, but no secret that would open a session. `meshctl fsck FILE` checks it, `meshctl restore FILE` brings it
/// back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl backup mesh-$(date +%F).backup
  meshctl backup - | ssh vault 'cat > mesh.backup'")]
pub(crate) struct Args {
    /// Where to write it; `-` for stdout
    file: PathBuf,
}

#[derive(Serialize)]
struct Answer {
    file: String,
    bytes: u64,
    records: u64,
    revision: u64,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    if args.file == Path::new("-") {
        return to_stdout(ctx).await;
    }
    let cannot = |error: &dyn std::fmt::Display| {
        CliError::failure(format_args!("cannot write {}: {error}", args.file.display()))
    };
    let dir = args.file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made aside, readable for its owner alone, and moved into place when it is whole.
    let mut aside = tempfile::NamedTempFile::new_in(dir).map_err(|error| cannot(&error))?;
    take(ctx, aside.as_file_mut()).await?;
    let (checked, summary) = maintenance::check_backup(aside.path()).map_err(|error| failure(&error))?;
    if let Some(damage) = checked.findings.damage.first() {
        return Err(
            CliError::failure(format_args!("the store is damaged: {damage}")).hint("see `meshctl fsck`")
        );
    }
    aside.as_file().sync_all().map_err(|error| cannot(&error))?;
    let size = aside.as_file().metadata().map_err(|error| cannot(&error))?.len();
    aside.persist(&args.file).map_err(|error| cannot(&error.error))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| cannot(&error))?;
    let (records, revision) = (summary.records, summary.revision);
    let file = args.file.display().to_string();
    if ctx.out.is_json() {
        return ctx.out.json(&Answer { file, bytes: size, records, revision });
    }
    let size = bytes(size);
    ctx.out.text(&format!("backed up {records} records, up to revision {revision}, to {file} ({size})\n"))
}

async fn to_stdout(ctx: &Context) -> Result<(), CliError> {
    let mut stdout = std::io::stdout();
    if stdout.is_terminal() {
        return Err(
            CliError::usage("a backup is not for a terminal").hint("name a file, or pipe it somewhere")
        );
    }
    take(ctx, &mut stdout).await?;
    output::note("the backup is whole if `meshctl fsck FILE` says so");
    Ok(())
}

/// From the broker that runs, else from the store.
async fn take(ctx: &Context, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    match online(&ctx.client_of_running()?, out).await {
        Err(Taken::Unreachable) => {
            let place = place(ctx)?;
            maintenance::back_up(&place, out).map(|_| ()).map_err(|error| failure(&error))
        }
        Err(Taken::Failed(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

enum Taken {
    Unreachable,
    Failed(CliError),
}

async fn online(client: &Client, out: &mut (dyn Write + Send)) -> Result<(), Taken> {
    let opened = client.call(|c| async move { c.admin().backup(BackupRequest {}).await }).await;
    let mut pieces = match opened {
        Ok(pieces) => pieces,
        Err(ClientError::Unreachable { .. }) => return Err(Taken::Unreachable),
        Err(error) => return Err(Taken::Failed(error.into())),
    };
    loop {
        let piece = pieces.message().await.map_err(|status| {
            let message = format!("the backup broke off: {}", status.message());
            Taken::Failed(CliError::failure(message).hint("try again"))
        })?;
        let Some(piece) = piece else { break };
        let written = out.write_all(&piece.data);
        written
            .map_err(|error| Taken::Failed(CliError::failure(format_args!("cannot write it: {error}"))))?;
    }
    out.flush().map_err(|error| Taken::Failed(CliError::failure(format_args!("cannot write it: {error}"))))
}

/// The files of the home.
pub(super) fn place(ctx: &Context) -> Result<Place, CliError> {
    let home = ctx.mesh().home()?;
    Ok(Place { store: home.store_path(), lock: home.broker_lock_path() })
}

/// With every cause.
pub(super) fn failure(error: &impl std::fmt::Display) -> CliError {
    CliError::failure(format_args!("{error:#}"))
}
