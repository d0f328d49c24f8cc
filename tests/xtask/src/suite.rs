//! `cargo test`, streamed and counted.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::report::Tally;
use crate::workspace::{self, Workspace};

/// Builds every target with the features that `cargo test` will want, so that nothing is compiled twice and
/// `meshctl` is there for the tests that start it.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    workspace::run(&mut workspace.cargo(["build", "--workspace", "--all-targets"]))
}

/// Runs every test binary, also after one has failed. Output passes through as it comes.
pub(crate) fn run(workspace: &Workspace) -> Result<Tally> {
    stream(workspace.cargo(["test", "--workspace", "--no-fail-fast"]), parse)
}

/// Runs the tests of the Python example against the meshctl that was built.
pub(crate) fn pytest(workspace: &Workspace) -> Result<Tally> {
    let mut command = workspace.tool("python", ["-m", "pytest", "-q", "examples/orchestrator"])?;
    command.env("MESHCTL", &workspace.meshctl);
    stream(command, parse_pytest)
}

/// Runs tests to their end and adds up what the lines of their output say.
fn stream(mut command: Command, parse: impl Fn(&str) -> Option<Tally>) -> Result<Tally> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start the tests")?;
    let mut lines = BufReader::new(child.stdout.take().context("the test runner has no output")?);
    let (mut stdout, mut line, mut tally) = (std::io::stdout(), Vec::new(), Tally::default());
    while lines.read_until(b'\n', &mut line)? > 0 {
        stdout.write_all(&line)?;
        if let Some(part) = parse(&String::from_utf8_lossy(&line)) {
            tally.passed += part.passed;
            tally.failed += part.failed;
        }
        line.clear();
    }
    if !child.wait()?.success() && tally.failed == 0 {
        // A binary that does not compile, or that dies, reports no failed test.
        tally.failed = 1;
    }
    Ok(tally)
}

/// Reads pytest's last line: `3 passed, 1 failed, 2 errors in 4.20s`.
fn parse_pytest(line: &str) -> Option<Tally> {
    let (counts, _) = line.trim_matches(['=', ' ', '\n']).rsplit_once(" in ")?;
    let count = |name: &str| {
        let found =
            counts.split(", ").find_map(|part| part.strip_suffix(name)?.trim_end().parse::<u64>().ok());
        found.unwrap_or_default()
    };
    let tally = Tally { passed: count("passed"), failed: count("failed") + count("errors") + count("error") };
    (tally != Tally::default()).then_some(tally)
}

/// Reads `test result: ok. 3 passed; 0 failed; …`, wherever it starts: a child of the test may have left an
/// unfinished line before it.
fn parse(line: &str) -> Option<Tally> {
    let (_, result) = line.split_once("test result: ")?;
    let (_, counts) = result.split_once(". ")?;
    let count = |name: &str| {
        counts.split(';').find_map(|part| part.trim().strip_suffix(name)?.trim_end().parse::<u64>().ok())
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted_and_others_are_not() {
        let table = [
            (
                "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.01s\n",
                Some((3, 0)),
            ),
            (
                "partial test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n",
                Some((7, 2)),
            ),
            ("test result::parses ... ok\n", None),
            ("test result: unknown\n", None),
            ("running 3 tests\n", None),
        ];
        for (line, expected) in table {
            let expected = expected.map(|(passed, failed)| Tally { passed, failed });
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn pytests_last_line_is_counted() {
        let table = [
            ("5 passed in 41.20s\n", Some((5, 0))),
            ("=== 1 failed, 3 passed, 2 errors in 0.12s ===\n", Some((3, 3))),
            ("1 error in 0.10s\n", Some((0, 1))),
            ("..... [100%]\n", None),
            ("no tests ran in 0.01s\n", None),
        ];
        for (line, expected) in table {
            let expected = expected.map(|(passed, failed)| Tally { passed, failed });
            assert_eq!(parse_pytest(line), expected, "{line}");
        }
    }
}
