//! Where the agent works: its scope, its checkout, and the scope-relative names of paths.
//!
//! What must hold: a path gets the same name from every worktree of the repository, also from another one than
//! the agent's own.

use std::path::{Path, PathBuf};

use mesh_client::scope::{self, Scope};
use mesh_client::worktree::WorktreeInfo;

use crate::args::Failure;

/// Where the agent works.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Scope to join.
    pub(crate) scope: String,
    /// Root that scope-relative paths start from.
    root: PathBuf,
    /// What relative paths of the agent are relative to.
    directory: PathBuf,
    /// Slug of the checkout itself; differs from `scope` when that was chosen.
    slug: String,
}

impl Place {
    /// Finds out about a directory; `chosen` is a scope to use instead of the derived one. Runs git.
    pub(crate) async fn find(directory: &Path, chosen: Option<&str>) -> Result<Self, Failure> {
        let here = directory.to_path_buf();
        let detected = blocking(move || scope::detect(&here)).await?;
        match (detected, chosen) {
            (Ok(Scope { slug, root, .. }), chosen) => Ok(Self {
                scope: chosen.map_or_else(|| slug.clone(), str::to_owned),
                root,
                directory: directory.to_path_buf(),
                slug,
            }),
            (Err(_), Some(chosen)) => Ok(Self {
                scope: chosen.to_owned(),
                root: directory.to_path_buf(),
                directory: directory.to_path_buf(),
                slug: String::new(),
            }),
            (Err(error), None) => Err(Failure::new(error.to_string())),
        }
    }

    /// Root of the checkout, as text.
    pub(crate) fn worktree(&self) -> String {
        self.root.to_string_lossy().into_owned()
    }

    /// Branch and head of the checkout; neither without a repository. Runs git.
    pub(crate) async fn head(&self) -> (String, String) {
        let directory = self.directory.clone();
        let info = blocking(move || WorktreeInfo::read(&directory)).await;
        let info = info.ok().and_then(Result::ok).flatten();
        info.map(|info| (info.branch.unwrap_or_default(), info.head.unwrap_or_default())).unwrap_or_default()
    }

    /// Targets as an agent writes them, with their paths made scope-relative.
    pub(crate) async fn paths(&self, inputs: &[String]) -> Result<Vec<String>, Failure> {
        let mut paths = Vec::with_capacity(inputs.len());
        for input in inputs {
            let path = self.target(input.trim()).await?;
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    async fn target(&self, input: &str) -> Result<String, Failure> {
        if input == "/" || is_subject(input) {
            return Ok(input.into());
        }
        if let Some((file, symbol)) = with_symbol(input) {
            let (_, file) = self.resolve(file).await?;
            return Ok(format!("{file}#{symbol}"));
        }
        let (input, below) = without_subtree(input);
        if let Some((directory, pattern)) = glob(input)
            && !self.directory.join(input).exists()
        {
            let (_, directory) = self.resolve(directory).await?;
            return Ok(below_directory(&directory, pattern, below));
        }
        let (root, mut path) = self.resolve(input).await?;
        if !path.ends_with('/') && (below || scope::is_directory(&root, &path)) {
            path.push('/');
        }
        Ok(path)
    }

    /// The name of a path, and the root of the checkout that it is in.
    async fn resolve(&self, input: &str) -> Result<(PathBuf, String), Failure> {
        let typed = Path::new(input);
        match scope::relative_path(&self.root, &self.directory, typed) {
            Ok(path) => Ok((self.root.clone(), path)),
            Err(error) => self.other_worktree(typed).await.ok_or_else(|| Failure::new(error.to_string())),
        }
    }

    /// The name of an absolute path in another worktree or clone of the same repository, and that one's root.
    async fn other_worktree(&self, path: &Path) -> Option<(PathBuf, String)> {
        if !path.is_absolute() || self.slug.is_empty() {
            return None;
        }
        let directory = path.ancestors().find(|ancestor| ancestor.is_dir())?.to_path_buf();
        let other = blocking(move || scope::detect(&directory)).await.ok()?.ok()?;
        if other.slug != self.slug {
            return None;
        }
        let relative = scope::relative_path(&other.root, &self.directory, path).ok()?;
        Some((other.root, relative))
    }
}

/// Whether a target is a subject, such as `task:ABC-12`: a lower-case word of 2 to 32 characters, a colon, a name.
pub(crate) fn is_subject(input: &str) -> bool {
    input.split_once(':').is_some_and(|(word, _)| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (2..=32).contains(&word.len())
            && word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(plain)
    })
}

/// File and symbol of `src/auth.ts#Session::refresh`.
fn with_symbol(input: &str) -> Option<(&str, &str)> {
    let (file, symbol) = input.rsplit_once('#')?;
    let named = !file.is_empty() && !file.ends_with('/') && !symbol.is_empty() && !symbol.contains('/');
    named.then_some((file, symbol))
}

/// The directory meant by `src/**`, and whether it was written so.
fn without_subtree(input: &str) -> (&str, bool) {
    match input.strip_suffix("**").or_else(|| input.strip_suffix("**/*")) {
        Some("") => (".", true),
        Some(directory) if directory.ends_with('/') => (directory, true),
        Some(_) | None => (input, false),
    }
}

/// The directory that a glob starts from, and its pattern; `None` if it is none.
fn glob(input: &str) -> Option<(&str, &str)> {
    let first = input.find(['*', '?', '[', '{'])?;
    let start = input[..first].rfind('/').map_or(0, |slash| slash + 1);
    let (directory, pattern) = input.split_at(start);
    Some((if directory.is_empty() { "." } else { directory }, pattern))
}

fn below_directory(directory: &str, pattern: &str, below: bool) -> String {
    let below = if below { "**" } else { "" };
    match directory.strip_suffix('/').unwrap_or(directory) {
        "" => format!("{pattern}{below}"),
        directory => format!("{directory}/{pattern}{below}"),
    }
}

/// Runs what blocks, such as git, beside the loop that answers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let result = tokio::task::spawn_blocking(work).await;
    result.map_err(|error| Failure::new(format!("an inner task failed ({error}); call again")))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    fn git(directory: &Path, args: &[&str]) {
        let mut git = Command::new("git");
        git.current_dir(directory).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(git.output().unwrap().status.success(), "git {args:?}");
    }

    /// A repository `app` with `src/`, and a linked worktree `wt` beside it.
    fn repository() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("app/src")).unwrap();
        git(&base, &["init", "-q", "-b", "main", "app"]);
        let app = base.join("app");
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
        git(&app, &[&identity[..], &["commit", "-q", "--allow-empty", "-m", "one"]].concat());
        git(&app, &["worktree", "add", "-q", "-b", "side", "../wt"]);
        (temp, base)
    }

    #[tokio::test]
    async fn paths_get_one_name_however_they_are_written() {
        let (_temp, base) = repository();
        let place = Place::find(&base.join("app/src"), None).await.unwrap();
        for (typed, name) in [
            ("auth.rs".to_owned(), "src/auth.rs"),
            (base.join("app/src/auth.rs").display().to_string(), "src/auth.rs"),
            (base.join("wt/src/auth.rs").display().to_string(), "src/auth.rs"),
            (base.join("app/src").display().to_string(), "src/"),
            ("../src".into(), "src/"),
            ("../src/".into(), "src/"),
            ("../src/**".into(), "src/"),
            ("../docs/**/*".into(), "docs/"),
            ("..".into(), "/"),
            ("/".into(), "/"),
            (" auth.rs ".into(), "src/auth.rs"),
        ] {
            assert_eq!(place.paths(std::slice::from_ref(&typed)).await.unwrap(), [name], "{typed}");
        }
        let twice = ["auth.rs".to_owned(), "./auth.rs".to_owned()];
        assert_eq!(place.paths(&twice).await.unwrap(), ["src/auth.rs"]);
        for bad in ["/etc/passwd", "../../other/x", "/etc/*", "../../*.rs", "../../x#y"] {
            assert!(place.paths(&[bad.to_owned()]).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn globs_symbols_and_subjects_keep_what_is_no_path() {
        let (_temp, base) = repository();
        fs::create_dir_all(base.join("app/src/[id]")).unwrap();
        let place = Place::find(&base.join("app/src"), None).await.unwrap();
        for (typed, name) in [
            ("*.rs".to_owned(), "src/*.rs"),
            ("../*.md".into(), "*.md"),
            ("a/**/*_test.rs".into(), "src/a/**/*_test.rs"),
            ("../docs/{a,b}/c?.md".into(), "docs/{a,b}/c?.md"),
            ("a*/**".into(), "src/a*/**"),
            ("[slug].tsx".into(), "src/[slug].tsx"),
            ("[id]".into(), "src/[id]/"),
            (base.join("wt/src/*.rs").display().to_string(), "src/*.rs"),
            ("auth.ts#Session::refresh".into(), "src/auth.ts#Session::refresh"),
            (base.join("wt/a#b.c").display().to_string(), "a#b.c"),
            ("a#b/c".into(), "src/a#b/c"),
            ("task:ABC-12".into(), "task:ABC-12"),
            ("api:billing/v2".into(), "api:billing/v2"),
            ("A:b".into(), "src/A:b"),
        ] {
            assert_eq!(place.paths(std::slice::from_ref(&typed)).await.unwrap(), [name], "{typed}");
        }
    }

    #[tokio::test]
    async fn branch_and_head_come_from_the_checkout() {
        let (_temp, base) = repository();
        let place = Place::find(&base.join("wt"), Some("chosen")).await.unwrap();
        assert_eq!(place.scope, "chosen");
        assert_eq!(place.worktree(), base.join("wt").display().to_string());
        let (branch, head) = place.head().await;
        assert_eq!((branch.as_str(), head.len()), ("side", 12));
    }

    #[tokio::test]
    async fn a_directory_that_is_gone_needs_a_chosen_scope() {
        let gone = Path::new("/no/such/directory");
        assert!(Place::find(gone, None).await.is_err());
        assert_eq!(Place::find(gone, Some("chosen")).await.unwrap().scope, "chosen");
    }
}
