//! What a git command changes in a checkout.

use std::path::PathBuf;

use super::run::{Run, under};
use super::{Change, GitMove};

/// The change that `run` makes, if others in the checkout would notice it.
pub(super) fn moved(run: &Run) -> Option<GitMove> {
    match run.program()? {
        "git" => {}
        // Checks out the branch of a pull request.
        "gh" if matches!(run.args(), [pr, checkout, ..] if pr == "pr" && matches!(checkout.as_str(), "checkout" | "co")) =>
        {
            return Some(GitMove { verb: "gh pr checkout".into(), dir: run.dir.clone(), kind: Change::Head });
        }
        _ => return None,
    }
    let (dir, verb, args) = subcommand(run)?;
    if args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "-h" || arg == "--help") {
        return None;
    }
    let (verb, mut kind) = change(verb, args)?;
    if let (Change::WorktreeRemove(path), Some(dir)) = (&mut kind, &dir) {
        *path = dir.join(&*path);
    }
    Some(GitMove { verb, dir, kind })
}

/// Directory, name and arguments of the subcommand, after git's own options.
fn subcommand(run: &Run) -> Option<(Option<PathBuf>, &str, &[String])> {
    let mut dir = run.dir.clone();
    let mut tree = run.variable("GIT_WORK_TREE");
    let mut repository = run.variable("GIT_DIR");
    let mut args = run.args();
    loop {
        let (first, rest) = args.split_first()?;
        args = rest;
        let (option, mut value) = match first.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value)),
            _ => (first.as_str(), None),
        };
        let valued = matches!(
            option,
            "-C" | "-c" | "--git-dir" | "--work-tree" | "--namespace" | "--config-env" | "--super-prefix"
        );
        if value.is_none() && valued {
            let (next, rest) = args.split_first()?;
            (value, args) = (Some(next.as_str()), rest);
        }
        match option {
            "-C" => dir = Some(under(dir.as_deref(), value?)),
            "--git-dir" => repository = value,
            "--work-tree" => tree = value,
            _ if option.starts_with('-') => {}
            verb => {
                let repository = repository.and_then(|dir| dir.trim_end_matches('/').strip_suffix("/.git"));
                if let Some(elsewhere) = tree.or(repository) {
                    dir = Some(under(dir.as_deref(), elsewhere));
                }
                return Some((dir, verb, args));
            }
        }
    }
}

fn change(verb: &str, args: &[String]) -> Option<(String, Change)> {
    let kind = match verb {
        "checkout" => checkout(args)?,
        "switch" if args.is_empty() => return None,
        "rebase" if args.iter().any(|arg| arg == "--show-current-patch" || arg == "--edit-todo") => {
            return None;
        }
        "am" if args.iter().any(|arg| arg.starts_with("--show-current-patch")) => return None,
        "switch" | "merge" | "rebase" | "pull" | "am" | "filter-branch" | "filter-repo" => Change::Head,
        "reset" => reset(args),
        "restore" => restore(args),
        "cherry-pick" | "revert" => picked(args)?,
        "commit" => commit(args)?,
        "add" | "stage" => add(args)?,
        "clean" => clean(args)?,
        "apply" => applied(args)?,
        "branch" => branch(args)?,
        "read-tree" => Change::Index,
        "update-ref" | "symbolic-ref" => reference(verb, args)?,
        "stash" | "worktree" | "bisect" | "sparse-checkout" => return nested(verb, args),
        _ => return None,
    };
    Some((verb.to_owned(), kind))
}

/// Commands whose first argument tells what they do.
fn nested(verb: &str, args: &[String]) -> Option<(String, Change)> {
    let args = Args::parse(args, "m", &["message"]);
    let what = args.operands.first().copied().filter(|_| args.paths != Some(args.operands.len()));
    let kind = match (verb, what) {
        ("stash", None) => return Some(("stash push".to_owned(), Change::Stash)),
        ("stash", Some("push" | "save" | "pop" | "drop" | "apply" | "clear" | "branch" | "store")) => {
            Change::Stash
        }
        ("worktree", Some("remove" | "move")) => Change::WorktreeRemove((*args.operands.get(1)?).into()),
        ("bisect", Some("start" | "good" | "bad" | "new" | "old" | "skip" | "reset" | "run" | "replay")) => {
            Change::Head
        }
        ("sparse-checkout", Some("init" | "set" | "add" | "reapply" | "disable")) => Change::Files,
        _ => return None,
    };
    Some((format!("{verb} {}", what?), kind))
}

/// Arguments, sorted.
#[derive(Debug, Default)]
struct Args<'a> {
    short: Vec<char>,
    /// Without dashes and values.
    long: Vec<&'a str>,
    /// What is no option, also that after `--`.
    operands: Vec<&'a str>,
    /// How many operands come after `--`; `None` without one.
    paths: Option<usize>,
}

impl<'a> Args<'a> {
    /// `valued` and `long` name the options with a value, which may be a word of its own.
    fn parse(args: &'a [String], valued: &str, long: &[&str]) -> Self {
        let mut sorted = Self::default();
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            if let Some(name) = arg.strip_prefix("--") {
                if name.is_empty() {
                    let before = sorted.operands.len();
                    sorted.operands.extend(args.by_ref());
                    sorted.paths = Some(sorted.operands.len() - before);
                } else if let Some((name, _)) = name.split_once('=') {
                    sorted.long.push(name);
                } else {
                    sorted.long.push(name);
                    if long.contains(&name) {
                        args.next();
                    }
                }
            } else if let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                for (at, letter) in letters.char_indices() {
                    sorted.short.push(letter);
                    if valued.contains(letter) {
                        if at + letter.len_utf8() == letters.len() {
                            args.next();
                        }
                        break;
                    }
                }
            } else {
                sorted.operands.push(arg);
            }
        }
        sorted
    }

    fn has(&self, short: &str, long: &[&str]) -> bool {
        self.short.iter().any(|s| short.contains(*s)) || self.long.iter().any(|l| long.contains(l))
    }
}

/// Whether an operand is a path, as far as it shows.
fn pathlike(operand: &str) -> bool {
    matches!(operand, "." | ".." | ":/" | "*")
        || operand.starts_with("./")
        || operand.starts_with("../")
        || operand.starts_with('/')
        || operand.ends_with('/')
        || operand.contains('*')
        || operand.rsplit_once('.').is_some_and(|(stem, end)| {
            !stem.is_empty()
                && (1..=6).contains(&end.len())
                && end.starts_with(|c: char| c.is_ascii_alphabetic())
                && end.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

fn checkout(args: &[String]) -> Option<Change> {
    let args = Args::parse(args, "bB", &["orphan", "conflict", "pathspec-from-file"]);
    let branches = args.has("bBdt", &["orphan", "detach", "track"]);
    // `checkout --` without a path gets its paths from another program.
    let files = args.paths.is_some_and(|paths| paths > 0 || args.operands.is_empty())
        || args.has("p", &["patch", "ours", "theirs", "pathspec-from-file"])
        || !branches && (args.operands.len() > 1 || args.operands.iter().any(|operand| pathlike(operand)));
    match files {
        true => Some(Change::Files),
        // Without any operand it only looks.
        false => (branches || !args.operands.is_empty()).then_some(Change::Head),
    }
}

fn reset(args: &[String]) -> Change {
    let args = Args::parse(args, "", &["pathspec-from-file"]);
    let commit = args.paths.is_none_or(|paths| paths < args.operands.len())
        && args.operands.first().is_some_and(|commit| !matches!(*commit, "HEAD" | "@") && !pathlike(commit));
    let paths =
        args.paths.is_some_and(|paths| paths > 0) || args.operands.len() > 1 || args.has("p", &["patch"]);
    match (args.has("", &["hard", "merge", "keep"]), commit && !paths) {
        (_, true) => Change::Head,
        (true, false) => Change::Files,
        (false, false) => Change::Index,
    }
}

fn restore(args: &[String]) -> Change {
    let args = Args::parse(args, "s", &["source", "conflict", "pathspec-from-file"]);
    let staged = args.has("S", &["staged"]) && !args.has("W", &["worktree"]);
    if staged { Change::Index } else { Change::Files }
}

fn picked(args: &[String]) -> Option<Change> {
    let args = Args::parse(args, "mXS", &["mainline", "strategy", "strategy-option"]);
    if args.has("", &["quit"]) {
        return None;
    }
    Some(if args.has("n", &["no-commit"]) { Change::Index } else { Change::Head })
}

fn commit(args: &[String]) -> Option<Change> {
    let valued = [
        "message",
        "file",
        "author",
        "date",
        "reuse-message",
        "reedit-message",
        "fixup",
        "squash",
        "template",
    ];
    let args = Args::parse(args, "mFCctSu", &valued);
    if args.has("", &["dry-run"]) {
        None
    } else if args.has("", &["amend"]) {
        Some(Change::Head)
    } else {
        args.has("a", &["all"]).then_some(Change::Sweep)
    }
}

fn add(args: &[String]) -> Option<Change> {
    let args = Args::parse(args, "", &["pathspec-from-file", "chmod"]);
    let everything = args.operands.iter().any(|operand| matches!(*operand, "." | ":/" | "*"));
    // With a path, `-A` and `-u` take in that path alone.
    let all = args.operands.is_empty() && args.has("Au", &["all", "update"]);
    ((everything || all) && !args.has("np", &["dry-run", "patch"])).then_some(Change::Sweep)
}

fn clean(args: &[String]) -> Option<Change> {
    let args = Args::parse(args, "e", &["exclude"]);
    // Without one of these git refuses.
    (args.has("fi", &["force", "interactive"]) && !args.has("n", &["dry-run"])).then_some(Change::Clean)
}

fn applied(args: &[String]) -> Option<Change> {
    let args = Args::parse(args, "pC", &["exclude", "include", "directory"]);
    let looks = args.has("", &["check", "stat", "numstat", "summary"]);
    (args.has("3", &["index", "cached", "3way"]) && !looks).then_some(Change::Index)
}

/// The current branch gets another name; all else concerns branches that are not checked out.
fn branch(args: &[String]) -> Option<Change> {
    let args = Args::parse(args, "u", &["set-upstream-to"]);
    (args.has("mM", &["move"]) && args.operands.len() == 1).then_some(Change::Head)
}

fn reference(verb: &str, args: &[String]) -> Option<Change> {
    let args = Args::parse(args, "m", &[]);
    let least = if verb == "symbolic-ref" { 2 } else { 1 };
    (args.operands.first() == Some(&"HEAD") && args.operands.len() >= least).then_some(Change::Head)
}
