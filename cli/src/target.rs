//! What people type as targets of the scope: paths, globs, symbols inside files, subjects.
//!
//! What must hold: everything that names files means the files that the shell would find under that name from here;
//! what is no path is passed on as it is, for the broker to judge.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use mesh_client::scope::{is_directory, relative_path};

use crate::context::{Context, current_dir};
use crate::error::CliError;

/// What makes a segment of a path a pattern.
const PATTERN: [char; 4] = ['*', '?', '[', '{'];

/// A typed target, as the scope names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The scope-relative target; of a directory, with a trailing `/`.
    pub(crate) path: String,
    /// Whether it was typed without the `/` that it got.
    pub(crate) completed: bool,
}

/// The scope-relative names of typed targets. A directory that exists means everything below it.
pub(crate) fn targets(ctx: &Context, typed: &[PathBuf]) -> Result<Vec<Target>, CliError> {
    if typed.iter().all(is_subject) {
        // Their names depend on no directory.
        return Ok(typed.iter().filter_map(|typed| typed.to_str()).map(Target::verbatim).collect());
    }
    let (root, cwd) = (ctx.root()?, current_dir()?);
    typed.iter().map(|typed| target(&root, &cwd, typed)).collect()
}

/// As [`targets`], where the difference between a directory and everything below it is of no interest.
pub(crate) fn paths(ctx: &Context, typed: &[PathBuf]) -> Result<Vec<String>, CliError> {
    Ok(targets(ctx, typed)?.into_iter().map(|target| target.path).collect())
}

/// The name of one target.
pub(crate) fn one(ctx: &Context, typed: &PathBuf) -> Result<String, CliError> {
    Ok(paths(ctx, std::slice::from_ref(typed))?.pop().unwrap_or_default())
}

/// The name of one optional target; empty when there is none.
pub(crate) fn optional(ctx: &Context, typed: Option<&PathBuf>) -> Result<String, CliError> {
    typed.map_or(Ok(String::new()), |typed| one(ctx, typed))
}

/// Whether a target is no file: `task:ABC-12`, a lower-case word of 2 to 32 characters, a colon, a name.
pub(crate) fn is_subject(typed: impl AsRef<OsStr>) -> bool {
    let word = typed.as_ref().to_str().and_then(|typed| typed.split_once(':')).map_or("", |(word, _)| word);
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (2..=32).contains(&word.len())
        && word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(fits)
}

fn target(root: &Path, cwd: &Path, typed: &Path) -> Result<Target, CliError> {
    let Some(text) = typed.to_str() else {
        // Says what is wrong with it.
        return Ok(Target::verbatim(&relative_path(root, cwd, typed)?));
    };
    if is_subject(text) {
        return Ok(Target::verbatim(text));
    }
    if let Some((file, symbol)) = symbol(text) {
        let file = pattern(root, cwd, file)?.map_or_else(|| relative_path(root, cwd, Path::new(file)), Ok)?;
        return Ok(Target::verbatim(&format!("{file}#{symbol}")));
    }
    if let Some(path) = pattern(root, cwd, text)? {
        return Ok(Target::verbatim(&path));
    }
    let mut path = relative_path(root, cwd, typed)?;
    let completed = !path.ends_with('/') && is_directory(root, &path);
    if completed {
        path.push('/');
    }
    Ok(Target { path, completed })
}

/// The parts of `src/auth.ts#Session::refresh`.
fn symbol(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('#').filter(|(file, symbol)| !file.is_empty() && !symbol.contains('/'))
}

/// The scope-relative form of a glob: what stands before its first pattern is a directory as any other, the rest
/// stays as it was typed. Nothing if there is no pattern in it.
fn pattern(root: &Path, cwd: &Path, text: &str) -> Result<Option<String>, CliError> {
    let Some(first) = text.find(PATTERN) else { return Ok(None) };
    let (directory, rest) = text.split_at(text[..first].rfind('/').map_or(0, |slash| slash + 1));
    let segments: Vec<&str> = rest.split('/').filter(|segment| *segment != ".").collect();
    if segments.contains(&"..") {
        let error = CliError::usage(format_args!("`{text}` has a `..` after a pattern"));
        return Err(error.hint("write the path without it"));
    }
    let directory = if directory.is_empty() { "." } else { directory };
    let directory = relative_path(root, cwd, Path::new(directory))?;
    let directory = directory.trim_end_matches('/');
    let separator = if directory.is_empty() { "" } else { "/" };
    Ok(Some(format!("{directory}{separator}{}", segments.join("/"))))
}

impl Target {
    fn verbatim(path: &str) -> Self {
        Self { path: path.to_owned(), completed: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("src/deep")).unwrap();
        std::os::unix::fs::symlink("src/deep", root.join("short")).unwrap();
        (dir, root)
    }

    #[test]
    fn a_directory_means_everything_below_it() {
        let (_dir, root) = checkout();
        let name = |cwd: &str, typed: &str| target(&root, &root.join(cwd), Path::new(typed)).unwrap();
        for (cwd, typed, path, completed) in [
            ("", "src", "src/", true),
            ("", "src/", "src/", false),
            ("src", ".", "src/", true),
            ("src", "a.rs", "src/a.rs", false),
            ("", ".", "/", false),
            ("", "gone", "gone", false),
            ("", "gone/", "gone/", false),
        ] {
            assert_eq!(name(cwd, typed), Target { path: path.to_owned(), completed }, "{typed} in {cwd}");
        }
        let error = target(&root, &root, Path::new("../x")).unwrap_err();
        assert_eq!(error.exit, crate::exit::Exit::Usage);
    }

    #[test]
    fn globs_and_symbols_are_relative_to_where_one_is() {
        let (_dir, root) = checkout();
        for (cwd, typed, path) in [
            ("", "src/*.rs", "src/*.rs"),
            ("src", "*.rs", "src/*.rs"),
            ("src", "./**/*_test.rs", "src/**/*_test.rs"),
            ("src", "../docs/{a,b}/./x", "docs/{a,b}/x"),
            ("src", "../*.md", "*.md"),
            ("", "**", "**"),
            ("", "short/[ab].rs", "src/deep/[ab].rs"),
            ("src", "deep/**", "src/deep/**"),
            ("src", "app/[slug]/page.tsx", "src/app/[slug]/page.tsx"),
            ("", "a{b/c,d}e", "a{b/c,d}e"),
            ("src", "auth.ts#Session::refresh", "src/auth.ts#Session::refresh"),
            ("src", "deep/../auth.ts#A", "src/auth.ts#A"),
            ("", "src/deep#", "src/deep#"),
            ("", "src#x/a.rs", "src#x/a.rs"),
            ("", "#notes", "#notes"),
            ("src", "a?.rs#X", "src/a?.rs#X"),
        ] {
            let actual = target(&root, &root.join(cwd), Path::new(typed)).unwrap();
            assert_eq!(actual, Target::verbatim(path), "{typed} in {cwd}");
        }
        let absolute = root.join("src/*.rs");
        assert_eq!(target(&root, &root, &absolute).unwrap().path, "src/*.rs");
        for outside in ["../*.rs", "src/*/../../x", "/*", "../x.rs#A"] {
            let error = target(&root, &root, Path::new(outside)).unwrap_err();
            assert_eq!(error.exit, crate::exit::Exit::Usage, "{outside}");
        }
    }

    #[test]
    fn subjects_are_no_files() {
        let (_dir, root) = checkout();
        for subject in ["task:ABC-12", "api:billing/v2", "api:../x", "db2:users#id"] {
            let actual = target(&root, &root.join("src"), Path::new(subject)).unwrap();
            assert_eq!(actual, Target::verbatim(subject));
        }
        for file in ["C:x", "a:b", "Task:x", "./task:x", "src/task:x", "a_b:c", "2nd:x"] {
            assert!(!is_subject(file), "{file}");
        }
        let actual = target(&root, &root.join("src"), Path::new("./task:x")).unwrap();
        assert_eq!(actual.path, "src/task:x");
    }
}
