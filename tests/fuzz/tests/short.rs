//! The short run: corpus, bug book, seeds and mutations of all of them, without guidance.
//!
//! `MESH_FUZZ_SEED` and `MESH_FUZZ_CASES` (per target) change the mutations; a failure names the input, kept in a file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mesh_fuzz::{Mutator, TARGETS, Target};

/// Longest input that is made.
const LONGEST: usize = 4096;

fn directory(of: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of).join(target)
}

/// The files of a directory, by name; none if there is none.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs an input; a failure is kept, and told with where it is.
fn check(target: &Target, from: &str, input: &[u8]) {
    // Inputs are bytes, and a panic leaves nothing that a later one sees.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let kept = std::env::temp_dir().join(format!("mesh-fuzz-{}-{}", target.name, std::process::id()));
        std::fs::write(&kept, input).unwrap();
        eprintln_failure(target, from, &kept);
        std::panic::resume_unwind(panic);
    }
}

#[expect(clippy::print_stderr, reason = "a failure must say how to repeat it")]
fn eprintln_failure(target: &Target, from: &str, kept: &Path) {
    eprintln!("{} fails on {from}; the input is {}", target.name, kept.display());
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let known: Vec<_> = ["bugs", "corpus"].iter().flat_map(|of| files(&directory(of, name))).collect();
    let seeds = (target.seeds)();
    for (path, input) in &known {
        check(target, &path.display().to_string(), input);
    }
    for (number, input) in seeds.iter().enumerate() {
        check(target, &format!("seed {number}"), input);
    }
    let pool: Vec<_> = seeds.into_iter().chain(known.into_iter().map(|(_, input)| input)).collect();
    let seed = setting("MESH_FUZZ_SEED").unwrap_or(1);
    let cases = setting("MESH_FUZZ_CASES").unwrap_or(target.cases as u64);
    let mut mutator = Mutator::new(seed);
    for case in 0..cases {
        let input = mutator.mutate(&pool, target.words, LONGEST);
        check(target, &format!("case {case} of MESH_FUZZ_SEED={seed}"), &input);
    }
}

macro_rules! short_runs {
    ($($test:ident $target:literal),+ $(,)?) => {
        $(#[test] fn $test() { run($target); })+

        #[test]
        fn every_target_has_a_short_run_and_a_guided_one() {
            let named = [$($target),+];
            for target in TARGETS {
                assert!(named.contains(&target.name), "{} is not run", target.name);
                let guided = directory("guided", "fuzz_targets").join(target.name).with_extension("rs");
                let source = std::fs::read_to_string(guided).unwrap();
                assert!(source.contains(&format!("\"{}\"", target.name)), "{source}");
                let package = std::fs::read_to_string(directory("guided", "Cargo.toml")).unwrap();
                let binary = format!("name = \"{0}\"\npath = \"fuzz_targets/{0}.rs\"", target.name);
                assert!(package.contains(&binary), "{binary} is not built");
            }
        }
    };
}

short_runs! {
    calls_are_answered_or_refused_with_a_reason "wire",
    overlap_of_targets_is_what_enumeration_says "targets",
    payloads_of_hooks_are_read_or_refused "hooks",
    stored_records_are_read_or_refused "stored",
    lines_of_mcp_are_answered "lines",
    files_of_hosts_are_given_back "config",
    texts_of_others_steer_nothing "shown",
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    let pool = [b"one".to_vec(), b"two".to_vec()];
    let inputs = |seed| {
        let mut mutator = Mutator::new(seed);
        (0..50).map(|_| mutator.mutate(&pool, &["word"], 20)).collect::<Vec<_>>()
    };
    assert_eq!(inputs(1), inputs(1));
    assert_ne!(inputs(1), inputs(2));
    assert!(inputs(3).iter().all(|input| input.len() <= 20));
}

#[test]
fn every_input_of_the_bug_book_is_in_its_table() {
    let book = include_str!("../BUGS.md");
    for target in TARGETS {
        for (path, _) in files(&directory("bugs", target.name)) {
            let name = format!("{}/{}", target.name, path.file_name().unwrap().to_string_lossy());
            assert!(book.contains(&name), "{name} is not in BUGS.md");
        }
    }
}
