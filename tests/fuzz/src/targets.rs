//! Paths, globs, symbols and subjects: what is parsed stays in the scope, and overlap is what enumeration says.

use mesh_core::target::{Target as Named, TargetKind};

use crate::choices::Choices;

pub(crate) const TARGET: crate::Target = crate::Target {
    name: "targets",
    run,
    seeds,
    words: &[
        "**", "*", "?", "[ab]", "[!a]", "{a,b}", "..", "./", "/", "#X::y", "task:", "a", "\\", "é",
        "e\u{301}",
    ],
    cases: 6_000,
};

/// What small targets are made of.
const SIGNS: [&str; 12] = ["a", "b", "/", "*", "?", "**", "[a]", "[!a]", "{a,b}", "[ab]", "a/", "{a,b/}"];
/// Paths of at most this many characters are all tried.
const LONGEST: usize = 4;

fn seeds() -> Vec<Vec<u8>> {
    let pairs = [
        "src/a.rs\nsrc/",
        "src/**\n**/a.rs",
        "a?c\n[a-c]b*",
        "{a,b}/c\n*/c",
        "src/a.rs#X::y\nsrc/",
        "task:ABC-1\ntask:*",
        "../x\n/etc",
        "a//b\na\\b",
        "**\n*",
        "[[:alpha:]]\n[a-",
        "caf\u{e9}\ncafe\u{301}",
    ];
    let text = pairs.iter().map(|pair| [&[1], pair.as_bytes()].concat());
    let made = (0..8_u8).map(|n| {
        [&[0][..], &(0..14).map(|k| n.wrapping_mul(37).wrapping_add(k * 5)).collect::<Vec<_>>()].concat()
    });
    text.chain(made).collect()
}

fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let enumerated = choices.byte().is_multiple_of(2);
    let (one, two) = if enumerated {
        (small(&mut choices), small(&mut choices))
    } else {
        let Ok(text) = str::from_utf8(choices.rest()) else { return };
        let (one, two) = text.split_once('\n').unwrap_or((text, "a"));
        (one.to_owned(), two.to_owned())
    };
    let (Ok(one), Ok(two)) = (parsed(&one), parsed(&two)) else { return };
    let meets = one.intersects(&two);
    assert_eq!(meets, two.intersects(&one), "{one:?} and {two:?}: conflict is symmetric");
    assert!(one.intersects(&one), "{one:?} conflicts with itself");
    if one.covers(&two) {
        assert!(meets, "{one:?} covers {two:?} and does not meet it");
    }
    if enumerated {
        compare(&one, &two, meets);
    }
}

/// A target of few signs.
fn small(choices: &mut Choices<'_>) -> String {
    (0..1 + choices.below(4)).map(|_| choices.one_of(&SIGNS)).collect()
}

/// A target, whose text says itself and stays within the scope.
fn parsed(text: &str) -> Result<Named, ()> {
    let target = Named::parse("path", text).map_err(drop)?;
    let again = Named::parse("path", target.as_str());
    assert_eq!(again.as_ref(), Ok(&target), "{text:?} is {target:?}, which says something else");
    let path = target.as_str();
    // A slash alone is the whole scope.
    assert!((path == "/" || !path.starts_with('/')) && !path.contains('\0'), "{path:?} leaves the scope");
    assert!(!path.chars().any(char::is_control), "{path:?} steers");
    // A `#` is a sign like any other, but for the last one of a symbol.
    let file = path.rsplit_once('#').filter(|_| target.kind() == TargetKind::Symbol);
    let leaves = file.map_or(path, |(file, _)| file).split('/').any(|segment| segment == "..");
    assert!(!leaves, "{path:?} leaves the scope");
    Ok(target)
}

/// Against every short path over the alphabet: a target that holds a path that the other holds meets it, and where
/// nothing is found among them, what they share is longer.
fn compare(one: &Named, two: &Named, meets: bool) {
    let shared = paths()
        .into_iter()
        .filter_map(|path| Named::parse("path", &path).ok())
        .find(|path| one.covers(path) && two.covers(path));
    if let Some(shared) = shared {
        assert!(meets, "{one:?} and {two:?} both hold {shared:?} and do not meet");
    }
}

/// Every path of at most [`LONGEST`] characters of two letters and the slash.
fn paths() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..LONGEST {
        last = last.iter().flat_map(|path| ["a", "b", "/"].map(|sign| format!("{path}{sign}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}
