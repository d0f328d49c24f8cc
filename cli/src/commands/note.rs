//! `meshctl note`: something for all to take account of.

use std::path::PathBuf;

use mesh_client::proto::SendRequest;

use super::{send, text_or_stdin};
use crate::context::Context;
use crate::error::CliError;
use crate::identity;
use crate::target;

/// The topic that every peer follows.
pub(super) const NOTES: &str = "#notes";

/// Note something that all others should take account of
///
/// A message to #notes, which every peer follows.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl note 'added a nav item, please account for it' --path src/nav.rs")]
pub(crate) struct Args {
    /// The text; `-` reads it from stdin
    text: String,

    /// A file, directory, pattern, symbol or subject that it is about; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let request = SendRequest {
        topic: NOTES.to_owned(),
        body: text_or_stdin(args.text)?,
        paths: target::paths(ctx, &args.paths)?,
        ..SendRequest::default()
    };
    let session = identity::act(ctx).await?;
    send::send(ctx, &session, request).await
}
