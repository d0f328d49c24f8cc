//! `meshctl doctor`: whether all that is between an agent and the mesh works.

use std::path::Path;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use mesh_client::display::printable_line;
use mesh_client::proto::{DeleteRequest, GetRequest, GetStatusRequest, PeerInfo, PutRequest};
use mesh_client::{JoinOptions, Session};
use mesh_install::doctor::{self, Check, Probing};
use mesh_install::{Host, Places, Scope};
use serde::Serialize;

use super::install::places;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Paint;

/// Check that agents and the mesh work together
///
/// Tries each step for real: writes to the broker and reads it back, starts the server that an agent starts, fires its
/// hooks with a made-up session, and asks the agent itself where it can be asked. For each failure there is one thing to
/// do. Without HOST: all agents that are found or registered. Ends with 1 if something is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  meshctl doctor
  meshctl doctor claude-code --json | jq '.checks[] | select(.ok == false)'")]
pub(crate) struct Args {
    /// Agents to check [default: all that are found or registered]
    #[arg(value_name = "HOST")]
    hosts: Vec<Host>,
}

/// How long a host would wait as well.
const PATIENCE: Duration = Duration::from_secs(10);
/// A scope of nobody's project.
const SCOPE: &str = "meshctl-doctor";
/// How long what is written for the check lives, should its removal fail.
const TTL: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    checks: &'a [Check],
}

pub(crate) async fn run(ctx: &Context, args: Args) -> Result<u8, CliError> {
    let places = places(ctx, Scope::User)?;
    let mut checks = vec![program(&places), broker(ctx).await];
    let probing = probing(ctx)?;
    let asked = !args.hosts.is_empty();
    let home = ctx.mesh().home()?.path().to_owned();
    let hosts = if asked { args.hosts } else { present(&places, &home) };
    for host in hosts {
        let (places, probing, home) = (places.clone(), probing.clone(), home.clone());
        let checked =
            tokio::task::spawn_blocking(move || doctor::check(host, asked, &places, &home, &probing)).await;
        checks.extend(checked.map_err(CliError::failure)?);
    }
    let ok = checks.iter().all(|check| check.ok != Some(false));
    if ctx.out.is_json() {
        ctx.out.json(&Answer { ok, checks: &checks })?;
    } else {
        ctx.out.text(&told(ctx.out.paint(), &checks))?;
    }
    Ok(if ok { Exit::Ok } else { Exit::Failure }.code())
}

/// The hosts that are on this machine, or that were and still name the mesh.
fn present(places: &Places, home: &Path) -> Vec<Host> {
    let named = |host: Host| !doctor::registered(host, places, home).files.is_empty();
    Host::ALL.into_iter().filter(|host| host.detect(places).is_some() || named(*host)).collect()
}

/// What is started for a check belongs to the same mesh.
fn probing(ctx: &Context) -> Result<Probing, CliError> {
    let home = ctx.mesh().home()?.path().as_os_str().to_owned();
    Ok(Probing { variables: vec![("MESH_HOME", home)], patience: PATIENCE })
}

/// The program that a project's files and people call.
fn program(places: &Places) -> Check {
    const WHAT: &str = "meshctl";
    let own = env!("CARGO_PKG_VERSION");
    let Some(path) = places.program(WHAT) else {
        let this = std::env::current_exe().unwrap_or_default();
        let directory = this.parent().map(|parent| parent.display().to_string()).unwrap_or_default();
        return Check::bad(None, WHAT, "not on the PATH", format!("add {directory} to your PATH"));
    };
    let output = std::process::Command::new(&path).arg("--version").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let shown = places.show(&path);
    match version {
        Ok(version) if version == format!("{WHAT} {own}") => {
            Check::good(None, WHAT, format!("{shown}, version {own}"))
        }
        Ok(version) => {
            let found = format!("{shown} is {version:?}; this is {own}");
            Check::bad(None, WHAT, found, "put the one that you want first on your PATH")
        }
        Err(error) => Check::bad(None, WHAT, format!("{shown} cannot be run: {error}"), "install it again"),
    }
}

/// Joins, writes, reads, and leaves.
async fn broker(ctx: &Context) -> Check {
    const WHAT: &str = "broker";
    let began = Instant::now();
    match exercise(ctx).await {
        Ok(version) => {
            let took = began.elapsed().as_millis();
            let found = format!("version {version}: written to and read from in {took} ms");
            if version == env!("CARGO_PKG_VERSION") {
                return Check::good(None, WHAT, found);
            }
            let fix = "`meshctl restart`; nothing is lost".to_owned();
            Check::open(None, WHAT, format!("{found}; this is {}", env!("CARGO_PKG_VERSION")), Some(fix))
        }
        Err(error) => {
            let fix = error.hint.unwrap_or_else(|| "`meshctl status` tells more".to_owned());
            Check::bad(None, WHAT, error.message, fix)
        }
    }
}

async fn exercise(ctx: &Context) -> Result<String, CliError> {
    let client = ctx.client()?;
    let status = client.call(|c| async move { c.admin().get_status(GetStatusRequest {}).await }).await?;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let info = PeerInfo { agent_kind: "doctor".to_owned(), pid: std::process::id(), ..PeerInfo::default() };
    let scope = SCOPE.to_owned();
    let session = Session::join(&client, JoinOptions { scope, info, ..JoinOptions::default() }).await?;
    let read = round_trip(&session, &id).await;
    session.leave().await?;
    if read? != id {
        return Err(CliError::failure("what was read is not what was written"));
    }
    Ok(status.version)
}

async fn round_trip(session: &Session, value: &str) -> Result<String, CliError> {
    let key = format!("doctor/{value}");
    let put = PutRequest {
        key: key.clone(),
        value: value.to_owned(),
        ttl: duration::to_proto(TTL),
        ..PutRequest::default()
    };
    session.put(put).await?;
    let get = GetRequest { key: key.clone(), ..GetRequest::default() };
    let got = session.get(get).await?;
    session.delete(DeleteRequest { key, ..DeleteRequest::default() }).await?;
    Ok(got.entry.unwrap_or_default().value)
}

/// One line per check, and one below for what to do.
fn told(paint: Paint, checks: &[Check]) -> String {
    const GREEN: Style = AnsiColor::Green.on_default();
    const RED: Style = AnsiColor::Red.on_default();
    let mut text = String::new();
    let mut last = None;
    for check in checks {
        if check.host != last {
            last = check.host;
            text += &format!("\n{}\n", paint.bold(check.host.map_or("", Host::name)));
        }
        let mark = match check.ok {
            Some(true) => paint.style(GREEN, "✓"),
            Some(false) => paint.style(RED, "✗"),
            None => paint.dim("·"),
        };
        text += &format!("  {mark} {:<15} {}\n", check.what, printable_line(&check.found));
        if let Some(fix) = &check.fix {
            text += &format!("    {} {}\n", paint.dim("fix:"), printable_line(fix));
        }
    }
    text
}
