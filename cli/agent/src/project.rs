//! The checkout that a path is in: its scope, its branch, and what its people decided about hooks.
//!
//! Owns the way from a path to its checkout. No git is run for a checkout that was seen before: the scope is kept in
//! the home, with what it was derived from, and the branch is read from the repository's `HEAD`. What must hold: a path
//! is named after the checkout that holds the file which a tool is about to touch, wherever the session was started.

mod ignore;
mod kept;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

use mesh_client::Home;
use mesh_client::scope::{self, ScopeSource};

use self::ignore::Ignored;
pub(crate) use self::settings::{Policy, Settings};

/// The most that is read of a small file of a checkout.
const SMALL_FILE: u64 = 64 << 10;

/// Longest name that the broker takes, in bytes.
const LONGEST: usize = 1024;

/// One checkout.
#[derive(Debug)]
pub(crate) struct Project {
    /// The scope of its project.
    pub(crate) scope: String,
    /// Its root, canonical.
    pub(crate) root: PathBuf,
    /// What its people decided.
    pub(crate) settings: Settings,
    git: Option<GitDir>,
    ignored: Ignored,
}

/// Where a checkout keeps its state.
#[derive(Clone, Debug, PartialEq, Eq)]
struct GitDir {
    /// That of the checkout: `HEAD`, index.
    own: PathBuf,
    /// That of the repository: configuration, branches.
    common: PathBuf,
}

impl Project {
    /// The checkout around a path, which need not exist; without a repository, the directory itself.
    pub(crate) fn around(path: &Path, home: &Home, chosen: Option<&str>) -> Result<Self, String> {
        let directory =
            existing_directory(path).ok_or_else(|| format!("no directory of {} exists", path.display()))?;
        let found = directory.ancestors().find_map(|root| Some((root.to_owned(), GitDir::of(root)?)));
        let (root, git) = match found {
            Some((root, git)) => (root, Some(git)),
            None => (directory, None),
        };
        let stamp = git.as_ref().map(|git| kept::stamp(&git.common.join("config")));
        let scope = match chosen {
            Some(chosen) => chosen.to_owned(),
            None => kept::scope(home, &root, stamp.as_deref().unwrap_or_default(), || {
                let found = scope::detect(&root).map_err(|error| error.to_string())?;
                // A repository without a commit gets its scope with the first one, or its git is missing today.
                let lasts = git.is_none() || found.source != ScopeSource::Directory;
                Ok((found.slug, lasts))
            })?,
        };
        let settings = Settings::read(&root)?;
        let ignored = Ignored::read(&root);
        Ok(Self { scope, root, settings, git, ignored })
    }

    /// The scope-relative name of a path; `None` when it is outside, or nothing that others should hear of.
    pub(crate) fn name(&self, path: &Path) -> Option<String> {
        let name = scope::relative_path(&self.root, &self.root, path).ok()?;
        let inside = name.split('/').next() != Some(".git") && name != "/";
        (inside && is_target(&name) && !self.ignored.holds(&name)).then_some(name)
    }

    /// The branch that is checked out; `None` when detached or without a repository.
    pub(crate) fn branch(&self) -> Option<String> {
        let head = read_small(&self.git.as_ref()?.own.join("HEAD"))?;
        Some(head.trim_end().strip_prefix("ref: refs/heads/")?.to_owned())
    }

    /// Whether another path is in the same checkout.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }

    /// Whether there is a repository.
    pub(crate) fn has_git(&self) -> bool {
        self.git.is_some()
    }
}

impl GitDir {
    /// That of a directory with a `.git`: a directory, or a file that names one, as in worktrees and submodules.
    fn of(root: &Path) -> Option<Self> {
        let entry = root.join(".git");
        let metadata = fs::metadata(&entry).ok()?;
        if metadata.is_dir() {
            return Some(Self { common: entry.clone(), own: entry });
        }
        let own = root.join(read_small(&entry)?.trim_end().strip_prefix("gitdir: ")?);
        let common = read_small(&own.join("commondir")).map(|common| own.join(common.trim_end()));
        Some(Self { common: common.unwrap_or_else(|| own.clone()), own })
    }
}

/// Whether a name means one file to the broker too, and not several or none.
fn is_target(name: &str) -> bool {
    let is_plain = !name.contains(|c: char| c.is_control() || matches!(c, '*' | '?' | '\\'));
    let is_symbol = name.rsplit_once('#').is_some_and(|(_, symbol)| !symbol.contains('/'));
    let is_subject = name.split('/').next().is_some_and(|first| first.contains(':'));
    let is_several = name.contains('{') && name.contains(',');
    name.len() <= LONGEST && is_plain && !is_symbol && !is_subject && !is_several
}

/// The nearest directory at or above a path that exists, canonical.
fn existing_directory(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .find_map(|path| path.canonicalize().ok())
        .and_then(|real| if real.is_dir() { Some(real) } else { real.parent().map(Path::to_path_buf) })
}

fn read_small(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    fs::File::open(path).ok()?.take(SMALL_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(directory: &Path, args: &[&str]) {
        let mut git = Command::new("git");
        git.current_dir(directory).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert!(git.output().unwrap().status.success(), "git {args:?}");
    }

    /// A repository `app` on `main`, a worktree `wt` on `side`, a directory `plain`, and a home.
    fn fixture() -> (tempfile::TempDir, PathBuf, Home) {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("app/src")).unwrap();
        fs::create_dir_all(base.join("plain/below")).unwrap();
        git(&base, &["init", "-q", "-b", "main", "app"]);
        let app = base.join("app");
        git(&app, &["remote", "add", "origin", "git@github.com:acme/app.git"]);
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
        git(&app, &[&identity[..], &["commit", "-q", "--allow-empty", "-m", "one"]].concat());
        git(&app, &["worktree", "add", "-q", "-b", "side", "../wt"]);
        let home = Home::at(base.join("home")).unwrap();
        home.create().unwrap();
        (temp, base, home)
    }

    fn around(base: &Path, path: &str, home: &Home) -> Project {
        Project::around(&base.join(path), home, None).unwrap()
    }

    #[test]
    fn every_checkout_of_a_repository_has_its_scope_and_its_own_branch() {
        let (_temp, base, home) = fixture();
        for _ in 0..2 {
            for (path, root, branch) in [
                ("app/src/new/file.rs", "app", "main"),
                ("wt/src/x.rs", "wt", "side"),
                ("app", "app", "main"),
            ] {
                let project = around(&base, path, &home);
                assert_eq!(project.scope, "github.com/acme/app", "{path}");
                assert_eq!(project.root, base.join(root));
                assert_eq!(project.branch().as_deref(), Some(branch));
            }
        }
        assert!(!around(&base, "plain", &home).has_git());
    }

    #[test]
    fn a_changed_remote_is_noticed() {
        let (_temp, base, home) = fixture();
        assert_eq!(around(&base, "app", &home).scope, "github.com/acme/app");
        git(&base.join("app"), &["remote", "set-url", "origin", "git@github.com:acme/renamed-app.git"]);
        assert_eq!(around(&base, "wt", &home).scope, "github.com/acme/renamed-app");
        assert_eq!(around(&base, "app", &home).scope, "github.com/acme/renamed-app");
    }

    #[test]
    fn a_scope_that_does_not_last_is_not_kept() {
        let (_temp, base, home) = fixture();
        git(&base, &["init", "-q", "-b", "main", "empty"]);
        assert!(around(&base, "empty", &home).scope.starts_with("host/"));
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
        git(&base.join("empty"), &[&identity[..], &["commit", "-q", "--allow-empty", "-m", "one"]].concat());
        assert!(around(&base, "empty", &home).scope.starts_with("git/"));
    }

    #[test]
    fn what_the_broker_would_take_for_something_else_is_not_named() {
        let (_temp, base, home) = fixture();
        let app = around(&base, "app", &home);
        for name in ["a\nb.rs", "*.rs", "what?.md", &"x/".repeat(600)] {
            assert_eq!(app.name(&base.join("app").join(name)), None, "{name:?}");
        }
        assert_eq!(app.name(&base.join("app/[id].tsx")).as_deref(), Some("[id].tsx"));
    }

    #[test]
    fn a_path_is_named_in_the_checkout_that_holds_it() {
        let (_temp, base, home) = fixture();
        std::os::unix::fs::symlink(base.join("wt/src"), base.join("app/linked")).unwrap();
        fs::create_dir_all(base.join("wt/src")).unwrap();
        let app = around(&base, "app", &home);
        assert_eq!(app.name(&base.join("app/src/a.rs")).as_deref(), Some("src/a.rs"));
        assert_eq!(app.name(&base.join("plain/x")), None);
        // Through a symbolic link into another worktree.
        let target = base.join("app/linked/b.rs");
        let project = Project::around(&target, &home, None).unwrap();
        assert_eq!((project.root.clone(), project.name(&target)), (base.join("wt"), Some("src/b.rs".into())));
    }

    #[test]
    fn secrets_and_the_repository_itself_are_not_named() {
        let (_temp, base, home) = fixture();
        fs::write(base.join("app/.meshignore"), "generated/\n*.tmp\n!keep.tmp\n").unwrap();
        let app = around(&base, "app", &home);
        for (path, named) in [
            ("src/a.rs", true),
            (".env", false),
            ("deploy/.env.production", false),
            ("keys/server.pem", false),
            ("id_ed25519", false),
            (".git/config", false),
            ("generated/x.rs", false),
            ("a.tmp", false),
            ("keep.tmp", true),
            ("src/environment.rs", true),
            ("src/.#lock.rs", false),
            ("src/a#b.rs", false),
            ("a:b", false),
            ("src/{a,b}.rs", false),
            ("src/a\\b", false),
            ("src/[id].rs", true),
            ("a#b/c.rs", true),
        ] {
            assert_eq!(app.name(&base.join("app").join(path)).is_some(), named, "{path}");
        }
    }

    #[test]
    fn a_directory_without_a_repository_is_a_project_of_its_own() {
        let (_temp, base, home) = fixture();
        let plain = around(&base, "plain/below", &home);
        assert!(plain.scope.starts_with("host/"), "{}", plain.scope);
        assert_eq!(plain.root, base.join("plain/below"));
        assert_eq!(plain.branch(), None);
        assert!(Project::around(Path::new("relative"), &home, None).is_err());
    }
}
