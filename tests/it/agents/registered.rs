//! Registration: what `meshctl install` writes is what the hosts read, and it comes out again.

use std::collections::BTreeMap;
use std::path::Path;

use mesh_mock::{Model, Turn};
use mesh_tests::agents::{Claude, Codex, Desk, Finished, Gemini, Opencode};
use serde_json::{Value, json};

use super::{Colleague, read};

/// Every file below a home, but those of the mesh itself.
fn files(home: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![home.to_path_buf()]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let name = path.strip_prefix(home).unwrap().to_str().unwrap().to_owned();
            if name == ".mesh" {
                continue;
            }
            if kind.is_dir() {
                found.insert(name + "/", vec![]);
                left.push(path);
            } else if kind.is_file() {
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

fn said(finished: Finished) -> String {
    let finished = finished.ok();
    finished.stdout + &finished.stderr
}

/// The checks of `meshctl doctor` that are not as they should be.
fn wrong(doctor: &Finished) -> Vec<Value> {
    let told: Value = serde_json::from_str(&doctor.stdout).unwrap_or_else(|_| panic!("{doctor:#?}"));
    let checks = told["checks"].as_array().unwrap();
    assert!(checks.len() > 2, "{told:#}");
    checks.iter().filter(|check| check["ok"] != true).cloned().collect()
}

#[tokio::test]
async fn what_is_installed_is_connected_and_healthy_and_comes_out_byte_for_byte() {
    let desk = Desk::new();
    let (claude, codex) = (Claude::new(&desk), Codex::new(&desk));
    let (gemini, opencode) = (Gemini::new(&desk), Opencode::new(&desk));
    let settings = desk.home().join(".gemini/settings.json");
    let commented = format!("// mine\n{}\n", std::fs::read_to_string(&settings).unwrap());
    std::fs::write(settings, commented).unwrap();
    // It adds this by itself.
    opencode.set("$schema", &json!("https://opencode.ai/config.json"));
    let before = files(&desk.home());

    let installed = said(desk.meshctl(&["install"]));
    assert!(installed.contains("Found: claude-code, codex, gemini, opencode\n"), "{installed}");
    // Installing again changes nothing.
    let there = files(&desk.home());
    let again = said(desk.meshctl(&["install"]));
    assert_eq!(again.matches("all is there already").count(), 4, "{again}");
    assert_eq!(files(&desk.home()), there);
    said(desk.meshctl(&["uninstall"]));
    assert_eq!(files(&desk.home()), before);

    desk.install(&[]);
    let list = said(claude.run(&["mcp", "list"]));
    let line = list.lines().find(|line| line.contains("meshctl mcp")).unwrap_or_else(|| panic!("{list}"));
    assert!(line.contains("Connected"), "{line}");
    let list = said(codex.run(&["mcp", "list"]));
    assert!(list.lines().any(|line| line.starts_with("mesh ") && line.contains("enabled")), "{list}");
    let list = said(gemini.run(&["mcp", "list"]));
    assert!(list.lines().any(|line| line.contains("mesh: ") && line.contains("Connected")), "{list}");
    let list = said(opencode.run(&["mcp", "list"]));
    assert!(list.contains("mesh") && list.contains("connected"), "{list}");

    // Looking at a list is no session, though hosts start the server for it, and Claude Code tells of an end.
    let peers = said(desk.meshctl(&["who", "--all", "--json"]));
    assert!(
        ["claude-code", "codex", "gemini", "opencode"].iter().all(|kind| !peers.contains(kind)),
        "{peers}"
    );

    let wrong = wrong(&desk.meshctl(&["doctor", "--json"]));
    // What only their owner can do: Codex runs no hook that was not reviewed.
    let [unreviewed] = &wrong[..] else { panic!("{wrong:#?}") };
    assert_eq!((&unreviewed["host"], &unreviewed["what"]), (&json!("codex"), &json!("hooks reviewed")));
    assert!(unreviewed["found"].as_str().unwrap().starts_with("0 of 9 "), "{unreviewed:#}");

    said(desk.meshctl(&["uninstall"]));
    let after = files(&desk.home());
    let changed = before.iter().filter(|(name, text)| after.get(*name) != Some(*text));
    let changed: Vec<_> = changed.map(|(name, _)| name).collect();
    // Claude Code keeps its own state there.
    assert!(changed.iter().all(|name| *name == ".claude.json"), "{changed:#?}");
    let ours = after
        .iter()
        .filter(|(name, text)| name.contains("mesh") || text.windows(7).any(|word| word == b"meshctl"));
    // What Claude Code keeps of every plugin and server.
    let its = |name: &str| name.starts_with(".cache/") || name.starts_with(".claude/plugins/data/");
    let ours: Vec<_> = ours.map(|(name, _)| name).filter(|name| !its(name)).collect();
    assert_eq!(ours, [&""; 0]);
}

#[tokio::test]
async fn hooks_of_the_user_and_of_the_project_together_say_things_once() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let owl = Colleague::join(&desk, "owl").await;
    let claude = Claude::new(&desk);
    desk.install(&["claude-code", "--settings"]);
    desk.install(&["claude-code", "--settings", "--project"]);
    model.script([read(&desk, "a.txt"), Turn::say("Read.")]);
    claude.print(&model, "Read a.txt.", &[]).finish().await.ok();
    assert_eq!(model.requests()[0].count("[mesh] you are "), 1);

    let [agent] = &owl.peers("claude-code").await[..] else { panic!("one peer") };
    owl.tell(&agent.name, "The plan is void.").await;
    claude.print(&model, "Go on.", &["--continue"]).finish().await.ok();
    let last = model.requests().pop().unwrap();
    assert_eq!(last.count("The plan is void."), 1);
    assert_eq!(owl.activity("a.txt").await.len(), 1);
}

#[tokio::test]
async fn the_hooks_of_codex_run_once_their_owner_has_reviewed_them() {
    let (desk, model) = (Desk::new(), Model::start().await);
    let codex = Codex::new(&desk);
    desk.install(&["codex"]);
    codex.cautious_exec(&model, "Hello there").finish().await.ok();
    assert!(!model.requests()[0].holds("[mesh]"), "{:#?}", model.requests()[0].texts());
    codex.trust_hooks().await;
    codex.cautious_exec(&model, "Hello again").finish().await.ok();
    let last = model.requests().pop().unwrap();
    assert_eq!(last.count("[mesh] you are "), 1, "{:#?}", last.texts());

    assert_eq!(wrong(&desk.meshctl(&["doctor", "codex", "--json"])), [json!(null); 0]);
    said(desk.meshctl(&["uninstall"]));
    let config = std::fs::read_to_string(desk.home().join(".codex/config.toml")).unwrap();
    assert!(!config.contains("meshctl") && !config.contains("mcp_servers"), "{config}");
    assert!(!desk.home().join(".codex/hooks.json").exists());
}
