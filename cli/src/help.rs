//! What `--help` looks like: the commands in groups, and the global options once, in the program's own help.
//!
//! What must hold: every text comes from the doc comments of commands and arguments; every command is in one group.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use crate::cli::Cli;

/// What belongs together stands together.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Set up", &["install", "uninstall", "doctor"]),
    ("See what goes on", &["watch", "events", "who", "about", "touch", "wait"]),
    ("Talk", &["send", "inbox", "receipts", "note", "notes", "topics", "follow", "unfollow"]),
    ("Remember together", &["remember", "recall", "forget", "revert", "policy"]),
    ("Lock", &["lock", "unlock", "locks", "answer", "fence"]),
    (
        "The mesh itself",
        &[
            "mcp",
            "hook",
            "demo",
            "status",
            "serve",
            "stop",
            "restart",
            "token",
            "backup",
            "restore",
            "fsck",
            "completions",
        ],
    ),
];

/// The commands' help: as usual, but for the global options.
const OF_COMMAND: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}\n\nGlobal options, such as \
    --json and --scope: see `meshctl --help`{after-help}";

/// The command line with its help; for parsing.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let (commands, options) = (commands(&command), global_options(&command));
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{commands}Options:\n{options}{{after-help}}"
    );
    command
        .help_template(template)
        .override_usage("meshctl [OPTIONS] <COMMAND>")
        .mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg })
        .mut_subcommands(of_command)
}

fn of_command(command: Command) -> Command {
    command.help_template(OF_COMMAND).mut_subcommands(of_command)
}

fn commands(program: &Command) -> String {
    let names = program.get_subcommands().map(|command| command.get_name().len());
    let width = names.max().unwrap_or_default();
    let mut out = String::new();
    for (title, names) in GROUPS {
        _ = writeln!(out, "{title}:");
        for command in names.iter().filter_map(|name| program.find_subcommand(name)) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            _ = writeln!(out, "  {:width$}  {about}", command.get_name());
        }
        out.push('\n');
    }
    out
}

fn global_options(program: &Command) -> String {
    let mut rows: Vec<_> = program.get_arguments().filter(|arg| arg.is_global_set()).map(row).collect();
    let shown = |flags: &str, help: &str| (flags.to_owned(), help.to_owned());
    rows.push(shown("-h, --help", "Print help"));
    rows.push(shown("-V, --version", "Print version"));
    let width = rows.iter().map(|(flags, _)| flags.len()).max().unwrap_or_default();
    let lines: Vec<_> = rows.iter().map(|(flags, help)| format!("  {flags:width$}  {help}")).collect();
    lines.join("\n")
}

fn row(arg: &Arg) -> (String, String) {
    let short = arg.get_short().map_or("    ".to_owned(), |short| format!("-{short}, "));
    let value = match arg.get_value_names() {
        Some([name, ..]) if arg.get_action().takes_values() => format!(" <{name}>"),
        _ => String::new(),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    (format!("{short}--{}{value}", arg.get_long().unwrap_or_default()), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let mut grouped: Vec<_> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let program = Cli::command();
        let mut all: Vec<_> = program.get_subcommands().map(Command::get_name).collect();
        grouped.sort_unstable();
        all.sort_unstable();
        assert_eq!(grouped, all);
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
