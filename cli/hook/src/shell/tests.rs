use proptest::prelude::*;

use super::*;
use crate::How;

/// `verb kind [path] [@ dir]` of every move.
fn moves(command: &str) -> Vec<String> {
    let show = |moved: GitMove| {
        let kind = match moved.kind {
            Change::Head => "head".to_owned(),
            Change::Index => "index".to_owned(),
            Change::Stash => "stash".to_owned(),
            Change::Files => "files".to_owned(),
            Change::Sweep => "sweep".to_owned(),
            Change::Clean => "clean".to_owned(),
            Change::WorktreeRemove(path) => format!("gone {}", path.display()),
        };
        let dir = moved.dir.map(|dir| format!(" @ {}", dir.display())).unwrap_or_default();
        format!("{}: {kind}{dir}", moved.verb)
    };
    git_moves(command).into_iter().map(show).collect()
}

fn check(table: &[(&str, &[&str])]) {
    for (command, expected) in table {
        assert_eq!(moves(command), *expected, "{command}");
    }
}

#[test]
fn commands_that_move_the_head() {
    check(&[
        ("git checkout main", &["checkout: head"]),
        ("git checkout -b feature/x", &["checkout: head"]),
        ("git checkout -", &["checkout: head"]),
        ("git checkout --detach", &["checkout: head"]),
        ("git checkout -B x origin/x", &["checkout: head"]),
        ("git switch -c topic", &["switch: head"]),
        ("git reset --hard origin/main", &["reset: head"]),
        ("git reset --soft HEAD~1", &["reset: head"]),
        ("git reset abc123", &["reset: head"]),
        ("git rebase -i main", &["rebase: head"]),
        ("git rebase --abort", &["rebase: head"]),
        ("git merge --no-ff x", &["merge: head"]),
        ("git pull --rebase", &["pull: head"]),
        ("git cherry-pick abc", &["cherry-pick: head"]),
        ("git revert HEAD --no-edit", &["revert: head"]),
        ("git am < fix.patch", &["am: head"]),
        ("git commit --amend --no-edit", &["commit: head"]),
        ("git branch -M main", &["branch: head"]),
        ("git bisect start", &["bisect start: head"]),
        ("git update-ref HEAD abc", &["update-ref: head"]),
        ("git symbolic-ref HEAD refs/heads/x", &["symbolic-ref: head"]),
        ("gh pr checkout 12", &["gh pr checkout: head"]),
    ]);
}

#[test]
fn commands_that_change_index_files_or_stash() {
    check(&[
        ("git reset", &["reset: index"]),
        ("git reset HEAD src/main.rs", &["reset: index"]),
        ("git reset -- src/main.rs", &["reset: index"]),
        ("git reset src/main.rs", &["reset: index"]),
        ("git restore --staged .", &["restore: index"]),
        ("git cherry-pick -n abc", &["cherry-pick: index"]),
        ("git apply --index x.patch", &["apply: index"]),
        ("git read-tree HEAD", &["read-tree: index"]),
        ("git reset --hard", &["reset: files"]),
        ("git reset --hard HEAD", &["reset: files"]),
        ("git checkout -- src", &["checkout: files"]),
        ("git checkout .", &["checkout: files"]),
        ("git checkout main src/lib.rs", &["checkout: files"]),
        ("git checkout src/lib.rs", &["checkout: files"]),
        ("git restore src/lib.rs", &["restore: files"]),
        ("git restore -SW .", &["restore: files"]),
        ("git sparse-checkout set a", &["sparse-checkout set: files"]),
        ("git stash", &["stash push: stash"]),
        ("git stash -u -m 'wip: x'", &["stash push: stash"]),
        ("git stash -- src", &["stash push: stash"]),
        ("git stash push -m x", &["stash push: stash"]),
        ("git stash pop", &["stash pop: stash"]),
        ("git stash drop stash@{1}", &["stash drop: stash"]),
        ("git stash clear", &["stash clear: stash"]),
        ("git commit -am 'all of it'", &["commit: sweep"]),
        ("git commit --all -m x", &["commit: sweep"]),
        ("git add -A", &["add: sweep"]),
        ("git add . && git commit -m x", &["add: sweep"]),
        ("git clean -fdx", &["clean: clean"]),
        ("git worktree remove ../wt --force", &["worktree remove: gone ../wt"]),
        ("git worktree move a b", &["worktree move: gone a"]),
    ]);
}

#[test]
fn harmless_commands() {
    let harmless = [
        "git status",
        "git log --oneline",
        "git diff HEAD~1",
        "git fetch origin",
        "git push -f",
        "git show HEAD",
        "git stash list",
        "git stash show -p",
        "git branch",
        "git branch -D old",
        "git branch -f other main",
        "git branch -m old new",
        "git checkout",
        "git checkout --help",
        "git reset -h",
        "git clean -n",
        "git clean -fn",
        "git clean",
        "git commit -m 'git checkout main'",
        "git commit -m -a",
        "git commit -ma",
        "git commit -- src/a.rs",
        "git commit --dry-run -a",
        "git add src/a.rs",
        "git add -A src",
        "git add -p .",
        "git apply x.patch",
        "git worktree list",
        "git worktree add ../x",
        "git bisect log",
        "git merge-base a b",
        "git rev-parse HEAD",
        "git symbolic-ref HEAD",
        "git rebase --show-current-patch",
        "echo git checkout main",
        "grep 'git stash' notes",
        "# git checkout main",
        "git",
        "",
        "cat <<EOF\ngit checkout main\nEOF",
        "ssh host git checkout main",
        "command -v git checkout",
        "gitk checkout",
        "./git/checkout",
        "git --version",
        "git -C",
        "docker run x git reset --hard",
        "git notes add -A",
        "git cherry-pick --quit",
    ];
    for command in harmless {
        assert_eq!(moves(command), Vec::<String>::new(), "{command}");
    }
}

#[test]
fn options_of_git_itself_are_passed_over() {
    check(&[
        ("git -C sub checkout x", &["checkout: head @ sub"]),
        ("git -C a -C b switch x", &["switch: head @ a/b"]),
        ("git -c user.name='A B' -c x=y stash", &["stash push: stash"]),
        ("git --no-pager -p checkout x", &["checkout: head"]),
        ("git --git-dir=/r/.git --work-tree /r reset", &["reset: index @ /r"]),
        ("git --git-dir /r/.git checkout x", &["checkout: head @ /r"]),
        ("GIT_WORK_TREE=/w GIT_DIR=/w/.git git stash", &["stash push: stash @ /w"]),
        ("git -C /r worktree remove wt", &["worktree remove: gone /r/wt @ /r"]),
    ]);
}

#[test]
fn what_stands_before_a_command_is_passed_over() {
    check(&[
        ("FOO=1 BAR='x y' git checkout x", &["checkout: head"]),
        ("sudo -u bob git stash", &["stash push: stash"]),
        ("sudo -E GIT_X=1 git stash", &["stash push: stash"]),
        ("command git checkout x", &["checkout: head"]),
        ("env -i PATH=/bin git pull", &["pull: head"]),
        ("env -C sub git pull", &["pull: head @ sub"]),
        ("time -p nice -n 5 nohup git pull", &["pull: head"]),
        ("timeout -s KILL 30s git pull", &["pull: head"]),
        ("exec /usr/bin/git pull", &["pull: head"]),
        ("! git merge x", &["merge: head"]),
        (
            "if git merge x; then git stash pop; else git merge --abort; fi",
            &["merge: head", "stash pop: stash", "merge: head"],
        ),
        ("git ls-files -m | xargs -n 1 git checkout --", &["checkout: files"]),
        ("git.exe checkout x", &["checkout: head"]),
    ]);
}

#[test]
fn sequences_quotes_and_subshells_are_followed() {
    check(&[
        ("git fetch && git checkout x; git stash", &["checkout: head", "stash push: stash"]),
        ("git stash\ngit pull\r\ngit stash pop", &["stash push: stash", "pull: head", "stash pop: stash"]),
        ("git stash||git pull|cat&git switch x", &["stash push: stash", "pull: head", "switch: head"]),
        ("(git checkout x)", &["checkout: head"]),
        ("git 'checkout' \"x y\"", &["checkout: head"]),
        ("git check\\\nout x", &["checkout: head"]),
        ("git checkout x 2>&1 >/dev/null | tail", &["checkout: head"]),
        ("git pull &> log", &["pull: head"]),
        ("echo \"$(git stash)\"", &["stash push: stash"]),
        ("x=`git checkout y`", &["checkout: head"]),
        ("diff <(git stash) b", &["stash push: stash"]),
        ("bash -lc 'git checkout x && git pull'", &["checkout: head", "pull: head"]),
        ("sh -o pipefail -c \"git stash\"", &["stash push: stash"]),
        ("bash <<'EOF'\ngit stash\nEOF\ngit pull", &["stash push: stash", "pull: head"]),
        ("eval 'git stash'", &["stash push: stash"]),
        ("git commit -F - <<EOF && git pull\ngit stash\nEOF", &["pull: head"]),
        ("cat <<-X\n\tgit stash\n\tX\ngit pull", &["pull: head"]),
        ("git pull <<< 'git stash'", &["pull: head"]),
        ("git checkout 'unclosed", &["checkout: head"]),
    ]);
}

#[test]
fn the_directory_is_that_of_the_command() {
    check(&[
        ("cd sub && git checkout x", &["checkout: head @ sub"]),
        ("cd /r; cd a && git -C b stash", &["stash push: stash @ /r/a/b"]),
        ("(cd sub && git stash); git pull", &["stash push: stash @ sub", "pull: head"]),
        ("cd a && cd - && git pull", &["pull: head"]),
        ("pushd a; git stash; popd; git pull", &["stash push: stash @ a", "pull: head"]),
        ("cd \"$DIR\" && git pull", &["pull: head @ $DIR"]),
        ("cd && git pull", &["pull: head @ ~"]),
        ("cd -P -- sub && git pull", &["pull: head @ sub"]),
        ("bash -c 'cd a && git pull'; git stash", &["pull: head @ a", "stash push: stash"]),
        ("eval 'cd a'; git pull", &["pull: head @ a"]),
        ("cd sub && git worktree remove ../wt", &["worktree remove: gone sub/../wt @ sub"]),
    ]);
}

#[test]
fn patches_in_commands_name_their_files() {
    let paths = |command: &str| -> Vec<String> {
        patched(command).into_iter().map(|e| format!("{} {:?}", e.path.display(), e.how)).collect()
    };
    let patch = "*** Begin Patch\n*** Update File: a.rs\n+x\n*** Add File: b.rs\n+y\n*** End Patch";
    let both = ["a.rs Partial", "b.rs Create"];
    assert_eq!(paths(&format!("apply_patch <<'EOF'\n{patch}\nEOF\n")), both);
    assert_eq!(paths(&format!("apply_patch << \"EOF\" && git status\n{patch}\nEOF")), both);
    assert_eq!(paths(&format!("apply_patch '{patch}'")), both);
    assert_eq!(paths(&format!("bash -lc \"apply_patch <<'EOF'\n{patch}\nEOF\"")), both);
    assert_eq!(
        paths(&format!("cd sub && apply_patch <<EOF\n{patch}\nEOF")),
        ["sub/a.rs Partial", "sub/b.rs Create"]
    );
    assert_eq!(paths(&format!("cat <<EOF\n{patch}\nEOF")), Vec::<String>::new());
    assert_eq!(patched("apply_patch <<EOF\n*** Begin Patch\n*** Delete File: gone")[0].how, How::Delete);
}

#[test]
fn scripts_within_scripts_end_somewhere() {
    let deep = format!("{}git stash{}", "$(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(moves(&deep), Vec::<String>::new());
    assert_eq!(moves(&"(".repeat(100_000)), Vec::<String>::new());
    assert_eq!(moves("echo $(echo $(echo $(git stash)))"), ["stash push: stash"]);
}

proptest! {
    #[test]
    fn no_command_panics(command in "(git|cd|sudo|apply_patch|checkout|stash|-[a-zC]|--[a-z]*|'|\"|`|\\$\\(|\\)|\\(|<<-?E|\nE\n|&&|;|>|\\\\|[a-z./ =é\0]| )*") {
        for moved in git_moves(&command) {
            prop_assert!(!moved.verb.is_empty());
        }
        patched(&format!("apply_patch <<E\n*** Begin Patch\n{command}"));
    }

    #[test]
    fn any_text_is_a_command(command in any::<String>()) {
        git_moves(&command);
    }
}
