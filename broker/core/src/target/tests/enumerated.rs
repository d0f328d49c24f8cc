//! Intersection, covering and the index against what really belongs to each target, one by one.

use super::super::{Target, TargetKind, index::TargetIndex};
use super::naive::file_belongs;
use super::random::{self, Random};

const SEED: u64 = 20;
/// Every two of the segments that have a name in common have one of these in common, and everything of a segment that
/// is not of another is among them by example.
pub(super) const NAMES: [&str; 7] = ["a", "b", "c", "ab", "bb", "[ab]", "[a-b]b"];
const SYMBOLS: [&str; 6] = ["A", "B", "A::A", "A::B", "B::A", "B::B"];
const SUBJECTS: [&str; 3] = ["x", "y", "*"];

/// All that can belong to a target. A symbol also has something that is in none of those inside it.
struct Universe {
    files: Vec<String>,
    symbols: Vec<(String, &'static str)>,
    subjects: Vec<String>,
}

impl Universe {
    fn new(depth: usize) -> Self {
        let files = paths(&NAMES, depth);
        let small = paths(&["a", "b", "ab"], 2);
        Self {
            files,
            symbols: small.iter().flat_map(|file| SYMBOLS.map(|symbol| (file.clone(), symbol))).collect(),
            subjects: paths(&SUBJECTS, 3),
        }
    }

    /// For everything there is, whether it belongs to the target.
    fn members(&self, target: &Target) -> Vec<bool> {
        let text = target.as_str();
        let subject = text.strip_prefix("ab:");
        let symbol = text.split_once('#');
        let inside = |outer: &str, name: &str, separator: &str| {
            name == outer || name.starts_with(&format!("{outer}{separator}"))
        };
        let in_path = |file: &str| subject.is_none() && symbol.is_none() && file_belongs(file, text);
        let files = self.files.iter().map(|file| in_path(file));
        let symbols = self.symbols.iter().map(|(file, name)| match symbol {
            Some((of, outer)) => file == of && inside(outer, name, "::"),
            None => in_path(file),
        });
        let subjects = self.subjects.iter().map(|name| subject.is_some_and(|outer| inside(outer, name, "/")));
        files.chain(symbols).chain(subjects).collect()
    }
}

fn paths(names: &[&str], depth: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut level = vec![String::new()];
    for _ in 0..depth {
        level =
            level.iter().flat_map(|path| names.iter().map(move |name| format!("{path}{name}/"))).collect();
        all.extend(level.iter().map(|path| path.trim_end_matches('/').to_owned()));
    }
    all
}

fn targets(random: &mut Random, count: usize, text: impl Fn(&mut Random) -> String) -> Vec<Target> {
    let mut targets = Vec::new();
    while targets.len() < count {
        let text = text(random);
        if let Ok(target) = Target::parse("path", &text)
            && !targets.contains(&target)
        {
            targets.push(target);
        }
    }
    targets
}

/// Compares all pairs; says how many there were.
fn compare(universe: &Universe, targets: &[Target]) -> usize {
    let members: Vec<Vec<bool>> = targets.iter().map(|target| universe.members(target)).collect();
    let mut pairs = 0;
    for (a, of_a) in targets.iter().zip(&members) {
        assert!(of_a.contains(&true), "seed {SEED}: nothing belongs to {a}");
        for (b, of_b) in targets.iter().zip(&members) {
            let common = of_a.iter().zip(of_b).any(|(a, b)| *a && *b);
            assert_eq!(a.intersects(b), common, "seed {SEED}: does {a} meet {b}?");
            let covered = of_a.iter().zip(of_b).all(|(a, b)| *a || !*b);
            let exact =
                a.kind() != TargetKind::Glob || matches!(b.kind(), TargetKind::File | TargetKind::Symbol);
            let covers = a.covers(b);
            assert!(covers == covered || (!covers && !exact), "seed {SEED}: does {a} cover {b}? {covers}");
            pairs += 1;
        }
    }
    pairs
}

#[test]
fn all_kinds_meet_and_cover_as_enumerated() {
    let targets = targets(&mut Random::new(SEED), 260, random::text);
    let pairs = compare(&Universe::new(4), &targets);
    assert!(pairs >= 60_000, "{pairs}");
}

#[test]
fn segments_meet_and_cover_as_enumerated() {
    // A few characters, so that the common names of every two patterns of three parts are short.
    let parts = ["a", "b", ".", "*", "*", "?", "[ab]", "[.b]", "[!a]", "[!.]", "[b-a]", "[", "]"];
    let spelled = targets(&mut Random::new(SEED), 220, |random| random.joined(&parts, 3, ""));
    let letters: Vec<&str> = "ab.[]!-".split("").filter(|letter| !letter.is_empty()).collect();
    let mut files: Vec<String> = (1..=4).flat_map(|length| words(&letters, length)).collect();
    files.extend((5..=6).flat_map(|length| words(&letters[..3], length)));
    files.extend(spelled.iter().map(Target::to_string));
    files.retain(|name| name != "." && name != "..");
    let universe = Universe { files, symbols: Vec::new(), subjects: Vec::new() };
    let pairs = compare(&universe, &spelled);
    assert!(pairs >= 40_000, "{pairs}");
}

fn words(letters: &[&str], length: usize) -> Vec<String> {
    (0..length).fold(vec![String::new()], |words, _| {
        words.iter().flat_map(|word| letters.iter().map(move |letter| format!("{word}{letter}"))).collect()
    })
}

#[test]
fn an_index_finds_what_a_scan_finds() {
    let random = &mut Random::new(SEED);
    let targets = targets(random, 400, random::text);
    let mut index: TargetIndex<usize> = TargetIndex::default();
    for step in 0..4_000 {
        let target = &targets[random.below(targets.len())];
        // More come than go, then more go than come.
        if (random.below(3) == 0) == (step < 2_000) {
            index.remove(target);
        } else {
            *index.entry(target) = step;
        }
        let wanted = &targets[random.below(targets.len())];
        let mut found: Vec<(&Target, &usize)> = index.overlapping(wanted).collect();
        found.sort_unstable();
        let scanned: Vec<(&Target, &usize)> =
            index.iter().filter(|(other, _)| other.intersects(wanted)).collect();
        assert_eq!(found, scanned, "seed {SEED}, step {step}: what overlaps {wanted}?");
        let globs = index.iter().filter(|(target, _)| target.kind() == TargetKind::Glob).count();
        assert_eq!(index.glob_count(), globs, "seed {SEED}, step {step}");
    }
}

#[test]
fn a_normal_form_is_read_as_itself() {
    let random = &mut Random::new(SEED);
    let parts = [
        "a", "b", "/", "/", "*", "**", "?", "[", "]", "{", "}", ",", ".", "#", ":", "!", "-", "é",
        "e\u{301}", "ab:", "/**/",
    ];
    let mut taken = Vec::new();
    for _ in 0..60_000 {
        let text = random.joined(&parts, 10, "");
        let Ok(once) = Target::parse("path", &text) else { continue };
        let again =
            Target::parse("path", once.as_str()).unwrap_or_else(|no| panic!("seed {SEED}: {text:?}: {no}"));
        assert_eq!((&again, again.kind()), (&once, once.kind()), "seed {SEED}: {text:?}");
        assert!(once.intersects(&again) && once.covers(&again), "seed {SEED}: {text:?}");
        taken.push(once);
    }
    assert!(taken.len() > 10_000, "{}", taken.len());
    for _ in 0..60_000 {
        let (a, b) = (&taken[random.below(taken.len())], &taken[random.below(taken.len())]);
        let met = a.intersects(b);
        assert_eq!(met, b.intersects(a), "seed {SEED}: {a} {b}");
        assert!(met || !a.covers(b), "seed {SEED}: {a} {b}");
    }
}
