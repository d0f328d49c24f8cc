//! What installing and uninstalling do to whole files.
//!
//! Golden files: the texts before and after, in one snapshot per case, with what a text editor would hide made
//! visible.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::hosts::all_pieces;
use crate::{Choice, Host, Installer, Outcome, Places, Program, Scope, What};

/// A user's home, a project and a mesh's home.
struct Machine {
    dir: TempDir,
    places: Places,
}

const USER: Choice = Choice { scope: Scope::User, hooks: true, settings: false };
const SETTINGS: Choice = Choice { settings: true, ..USER };
const PROJECT: Choice = Choice { scope: Scope::Project, ..USER };
const TOOLS_ONLY: Choice = Choice { hooks: false, ..USER };

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(dir.path());
        fs::create_dir(&places.home).unwrap();
        fs::create_dir(&places.project).unwrap();
        Self { dir, places }
    }

    fn installer(&self, command: &str) -> Installer {
        Installer::new(self.places.clone(), &self.dir.path().join("mesh"), Program::new(command), false)
    }

    fn dry(&self) -> Installer {
        Installer::new(self.places.clone(), &self.dir.path().join("mesh"), Program::new("/opt/meshctl"), true)
    }

    fn install(&self, host: Host, choice: Choice) -> Outcome {
        self.installer("/opt/meshctl").install(host, choice)
    }

    fn uninstall(&self, host: Host, scope: Scope) -> Outcome {
        self.installer("/opt/meshctl").uninstall(host, scope)
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Every file and directory of the user and the project, with what is in it.
    fn tree(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let mut tree = Vec::new();
        for root in [&self.places.home, &self.places.project] {
            walk(root, &mut tree);
        }
        tree.sort();
        tree
    }
}

fn walk(directory: &Path, tree: &mut Vec<(PathBuf, Option<Vec<u8>>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, tree);
            tree.push((path, None));
        } else {
            let bytes = fs::read(&path).unwrap();
            tree.push((path, Some(bytes)));
        }
    }
}

fn words(outcome: &Outcome) -> Vec<What> {
    outcome.files.iter().map(|step| step.what).collect()
}

/// What an editor would hide, visible.
fn visible(text: &str) -> String {
    text.replace('\u{feff}', "<BOM>").replace('\r', "<CR>").replace('\t', "<TAB>")
}

/// The case of every host that keeps JSON: file, text before.
const ODD: [(&str, Host, Choice, &str, &str); 12] = [
    (
        "claude_settings_with_other_hooks",
        Host::ClaudeCode,
        SETTINGS,
        "home/.claude/settings.json",
        "{\n    \"model\": \"opus\",\n    \"hooks\": {\n        \"PreToolUse\": [\n            {\"matcher\": \"Bash\", \
         \"hooks\": [{\"type\": \"command\", \"command\": \"audit.sh\"}]}\n        ]\n    },\n    \"zeta\": [1,2,  3]\n}\n",
    ),
    (
        "claude_json_without_line_end",
        Host::ClaudeCode,
        SETTINGS,
        "home/.claude.json",
        "{\"numStartups\":3,\"mcpServers\":{\"docs\":{\"command\":\"npx\",\"args\":[\"docs\"]}},\"tips\":{}}",
    ),
    ("codex_hooks_empty_file", Host::Codex, USER, "home/.codex/hooks.json", ""),
    (
        "codex_toml_with_crlf_and_bom",
        Host::Codex,
        USER,
        "home/.codex/config.toml",
        "\u{feff}# mine\r\nmodel = \"gpt\"   # fast\r\n\r\n[mcp_servers.docs]\r\ncommand = 'npx'\r\nargs = [ \"docs\", ]\r\n\r\n[tui]\r\n  theme=\"x\"\r\n",
    ),
    (
        "codex_toml_inline",
        Host::Codex,
        USER,
        "home/.codex/config.toml",
        "mcp_servers = { docs = { command = \"npx\" } } # all of them\n",
    ),
    (
        "cursor_mcp_with_tabs_and_crlf",
        Host::Cursor,
        USER,
        "home/.cursor/mcp.json",
        "\u{feff}{\r\n\t\"mcpServers\": {\r\n\t\t\"docs\": {\"command\": \"npx\"}\r\n\t}\r\n}\r\n",
    ),
    (
        "gemini_with_comments",
        Host::Gemini,
        USER,
        "home/.gemini/settings.json",
        "// of mine\n{\n   /* three */\n   \"theme\": \"x\", // here\n   // \"off\": 1\n}\n",
    ),
    (
        "opencode_jsonc_with_trailing_commas",
        Host::Opencode,
        USER,
        "home/.config/opencode/opencode.jsonc",
        "{\n  \"$schema\": \"https://opencode.ai/config.json\",\n  \"mcp\": {\n    // docs\n    \"docs\": {\"type\": \"remote\"},\n  },\n}\n",
    ),
    (
        "vscode_mcp_of_project",
        Host::Vscode,
        PROJECT,
        "project/.vscode/mcp.json",
        "{\n  \"inputs\": [],\n  \"servers\": {}\n}\n",
    ),
    (
        "zed_with_comments_and_commas",
        Host::Zed,
        USER,
        "home/.config/zed/settings.json",
        "// Zed settings\n//\n{\n  \"theme\": { \"mode\": \"system\" }, // both\n  \"context_servers\": {\n    \"docs\": { \"command\": \"npx\", \"args\": [], },\n  },\n}\n",
    ),
    (
        "goose_yaml_with_comments",
        Host::Goose,
        USER,
        "home/.config/goose/config.yaml",
        "# goose\nGOOSE_MODEL: gpt # fast\nextensions:\n    developer:\n        type: builtin\n        enabled: true   # of course\n\n# the end\nOTHER: |\n  two\n  lines\n",
    ),
    (
        "goose_yaml_of_nothing",
        Host::Goose,
        USER,
        "home/.config/goose/config.yaml",
        "GOOSE_MODEL: gpt\r\nextensions: {} # none",
    ),
];

#[test]
fn files_with_an_odd_layout_get_our_entries_and_nothing_else() {
    for (name, host, choice, path, before) in ODD {
        let machine = Machine::new();
        let path = machine.write(path, before);
        let outcome = machine.install(host, choice);
        assert!(!words(&outcome).contains(&What::Refused), "{name}: {outcome:#?}");
        let after = fs::read_to_string(&path).unwrap();
        insta::assert_snapshot!(name, format!("{}=====\n{}", visible(before), visible(&after)));
    }
}

#[test]
fn uninstalling_gives_back_the_very_bytes() {
    for (name, host, choice, path, before) in ODD {
        let machine = Machine::new();
        machine.write(path, before);
        let there = machine.tree();
        machine.install(host, choice);
        assert_ne!(machine.tree(), there, "{name}");
        let outcome = machine.uninstall(host, choice.scope);
        assert!(words(&outcome).contains(&What::Restored), "{name}: {outcome:#?}");
        assert_eq!(machine.tree(), there, "{name}");
        assert!(!machine.dir.path().join("mesh/install").exists(), "{name}: receipts are left");
    }
}

#[test]
fn installing_twice_is_installing_once() {
    for (name, host, choice, path, before) in ODD {
        let machine = Machine::new();
        machine.write(path, before);
        let there = machine.tree();
        machine.install(host, choice);
        let once = machine.tree();
        let outcome = machine.install(host, choice);
        assert!(words(&outcome).iter().all(|what| *what == What::Unchanged), "{name}: {outcome:#?}");
        assert_eq!(machine.tree(), once, "{name}");
        machine.uninstall(host, choice.scope);
        assert_eq!(machine.tree(), there, "{name}");
    }
}

#[test]
fn where_nothing_was_all_is_made_and_all_goes_again() {
    for choice in [USER, SETTINGS, PROJECT, TOOLS_ONLY, Choice { settings: true, ..PROJECT }] {
        for host in Host::ALL {
            let machine = Machine::new();
            let outcome = machine.install(host, choice);
            assert!(words(&outcome).iter().all(|what| *what == What::Created), "{outcome:#?}");
            let mut shown = String::new();
            for step in &outcome.files {
                let text = fs::read_to_string(&step.path).unwrap();
                shown += &format!("===== {}\n", machine.places.show(&step.path));
                let extension = step.path.extension().unwrap().to_str().unwrap();
                if extension == "json" {
                    serde_json::from_str::<serde_json::Value>(&text).unwrap();
                }
                if ["json", "toml", "yaml"].contains(&extension) {
                    shown += &text;
                }
            }
            if choice.hooks && !choice.settings {
                let scope = if choice.scope == Scope::User { "user" } else { "project" };
                insta::assert_snapshot!(format!("new_{}_{scope}", host.name()), shown);
            }
            machine.uninstall(host, choice.scope);
            assert_eq!(machine.tree(), [], "{host:?} {choice:?}");
        }
    }
}

#[test]
fn all_hosts_together_come_and_go_in_any_order() {
    let machine = Machine::new();
    for host in Host::ALL {
        machine.install(host, USER);
    }
    for host in Host::ALL.into_iter().rev() {
        machine.uninstall(host, Scope::User);
    }
    assert_eq!(machine.tree(), []);
    for host in Host::ALL {
        machine.install(host, USER);
    }
    for host in Host::ALL {
        machine.uninstall(host, Scope::User);
    }
    assert_eq!(machine.tree(), []);
    assert!(!machine.dir.path().join("mesh/install").exists(), "no receipt is left");
}

#[test]
fn a_directory_that_somebody_uses_stays() {
    let machine = Machine::new();
    machine.install(Host::Codex, USER);
    let theirs = machine.write("home/.codex/history.jsonl", "{}");
    machine.uninstall(Host::Codex, Scope::User);
    assert_eq!(machine.tree(), [(machine.places.codex.clone(), None), (theirs, Some(b"{}".to_vec())),]);
    assert!(!machine.dir.path().join("mesh/install").exists(), "nothing of ours is left to know");
}

#[test]
fn an_older_version_is_brought_up_to_date_and_gone_without_a_trace() {
    for host in Host::ALL {
        let machine = Machine::new();
        let there = machine.tree();
        machine.installer("/old/meshctl").install(host, USER);
        let outcome = machine.install(host, USER);
        assert!(!words(&outcome).contains(&What::Refused), "{outcome:#?}");
        for (path, bytes) in machine.tree() {
            let text = String::from_utf8(bytes.unwrap_or_default()).unwrap();
            assert!(!text.contains("/old/"), "{}: {text}", path.display());
        }
        machine.uninstall(host, Scope::User);
        assert_eq!(machine.tree(), there, "{host:?}");
    }
}

#[test]
fn a_program_of_any_name_is_recognised_by_its_receipt() {
    for host in Host::ALL {
        let machine = Machine::new();
        machine.installer("/opt/coordinator").install(host, USER);
        for (path, bytes) in machine.tree() {
            let text = String::from_utf8(bytes.unwrap_or_default()).unwrap();
            if text.contains("coordinator") && path.extension().is_some_and(|extension| extension != "js") {
                let changed = if text.starts_with('{') { "\n" } else { "# mine\n" };
                fs::write(&path, text + changed).unwrap();
            }
        }
        machine.install(host, USER);
        for (path, bytes) in machine.tree() {
            let text = String::from_utf8(bytes.unwrap_or_default()).unwrap();
            assert!(!text.contains("coordinator"), "{}: {text}", path.display());
        }
    }
}

#[test]
fn what_somebody_changed_since_stays() {
    let machine = Machine::new();
    let path = machine.write("home/.gemini/settings.json", "{\n  \"theme\": \"x\"\n}\n");
    machine.install(Host::Gemini, USER);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"theme\": \"x\",", "\"theme\": \"y\", // better")).unwrap();
    assert_eq!(words(&machine.uninstall(Host::Gemini, Scope::User)), [What::Cleaned]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\n  \"theme\": \"y\" // better\n}\n");
}

#[test]
fn a_hook_that_somebody_put_into_our_group_stays() {
    let machine = Machine::new();
    let path = machine.write("home/.codex/hooks.json", "{}\n");
    machine.install(Host::Codex, USER);
    let text = fs::read_to_string(&path).unwrap();
    let mine = "\"hooks\": [\n          { \"type\": \"command\", \"command\": \"mine.sh\" },";
    fs::write(&path, text.replacen("\"hooks\": [", mine, 1)).unwrap();
    machine.installer("/new/meshctl").install(Host::Codex, USER);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("mine.sh") && text.contains("/new/meshctl") && !text.contains("/opt/"), "{text}");
    machine.uninstall(Host::Codex, Scope::User);
    let left: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let group = serde_json::json!([{"hooks": [{"type": "command", "command": "mine.sh"}]}]);
    assert_eq!(left, serde_json::json!({"hooks": {"SessionStart": group}}));
}

#[test]
fn what_cannot_be_parsed_is_left_alone_with_what_to_add_by_hand() {
    for (host, path, text, why) in [
        (Host::Cursor, "home/.cursor/mcp.json", "{ \"mcpServers\": ", "cannot be parsed"),
        (Host::Cursor, "home/.cursor/mcp.json", "[]", "is not a object"),
        (Host::Cursor, "home/.cursor/mcp.json", "{\"mcpServers\": 1}", "`mcpServers` is not a object"),
        (
            Host::Cursor,
            "home/.cursor/mcp.json",
            "{\"mcpServers\": {\"mesh\": {\"command\": \"other\"}}}",
            "starts something else",
        ),
        (Host::Codex, "home/.codex/config.toml", "a = \n", "cannot be parsed"),
        (Host::Codex, "home/.codex/config.toml", "a = 1\r\nb = 2\n", "its lines end in different ways"),
        (Host::Codex, "home/.codex/config.toml", "mcp_servers = 1\n", "is not a table"),
        (Host::Goose, "home/.config/goose/config.yaml", "a: [", "cannot be parsed"),
        (Host::Goose, "home/.config/goose/config.yaml", "a: 1\n---\nb: 2\n", "several documents"),
        (Host::Goose, "home/.config/goose/config.yaml", "extensions: [a]\n", "is not a mapping"),
    ] {
        let machine = Machine::new();
        let file = machine.write(path, text);
        let outcome = machine.install(host, USER);
        let step = outcome.files.iter().find(|step| step.path == file).unwrap();
        assert_eq!(step.what, What::Refused, "{text}");
        assert!(step.why.as_ref().unwrap().contains(why), "{text}: {:?}", step.why);
        assert!(step.by_hand.as_ref().unwrap().contains("/opt/meshctl"), "{text}: {:?}", step.by_hand);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        let others = outcome.files.iter().filter(|step| step.path != file);
        assert!(others.clone().count() > 0 && others.clone().all(|step| step.what == What::Created));
    }
}

#[test]
fn a_linked_file_stays_linked() {
    let machine = Machine::new();
    let real = machine.write("dotfiles/settings.json", "{}\n");
    fs::create_dir_all(machine.places.home.join(".gemini")).unwrap();
    let link = machine.places.home.join(".gemini/settings.json");
    symlink("../../dotfiles/settings.json", &link).unwrap();
    assert_eq!(words(&machine.install(Host::Gemini, USER)), [What::Changed]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("meshctl"));
    assert_eq!(words(&machine.uninstall(Host::Gemini, Scope::User)), [What::Restored]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "{}\n");
}

#[test]
fn another_choice_takes_the_place_of_the_last() {
    let machine = Machine::new();
    machine.install(Host::ClaudeCode, USER);
    let outcome = machine.install(Host::ClaudeCode, SETTINGS);
    assert!(words(&outcome).contains(&What::Deleted));
    assert!(!machine.places.claude.join("skills").exists(), "the plugin is gone");
    assert!(machine.places.claude_json.exists());
    machine.install(Host::ClaudeCode, TOOLS_ONLY);
    assert!(!machine.places.claude_json.exists(), "the settings are gone");
    assert!(!machine.places.claude.join("skills/mesh/hooks").exists());
    machine.uninstall(Host::ClaudeCode, Scope::User);
    assert_eq!(machine.tree(), []);
}

#[test]
fn tools_only_takes_hooks_out_again() {
    let machine = Machine::new();
    for host in Host::ALL {
        machine.install(host, USER);
        machine.install(host, TOOLS_ONLY);
    }
    for (path, bytes) in machine.tree() {
        let text = String::from_utf8(bytes.unwrap_or_default()).unwrap();
        assert!(!text.contains("meshctl hook"), "{}: {text}", path.display());
    }
}

#[test]
fn without_a_receipt_our_entries_are_still_recognised() {
    for host in Host::ALL {
        let machine = Machine::new();
        machine.install(host, USER);
        fs::remove_dir_all(machine.dir.path().join("mesh")).unwrap();
        machine.installer("/elsewhere/meshctl").uninstall(host, Scope::User);
        for (path, bytes) in machine.tree() {
            let text = String::from_utf8(bytes.unwrap_or_default()).unwrap();
            assert!(!text.contains("meshctl"), "{}: {text}", path.display());
        }
    }
}

#[test]
fn a_dry_run_shows_all_and_changes_nothing() {
    let machine = Machine::new();
    machine.write("home/.codex/config.toml", "model = \"gpt\"\n");
    let there = machine.tree();
    let outcome = machine.dry().install(Host::Codex, USER);
    assert_eq!(words(&outcome), [What::Changed, What::Created]);
    assert_eq!(machine.tree(), there);
    assert!(!machine.dir.path().join("mesh").exists());
    let diffs: String = outcome.files.iter().map(|step| step.diff.as_str()).collect();
    insta::assert_snapshot!("dry_run", diffs);
}

#[test]
fn every_choice_is_undone_by_what_uninstalling_looks_at() {
    let machine = Machine::new();
    for host in Host::ALL {
        for scope in [Scope::User, Scope::Project] {
            let program = Program::new("meshctl");
            let all = all_pieces(host, scope, &machine.places, &program);
            for choice in [USER, SETTINGS, TOOLS_ONLY].map(|choice| Choice { scope, ..choice }) {
                for piece in crate::hosts::pieces(host, choice, &machine.places, &program) {
                    assert!(all.iter().any(|other| other.path == piece.path), "{:?}", piece.path);
                }
            }
        }
    }
}

#[test]
fn the_plugins_in_the_repository_are_those_that_are_written() {
    let machine = Machine::new();
    machine.installer("meshctl").install(Host::ClaudeCode, USER);
    let mut files = Vec::new();
    walk(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/claude-plugin")), &mut files);
    let files: Vec<_> = files.into_iter().filter_map(|(path, bytes)| Some((path, bytes?))).collect();
    assert_eq!(files.len(), 10);
    for (path, bytes) in files {
        let below = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/claude-plugin")).unwrap();
        let written = fs::read(machine.places.claude.join("skills/mesh").join(below)).unwrap();
        let (kept, written) = (String::from_utf8(bytes).unwrap(), String::from_utf8(written).unwrap());
        assert_eq!(kept, written, "{}", below.display());
    }
}

#[test]
fn what_names_a_version_names_this_one() {
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/");
    for manifest in ["claude-plugin/.claude-plugin/plugin.json", "goose/plugin.json"] {
        let text = fs::read_to_string(format!("{assets}{manifest}")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    }
}
