//! The scope-relative path of what somebody typed.
//!
//! Owns the step from a path of this machine to the `/`-separated, NFC-normalised name under which all
//! worktrees and clones mean the same file. What holds: the result has no empty, `.` or `..` segment, never
//! leads out of the root, and a trailing `/` is there exactly if it was typed (the root itself, which has no other
//! name, is `/`).

use std::path::{Component, Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// Why a path has no name in the scope.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Nothing was given.
    #[error("the path is empty; name a file, or a directory with a trailing `/`")]
    Empty,
    /// A relative path, and no absolute directory it could be relative to.
    #[error("`{input}` is relative to a directory that is itself relative; give the absolute path")]
    Relative {
        /// As it was typed.
        input: String,
    },
    /// Paths of a scope are text.
    #[error("`{input}` is not UTF-8, and only UTF-8 paths can be shared between machines; rename it")]
    NotUtf8 {
        /// As it was typed, with replacement characters.
        input: String,
    },
    /// The path leads out of the project.
    #[error("`{input}` is {resolved}, outside the project at {root}; name a path inside it")]
    Outside {
        /// As it was typed.
        input: String,
        /// Where it leads.
        resolved: PathBuf,
        /// Root of the checkout.
        root: PathBuf,
    },
}

/// The scope-relative path of `input`, absolute or relative to `cwd`, in the checkout at `worktree_root`.
///
/// The file need not exist. Links and `..` mean what they mean to the system that will open the path: links
/// among the parents are followed, and so is a link at the end if it stays inside the checkout, as a write
/// through it lands there (`CLAUDE.md` → `AGENTS.md`). One that leads outside is itself the file meant.
/// A directory typed without trailing `/` stays without: see [`is_directory`].
pub fn relative_path(worktree_root: &Path, cwd: &Path, input: &Path) -> Result<String, PathError> {
    let typed = || input.to_string_lossy().into_owned();
    if input.as_os_str().is_empty() {
        return Err(PathError::Empty);
    }
    let path = cwd.join(input);
    if !path.is_absolute() {
        return Err(PathError::Relative { input: typed() });
    }
    let root = worktree_root.canonicalize().unwrap_or_else(|_| worktree_root.to_path_buf());
    let names_directory = input.as_os_str().as_encoded_bytes().ends_with(b"/");
    let resolved = resolve(&path, names_directory, &root);
    let Ok(inside) = resolved.strip_prefix(&root) else {
        return Err(PathError::Outside { input: typed(), resolved, root });
    };
    let inside = inside.to_str().ok_or_else(|| PathError::NotUtf8 { input: typed() })?;
    let segments: Vec<&str> = inside.split(std::path::MAIN_SEPARATOR).collect();
    let mut relative: String = segments.join("/").nfc().collect();
    if names_directory || relative.is_empty() {
        relative.push('/');
    }
    Ok(relative)
}

/// Whether a scope-relative path names a directory that exists in the checkout: what was typed as `src` is then
/// likely meant as `src/`, everything below it.
pub fn is_directory(worktree_root: &Path, relative: &str) -> bool {
    worktree_root.join(relative.trim_start_matches('/')).is_dir()
}

/// The path with its `..` and its links resolved as far as it exists.
fn resolve(path: &Path, through_end: bool, root: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                // `link/..` is the parent of what the link leads to.
                plain = existing_resolved(&plain);
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(component),
        }
    }
    let followed = existing_resolved(&plain);
    if through_end || followed.starts_with(root) {
        return followed;
    }
    match (plain.parent(), plain.file_name()) {
        (Some(parent), Some(name)) => existing_resolved(parent).join(name),
        _ => followed,
    }
}

/// The path with the part that exists made canonical.
fn existing_resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize()
            && let Ok(rest) = path.strip_prefix(ancestor)
        {
            // Joining nothing would add a separator.
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_path_buf()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A checkout `repo` with `src/main.rs`, beside it `out`, and links into both.
    fn fixture() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("repo/src/deep")).unwrap();
        fs::create_dir_all(base.join("out/far")).unwrap();
        fs::write(base.join("repo/src/main.rs"), "").unwrap();
        fs::write(base.join("repo/AGENTS.md"), "").unwrap();
        fs::write(base.join("out/secret"), "").unwrap();
        symlink("AGENTS.md", base.join("repo/CLAUDE.md")).unwrap();
        symlink("../out/secret", base.join("repo/.env")).unwrap();
        symlink("nowhere", base.join("repo/dangling")).unwrap();
        symlink("../out/far", base.join("repo/vendor")).unwrap();
        symlink("src/deep", base.join("repo/short")).unwrap();
        symlink("repo", base.join("link")).unwrap();
        (temp, base)
    }

    #[test]
    fn what_was_typed_becomes_scope_relative() {
        let (_temp, base) = fixture();
        let root = base.join("repo");
        // Working directory, what was typed, name in the scope.
        let table = [
            ("repo", "src/main.rs", "src/main.rs"),
            ("repo", "./src//./main.rs", "src/main.rs"),
            ("repo/src", "main.rs", "src/main.rs"),
            ("repo/src", "../AGENTS.md", "AGENTS.md"),
            ("repo/src", "new/file.rs", "src/new/file.rs"),
            ("repo/src", "new/../file.rs", "src/file.rs"),
            ("repo", "src", "src"),
            ("repo", "src/", "src/"),
            ("repo", "src/.", "src"),
            ("repo", "gone/", "gone/"),
            ("repo", ".", "/"),
            ("repo", "./", "/"),
            ("repo/src", "..", "/"),
            ("repo", "../repo/src/main.rs", "src/main.rs"),
            ("link/src", "main.rs", "src/main.rs"),
            ("out", "../link/src/new.rs", "src/new.rs"),
            ("repo", "short/x", "src/deep/x"),
            ("repo", "short/../main.rs", "src/main.rs"),
            ("repo", "short/", "src/deep/"),
            ("repo", "CLAUDE.md", "AGENTS.md"),
            ("repo", ".env", ".env"),
            ("repo", "vendor", "vendor"),
            ("repo", "dangling", "dangling"),
            ("repo", r"a\b", r"a\b"),
            ("repo", "cafe\u{301}", "caf\u{e9}"),
            ("gone", "../repo/x", "x"),
        ];
        for (cwd, input, expected) in table {
            let actual = relative_path(&root, &base.join(cwd), Path::new(input));
            assert_eq!(actual.unwrap(), expected, "{input:?} in {cwd}");
        }
    }

    #[test]
    fn an_absolute_path_needs_no_working_directory() {
        let (_temp, base) = fixture();
        for (input, expected) in [("link/src/x", "src/x"), ("repo/src/", "src/"), ("repo", "/")] {
            let actual = relative_path(&base.join("link"), Path::new("gone"), &base.join(input));
            assert_eq!(actual.unwrap(), expected, "{input:?}");
        }
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        let (_temp, base) = fixture();
        let root = base.join("repo");
        for input in
            ["..", "../out/secret", "../repository", "vendor/x", "vendor/", "src/../../out", "/etc/passwd"]
        {
            let error = relative_path(&root, &root, Path::new(input)).unwrap_err();
            assert!(matches!(error, PathError::Outside { .. }), "{input:?}: {error}");
            assert!(error.to_string().contains("outside the project"), "{error}");
        }
    }

    #[test]
    fn what_is_no_path_of_the_scope_is_refused() {
        let (_temp, base) = fixture();
        let root = base.join("repo");
        let refused =
            |cwd: &Path, input: &[u8]| relative_path(&root, cwd, Path::new(OsStr::from_bytes(input)));
        assert!(matches!(refused(&root, b""), Err(PathError::Empty)));
        assert!(matches!(refused(&root, b"src/\xff"), Err(PathError::NotUtf8 { .. })));
        assert!(matches!(refused(Path::new("repo"), b"x"), Err(PathError::Relative { .. })));
    }

    #[test]
    fn a_directory_is_told_from_a_file() {
        let (_temp, base) = fixture();
        let root = base.join("repo");
        for directory in ["/", "src", "src/"] {
            assert!(is_directory(&root, directory), "{directory}");
        }
        for other in ["src/main.rs", "gone", "gone/"] {
            assert!(!is_directory(&root, other), "{other}");
        }
    }
}
