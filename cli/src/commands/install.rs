//! `meshctl install`: registers the mesh with the agents of this machine.

use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use mesh_client::display::printable;
use mesh_install::{Choice, Detected, Host, Installer, Outcome, Places, Program, Scope, Step, What};
use serde::Serialize;

use crate::context::{Context, current_dir};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Paint;

/// Register the mesh with the coding agents on this machine
///
/// Each gets the mesh's tools (an MCP server) and hooks: these announce its sessions, lock a file before it is edited,
/// report what was touched, and bring news and mail. Without HOST: all agents that are found. Files that exist are
/// changed without touching anything else in them; `meshctl uninstall` gives back what was there. Run it again after
/// an update.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Hosts: claude-code, codex, cursor, gemini, opencode, vscode, copilot, windsurf, goose, zed

Examples:
  meshctl install
  meshctl install claude-code codex --dry-run
  meshctl install vscode --project"
)]
pub(crate) struct Args {
    /// Agents to register with [default: all that are found]
    #[arg(value_name = "HOST")]
    hosts: Vec<Host>,

    #[command(flatten)]
    scope: ScopeArgs,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Register the tools only
    #[arg(long)]
    no_hooks: bool,

    /// What to register [default: this program's path, or `meshctl` in a project's files]
    #[arg(long, value_name = "PATH")]
    command: Option<PathBuf>,

    /// Claude Code: entries in its settings files rather than a plugin
    #[arg(long)]
    settings: bool,
}

/// For whom.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct ScopeArgs {
    /// In this project's files, for everybody who works on it, rather than in yours
    #[arg(long)]
    project: bool,
}

impl ScopeArgs {
    pub(super) fn scope(self) -> Scope {
        if self.project { Scope::Project } else { Scope::User }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    dry_run: bool,
    found: Vec<Found>,
    missing: Vec<Host>,
    hosts: &'a [Outcome],
}

#[derive(Serialize)]
struct Found {
    host: Host,
    by: Detected,
}

pub(crate) fn run(ctx: &Context, args: Args) -> Result<u8, CliError> {
    let scope = args.scope.scope();
    let places = places(ctx, scope)?;
    let program = program(args.command.as_deref(), scope, &places)?;
    let found: Vec<_> =
        Host::ALL.into_iter().filter_map(|host| Some(Found { host, by: host.detect(&places)? })).collect();
    let missing =
        Host::ALL.into_iter().filter(|host| !found.iter().any(|found| found.host == *host)).collect();
    let asked = !args.hosts.is_empty();
    let hosts = if asked { args.hosts } else { found.iter().map(|found| found.host).collect() };
    let choice = Choice { scope, hooks: !args.no_hooks, settings: args.settings };
    let installer = Installer::new(places.clone(), ctx.mesh().home()?.path(), program, args.dry_run);
    let elsewhere = if choice.hooks { variables_of_the_mesh() } else { vec![] };
    let install = |host| {
        let mut outcome = installer.install(host, choice);
        outcome.notes.extend(split(host, &elsewhere));
        outcome
    };
    let outcomes: Vec<_> = hosts.into_iter().map(install).collect();
    let answer = Answer { dry_run: args.dry_run, found, missing, hosts: &outcomes };
    if ctx.out.is_json() {
        ctx.out.json(&answer)?;
        return Ok(code(&outcomes));
    }
    let mut text = String::new();
    if !asked {
        text += &hunt(&answer);
    }
    text += &told(ctx.out.paint(), &places, &outcomes, args.dry_run);
    let refused = code(&outcomes);
    if !args.dry_run && refused == 0 && !outcomes.is_empty() {
        text += "\nmeshctl doctor tells whether it works.\n";
    }
    ctx.out.text(&text)?;
    Ok(refused)
}

/// The variables set here that lead to another mesh than the usual one.
fn variables_of_the_mesh() -> Vec<&'static str> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    ["MESH_HOME", "MESH_ENDPOINT", "MESH_SCOPE"].into_iter().filter(is_set).collect()
}

/// For hosts that hand the environment to hooks but not to MCP servers: both would be on different meshes.
fn split(host: Host, variables: &[&str]) -> Option<String> {
    let entry = if host == Host::Codex {
        "env = { … } of [mcp_servers.mesh]"
    } else {
        "\"env\": {…} of mcpServers.mesh"
    };
    let is_split = matches!(host, Host::Codex | Host::Gemini) && !variables.is_empty();
    is_split.then(|| {
        let names = variables.join(", ");
        format!("{names} set here reaches hooks and not the MCP server: repeat it in {entry}")
    })
}

/// Where the hosts' files are. For a project they are at the root of its checkout.
pub(super) fn places(ctx: &Context, scope: Scope) -> Result<Places, CliError> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| CliError::usage("HOME is not set").hint("set it"))?;
    let project = match scope {
        Scope::Project => ctx.root()?,
        Scope::User => ctx.root().or_else(|_| current_dir())?,
    };
    Ok(Places::new(Path::new(&home), &project, |name| std::env::var_os(name)))
}

/// What hosts are to call. A project's files must suit everybody, so they name no path.
pub(super) fn program(given: Option<&Path>, scope: Scope, places: &Places) -> Result<Program, CliError> {
    if let Some(given) = given {
        let is_name = given.components().count() == 1;
        let path =
            if is_name { given.to_owned() } else { std::path::absolute(given).map_err(CliError::usage)? };
        return command(&path);
    }
    if scope == Scope::Project {
        return Ok(Program::new("meshctl"));
    }
    let this = std::env::current_exe().map_err(CliError::failure)?;
    // A link on the search path outlives the version that it leads to.
    let linked =
        places.program("meshctl").filter(|path| path.canonicalize().ok() == this.canonicalize().ok());
    command(&linked.unwrap_or(this))
}

fn command(path: &Path) -> Result<Program, CliError> {
    let text = path.to_str().ok_or_else(|| CliError::usage("the path of the program is not UTF-8"))?;
    Ok(Program::new(text))
}

fn hunt(answer: &Answer<'_>) -> String {
    let names = |hosts: &mut dyn Iterator<Item = Host>| hosts.map(Host::name).collect::<Vec<_>>().join(", ");
    let found = names(&mut answer.found.iter().map(|found| found.host));
    let missing = names(&mut answer.missing.iter().copied());
    let found = if found.is_empty() { "nothing; name one, such as `meshctl install codex`" } else { &found };
    let missing = if missing.is_empty() { String::new() } else { format!("Not found: {missing}\n") };
    format!("Found: {found}\n{missing}")
}

/// What became of the hosts' files: one section per host.
pub(super) fn told(paint: Paint, places: &Places, outcomes: &[Outcome], dry: bool) -> String {
    outcomes.iter().map(|outcome| section(paint, places, outcome, dry)).collect()
}

fn section(paint: Paint, places: &Places, outcome: &Outcome, dry: bool) -> String {
    let mut text = format!("\n{}\n", paint.bold(outcome.host.name()));
    let unchanged = outcome.files.iter().all(|step| step.what == What::Unchanged);
    if unchanged {
        text += if outcome.files.is_empty() {
            "  nothing of the mesh is there\n"
        } else {
            "  all is there already\n"
        };
        return text;
    }
    for step in outcome.files.iter().filter(|step| step.what != What::Unchanged) {
        let word = format!("{:<9}", step.what.word());
        let word = if step.what == What::Refused { paint.style(RED, &word) } else { paint.dim(&word) };
        text += &format!("  {word} {}\n", printable(&places.show(&step.path)));
        text += &refusal(step);
        if dry {
            text +=
                &step.diff.lines().map(|line| format!("    {}\n", colored(paint, line))).collect::<String>();
        }
    }
    let notes = outcome.notes.iter().map(|note| format!("  {} {note}\n", paint.dim("note:    ")));
    text + &notes.collect::<String>()
}

/// What to add by hand to a file that was left alone.
fn refusal(step: &Step) -> String {
    let mut text = String::new();
    if let Some(why) = &step.why {
        text += &format!("    it {}; it was left alone\n", printable(why));
    }
    if let Some(by_hand) = &step.by_hand {
        text += "    add by hand:\n";
        text += &by_hand.lines().map(|line| format!("      {}\n", printable(line))).collect::<String>();
    }
    text
}

const RED: Style = AnsiColor::Red.on_default();

fn colored(paint: Paint, line: &str) -> String {
    let color = match line.bytes().next() {
        Some(b'+') => AnsiColor::Green,
        Some(b'-') => AnsiColor::Red,
        Some(b'@') => AnsiColor::Cyan,
        Some(_) | None => return printable(line).into_owned(),
    };
    paint.style(color.on_default(), &printable(line))
}

/// Failure if a file was left alone.
pub(super) fn code(outcomes: &[Outcome]) -> u8 {
    let refused = outcomes.iter().flat_map(|outcome| &outcome.files).any(|step| step.what == What::Refused);
    if refused { Exit::Failure.code() } else { Exit::Ok.code() }
}
