use super::*;

fn target(text: &str) -> Target {
    Target::parse("path", text).expect(text)
}

fn filed(texts: impl IntoIterator<Item = String>) -> TargetIndex<u32> {
    let mut index = TargetIndex::default();
    for text in texts {
        *index.entry(&target(&text)) += 1;
    }
    index
}

fn overlapping(index: &TargetIndex<u32>, text: &str) -> Vec<String> {
    let mut found: Vec<String> =
        index.overlapping(&target(text)).map(|(other, _)| other.to_string()).collect();
    found.sort_unstable();
    found
}

#[test]
fn an_index_answers_what_overlaps() {
    let texts = [
        "/",
        "src/",
        "src/a/",
        "src/a/b.rs",
        "src/a/b.rs#A",
        "src/a/b.rs#A::b",
        "src/a/b.rs#AB",
        "src/a/b.rs0",
        "src/a0",
        "src/*.rs",
        "src/a/*.rs",
        "{src/a,docs}/*",
        "src/a/[b].rs",
        "docs/x",
        "api:src",
        "api:src/a",
        "api:src0",
    ];
    let index = filed(texts.map(str::to_owned));
    assert_eq!((index.len(), index.glob_count(), index.values().sum::<u32>()), (17, 4, 17));
    for (text, expected) in [
        (
            "src/a/b.rs",
            vec![
                "/",
                "src/",
                "src/a/",
                "src/a/*.rs",
                "src/a/[b].rs",
                "src/a/b.rs",
                "src/a/b.rs#A",
                "src/a/b.rs#A::b",
                "src/a/b.rs#AB",
                "{src/a,docs}/*",
            ],
        ),
        (
            "src/a/b.rs#A::b",
            vec![
                "/",
                "src/",
                "src/a/",
                "src/a/*.rs",
                "src/a/[b].rs",
                "src/a/b.rs",
                "src/a/b.rs#A",
                "src/a/b.rs#A::b",
                "{src/a,docs}/*",
            ],
        ),
        ("src/a/[b].rs#A", vec!["/", "src/", "src/a/", "src/a/*.rs", "src/a/[b].rs", "{src/a,docs}/*"]),
        ("docs/", vec!["/", "docs/x", "{src/a,docs}/*"]),
        ("api:src", vec!["api:src", "api:src/a"]),
        ("api:src/a", vec!["api:src", "api:src/a"]),
        ("src/a?", vec!["/", "src/", "src/a0"]),
    ] {
        assert_eq!(overlapping(&index, text), expected, "{text}");
    }
    assert_eq!(overlapping(&index, "/").len(), 14, "all but the subjects");
}

#[test]
fn an_index_forgets_what_is_removed() {
    let mut index = filed(["src/*.rs", "src/*.rs", "src/?.rs", "src/a.rs"].map(str::to_owned));
    assert_eq!((index.len(), index.glob_count()), (3, 2));
    assert_eq!(index.get(&target("src/*.rs")), Some(&2));
    assert_eq!(index.remove(&target("src/*.rs")), Some(2));
    assert_eq!(index.remove(&target("src/*.rs")), None);
    assert_eq!((index.len(), index.glob_count()), (2, 1));
    assert_eq!(overlapping(&index, "src/a.rs"), ["src/?.rs", "src/a.rs"]);
    assert_eq!(index.remove(&target("src/?.rs")), Some(1));
    assert_eq!(index.remove(&target("src/a.rs")), Some(1));
    assert!(index.is_empty() && index.glob_count() == 0 && index.globs.is_empty());
}

#[test]
fn a_look_up_visits_little_of_a_large_index() {
    let files = (0..100_000).map(|n| format!("d{}/s{}/f{n}.rs", n % 100, n % 1000));
    let directories = (0..1_000).map(|n| format!("d{}/s{n}/t/", n % 100));
    let subjects = (0..1_000).map(|n| format!("task:{n}"));
    let index = filed(files.chain(directories).chain(subjects).chain(["/".to_owned(), "d7/*.md".to_owned()]));
    assert_eq!(index.len(), 102_002);
    for (text, most) in [
        ("d7/s107/f107.rs", 3),
        ("d7/s107/f107.rs#A::b", 3),
        ("d7/s107/none.rs", 2),
        ("d7/s107/t/x/y/z.rs", 3),
        ("d7/s107/t/x/", 3),
        ("d7/s107/", 103),
        ("d7/s107/*.rs", 103),
        ("task:77", 1),
        ("task:77/x", 1),
    ] {
        let target = target(text);
        let visited = index.candidates(&target).count();
        assert!(visited <= most, "{text} visits {visited}");
    }
}
