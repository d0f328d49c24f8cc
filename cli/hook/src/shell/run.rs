//! The programs that a script runs, each with the directory it runs in.

use std::path::{Path, PathBuf};

use super::lexer::{Item, Simple, items};

/// A program that is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// Directory, relative to that of the script; `None` for that one itself.
    pub(super) dir: Option<PathBuf>,
    /// Variables set for it.
    pub(super) variables: Vec<(String, String)>,
    /// Name and arguments; at least the name.
    pub(super) words: Vec<String>,
    /// Bodies of its here-documents.
    pub(super) heredocs: Vec<String>,
}

impl Run {
    /// Name of the program, without directory.
    pub(super) fn program(&self) -> Option<&str> {
        let name = self.words.first()?;
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
        Some(name.strip_suffix(".exe").unwrap_or(name))
    }

    /// Its arguments.
    pub(super) fn args(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The value of a variable set for it.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// How deep scripts within scripts are followed.
const DEEPEST: usize = 6;

/// The programs that `script` runs, in order; those within a command come before it.
pub(super) fn runs(script: &str) -> Vec<Run> {
    let mut found = Vec::new();
    follow(script, Place::default(), DEEPEST, &mut found);
    found
}

/// Where a script stands.
#[derive(Clone, Debug, Default)]
struct Place {
    dir: Option<PathBuf>,
    before: Option<PathBuf>,
}

impl Place {
    fn go(&mut self, args: &[String]) {
        let target = args.iter().find(|arg| *arg == "-" || !arg.starts_with('-'));
        match target.map_or("~", String::as_str) {
            "-" => std::mem::swap(&mut self.dir, &mut self.before),
            target => {
                self.before = self.dir.clone();
                self.dir = Some(under(self.dir.as_deref(), target));
            }
        }
    }
}

/// `path` as seen from `dir`.
pub(super) fn under(dir: Option<&Path>, path: &str) -> PathBuf {
    dir.map_or_else(|| path.into(), |dir| dir.join(path))
}

/// Follows `script` and returns where it ends.
fn follow(script: &str, mut place: Place, left: usize, found: &mut Vec<Run>) -> Place {
    let Some(left) = left.checked_sub(1) else { return place };
    let mut outer = Vec::new();
    for item in items(script) {
        match item {
            Item::Open => outer.push(place.clone()),
            Item::Close => place = outer.pop().unwrap_or(place),
            Item::Command(command) => place = step(command, place, left, found),
        }
    }
    place
}

fn step(command: Simple, mut place: Place, left: usize, found: &mut Vec<Run>) -> Place {
    for script in &command.within {
        follow(script, place.clone(), left, found);
    }
    let mut run = Run { heredocs: command.heredocs, dir: place.dir.clone(), ..Run::default() };
    run.words = unwrapped(command.words, &mut run);
    match run.program() {
        Some("cd" | "pushd" | "chdir") => place.go(run.args()),
        Some("popd") => place.go(&["-".to_owned()]),
        Some("eval") => return follow(&run.args().join(" "), place, left, found),
        Some("sh" | "bash" | "zsh" | "dash" | "ksh" | "fish") => {
            for script in scripts(&run) {
                follow(script, Place { dir: run.dir.clone(), before: None }, left, found);
            }
        }
        Some(_) => found.push(run),
        None => {}
    }
    place
}

/// The scripts that a shell is given: `-c SCRIPT`, or a here-document.
fn scripts(run: &Run) -> Vec<&str> {
    let mut args = run.args().iter();
    let mut inline = false;
    while let Some(arg) = args.next() {
        match arg.strip_prefix('-') {
            Some("o" | "O") => drop(args.next()),
            Some(flags) => inline |= !flags.starts_with('-') && flags.contains('c'),
            None if inline => return vec![arg],
            None => return Vec::new(),
        }
    }
    run.heredocs.iter().map(String::as_str).collect()
}

/// A program that runs another, which comes after its own options.
struct Wrapper {
    name: &'static str,
    /// Its options with a value as a word of its own.
    valued: &'static [&'static str],
    /// Its own arguments before the other program.
    arguments: usize,
}

const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        name: "sudo",
        valued: &["-u", "-g", "-h", "-p", "-C", "-r", "-t", "-T", "-U", "-D"],
        arguments: 0,
    },
    Wrapper { name: "doas", valued: &["-u", "-C"], arguments: 0 },
    Wrapper { name: "env", valued: &["-u", "-C", "--unset", "--chdir"], arguments: 0 },
    Wrapper { name: "command", valued: &[], arguments: 0 },
    Wrapper { name: "builtin", valued: &[], arguments: 0 },
    Wrapper { name: "exec", valued: &["-a"], arguments: 0 },
    Wrapper { name: "nohup", valued: &[], arguments: 0 },
    Wrapper { name: "setsid", valued: &[], arguments: 0 },
    Wrapper { name: "time", valued: &["-f", "-o"], arguments: 0 },
    Wrapper { name: "nice", valued: &["-n", "--adjustment"], arguments: 0 },
    Wrapper { name: "ionice", valued: &["-c", "-n"], arguments: 0 },
    Wrapper { name: "stdbuf", valued: &["-i", "-o", "-e"], arguments: 0 },
    Wrapper { name: "timeout", valued: &["-s", "-k", "--signal", "--kill-after"], arguments: 1 },
    Wrapper { name: "xargs", valued: &["-I", "-n", "-P", "-L", "-d", "-a", "-s", "-E"], arguments: 0 },
];

/// Words that stand before a command without being one.
const RESERVED: &[&str] =
    &["if", "then", "elif", "else", "while", "until", "do", "!", "{", "}", "fi", "done", "esac", "&&"];

/// The program and its arguments, without what stands before them; variables and directory go to `run`.
fn unwrapped(words: Vec<String>, run: &mut Run) -> Vec<String> {
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if RESERVED.contains(&word.as_str()) {
            continue;
        }
        if let Some((name, value)) = assignment(&word) {
            run.variables.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let name = word.rsplit('/').next().unwrap_or(&word);
        let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.name == name) else {
            return std::iter::once(word).chain(words).collect();
        };
        while let Some(option) = words.next_if(|word| word.starts_with('-') && word.len() > 1) {
            if wrapper.name == "command" && matches!(option.as_str(), "-v" | "-V") {
                return Vec::new();
            }
            let (option, value) = match option.split_once('=') {
                Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
                None if wrapper.valued.contains(&option.as_str()) => (option, words.next()),
                None => (option, None),
            };
            let moves = matches!((wrapper.name, option.as_str()), ("sudo", "-D") | ("env", "-C" | "--chdir"));
            if let Some(dir) = value.filter(|_| moves) {
                run.dir = Some(under(run.dir.as_deref(), &dir));
            }
        }
        for _ in 0..wrapper.arguments {
            words.next();
        }
    }
    Vec::new()
}

fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let named = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
    named.then_some((name, value))
}
