use super::{Mesh, UNREAD, is_unread, key, named, problem, put, shown, written};
use crate::command::{Command, Precondition, Put, Restore, SetPolicy};
use crate::event::Event;
use crate::id::{ScopeId, SessionId};
use crate::limits;
use crate::outcome::Outcome;
use crate::record::PolicyKind::{self, Append, LastWriteWins, MergePatch, RequireVersion};
use crate::rejection::Rejection;
use crate::revision::Version;
use crate::state::tests::scope;

/// A mesh where a policy holds for all keys, with two peers.
fn under(kind: PolicyKind) -> (Mesh, SessionId, SessionId) {
    let mut mesh = Mesh::default();
    let (ann, bob) = (mesh.join("ann"), mesh.join("bob"));
    mesh.policy(ann, "", Some(kind)).unwrap();
    (mesh, ann, bob)
}

#[test]
fn the_longest_prefix_decides() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    for (prefix, kind) in [("", Append), ("a", LastWriteWins), ("a/b/", MergePatch), ("a/bz", RequireVersion)]
    {
        mesh.policy(ann, prefix, Some(kind)).unwrap();
    }
    let table = [
        ("z", Append),
        ("a", LastWriteWins),
        ("a/b", LastWriteWins),
        ("a/b/", MergePatch),
        ("a/b/c", MergePatch),
        ("a/bz/c", RequireVersion),
        ("a/c", LastWriteWins),
    ];
    for (key, kind) in table {
        assert_eq!(mesh.state.entries.policy(&scope(), &named(key)), kind, "{key}");
    }
    assert_eq!(mesh.state.entries.policy(&ScopeId::global(), &named("a")), RequireVersion);
    mesh.restart();
    mesh.policy(ann, "a", None).unwrap();
    assert_eq!(mesh.state.entries.policy(&scope(), &named("a/c")), Append);
    let prefixes: Vec<_> =
        mesh.state.entries.policies(&scope()).map(|policy| policy.prefix.as_str()).collect();
    assert_eq!(prefixes, ["", "a/b/", "a/bz"]);
}

#[test]
fn a_policy_is_set_replaced_and_removed_with_an_event_each() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    mesh.events();
    let steps =
        [(None, 0), (Some(Append), 1), (Some(Append), 0), (Some(RequireVersion), 1), (None, 1), (None, 0)];
    for (kind, news) in steps {
        assert_eq!(mesh.policy(ann, "p", kind), Ok(Outcome::Done));
        let expected = vec![Event::PolicyChanged { prefix: "p".to_owned(), kind }; news];
        assert_eq!(mesh.events(), expected, "{kind:?}");
    }
}

#[test]
fn policies_are_of_the_own_scope_or_of_global_and_only_so_many() {
    let mut mesh = Mesh::default();
    let ann = mesh.join("ann");
    let set = |scope: &str, prefix: &str| {
        let scope = Some(ScopeId::parse(scope).unwrap());
        Command::SetPolicy(SetPolicy { scope, prefix: prefix.to_owned(), kind: Some(Append) })
    };
    assert!(matches!(mesh.by(ann, set("acme/other", "p")), Err(Rejection::PermissionDenied { .. })));
    assert_eq!(mesh.by(ann, set("global", "p")), Ok(Outcome::Done));
    for n in 0..limits::POLICIES_PER_SCOPE {
        mesh.policy(ann, &format!("p{n}"), Some(Append)).unwrap();
    }
    let full = mesh.policy(ann, "another", Some(Append));
    assert!(
        matches!(full, Err(Rejection::LimitReached { limit: limits::POLICIES_PER_SCOPE, .. })),
        "{full:?}"
    );
    assert_eq!(mesh.policy(ann, "p0", Some(MergePatch)), Ok(Outcome::Done), "another kind takes no room");
    assert_eq!(mesh.policy(ann, "p0", None), Ok(Outcome::Done));
    assert_eq!(mesh.policy(ann, "another", Some(Append)), Ok(Outcome::Done));
}

#[test]
fn what_is_overwritten_whole_needs_the_version_but_where_the_last_write_wins() {
    for (kind, free) in [(RequireVersion, false), (LastWriteWins, true), (MergePatch, false), (Append, false)]
    {
        let (mut mesh, ann, bob) = under(kind);
        mesh.put(ann, "{}", UNREAD).unwrap();
        mesh.put(ann, "{}", UNREAD).unwrap();
        let back = Restore { scope: None, key: key(), version: Version(1), precondition: UNREAD };
        assert_eq!(is_unread(&mesh.by(bob, Command::Restore(back))), !free, "restoring under {kind:?}");
        let delete = mesh.delete(ann, Precondition::Version(Version(9)));
        assert!(matches!(delete, Err(Rejection::VersionMismatch(_))), "what is named must hold: {kind:?}");
        mesh.put(ann, "{}", Precondition::Any).unwrap();
        assert_eq!(is_unread(&mesh.delete(bob, UNREAD)), !free, "deleting under {kind:?}");
        let read = mesh.state.entries.get(&scope(), &key()).map(|entry| entry.revision);
        if read.is_some() {
            assert_eq!(mesh.delete(bob, Precondition::LastRead(read)), Ok(Outcome::Deleted), "{kind:?}");
        }
    }
}

#[test]
fn preconditions_that_are_named_hold_under_every_policy() {
    for kind in [RequireVersion, LastWriteWins, MergePatch, Append] {
        let (mut mesh, ann, bob) = under(kind);
        let missing = mesh.put(ann, "{}", Precondition::Version(Version(1)));
        assert_eq!(missing, Err(Rejection::KeyNotFound { key: key() }), "{kind:?}");
        mesh.put(ann, "{}", Precondition::MustNotExist).unwrap();
        let exists = mesh.put(bob, "{}", Precondition::MustNotExist);
        assert!(matches!(exists, Err(Rejection::KeyExists { .. })), "{kind:?}");
        let stale = mesh.put(bob, "{}", Precondition::Version(Version(2)));
        assert!(matches!(stale, Err(Rejection::VersionMismatch(_))), "{kind:?}");
        assert!(mesh.put(bob, "{}", Precondition::Version(Version(1))).is_ok(), "{kind:?}");
    }
}

#[test]
fn the_last_write_wins_where_that_is_the_policy() {
    let (mut mesh, ann, bob) = under(LastWriteWins);
    mesh.put(ann, "one", UNREAD).unwrap();
    mesh.put(bob, "two", UNREAD).unwrap();
    assert_eq!((mesh.value(), mesh.versions().0), ("two", vec![2, 1]));
}

#[test]
fn what_is_appended_stands_on_a_line_of_its_own() {
    let (mut mesh, ann, bob) = under(Append);
    mesh.put(ann, "", UNREAD).unwrap();
    mesh.put(ann, "one", UNREAD).unwrap();
    mesh.put(bob, "two", UNREAD).unwrap();
    mesh.put(ann, "three", Precondition::Any).unwrap();
    assert_eq!((mesh.value(), mesh.entry().writer.as_str()), ("one\ntwo\nthree", "ann"));
    let room = limits::VALUE_BYTES - mesh.value().len() - 1;
    let (field, why) = problem(mesh.put(bob, &"x".repeat(room + 1), UNREAD));
    assert!(field == "value" && why.contains("past 65,536 bytes"), "{why}");
    mesh.put(bob, &"x".repeat(room), UNREAD).unwrap();
    assert_eq!(mesh.value().len(), limits::VALUE_BYTES);
}

#[test]
fn a_patch_is_merged_into_what_is_there() {
    let table = [
        ("{}", r#"{"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1,"b":2}"#, r#"{"b":null,"c":[3]}"#, r#"{"a":1,"c":[3]}"#),
        (r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"b":null,"d":{"e":4}}}"#, r#"{"a":{"c":2,"d":{"e":4}}}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":{"x":null,"y":1}}"#, r#"{"a":{"y":1}}"#),
        (r#"{"a":{"b":1}}"#, r#"{"a":7}"#, r#"{"a":7}"#),
        (
            r#"{"a": 0.1234567890123456,"n":18446744073709551615}"#,
            "{}",
            r#"{"a":0.1234567890123456,"n":18446744073709551615}"#,
        ),
    ];
    for (former, patch, merged) in table {
        let (mut mesh, ann, _) = under(RequireVersion);
        let read = written(mesh.put(ann, former, UNREAD)).revision;
        mesh.policy(ann, "", Some(MergePatch)).unwrap();
        mesh.put(ann, patch, Precondition::LastRead(Some(read))).unwrap();
        assert_eq!(mesh.value(), merged, "{patch} into {former}");
    }
}

#[test]
fn the_first_patch_becomes_the_value_without_its_nulls() {
    let (mut mesh, ann, _) = under(MergePatch);
    mesh.put(ann, r#"{ "b": {"x": null, "y": [null]}, "a": null }"#, UNREAD).unwrap();
    assert_eq!(mesh.value(), r#"{"b":{"y":[null]}}"#);
}

#[test]
fn only_a_json_object_is_a_patch() {
    let (mut mesh, ann, _) = under(MergePatch);
    let deep = format!("{}1{}", r#"{"a":"#.repeat(128), "}".repeat(128));
    for bad in ["", "text", "[]", "3", "null", r#"{"a":1"#, "{} {}", &deep] {
        let (field, why) = problem(mesh.put(ann, bad, UNREAD));
        assert!(field == "value" && why.contains("JSON object"), "{bad}: {why}");
    }
}

#[test]
fn what_was_merged_can_be_merged_again_however_deep() {
    let (mut mesh, ann, _) = under(MergePatch);
    let deep = |leaf: &str| format!("{}{leaf}{}", r#"{"a":"#.repeat(127), "}".repeat(127));
    let read = written(mesh.put(ann, &deep(r#""x""#), UNREAD)).revision;
    mesh.put(ann, &deep("2"), Precondition::LastRead(Some(read))).unwrap();
    mesh.put(ann, r#"{"b":1}"#, UNREAD).unwrap();
    assert_eq!(mesh.value(), format!("{},\"b\":1}}", deep("2").strip_suffix('}').unwrap()));
}

#[test]
fn what_is_merged_may_not_grow_too_long() {
    let (mut mesh, ann, _) = under(MergePatch);
    let long = |field: &str| format!(r#"{{"{field}":"{}"}}"#, "x".repeat(limits::VALUE_BYTES / 2));
    mesh.put(ann, &long("a"), UNREAD).unwrap();
    let (field, why) = problem(mesh.put(ann, &long("b"), UNREAD));
    assert!(field == "value" && why.contains("past 65,536 bytes"), "{why}");
}

#[test]
fn what_is_no_object_is_replaced_by_a_patch_only_if_it_was_read() {
    let (mut mesh, ann, bob) = under(RequireVersion);
    let read = written(mesh.put(ann, "text", UNREAD)).revision;
    mesh.policy(ann, "", Some(MergePatch)).unwrap();
    let conflict = shown(mesh.put(bob, r#"{"a":1}"#, UNREAD));
    assert_eq!((&*conflict.theirs.value, conflict.fields), ("text", vec![]));
    mesh.put(bob, r#"{"a":1,"b":null}"#, Precondition::LastRead(Some(read))).unwrap();
    assert_eq!(mesh.value(), r#"{"a":1}"#);
}

/// Bob reads `base`, ann makes it `theirs`, and bob's patch comes; the conflicting fields, or the merged value.
fn three_way(base: Option<&str>, theirs: &str, patch: &str) -> Result<String, Vec<String>> {
    let (mut mesh, ann, bob) = under(RequireVersion);
    let read = base.map(|base| written(mesh.put(ann, base, Precondition::Any)).revision);
    mesh.put(ann, theirs, Precondition::Any).unwrap();
    mesh.policy(ann, "", Some(MergePatch)).unwrap();
    let outcome = mesh.put(bob, patch, Precondition::LastRead(read));
    if outcome.is_ok() {
        return Ok(mesh.value().to_owned());
    }
    let conflict = shown(outcome);
    assert_eq!(conflict.base.as_ref().map(|base| &*base.value), base);
    assert_eq!(&*conflict.theirs.value, theirs);
    Err(conflict.fields)
}

#[test]
fn different_fields_merge_and_a_field_that_both_changed_is_a_conflict() {
    let ok = |merged: &str| Ok(merged.to_owned());
    let no = |fields: &[&str]| Err(fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>());
    let table = [
        // Another field.
        (r#"{"a":1,"b":1}"#, r#"{"a":2,"b":1}"#, r#"{"b":3}"#, ok(r#"{"a":2,"b":3}"#)),
        (
            r#"{"o":{"x":1,"y":1}}"#,
            r#"{"o":{"x":2,"y":1}}"#,
            r#"{"o":{"y":3}}"#,
            ok(r#"{"o":{"x":2,"y":3}}"#),
        ),
        ("{}", r#"{"a":1}"#, r#"{"b":2}"#, ok(r#"{"a":1,"b":2}"#)),
        // The same field.
        (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#, no(&["/a"])),
        (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2}"#, ok(r#"{"a":2}"#)),
        ("{}", r#"{"a":2}"#, r#"{"a":3,"b":4}"#, no(&["/a"])),
        (r#"{"o":{"x":1}}"#, r#"{"o":{"x":2}}"#, r#"{"o":{"x":3}}"#, no(&["/o/x"])),
        // Arrays and scalars are leaves.
        (r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, r#"{"a":[1,3]}"#, no(&["/a"])),
        (r#"{"a":[1]}"#, r#"{"a":[1]}"#, r#"{"a":[1,3]}"#, ok(r#"{"a":[1,3]}"#)),
        // Removing.
        (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":null}"#, no(&["/a"])),
        (r#"{"a":1}"#, "{}", r#"{"a":null}"#, ok("{}")),
        (r#"{"a":1}"#, "{}", r#"{"a":2}"#, no(&["/a"])),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, r#"{"a":null}"#, ok(r#"{"b":2}"#)),
        (r#"{"o":{"x":1}}"#, r#"{"o":{"x":1,"y":2}}"#, r#"{"o":null}"#, no(&["/o"])),
        (r#"{"o":{"x":1}}"#, "{}", r#"{"o":{"x":2}}"#, no(&["/o/x"])),
        (r#"{"o":{"x":1}}"#, "{}", r#"{"o":{"y":2}}"#, ok(r#"{"o":{"y":2}}"#)),
        // An object where something else is, or the other way round.
        (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":{"x":1}}"#, no(&["/a"])),
        (r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":{"x":1}}"#, ok(r#"{"a":{"x":1}}"#)),
        (r#"{"a":1}"#, r#"{"a":{"x":1}}"#, r#"{"a":5}"#, no(&["/a"])),
        (r#"{"a":1}"#, r#"{"a":{"x":1}}"#, r#"{"a":{"y":2}}"#, ok(r#"{"a":{"x":1,"y":2}}"#)),
        (r#"{"a":1}"#, "{}", r#"{"a":{}}"#, no(&["/a"])),
        // What was read was no object: it lacks every field.
        ("text", r#"{"a":1}"#, r#"{"a":2,"b":3}"#, no(&["/a"])),
        // Pointers are escaped, and all are named.
        (r#"{"a/b":1,"c~d":1}"#, r#"{"a/b":2,"c~d":2}"#, r#"{"a/b":3,"c~d":3}"#, no(&["/a~1b", "/c~0d"])),
    ];
    for (base, theirs, patch, expected) in table {
        assert_eq!(three_way(Some(base), theirs, patch), expected, "{base} {theirs} {patch}");
    }
}

#[test]
fn who_has_read_nothing_knows_no_field() {
    assert_eq!(three_way(None, r#"{"a":1}"#, r#"{"b":2}"#), Ok(r#"{"a":1,"b":2}"#.to_owned()));
    assert_eq!(three_way(None, r#"{"a":1}"#, r#"{"a":1}"#), Ok(r#"{"a":1}"#.to_owned()));
    assert_eq!(three_way(None, r#"{"a":1}"#, r#"{"a":2}"#), Err(vec!["/a".to_owned()]));
    assert_eq!(three_way(None, r#"{"a":1}"#, r#"{"a":null}"#), Err(vec!["/a".to_owned()]));
}

#[test]
fn patches_of_who_has_read_or_means_to_overwrite_conflict_with_nothing() {
    let (mut mesh, ann, bob) = under(MergePatch);
    let read = written(mesh.put(ann, r#"{"a":1}"#, UNREAD)).revision;
    assert!(is_unread(&mesh.put(ann, r#"{"a":2}"#, UNREAD)), "having written last says nothing");
    mesh.put(ann, r#"{"a":2}"#, Precondition::LastRead(Some(read))).unwrap();
    assert!(is_unread(&mesh.put(bob, r#"{"a":3}"#, UNREAD)));
    mesh.put(bob, r#"{"a":3}"#, Precondition::Any).unwrap();
    let version = Precondition::Version(Version(3));
    mesh.put(ann, r#"{"a":4}"#, version).unwrap();
    let read = Precondition::LastRead(Some(mesh.entry().revision));
    mesh.put(bob, r#"{"a":5}"#, read).unwrap();
    assert_eq!(mesh.value(), r#"{"a":5}"#);
}

#[test]
fn a_conflict_names_only_so_many_fields_and_none_at_length() {
    let object = |value: u32, fields: &[String]| {
        let fields: Vec<String> = fields.iter().map(|field| format!("{field:?}:{value}")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let many: Vec<String> = (0..40).map(|n| format!("f{n:02}")).collect();
    let found = three_way(Some("{}"), &object(1, &many), &object(2, &many)).unwrap_err();
    assert_eq!(found.len(), limits::FIELDS_SHOWN);
    assert_eq!((found[0].as_str(), found[15].as_str()), ("/f00", "/f15"));

    let long = [format!("{}x", "p".repeat(300)), format!("{}y", "p".repeat(300))];
    let inner = |value| format!(r#"{{"outer":{}}}"#, object(value, &long));
    assert_eq!(three_way(Some("{}"), &inner(1), &inner(2)), Err(vec!["/outer".to_owned()]));
    assert_eq!(three_way(Some("{}"), &object(1, &long), &object(2, &long)), Err(vec![String::new()]));
}

#[test]
fn a_patch_takes_the_ttl_and_labels_of_a_write() {
    let (mut mesh, ann, _) = under(MergePatch);
    let patch = Put { value: r#"{"a":1}"#.into(), tags: vec!["x".to_owned()], ..put(UNREAD) };
    mesh.by(ann, Command::Put(patch)).unwrap();
    let entry = mesh.entry();
    assert_eq!((entry.ttl, &entry.tags[..]), (None, &["x".to_owned()][..]));
}
