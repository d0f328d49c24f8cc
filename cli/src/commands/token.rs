//! `meshctl token`: who else is let in over TCP.

use std::time::{Duration, SystemTime};

use mesh_client::display::printable_line;
use mesh_client::proto::{AccessToken, CreateTokenRequest, ListTokensRequest, RevokeTokenRequest, Role};
use mesh_client::request_id;
use serde::Serialize;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::json;
use crate::render::role;
use crate::render::table::{Cell, table};
use crate::time::Clock;

/// Issue, list and revoke the tokens that let others in over TCP
///
/// A token gives whoever has it a role, some projects and some names. For admins: over the Unix socket you are one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl token create --note 'build machine' --scope 'github.com/acme/*' --expires 30d
  meshctl token list
  meshctl token revoke t-0a1b2c3d4e5f")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Issue a token; it is shown this once
///
/// It is good for all projects, or for those that --scope names: a slug, in which * stands for any characters; it may be
/// given several times.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl token create --note 'build machine' --scope 'github.com/acme/*' --peer 'ci-*' --expires 30d
  meshctl token create --role observer --json | jq -r .secret")]
struct CreateArgs {
    /// What it allows
    #[arg(long, value_name = "ROLE", default_value = "member")]
    role: RoleArg,

    /// Only these names of peers: a name, in which * stands for any characters
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    peer: String,

    /// How long it is good, such as 12h or 30d; for ever if not given
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    expires: Option<Duration>,

    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
}

/// Show the tokens that are not revoked
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl token list --json | jq -r '.tokens[] | select(.expired).id'")]
struct ListArgs {}

/// Take a token back, at once
///
/// What is going on under it ends, its peers leave, and its locks end after the usual delay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  meshctl token revoke t-0a1b2c3d4e5f")]
struct RevokeArgs {
    /// Its id, as `meshctl token list` shows it
    id: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleArg {
    /// Read and watch
    Observer,
    /// Join, and do what peers do
    Member,
    /// Also take locks away from others, and set policies
    Maintainer,
    /// Everything, in every project
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Observer => Self::Observer,
            RoleArg::Member => Self::Member,
            RoleArg::Maintainer => Self::Maintainer,
            RoleArg::Admin => Self::Admin,
        }
    }
}

#[derive(Serialize)]
struct Created<'a> {
    revision: u64,
    token: Option<json::AccessToken<'a>>,
    secret: &'a str,
}

#[derive(Serialize)]
struct Listed<'a> {
    revision: u64,
    tokens: Vec<json::AccessToken<'a>>,
}

#[derive(Serialize)]
struct Revoked<'a> {
    revision: u64,
    id: &'a str,
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<(), CliError> {
    match args.command {
        TokenCommand::Create(args) => create(ctx, args).await,
        TokenCommand::List(ListArgs {}) => list(ctx).await,
        TokenCommand::Revoke(args) => revoke(ctx, args.id).await,
    }
}

async fn create(ctx: &Context, args: CreateArgs) -> Result<(), CliError> {
    let ends = |left| SystemTime::now().checked_add(left).map(prost_types::Timestamp::from);
    let request = CreateTokenRequest {
        request_id: request_id(),
        note: args.note,
        role: Role::from(args.role).into(),
        scopes: ctx.given_scopes().into_iter().map(str::to_owned).collect(),
        peers: args.peer,
        expire_time: args.expires.and_then(ends),
    };
    let client = ctx.client()?;
    let call = |client: mesh_client::Client| {
        let request = request.clone();
        async move { client.tokens().create_token(request).await }
    };
    let answer = client.call(call).await?;
    let token = answer.token.unwrap_or_default();
    if answer.secret.is_empty() {
        let message = format!("the token {} was issued, but the answer that showed it was lost", token.id);
        return Err(CliError::failure(message)
            .hint(format!("`meshctl token revoke {}`, then create another", token.id)));
    }
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        return ctx.out.json(&Created { revision, token: Some((&token).into()), secret: &answer.secret });
    }
    let ends = match &token.expire_time {
        Some(_) => format!(" until {}", Clock::local().date_and_time(token.expire_time.as_ref())),
        None => String::new(),
    };
    let lines = format!(
        "token {}: {} in {}, as {}{ends}\n\n  {}\n\nIt is not shown again. Whoever is to use it sets:\n  \
         export MESH_TOKEN={}\n",
        printable_line(&token.id),
        role(token.role()),
        printable_line(&token.scopes.join(" ")),
        printable_line(&token.peers),
        answer.secret,
        answer.secret
    );
    ctx.out.text(&lines)
}

async fn list(ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client()?;
    let answer = client.call(|c| async move { c.tokens().list_tokens(ListTokensRequest {}).await }).await?;
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        let tokens = answer.tokens.iter().map(json::AccessToken::from).collect();
        return ctx.out.json(&Listed { revision, tokens });
    }
    if answer.tokens.is_empty() {
        return ctx.out.text("there are no tokens; `meshctl token create` issues one\n");
    }
    let clock = Clock::local();
    let rows: Vec<_> = answer.tokens.iter().map(|token| row(token, &clock)).collect();
    let heading = ["TOKEN", "ROLE", "PROJECTS", "NAMES", "ENDS", "LAST USED", "NOTE"];
    ctx.out.text(&table(ctx.out.paint(), &heading, &rows))
}

fn row(token: &AccessToken, clock: &Clock) -> Vec<Cell> {
    let ends = match (&token.expire_time, token.expired) {
        (None, _) => "never".to_owned(),
        (Some(_), true) => "expired".to_owned(),
        (Some(_), false) => clock.date_and_time(token.expire_time.as_ref()),
    };
    let used = match clock.since(token.last_used_time.as_ref()) {
        Some(ago) => format!("{} ago", duration::show(ago)),
        None => "-".to_owned(),
    };
    vec![
        Cell::plain(printable_line(&token.id)),
        Cell::plain(role(token.role())),
        Cell::plain(printable_line(&token.scopes.join(" "))),
        Cell::plain(printable_line(&token.peers)),
        Cell::plain(ends),
        Cell::plain(used),
        Cell::plain(printable_line(&token.note)),
    ]
}

async fn revoke(ctx: &Context, id: String) -> Result<(), CliError> {
    let request = RevokeTokenRequest { request_id: request_id(), id: id.clone() };
    let call = |client: mesh_client::Client| {
        let request = request.clone();
        async move { client.tokens().revoke_token(request).await }
    };
    let answer = ctx.client()?.call(call).await?;
    if ctx.out.is_json() {
        let revision = answer.header.map_or(0, |header| header.revision);
        return ctx.out.json(&Revoked { revision, id: &id });
    }
    ctx.out.text(&format!("revoked {}\n", printable_line(&id)))
}
