//! Rules of this repository that no linter knows. They read the files that git tracks.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::workspace::{self, Workspace};

/// A Rust file longer than this deserves a split by noun.
const LONG_FILE: usize = 600;

/// Directories that exist on one machine only; product text has no reason to name them.
const MACHINE_DIRS: [&str; 4] = ["home", "root", "work", "tmp"];

/// Attributes that hide a problem, each with what to do instead. Split so as not to find themselves.
const ATTRIBUTES: [(&str, &str); 3] = [
    (concat!("#[", "allow("), "use `#[expect(lint, reason = \"…\")]`"),
    (concat!("#![", "allow("), "use `#![expect(lint, reason = \"…\")]`"),
    (concat!("#[", "ignore"), "a test runs or is deleted"),
];

pub(crate) fn check(ws: &Workspace) -> Result<()> {
    // In a container the checkout may belong to another user than the one who builds it.
    let tracked = workspace::output(&mut ws.command("git", ["-c", "safe.directory=*", "ls-files", "-z"]))?;
    let mut faults = 0;
    for name in tracked.split_terminator('\0') {
        // Neither a file deleted but not yet committed nor a binary one has text to judge.
        let Ok(text) = fs::read_to_string(ws.root.join(name)) else { continue };
        let lines = text.lines().count();
        if is_rust(name) && lines > LONG_FILE {
            println!("warning: {name} has {lines} lines; split it by noun");
        }
        for (line, fault) in faults_in(name, &text) {
            println!("{name}:{line}: {fault}");
            faults += 1;
        }
    }
    ensure!(faults == 0, "{faults} faults");
    Ok(())
}

fn faults_in(name: &str, text: &str) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    let mut in_tests = name.split('/').any(|part| part == "tests" || part == "tests.rs");
    for (line, number) in text.lines().zip(1..) {
        in_tests |= is_rust(name) && line.trim() == "#[cfg(test)]";
        if let Some(dir) = MACHINE_DIRS.iter().find(|dir| !in_tests && names_dir(line, dir)) {
            faults.push((number, format!("names /{dir}, which is a matter of one machine")));
        }
        if is_rust(name) {
            let hits = ATTRIBUTES.iter().filter(|(attribute, _)| line.contains(attribute));
            faults.extend(hits.map(|(attribute, advice)| (number, format!("`{attribute}`: {advice}"))));
        }
        if name.ends_with("package-lock.json") && line.contains("\"resolved\"") {
            faults.push((number, "names a package host; delete the line".to_owned()));
        }
    }
    faults
}

fn is_rust(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "rs")
}

/// True if the line holds `/dir` as the start of an absolute path: not within a longer path or a URL.
fn names_dir(line: &str, dir: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    line.match_indices(&format!("/{dir}")).any(|(at, found)| {
        let before = line[..at].chars().next_back();
        let after = line[at + found.len()..].chars().next();
        !before.is_some_and(|c| part_of_name(c) || "/:~<>{}$*".contains(c))
            && !after.is_some_and(part_of_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_fault_and_nothing_else() {
        let allow = format!("{}dead_code)]", ATTRIBUTES[0].0);
        let table: [(&str, &str, usize); 10] = [
            ("a.md", "see /home/ada/app", 1),
            ("a.md", "VOLUME=\"/tmp\"", 1),
            ("a.md", "https://host/home/x, C:/work/x, ~/work, /homes, /work-items, <target>/tmp", 0),
            ("tests/it/main.rs", "\"/tmp/x\"", 0),
            ("src/lib.rs", "let a = 1;\n#[cfg(test)]\nlet b = \"/tmp/x\";", 0),
            ("src/lib.rs", &allow, 1),
            ("tests/it/main.rs", &allow, 1),
            ("a.md", &allow, 0),
            ("src/lib.rs", concat!("#[", "ignore = \"slow\"]"), 1),
            ("tests/tools/package-lock.json", "  \"resolved\": \"x\",", 1),
        ];
        for (name, text, expected) in table {
            assert_eq!(faults_in(name, text).len(), expected, "{name}: {text}");
        }
    }
}
