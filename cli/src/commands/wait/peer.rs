//! Until a peer is here or gone.

use mesh_client::display::printable_line;
use mesh_client::proto::PeerCondition;
use mesh_client::proto::wait_condition::Condition;

use super::{TimeoutArgs, show, until};
use crate::context::Context;
use crate::error::CliError;

/// Until a peer is here, or gone
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl wait peer amber-fox
  meshctl wait peer amber-fox --gone --timeout 1h")]
pub(super) struct Args {
    /// Its name; it need not be known yet
    name: String,

    /// Until it is gone
    #[arg(long)]
    gone: bool,

    #[command(flatten)]
    timeout: TimeoutArgs,
}

pub(super) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let shown = printable_line(&args.name).into_owned();
    let (so, not_so) = match args.gone {
        true => ("is gone", "did not leave"),
        false => ("is here", "did not come"),
    };
    let condition = Condition::Peer(PeerCondition { name: args.name, gone: args.gone });
    let not_so = format!("{shown} {not_so}");
    let answer = until(ctx, ctx.scope()?, condition, args.timeout.timeout, &not_so).await?;
    show(ctx, &answer, || ctx.out.text(&format!("{shown} {so}\n")))
}
