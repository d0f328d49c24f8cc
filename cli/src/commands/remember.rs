//! `meshctl remember`: writes an entry.

use std::path::PathBuf;
use std::time::Duration;

use mesh_client::display::printable_line;
use mesh_client::proto::precondition::Condition;
use mesh_client::proto::{Fence, Precondition, PutRequest};
use serde::Serialize;

use super::text_or_stdin;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity;
use crate::json;
use crate::target;

/// Write down something for everybody in the project to recall
///
/// Nobody's work is lost by it: what another peer wrote last is overwritten only if you have recalled it as it is.
/// Else nothing is written, both texts are shown, and the exit code is 4; merge them and run it again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl remember build 'cargo xtask test' --tag howto
  meshctl remember decisions/auth --path src/auth/ - < auth.md
  meshctl remember release 'frozen' --if-absent --ttl 2h
  meshctl remember deployed v42 --fence prod:db=\"$MESH_LOCK_TOKEN\"")]
pub(crate) struct Args {
    /// The key; `/` is the usual separator
    key: String,

    /// The value; `-` reads it from stdin
    value: String,

    /// A file, directory, pattern, symbol or subject that it is about; may be given several times
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// A label; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Without the paths and labels that it has; else those stay for which none are given
    #[arg(long)]
    drop_labels: bool,

    /// Forget it after this time
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    ttl: Option<Duration>,

    /// Only if the entry is still at this version
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["if_absent", "overwrite"])]
    if_version: Option<u64>,

    /// Only if there is no such entry
    #[arg(long, conflicts_with = "overwrite")]
    if_absent: bool,

    /// Whatever is there, read or not
    #[arg(long)]
    overwrite: bool,

    #[command(flatten)]
    fence: FenceArgs,

    /// For all projects of the mesh
    #[arg(long)]
    global: bool,
}

/// A lock that protects a change.
#[derive(Debug, clap::Args)]
pub(super) struct FenceArgs {
    /// Only while a lock on PATH has this fencing token
    #[arg(long, value_name = "PATH=TOKEN")]
    fence: Option<PathToken>,
}

#[derive(Clone, Debug)]
struct PathToken {
    path: PathBuf,
    token: u64,
}

impl std::str::FromStr for PathToken {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.rsplit_once('=').filter(|(path, _)| !path.is_empty());
        let parsed = parts.and_then(|(path, token)| Some((path, token.parse().ok()?)));
        let (path, token) = parsed.ok_or("write the path and the token, such as src/auth.rs=4711")?;
        Ok(Self { path: path.into(), token })
    }
}

impl FenceArgs {
    /// As the contract has it.
    pub(super) fn fence(&self, ctx: &Context) -> Result<Option<Fence>, CliError> {
        let fence = |given: &PathToken| {
            Ok(Fence { path: target::one(ctx, &given.path)?, fencing_token: given.token })
        };
        self.fence.as_ref().map(fence).transpose()
    }
}

/// What must hold for a change: a version, or nothing at all; by default that nobody's work is lost.
pub(super) fn precondition(if_version: Option<u64>, overwrite: bool) -> Option<Precondition> {
    let version = if_version.map(Condition::Version);
    let condition = version.or_else(|| overwrite.then_some(Condition::Overwrite(true)));
    condition.map(|condition| Precondition { condition: Some(condition) })
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    entry: json::Entry<'a>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    let absent = Precondition { condition: Some(Condition::MustNotExist(true)) };
    let request = PutRequest {
        scope: if args.global { "global".to_owned() } else { String::new() },
        key: args.key,
        value: text_or_stdin(args.value)?,
        precondition: match args.if_absent {
            true => Some(absent),
            false => precondition(args.if_version, args.overwrite),
        },
        ttl: args.ttl.and_then(duration::to_proto),
        paths: target::paths(ctx, &args.paths)?,
        tags: args.tags,
        request_id: String::new(),
        fence: args.fence.fence(ctx)?,
        keep_labels: !args.drop_labels,
    };
    let session = identity::act(ctx).await?;
    let put = session.put(request.clone()).await;
    let answer = put.map_err(|error| CliError::from(error).with_yours(&request.value))?;
    let entry = answer.entry.unwrap_or_default();
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        return ctx.out.json(&Answer { revision, entry: json::Entry::from(&entry).without_value() });
    }
    ctx.out.text(&format!("remembered {} v{}\n", printable_line(&entry.key), entry.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_a_path_and_a_token() {
        let parsed: PathToken = "a=b/c.rs=4711".parse().unwrap();
        assert_eq!((parsed.path, parsed.token), (PathBuf::from("a=b/c.rs"), 4711));
        for text in ["", "4711", "=4711", "src/a.rs=", "src/a.rs=x", "src/a.rs=-1"] {
            assert!(text.parse::<PathToken>().is_err(), "{text}");
        }
    }
}
