//! Tools and their arguments, which hosts name in similar ways.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::payload::Fields;
use crate::{Edited, How, Tool, patch, shell};

/// What a tool of a known name does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// Writes the files that its arguments name.
    Edit(How),
    /// Reads them.
    Read,
    /// Runs a command.
    Shell,
    /// Applies a patch.
    Patch,
    /// One tool for several actions, which its argument `command` names.
    Editor,
}

/// Arguments that name one file.
const PATH: &[&str] = &[
    "file_path",
    "filePath",
    "filepath",
    "path",
    "notebook_path",
    "target_notebook",
    "target_file",
    "absolute_path",
];
/// Arguments that name several, or one, or that are objects which name one each.
const PATHS: &[&str] = &["files", "paths", "include", "replacements", "edits"];

/// The use of a tool that does `does`, with the arguments in the first of `names` that has some.
pub(super) fn used(does: Option<Does>, fields: &Fields, names: &[&str], cwd: &Path) -> Tool {
    let Some(does) = does else { return Tool::Other };
    let args = fields.object(names).unwrap_or_default();
    match does {
        Does::Edit(how) => edited(&args, how, cwd),
        Does::Read => read(&args, cwd),
        Does::Shell => shell(&args, cwd),
        // The patch may be the whole of the arguments.
        Does::Patch => {
            let text = args.text(&["command", "patchText", "input", "patch"]).or_else(|| fields.text(names));
            edit(patch::files(text.unwrap_or_default()).into_iter().map(|e| e.beneath(cwd)).collect())
        }
        Does::Editor => match args.text(&["command"]) {
            Some("view") => read(&args, cwd),
            Some("create" | "write") => edited(&args, How::Whole, cwd),
            Some("str_replace" | "insert" | "undo_edit" | "edit" | "diff") => {
                edited(&args, How::Partial, cwd)
            }
            _ => Tool::Other,
        },
    }
}

fn edited(args: &Fields, how: How, cwd: &Path) -> Tool {
    edit(paths(args, cwd).into_iter().map(|path| Edited { path, how }).collect())
}

/// The writing of these files, if there are any.
pub(super) fn edit(edits: Vec<Edited>) -> Tool {
    if edits.is_empty() { Tool::Other } else { Tool::Edit(edits) }
}

fn read(args: &Fields, cwd: &Path) -> Tool {
    let paths = paths(args, cwd);
    if paths.is_empty() { Tool::Other } else { Tool::Read(paths) }
}

fn paths(args: &Fields, cwd: &Path) -> Vec<PathBuf> {
    let mut found: Vec<&str> = args.text(PATH).into_iter().collect();
    for name in PATHS {
        found.extend(args.texts(name));
        found.extend(args.objects(name).into_iter().filter_map(|object| object.text(PATH)));
    }
    let mut seen = HashSet::new();
    // A pattern names no file.
    found.retain(|path| !path.is_empty() && !path.contains(['*', '?', '\0']) && seen.insert(*path));
    found.into_iter().map(|path| cwd.join(path)).collect()
}

/// A command with its directory, and the files of its patches.
pub(super) fn shell(args: &Fields, cwd: &Path) -> Tool {
    let names = ["command", "cmd", "command_line"];
    let command = args.text(&names).map(str::to_owned).or_else(|| {
        let words = names.iter().find_map(|name| Some(args.texts(name)).filter(|words| !words.is_empty()))?;
        Some(match words.as_slice() {
            // `["bash", "-lc", "SCRIPT"]`
            [_, flags, script] if flags.starts_with('-') && flags.ends_with('c') => (*script).to_owned(),
            words => words.join(" "),
        })
    });
    let Some(command) = command else { return Tool::Other };
    let named = args.text(&["workdir", "working_directory", "dir_path", "directory", "cwd"]);
    let dir = named.map(|dir| cwd.join(dir)).filter(|dir| dir != cwd);
    let edits = shell::patched(&command);
    let edits = edits.into_iter().map(|edited| edited.beneath(dir.as_deref().unwrap_or(cwd))).collect();
    Tool::Shell { command, cwd: dir, edits }
}
