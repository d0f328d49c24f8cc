//! For any file: uninstalling undoes installing, twice is once, and everything else keeps its meaning.

use proptest::prelude::*;
use serde_json::Value;

use crate::edit::{Fault, json, toml, yaml};
use crate::hosts::pieces;
use crate::piece::Content;
use crate::{Choice, Host, Installer, Places, Program, Scope};

/// White space and comments between tokens.
fn gap() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", " ", "\n", "\n    ", "\t", " // note\n", "/* note */", "\n\n"])
        .prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["null", "true", "-0.5e3", "12"]).prop_map(str::to_owned),
        "[a-z \"\\\\é{}/]{0,6}".prop_map(|text| Value::from(text).to_string()),
    ]
}

fn jsonc(keys: &'static [&'static str]) -> impl Strategy<Value = String> {
    let leaf = scalar();
    let tree = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (gap(), prop::collection::vec((inner.clone(), gap()), 0..3), any::<bool>()).prop_map(
                |(gap, items, comma)| {
                    let items: Vec<_> = items.into_iter().map(|(value, g)| value + &g).collect();
                    wrapped('[', ']', &gap, &items, comma)
                }
            ),
            (gap(), prop::collection::btree_map("[a-z]{1,4}", (inner, gap()), 0..3), any::<bool>()).prop_map(
                |(gap, fields, comma)| {
                    let fields = fields.into_iter().map(|(key, (value, g))| format!("\"{key}\":{value}{g}"));
                    wrapped('{', '}', &gap, &fields.collect::<Vec<_>>(), comma)
                }
            ),
        ]
    });
    // Some of the keys that we touch, with what may be in them already.
    let known = prop::sample::subsequence(keys.to_vec(), 0..=keys.len());
    let inside = prop_oneof![
        Just("{}".to_owned()),
        Just("{ \"docs\": {\"command\": \"npx\", \"args\": [\"docs\", \"mcp\"]} }".to_owned()),
        Just("{\n\t\"Stop\": [ {\"hooks\": [{\"command\": \"mine\"}]}, ], // c\n\t}".to_owned()),
    ];
    let fields = prop::collection::btree_map("[A-Z]{1,3}", (tree, gap()), 0..4);
    (gap(), known, inside, fields, any::<bool>(), gap(), gap()).prop_map(
        |(gap, known, inside, fields, comma, before, after)| {
            let known = known.into_iter().map(|key| format!("\"{key}\": {inside}"));
            let fields = fields.into_iter().map(|(key, (value, g))| format!("\"{key}\" : {value}{g}"));
            format!(
                "{before}{}{after}",
                wrapped('{', '}', &gap, &fields.chain(known).collect::<Vec<_>>(), comma)
            )
        },
    )
}

fn wrapped(open: char, close: char, gap: &str, items: &[String], comma: bool) -> String {
    let tail = if comma && !items.is_empty() { "," } else { "" };
    format!("{open}{gap}{}{tail}{gap}{close}", items.join(&format!(",{gap}")))
}

/// The entries of a host in its first JSON file, and of its hooks.
fn entries(host: Host) -> Vec<json::Entries> {
    let places = Places::below(std::path::Path::new("/x"));
    let choice = Choice { scope: Scope::User, hooks: true, settings: true };
    let pieces = pieces(host, choice, &places, &program());
    let entries = pieces.into_iter().filter_map(|piece| match piece.content {
        Content::Json(entries) => Some(entries),
        Content::Toml | Content::Yaml | Content::Whole(_) => None,
    });
    entries.collect()
}

fn program() -> Program {
    Program::new("/opt/mesh ctl/meshctl")
}

fn toml_text() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "[a-z]{1,3} = ([0-9]{1,3}|\"[a-zé ]{0,4}\"|true|\\[ 1, 2 \\]|'x')( # c)?".prop_map(|line| line),
        Just("# a comment".to_owned()),
        Just(String::new()),
        Just("multi = \"\"\"\n[x]\n\"\"\"".to_owned()),
    ];
    let table = prop::sample::select(vec![
        "[tui]",
        "[mcp_servers.docs]",
        "[mcp_servers.docs.env]",
        "  [ mcp_servers . other ] # odd",
        "[[list]]",
        "[a.b]",
        "[mcp_servers]",
    ]);
    let section = (table, prop::collection::vec(line.clone(), 0..3));
    let head = prop_oneof![
        3 => Just(String::new()),
        1 => Just("mcp_servers = { docs = {command = \"npx\"} }".to_owned()),
        1 => Just("mcp_servers.docs.command = 'npx'".to_owned()),
    ];
    (head, prop::collection::vec(line, 0..3), prop::collection::vec(section, 0..4), any::<(bool, bool)>())
        .prop_map(|(head, lines, sections, (crlf, end))| {
            let mut all = vec![head];
            all.extend(lines);
            for (table, lines) in sections {
                all.push(table.to_owned());
                all.extend(lines);
            }
            let text = all.join("\n") + if end { "\n" } else { "" };
            if crlf { text.replace('\n', "\r\n") } else { text }
        })
        .prop_filter("a host would not read it", |text| {
            text.replace("\r\n", "\n").parse::<toml_edit::DocumentMut>().is_ok()
        })
}

fn yaml_text() -> impl Strategy<Value = String> {
    let entry = prop::sample::select(vec![
        "GOOSE_MODEL: gpt # fast",
        "# a comment",
        "",
        "text: |\n  two\n\n  lines\n",
        "folded: >-\n   two\n   lines",
        "list:\n- a\n- b: 1",
        "flow: {a: [1, 2], b: \"c: d\"}",
        "anchor: &a\n  x: 1",
        "quoted: 'it''s'",
        "empty:",
    ]);
    let extensions = prop::sample::select(vec![
        "",
        "extensions:",
        "extensions: {}",
        "extensions: ~ # none",
        "extensions: {docs: {type: stdio, cmd: npx}}",
        "extensions:\n  docs:\n    type: stdio\n    cmd: npx # c",
        "extensions:\n      docs:\n            type: stdio\n            text: |\n              a\n              b\n",
        "extensions: # mine\n  # first\n  docs: {type: builtin}\n  # last",
        "extensions:\n  docs:\n    args:\n    - a\n    - mcp\n  empty:",
    ]);
    let part = || prop::collection::vec(entry.clone(), 0..3);
    (part(), extensions, part(), any::<(bool, bool)>())
        .prop_map(|(before, extensions, after, (crlf, end))| {
            let all: Vec<_> = before.into_iter().chain([extensions]).chain(after).collect();
            let text = all.join("\n") + if end { "\n" } else { "" };
            if crlf { text.replace('\n', "\r\n") } else { text }
        })
        .prop_filter("a host would not read it", |text| yaml::install(text, &program()).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn json_files_keep_what_is_not_ours(
        text in jsonc(&["mcpServers", "hooks", "servers", "mcp", "context_servers"]),
        host in prop::sample::select(Host::ALL.to_vec()),
        crlf in any::<bool>(),
    ) {
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        for entries in entries(host) {
            let Ok(installed) = json::install(&text, &entries, &program()) else { continue };
            prop_assert_eq!(&json::install(&installed, &entries, &program()).unwrap(), &installed, "twice is once");
            let removed = json::remove(&installed, &entries, &program(), Some(&text)).unwrap();
            prop_assert_eq!(json::value(&removed).unwrap(), json::value(&text).unwrap(), "{}", installed);
            prop_assert_eq!(json::find(&removed, Some("mcpServers"), &program()), Default::default());
            let comments = |text: &str| text.matches("note").count() + text.matches("// c").count();
            prop_assert_eq!(comments(&installed), comments(&text), "no comment is lost: {}", installed);
            if let Some((at, _)) = entries.server {
                let found = json::find(&installed, Some(at), &program()).server.unwrap();
                prop_assert_eq!(found, ["/opt/mesh ctl/meshctl", "mcp"]);
            }
        }
    }

    #[test]
    fn toml_files_keep_what_is_not_ours(text in toml_text()) {
        // A layout that the editor would straighten is left alone.
        let installed = match toml::install(&text, &program()) {
            Err(Fault::Delicate(_)) => return Ok(()),
            installed => installed.unwrap(),
        };
        prop_assert_eq!(&toml::install(&installed, &program()).unwrap(), &installed, "twice is once");
        prop_assert_eq!(toml::find(&installed, &program()).server.unwrap(), ["/opt/mesh ctl/meshctl", "mcp"]);
        let removed = toml::remove(&installed, &program(), Some(&text)).unwrap();
        prop_assert_eq!(removed.trim_end(), text.trim_end());
        for line in text.lines() {
            prop_assert!(installed.contains(line.trim_end_matches('}').trim_end()), "{line:?} in {installed}");
        }
    }

    #[test]
    fn yaml_files_keep_what_is_not_ours(text in yaml_text()) {
        let installed = yaml::install(&text, &program()).unwrap();
        prop_assert_eq!(&yaml::install(&installed, &program()).unwrap(), &installed, "twice is once");
        prop_assert_eq!(yaml::find(&installed, &program()).server.unwrap(), ["/opt/mesh ctl/meshctl", "mcp"]);
        let removed = yaml::remove(&installed, &program(), Some(&text)).unwrap();
        prop_assert_eq!(yaml::find(&removed, &program()).server, None);
        for line in text.lines().filter(|line| !line.starts_with("extensions")) {
            prop_assert!(installed.lines().any(|other| other == line), "{line:?} in {installed}");
            prop_assert!(removed.lines().any(|other| other == line), "{line:?} in {removed}");
        }
    }
}

/// Puts a text into a host's file, installs, uninstalls, and returns the text.
fn there_and_back(host: Host, path: &str, text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::below(dir.path());
    let path = places.home.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    let installer = Installer::new(places, &dir.path().join("mesh"), program(), false);
    let choice = Choice { scope: Scope::User, hooks: true, settings: false };
    installer.install(host, choice);
    installer.install(host, Choice { hooks: false, ..choice });
    installer.install(host, choice);
    installer.uninstall(host, Scope::User);
    std::fs::read_to_string(&path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn uninstalling_gives_back_the_bytes(
        json in jsonc(&["mcpServers", "hooks"]),
        toml in toml_text(),
        yaml in yaml_text(),
    ) {
        prop_assert_eq!(there_and_back(Host::Gemini, ".gemini/settings.json", &json), json);
        prop_assert_eq!(there_and_back(Host::Codex, ".codex/config.toml", &toml), toml);
        prop_assert_eq!(there_and_back(Host::Goose, ".config/goose/config.yaml", &yaml), yaml);
    }
}
