//! Scopes of real repositories, each test in a temporary directory of its own.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

struct Lab {
    git: Git,
    base: PathBuf,
    _temp: TempDir,
}

impl Lab {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        Self { git: Git::isolated(&base), base, _temp: temp }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    fn git(&self, dir: &str, line: &str) -> String {
        self.git.ok(&self.dir(dir), line)
    }

    /// A repository with remotes, given as name and URL.
    fn repository(&self, name: &str, remotes: &[(&str, &str)]) {
        self.git("", &format!("init -q -b main {name}"));
        for (remote, url) in remotes {
            self.git(name, &format!("remote add {remote} {url}"));
        }
    }

    fn commit(&self, dir: &str) {
        self.git(dir, "commit -q --allow-empty -m change");
    }

    fn scope(&self, dir: &str) -> Scope {
        let scope = detect_with(&self.git, &self.dir(dir)).unwrap();
        assert!(slug::is_valid(&scope.slug), "{scope:?}");
        scope
    }

    fn slug(&self, dir: &str) -> String {
        self.scope(dir).slug
    }
}

fn remote(name: &str) -> ScopeSource {
    ScopeSource::Remote(name.to_owned())
}

#[test]
fn https_and_ssh_clones_share_a_scope() {
    let lab = Lab::new();
    lab.repository("one", &[("origin", "https://alice@github.com/Acme/App.git")]);
    lab.repository("two", &[("origin", "git@github.com:acme/app")]);
    let one = lab.scope("one");
    let expected =
        Scope { slug: "github.com/acme/app".into(), source: remote("origin"), root: lab.dir("one") };
    assert_eq!(one, expected);
    assert_eq!(lab.slug("two"), one.slug);
}

#[test]
fn of_several_remotes_origin_names_the_project() {
    let lab = Lab::new();
    lab.repository("app", &[("a", "https://x.example/a/app"), ("origin", "https://x.example/o/app")]);
    lab.git("app", "config branch.main.remote a");
    assert_eq!(lab.slug("app"), "x.example/o/app");
}

#[test]
fn without_origin_the_branchs_remote_names_it_and_else_the_first() {
    let lab = Lab::new();
    lab.repository("app", &[("b", "https://x.example/b/app"), ("a", "https://x.example/a/app")]);
    assert_eq!(lab.scope("app").source, remote("a"));
    lab.git("app", "config branch.main.remote b");
    assert_eq!(lab.scope("app").source, remote("b"));
    lab.commit("app");
    lab.git("app", "worktree add -q -b other ../linked");
    lab.git("linked", "config branch.other.remote a");
    assert_eq!(lab.scope("linked").source, remote("b"), "worktrees share a scope");
}

#[test]
fn a_remote_that_names_nothing_makes_room_for_the_next() {
    let lab = Lab::new();
    lab.repository("app", &[("origin", "/nowhere/app.git"), ("up", "https://x.example/app")]);
    assert_eq!(lab.scope("app").source, remote("up"));
}

#[test]
fn configuration_is_read_as_git_reads_it() {
    let lab = Lab::new();
    lab.repository("app", &[("origin", "gh:acme/app"), ("my.fork", "gh:me/app")]);
    lab.git("app", "config url.https://x.example/.insteadOf g");
    fs::write(lab.dir("more"), "[url \"git@github.com:\"]\n\tinsteadOf = gh:\n").unwrap();
    lab.git("app", "config include.path ../../more");
    assert_eq!(lab.slug("app"), "github.com/acme/app");
    lab.git("app", "remote remove origin");
    assert_eq!(lab.scope("app").source, remote("my.fork"));
}

#[test]
fn linked_worktrees_share_the_scope_and_have_their_own_root() {
    let lab = Lab::new();
    lab.repository("app", &[("origin", "git@github.com:acme/app.git")]);
    lab.repository("bare-of-remotes", &[]);
    for name in ["app", "bare-of-remotes"] {
        lab.commit(name);
        let linked = format!("{name}-linked");
        lab.git(name, &format!("worktree add -q ../{linked}"));
        assert_eq!(lab.slug(&linked), lab.slug(name));
        assert_eq!(lab.scope(&linked).root, lab.dir(&linked));
    }
}

#[test]
fn a_submodule_is_a_project_of_its_own() {
    let lab = Lab::new();
    lab.repository("lib", &[("origin", "https://github.com/acme/lib")]);
    lab.commit("lib");
    lab.repository("app", &[("origin", "https://github.com/acme/app")]);
    let lib = lab.dir("lib").display().to_string();
    lab.git("app", &format!("-c protocol.file.allow=always submodule --quiet add {lib} vendor/lib"));
    assert_eq!(lab.slug("app/vendor/lib"), "github.com/acme/lib", "by the remote of its remote");
    lab.git("app/vendor/lib", "remote set-url origin https://github.com/acme/lib");
    let submodule = lab.scope("app/vendor/lib");
    assert_eq!(submodule.slug, "github.com/acme/lib");
    assert_eq!(submodule.root, lab.dir("app/vendor/lib"));
    assert_eq!(lab.slug("app/vendor"), "github.com/acme/app");
}

#[test]
fn without_remote_the_oldest_root_commit_names_it() {
    let lab = Lab::new();
    lab.repository("app", &[]);
    let dated = |seconds: u32| {
        let date = format!("@{seconds} +0000");
        Git::isolated(&lab.base).with("GIT_AUTHOR_DATE", &date).with("GIT_COMMITTER_DATE", &date)
    };
    dated(2_000_000).ok(&lab.dir("app"), "commit -q --allow-empty -m one");
    let root = lab.git("app", "rev-parse HEAD");
    dated(3_000_000).ok(&lab.dir("app"), "commit -q --allow-empty -m two");
    lab.git("app", "checkout -q --orphan pages");
    dated(4_000_000).ok(&lab.dir("app"), "commit -q --allow-empty -m pages");
    fs::write(lab.dir("app/untracked"), "").unwrap();
    dated(1_000_000).ok(&lab.dir("app"), "stash -q -u");
    let scope = lab.scope("app");
    assert_eq!((scope.slug, scope.source), (format!("git/{root}"), ScopeSource::RootCommit));
}

#[test]
fn clones_of_a_repository_on_this_machine_share_its_scope() {
    let lab = Lab::new();
    lab.git("", "init -q --bare -b main hub.git");
    let hub = lab.dir("hub");
    lab.repository("one", &[("origin", &hub.display().to_string())]);
    lab.repository("two", &[("origin", "../hub.git")]);
    lab.repository("three", &[("origin", &format!("file://{}.git", hub.display()))]);
    // Empty, then with a commit that only one of them has.
    assert_eq!(lab.slug("one"), lab.slug("hub.git"));
    lab.commit("one");
    assert_eq!(lab.slug("one"), lab.slug("two"));
    lab.git("one", "push -q origin main");
    assert_eq!(lab.slug("two"), format!("git/{}", lab.git("one", "rev-parse HEAD")));
    assert_eq!(lab.slug("three"), lab.slug("two"));
    assert_eq!(lab.scope("three").source, remote("origin"));
    // The remote of the remote, and a remote that is gone.
    lab.git("hub.git", "remote add up https://github.com/acme/app");
    assert_eq!(lab.slug("two"), "github.com/acme/app");
    fs::rename(lab.dir("hub.git"), lab.dir("moved.git")).unwrap();
    assert_eq!(lab.scope("one").source, ScopeSource::RootCommit);
}

#[test]
fn remotes_that_name_each_other_come_to_an_end() {
    let lab = Lab::new();
    lab.repository("one", &[("origin", "../two")]);
    lab.commit("one");
    lab.git("", "clone -q one two");
    assert_eq!(lab.slug("one"), lab.slug("two"));
}

#[test]
fn without_remote_and_commits_the_main_checkout_names_it() {
    let lab = Lab::new();
    lab.repository("app", &[]);
    fs::create_dir(lab.dir("app/src")).unwrap();
    let scope = lab.scope("app/src");
    assert_eq!(scope.source, ScopeSource::Directory);
    assert_eq!(scope.root, lab.dir("app"));
    assert!(scope.slug.starts_with("host/"), "{}", scope.slug);
    assert_eq!(scope.slug, directory_slug(&lab.dir("app")));
    assert_eq!(lab.slug("app/.git"), scope.slug);
}

#[test]
fn without_repository_host_and_directory_name_it() {
    let lab = Lab::new();
    for name in ["plain/sub", "Plain", "with space"] {
        fs::create_dir_all(lab.dir(name)).unwrap();
    }
    let scope = lab.scope("plain/sub");
    assert_eq!((&scope.source, scope.root), (&ScopeSource::Directory, lab.dir("plain/sub")));
    assert_ne!(lab.slug("plain"), lab.slug("Plain"));
    assert!(lab.slug("with space").contains("/with+20space"));
    assert!(slug::is_valid(&directory_slug(Path::new("/"))));
}

#[test]
fn without_git_there_are_no_repositories() {
    let lab = Lab::new();
    lab.repository("app", &[("origin", "https://github.com/acme/app")]);
    let scope = detect_with(&Git::missing(), &lab.dir("app")).unwrap();
    assert_eq!((scope.source, scope.root), (ScopeSource::Directory, lab.dir("app")));
}

#[test]
fn a_bare_repository_is_its_own_root() {
    let lab = Lab::new();
    lab.git("", "init -q --bare hub.git");
    assert_eq!(lab.scope("hub.git").source, ScopeSource::Directory);
    lab.git("hub.git", "remote add origin https://github.com/acme/app");
    let scope = lab.scope("hub.git");
    assert_eq!((scope.slug.as_str(), scope.root), ("github.com/acme/app", lab.dir("hub.git")));
}

#[test]
fn a_worktree_of_a_bare_repository_shares_its_scope() {
    let lab = Lab::new();
    lab.repository("seed", &[]);
    lab.commit("seed");
    lab.git("", "clone -q --bare seed hub.git");
    lab.git("hub.git", "remote remove origin");
    lab.git("hub.git", "worktree add -q ../linked main");
    assert_eq!(lab.slug("linked"), lab.slug("hub.git"));
    assert_eq!(lab.scope("linked").root, lab.dir("linked"));
}

#[test]
fn a_subdirectory_and_a_link_lead_to_the_same_scope() {
    let lab = Lab::new();
    lab.repository("app", &[("origin", "https://github.com/acme/app")]);
    fs::create_dir_all(lab.dir("app/src/deep")).unwrap();
    symlink(lab.dir("app/src"), lab.dir("link")).unwrap();
    for dir in ["app/src/deep", "link", "link/deep", "link/../src"] {
        assert_eq!(lab.scope(dir), lab.scope("app"), "{dir}");
    }
}

#[test]
fn git_dir_in_the_environment_does_not_lead_astray() {
    let mut lab = Lab::new();
    lab.repository("app", &[("origin", "https://github.com/acme/app")]);
    lab.repository("other", &[("origin", "https://github.com/acme/other")]);
    let other = lab.dir("other");
    lab.git = lab.git.with("GIT_DIR", other.join(".git")).with("GIT_WORK_TREE", other);
    assert_eq!(lab.slug("app"), "github.com/acme/app");
    assert_eq!(lab.scope("app").root, lab.dir("app"));
}

#[test]
fn a_directory_that_is_gone_or_a_file_is_an_error() {
    let lab = Lab::new();
    fs::write(lab.dir("file"), "").unwrap();
    for name in ["gone", "file"] {
        let error = detect_with(&lab.git, &lab.dir(name)).unwrap_err();
        assert!(matches!(error, ScopeError::Directory { .. }), "{name}: {error}");
    }
}

#[test]
fn another_users_repository_is_an_error_that_names_the_fix() {
    let mut lab = Lab::new();
    lab.repository("app", &[("origin", "https://github.com/acme/app")]);
    lab.git = lab.git.with("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
    let error = detect_with(&lab.git, &lab.dir("app")).unwrap_err();
    let ScopeError::DubiousOwnership { repository } = &error else { panic!("{error}") };
    assert_eq!(Path::new(repository), lab.dir("app"));
    assert!(error.to_string().contains("git config --global --add safe.directory"), "{error}");
}

#[test]
fn a_repository_that_cannot_be_read_is_an_error_and_no_guess() {
    let lab = Lab::new();
    lab.repository("app", &[]);
    lab.commit("app");
    lab.git("app", "worktree add -q ../linked");
    fs::rename(lab.dir("app"), lab.dir("moved")).unwrap();
    fs::write(lab.dir("moved/.git/config"), "[nonsense").unwrap();
    for dir in ["linked", "moved"] {
        let error = detect_with(&lab.git, &lab.dir(dir)).unwrap_err();
        assert!(matches!(error, ScopeError::Git { .. }), "{dir}: {error}");
        assert!(error.to_string().contains("MESH_SCOPE"), "{error}");
    }
}
