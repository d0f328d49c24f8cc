//! Targets by example, and against enumeration.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Target, TargetKind};
use crate::limits;

mod enumerated;
mod naive;
mod random;

fn target(text: &str) -> Target {
    Target::parse("path", text).expect(text)
}

fn problem(text: &str) -> String {
    Target::parse("path", text).expect_err(text).to_string()
}

#[test]
fn every_way_of_writing_has_one_normal_form() {
    use TargetKind::{File, Glob, Subject, Subtree, Symbol};
    for (text, normal, kind) in [
        ("a", "a", File),
        ("a/b.rs", "a/b.rs", File),
        ("a b", "a b", File),
        (".github/x", ".github/x", File),
        ("a..b", "a..b", File),
        ("a[b", "a[b", File),
        ("a{b}/{", "a{b}/{", File),
        ("[]", "[]", File),
        ("a[b/c]d", "a[b/c]d", File),
        ("a#", "a#", File),
        ("#a#", "#a#", File),
        ("a#b/c", "a#b/c", File),
        ("c:/x", "c:/x", File),
        ("Task:x", "Task:x", File),
        ("src/", "src/", Subtree),
        ("src/**", "src/", Subtree),
        ("src/**/", "src/", Subtree),
        ("src/**/**", "src/", Subtree),
        ("src/**/*", "src/", Subtree),
        ("a[b/**", "a[b/", Subtree),
        ("a#b/", "a#b/", Subtree),
        ("/", "/", Subtree),
        ("**", "/", Subtree),
        ("/**", "/", Subtree),
        ("**/**/*", "/", Subtree),
        ("*", "*", Glob),
        ("src/*/", "src/*/**", Glob),
        ("src/*/**", "src/*/**", Glob),
        ("a/**/**/b", "a/**/b", Glob),
        ("a**", "a**", Glob),
        ("a/b**/", "a/b**/**", Glob),
        ("[slug].tsx", "[slug].tsx", Glob),
        ("app/[slug]/", "app/[slug]/**", Glob),
        ("{a,b}", "{a,b}", Glob),
        ("{a,b/}", "{a,b/}", Glob),
        ("{a/**/**,b}/**/**", "{a/**/**,b}/**", Glob),
        ("src/a.ts#Session::refresh", "src/a.ts#Session::refresh", Symbol),
        ("src/a.ts#Session.refresh", "src/a.ts#Session::refresh", Symbol),
        ("a#b#c", "a#b#c", Symbol),
        ("app/[slug].tsx#Page", "app/[slug].tsx#Page", Symbol),
        ("a.rs#operator*", "a.rs#operator*", Symbol),
        ("task:ABC-12", "task:ABC-12", Subject),
        ("api:billing/v2/", "api:billing/v2", Subject),
        ("a-1:x", "a-1:x", Subject),
        ("task:*/{a,b}#c", "task:*/{a,b}#c", Subject),
    ] {
        let read = target(text);
        assert_eq!((read.as_str(), read.kind()), (normal, kind), "{text}");
        let again = target(normal);
        assert_eq!((again.as_str(), again.kind()), (normal, kind), "{text}");
        assert_eq!(read.is_subtree(), kind == Subtree);
    }
}

#[test]
fn what_is_no_target_is_refused() {
    let long = "a".repeat(1025);
    let grows = format!("{}/*/", "a".repeat(1021));
    assert_eq!(grows.len(), limits::PATH_BYTES);
    for bad in [
        "",
        "//",
        "/a",
        "a//b",
        "a/../b",
        "..",
        "./a",
        "a/.",
        "a//",
        "a\\b",
        "a\nb",
        "a\u{1b}[0m",
        "/*",
        "**//a",
        "/a#b",
        "a/../b#c",
        "./a#b",
        "{a,/b}",
        "{a,b/}/c",
        "{a,..}/b",
        "a/{.,b}",
        "{a,}",
        "task:",
        "task:/",
        "task:a//b",
        "task:../a",
        "https://example.com",
        &long,
        &grows,
    ] {
        assert!(Target::parse("path", bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_refusal_says_what_is_wrong() {
    for (text, expected) in [
        ("/a", "is absolute"),
        ("src/*.rs#main", "a symbol of several files"),
        ("{a,b}.rs#main", "a symbol of several files"),
        ("{a.rs#x,b.rs}", "a symbol inside braces"),
        ("src/#main", "a symbol of no file"),
        ("#main", "a symbol of no file"),
        ("a#b..c", "a symbol with an empty part"),
        ("a#.b", "a symbol with an empty part"),
        ("a#b::", "a symbol with an empty part"),
        ("a#b.:c", "a symbol with an empty part"),
        ("{task:a,task:b}", "a subject inside braces"),
        ("task:", "names no subject"),
        ("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", "more than 64 alternatives"),
        (&format!("{{{}}}/{}", "a,".repeat(63), "b".repeat(200)), "8,192 bytes"),
    ] {
        let problem = problem(text);
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}

#[test]
fn text_is_brought_to_nfc() {
    assert_eq!(target("cafe\u{301}"), target("caf\u{e9}"));
    assert!(target("caf{e,f}\u{301}").intersects(&target("caf\u{e9}")), "also what braces bring together");
}

#[test]
fn what_is_taken_is_taken_again_when_read_back() {
    let grows = "\u{1d160}".repeat(256);
    assert_eq!(grows.len(), limits::PATH_BYTES);
    assert!(Target::parse("path", &grows).is_err(), "its normal form is three times as long");
    for text in ["\u{1d160}", "a/\u{344}/", "\u{212b}", "\u{fb2c}/\u{2126}", "\u{212b}/*/", "a#\u{212b}.b"] {
        let once = target(text);
        assert_eq!(target(once.as_str()), once, "{text}");
        let stored = serde_of(&once);
        assert_eq!((stored.kind(), &stored), (once.kind(), &once), "{text}");
    }
}

/// The target after it was written and read as records are.
fn serde_of(target: &Target) -> Target {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StringDeserializer};

    let text: StringDeserializer<Error> = target.to_string().into_deserializer();
    serde::Deserialize::deserialize(text).unwrap()
}

#[test]
fn targets_are_their_texts() {
    let hash = |value: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        value(&mut hasher);
        hasher.finish()
    };
    let texts = ["a", "a#b", "a/", "a/*", "a0", "ab:c", "/"];
    let sorted: BTreeSet<Target> = texts.iter().map(|text| target(text)).collect();
    let as_texts: BTreeSet<&str> = texts.into_iter().collect();
    assert!(sorted.iter().map(Target::as_str).eq(as_texts));
    for text in texts {
        let target = target(text);
        assert_eq!(hash(&|hasher| target.hash(hasher)), hash(&|hasher| text.hash(hasher)), "{text}");
    }
}

#[test]
fn ancestors_run_from_the_whole_scope_down() {
    let names = |text: &str| target(text).ancestors().map(|t| t.to_string()).collect::<Vec<_>>();
    assert_eq!(names("a/b/c.rs"), ["/", "a/", "a/b/"]);
    assert_eq!(names("a/b/"), ["/", "a/"]);
    assert_eq!(names("c"), ["/"]);
    assert_eq!(names("/"), Vec::<String>::new());
    assert_eq!(names("a/b.rs#C::d"), ["/", "a/"]);
    assert_eq!(names("a/b/*/c"), ["/", "a/", "a/b/"]);
    assert_eq!(names("a/{b/c,b/d}/e"), ["/", "a/", "a/b/"]);
    assert_eq!(names("*"), ["/"]);
    assert_eq!(names("{a/b,a/b/c}"), ["/", "a/"]);
    assert_eq!(names("{a/b,a/b}"), ["/", "a/"]);
    assert_eq!(names("a:b"), ["/"]);
    assert_eq!(names("ab:c/d"), Vec::<String>::new());
    for text in ["a/b.rs#C::d", "a/b/*/c", "{a,b}"] {
        assert!(
            target(text).ancestors().all(|above| above.is_subtree() && above.covers(&target(text))),
            "{text}"
        );
    }
}

#[test]
fn intersection_is_exact() {
    for (left, right, expected) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a/", "a/b", true),
        ("a/", "a", false),
        ("a/", "ab", false),
        ("a/", "a/b/", true),
        ("a/b/", "a/c/", false),
        ("/", "x", true),
        ("/", "x/y/", true),
        ("/", "/", true),
        // Globs.
        ("src/**/*_test.rs", "src/a_test.rs", true),
        ("src/**/*_test.rs", "src/a/b/a_test.rs", true),
        ("src/**/*_test.rs", "src/a.rs", false),
        ("src/*.rs", "src/main.*", true),
        ("src/**/test_*.py", "src/api/*.py", true),
        ("src/a*", "src/*b", true),
        ("src/a*", "src/b*", false),
        ("**/*.rs", "src/", true),
        ("src/[ab].rs", "src/[bc].rs", true),
        ("src/[ab].rs", "src/[cd].rs", false),
        ("docs/*/x", "docs/y/*", true),
        ("*/", "a", false),
        ("*/", "a/", true),
        ("*", "a/", false),
        ("**/a", "a", true),
        ("a/**/b", "a/", true),
        ("a/**/b", "a/b", true),
        ("a/*/**", "a/b", false),
        ("{a,b}/c", "b/", true),
        ("{a/b,c}", "a/*", true),
        ("*.{rs,toml}", "Cargo.toml", true),
        ("*", ".hidden", true),
        ("app/[slug]/*.tsx", "app/[slug]/page.tsx", true),
        ("app/[slug]/*.tsx", "app/s/page.tsx", true),
        ("app/[slug]/*.tsx", "app/x/page.tsx", false),
        ("app/[slug]/page.tsx", "app/[slug]/page.tsx#Page", true),
        ("app/\u{5b}[...slug]]/x", "app/*slug*/x", true),
        // Symbols.
        ("a.ts#A", "a.ts#B", false),
        ("a.ts#A", "a.ts#A::b", true),
        ("a.ts#A::b", "a.ts#A::c", false),
        ("a.ts#A", "a.ts#AB", false),
        ("a.ts#A", "a.ts", true),
        ("a.ts#A", "b.ts#A", false),
        ("src/a.ts#A", "src/", true),
        ("src/a.ts#A", "src/*.ts", true),
        ("src/a.ts#A", "src/*.rs", false),
        ("a#b#c", "a#b", false),
        ("a#b#c", "a", false),
        ("a#b", "a#b::c#d", false),
        // Subjects.
        ("api:billing", "api:billing/v2", true),
        ("api:billing/v1", "api:billing/v2", false),
        ("api:billing", "api:billing2", false),
        ("api:*", "api:billing", false),
        ("api:billing", "/", false),
        ("api:billing", "**/*billing*", false),
    ] {
        assert_eq!(target(left).intersects(&target(right)), expected, "{left} {right}");
        assert_eq!(target(right).intersects(&target(left)), expected, "{right} {left}");
    }
}

#[test]
fn covering_is_told_where_it_is_plain() {
    for (outer, inner, expected) in [
        ("/", "a", true),
        ("/", "ab:c", false),
        ("a/", "a/", true),
        ("a/", "a/b/", true),
        ("a/b/", "a/", false),
        ("a/", "a/**/*.rs", true),
        ("a/", "{a/b,a/c/*}", true),
        ("a/", "{a/b,c}", false),
        ("a/", "*/b", false),
        ("a/b/", "a/{b,b/c}", false),
        ("a", "a#B", true),
        ("a#B", "a", false),
        ("a#B", "a#B::c", true),
        ("a#B::c", "a#B", false),
        ("a", "{a,a}", true),
        ("a", "{a,b}", false),
        ("api:a", "api:a/b", true),
        ("api:a/b", "api:a", false),
        ("*.rs", "a.rs", true),
        ("*.rs", "a.rs#main", true),
        ("*.rs", "a.ts", false),
        ("**/*.rs", "src/**/*.rs", true),
        ("**/*.rs", "src/[ab].rs", false),
        ("src/**/*.rs", "src/a/*.rs", true),
        ("src/*/*.rs", "src/**/*.rs", false),
        ("*/", "a/b/", true),
        ("*/", "a/", true),
        ("*/*/", "a/", false),
        ("{a,b}/", "b/", true),
        ("{a,b}/", "{b/c,a/}", true),
        ("[ab]", "[ab]", true),
    ] {
        assert_eq!(target(outer).covers(&target(inner)), expected, "{outer} {inner}");
    }
}

#[test]
fn hostile_patterns_are_compared_all_the_same() {
    // As they may have been stored before there was a bound.
    let target = |text: &str| Target::read(text).expect(text);
    let fill = |part: &str, end: &str| {
        let text = part.repeat((limits::PATH_BYTES - end.len()) / part.len());
        target(&(text + end))
    };
    let braces = "{a,b}{a,b}{a,b}";
    let hostile = [
        target("*a*a*a*a*b"),
        fill("*a", "b"),
        fill("*a", "c"),
        fill("a", "b"),
        fill("a", "?"),
        fill("?", "b"),
        fill("[ab]", "b"),
        fill("a/", "b"),
        fill("**/a/", "b"),
        fill("**/a/", "c"),
        fill("?/", "b"),
        fill("*a*/", "b"),
        fill("[!b]", "*"),
        target(&(braces.to_owned() + "*" + &"a".repeat(450) + "b*")),
        target(&(braces.to_owned() + &"?".repeat(900))),
        target(&(braces.repeat(2) + &"*a".repeat(50) + "b")),
        target(&format!(
            "[{}]",
            (' '..='\u{220}').filter(|c| c.is_alphanumeric()).step_by(2).collect::<String>()
        )),
        target("/"),
    ];
    for a in &hostile {
        for b in &hostile {
            let met = a.intersects(b);
            assert_eq!(met, b.intersects(a), "{a} {b}");
            assert!(met || !a.covers(b), "{a} {b}");
        }
    }
    let meets = |a: usize, b: usize| hostile[a].intersects(&hostile[b]);
    assert!(meets(0, 0) && meets(0, 1) && !meets(1, 2) && meets(1, 3) && meets(4, 5) && !meets(8, 9));
}
