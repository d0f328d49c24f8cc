//! `meshctl policy`: how writes to keys treat each other.

use mesh_client::display::printable_line;
use mesh_client::proto::{ListPoliciesRequest, Policy, PolicyKind, SetPolicyRequest};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity::{self, read};
use crate::json;
use crate::render::policy;
use crate::render::table::{Cell, table};

/// Show or set what happens when two write the same key
///
/// A policy is for all keys that begin with a prefix; the longest one that fits decides. Without a prefix, shows all;
/// with one, those that matter to such keys.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl policy
  meshctl policy status/ last-write-wins
  meshctl policy log/ append
  meshctl policy log/ none")]
pub(crate) struct Args {
    /// How the keys begin; '' means all
    prefix: Option<String>,

    /// The policy
    kind: Option<Kind>,

    /// For what is remembered for all projects
    #[arg(long)]
    global: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// What another peer wrote is not overwritten unread; so it is where nothing is set
    RequireVersion,
    /// The last write wins: for status boards
    LastWriteWins,
    /// What is written is a JSON merge patch; only changes of the same field are a conflict
    MergePatch,
    /// What is written is added, on a line of its own
    Append,
    /// Remove the policy
    None,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: u64,
    policies: Vec<json::Policy<'a>>,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    match (args.prefix, args.kind) {
        (Some(prefix), Some(kind)) => set(ctx, prefix, kind.into(), args.global).await,
        (prefix, _) => list(ctx, prefix.as_deref(), args.global).await,
    }
}

async fn set(ctx: &Context, prefix: String, kind: PolicyKind, global: bool) -> Result<(), CliError> {
    let request = SetPolicyRequest {
        scope: if global { "global".to_owned() } else { String::new() },
        prefix: prefix.clone(),
        kind: kind.into(),
        request_id: String::new(),
    };
    let answer = identity::act(ctx).await?.set_policy(request).await?;
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        let policy = Policy { prefix, kind: kind.into() };
        return ctx.out.json(&Answer { revision, policies: vec![json::Policy::from(&policy)] });
    }
    ctx.out.text(&format!("policy of {}: {}\n", keys(&prefix), policy(kind)))
}

async fn list(ctx: &Context, prefix: Option<&str>, global: bool) -> Result<(), CliError> {
    let scope = if global { "global".to_owned() } else { ctx.scope()? };
    let reader = identity::reader(ctx).await?;
    let mut answer = read!(reader, state.list_policies(ListPoliciesRequest { scope }))?;
    if let Some(prefix) = prefix {
        answer.policies.retain(|policy| matters(&policy.prefix, prefix));
    }
    if ctx.out.is_json() {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        let policies = answer.policies.iter().map(json::Policy::from).collect();
        return ctx.out.json(&Answer { revision, policies });
    }
    if answer.policies.is_empty() {
        return ctx.out.text("no policy is set: nobody overwrites what another peer wrote, unread\n");
    }
    let row = |set: &Policy| vec![Cell::plain(keys(&set.prefix)), Cell::plain(policy(set.kind()))];
    let rows: Vec<_> = answer.policies.iter().map(row).collect();
    ctx.out.text(&table(ctx.out.paint(), &["KEYS", "POLICY"], &rows))
}

/// Whether a policy may decide about a key that begins so.
fn matters(policy: &str, prefix: &str) -> bool {
    policy.starts_with(prefix) || prefix.starts_with(policy)
}

fn keys(prefix: &str) -> String {
    if prefix.is_empty() { "all keys".to_owned() } else { format!("{}…", printable_line(prefix)) }
}

impl From<Kind> for PolicyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::RequireVersion => Self::RequireVersion,
            Kind::LastWriteWins => Self::LastWriteWins,
            Kind::MergePatch => Self::MergePatch,
            Kind::Append => Self::Append,
            Kind::None => Self::Unspecified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_above_and_below_a_prefix_matter_to_it() {
        for (policy, prefix, matter) in [
            ("", "a/", true),
            ("a/", "a/b", true),
            ("a/b/", "a/", true),
            ("a/", "", true),
            ("a/", "b/", false),
        ] {
            assert_eq!(matters(policy, prefix), matter, "{policy:?} {prefix:?}");
        }
    }
}
