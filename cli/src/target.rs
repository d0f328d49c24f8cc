//! Typed paths as targets of the scope.

use std::path::{Path, PathBuf};

use mesh_client::scope::{is_directory, relative_path};

use crate::context::{Context, current_dir};
use crate::error::CliError;

/// A typed path, as the scope names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The scope-relative path; of a directory, with a trailing `/`.
    pub(crate) path: String,
    /// Whether it was typed without the `/` that it got.
    pub(crate) completed: bool,
}

/// The scope-relative names of typed paths. A directory that exists means everything below it.
pub(crate) fn targets(ctx: &Context, typed: &[PathBuf]) -> Result<Vec<Target>, CliError> {
    if typed.is_empty() {
        return Ok(Vec::new());
    }
    let (root, cwd) = (ctx.root()?, current_dir()?);
    typed.iter().map(|typed| target(&root, &cwd, typed)).collect()
}

/// As [`targets`], where the difference between a directory and everything below it is of no interest.
pub(crate) fn paths(ctx: &Context, typed: &[PathBuf]) -> Result<Vec<String>, CliError> {
    Ok(targets(ctx, typed)?.into_iter().map(|target| target.path).collect())
}

/// The name of one optional path; empty when there is none.
pub(crate) fn optional(ctx: &Context, typed: Option<&PathBuf>) -> Result<String, CliError> {
    Ok(paths(ctx, typed.map(std::slice::from_ref).unwrap_or_default())?.pop().unwrap_or_default())
}

fn target(root: &Path, cwd: &Path, typed: &Path) -> Result<Target, CliError> {
    let mut path = relative_path(root, cwd, typed)?;
    let completed = !path.ends_with('/') && is_directory(root, &path);
    if completed {
        path.push('/');
    }
    Ok(Target { path, completed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_means_everything_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("src")).unwrap();
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
}
