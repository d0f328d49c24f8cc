//! The command line: global flags, the table of commands, and the way from a result to an exit code.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{FromArgMatches, Parser};

use crate::commands::{Command, hook};
use crate::context::{Context, GlobalArgs};
use crate::error::CliError;
use crate::exit::{self, Exit};
use crate::help;
use crate::output;

/// Coordinates AI coding agents and people who work on the same code at the same time.
///
/// Any command finds the broker of your machine, or starts it; there is nothing to set up. Begin with
/// `meshctl watch` in a window of its own.
#[derive(Debug, Parser)]
#[command(name = "meshctl", version, max_term_width = 100, after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalArgs,

    #[command(subcommand)]
    command: Command,
}

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    if let Some(code) = hook::at_once(std::env::args_os()) {
        return ExitCode::from(code);
    }
    let matches = help::command().try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(refuse(&error).code()),
    };
    let json = cli.global.json;
    let ctx = Context::new(cli.global);
    if !cli.command.logs_by_itself() {
        log(ctx.verbose());
    }
    match cli.command.run(&ctx) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error.report(json);
            ExitCode::from(error.exit.code())
        }
    }
}

/// Help and version are answers; everything else is told as the caller wants errors told.
fn refuse(error: &clap::Error) -> Exit {
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let wants_json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == OsStr::new("--json"));
    if !is_answer && wants_json {
        let text = error.render().to_string();
        let message = text.split("\n\n").next().unwrap_or_default();
        let words: Vec<_> = message.strip_prefix("error: ").unwrap_or(message).split_whitespace().collect();
        CliError::usage(words.join(" ")).hint("see --help").report(true);
        return Exit::Usage;
    }
    if std::env::args_os().len() < 2 {
        // Whoever asks for nothing may not know what there is.
        output::note(help::command().render_help());
        return Exit::Usage;
    }
    // If the text cannot be written there is nobody to tell.
    let _ = error.print();
    if is_answer { Exit::Ok } else { Exit::Usage }
}

/// Logs to stderr when asked to; a command that is not asked pays nothing.
fn log(verbose: u8) {
    let filter = match verbose {
        0 => return,
        1 => "mesh_client=info,mesh_mcp=info,meshctl=info",
        2 => "mesh_client=debug,mesh_mcp=debug,meshctl=debug",
        3.. => "debug",
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| output::Log)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
