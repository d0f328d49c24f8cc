//! `cargo test`, streamed and counted.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

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
    let mut command = workspace.cargo(["test", "--workspace", "--no-fail-fast"]);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
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
}
