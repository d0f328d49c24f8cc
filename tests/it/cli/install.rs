//! `meshctl install`, `uninstall` and `doctor`, in a home of their own.
//!
//! The registered command is a script that answers hooks as the test wants it and hands everything else to meshctl.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use mesh_tests::{Mesh, meshctl};
use serde_json::{Value, json};

/// A user of a mesh, with a home and programs.
struct User<'a> {
    mesh: &'a Mesh,
    home: PathBuf,
    bin: PathBuf,
}

impl<'a> User<'a> {
    fn new(mesh: &'a Mesh) -> Self {
        let (home, bin) = (mesh.path().join("user"), mesh.path().join("bin"));
        fs::create_dir_all(home.join(".codex")).unwrap();
        fs::create_dir(&bin).unwrap();
        symlink(meshctl(), bin.join("meshctl")).unwrap();
        Self { mesh, home, bin }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.mesh.meshctl(arguments);
        command.env("HOME", &self.home).env_remove("MESH_SCOPE").current_dir(&self.home);
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.bin.display()));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn object(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(&[&["--json"], arguments].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        let object = serde_json::from_slice(&output.stdout);
        (output.status.code(), object.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {told}")))
    }

    /// A program that answers hooks with a shell command.
    fn answering(&self, answer: &str) -> String {
        let path = self.bin.join("wrapped-meshctl");
        let real = meshctl();
        let script =
            format!("#!/bin/sh\nif [ \"$1\" = hook ]; then {answer}; fi\nexec {} \"$@\"\n", real.display());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn check<'a>(checks: &'a Value, host: Option<&str>, what: &str) -> &'a Value {
    let checks = checks["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["host"].as_str() == host && check["what"] == what);
    found.unwrap_or_else(|| panic!("no {what} of {host:?} in {checks:#?}"))
}

#[tokio::test]
async fn what_is_found_is_registered_and_works_until_it_is_taken_out_again() {
    let mesh = Mesh::new();
    let user = User::new(&mesh);
    let config = user.home.join(".codex/config.toml");
    fs::write(&config, "model = \"gpt\" # fast\r\n").unwrap();
    let program = user.answering("cat > /dev/null; echo '{}'; exit 0");
    let (code, installed) = user.object(&["install", "--command", &program]);
    assert_eq!(code, Some(0));
    assert_eq!(installed["found"][0]["host"], "codex");
    assert_eq!(installed["missing"].as_array().unwrap().len(), 9);
    assert_eq!(installed["hosts"][0]["files"][0]["what"], "changed");
    assert!(fs::read_to_string(&config).unwrap().contains(&program));

    let (code, checks) = user.object(&["doctor"]);
    assert_eq!((code, &checks["ok"]), (Some(0), &json!(true)), "{checks:#}");
    assert!(check(&checks, None, "broker")["found"].as_str().unwrap().contains("written to and read from"));
    assert!(check(&checks, Some("codex"), "server")["found"].as_str().unwrap().contains("12 tools"));
    let hooks = check(&checks, Some("codex"), "hooks")["found"].as_str().unwrap().to_owned();
    assert!(hooks.starts_with("SessionStart, PreToolUse, SessionEnd fired and were answered"), "{hooks}");

    let (code, again) = user.object(&["install", "codex", "--command", &program]);
    assert_eq!((code, &again["hosts"][0]["files"][0]["what"]), (Some(0), &json!("unchanged")));
    let (code, removed) = user.object(&["uninstall"]);
    assert_eq!((code, removed["hosts"].as_array().unwrap().len()), (Some(0), 1));
    assert_eq!(fs::read_to_string(&config).unwrap(), "model = \"gpt\" # fast\r\n");
    assert!(!user.home.join(".codex/hooks.json").exists());
    assert!(!mesh.path().join("install").exists());
}

#[tokio::test]
async fn for_each_failure_there_is_one_thing_to_do() {
    let mesh = Mesh::new();
    let user = User::new(&mesh);
    let (code, checks) = user.object(&["doctor"]);
    assert_eq!(code, Some(0), "what nobody registered is no failure: {checks:#}");
    assert_eq!(check(&checks, Some("codex"), "registered")["ok"], json!(null));
    let (code, checks) = user.object(&["doctor", "codex"]);
    assert_eq!(code, Some(1), "{checks:#}");
    assert_eq!(check(&checks, Some("codex"), "registered")["fix"], "meshctl install codex");

    for (answer, found) in [
        ("echo nonsense; exit 0", "answered with what is no JSON object: nonsense"),
        ("echo 'mesh: the broker is away' >&2; exit 0", "mesh: the broker is away"),
        ("exit 3", "ended with code 3"),
    ] {
        let program = user.answering(answer);
        user.object(&["install", "codex", "--command", &program]);
        let (code, checks) = user.object(&["doctor", "codex"]);
        let hooks = check(&checks, Some("codex"), "hooks");
        assert_eq!((code, &hooks["ok"]), (Some(1), &json!(false)), "{checks:#}");
        assert!(hooks["found"].as_str().unwrap().contains(found), "{hooks:#}");
        assert!(hooks["fix"].as_str().unwrap().contains("hook codex"), "{hooks:#}");
        assert_eq!(check(&checks, Some("codex"), "server")["ok"], json!(true));
    }

    user.object(&["install", "codex", "--command", "/nowhere/meshctl"]);
    let real = user.bin.join("meshctl");
    fs::rename(user.answering("exit 0"), &real).unwrap();
    fs::write(&real, "#!/bin/sh\necho meshctl 0.0.0\n").unwrap();
    let (code, checks) = user.object(&["doctor", "codex"]);
    assert_eq!(code, Some(1));
    assert!(check(&checks, Some("codex"), "server")["found"].as_str().unwrap().contains("cannot start"));
    assert!(check(&checks, None, "meshctl")["found"].as_str().unwrap().contains("is \"meshctl 0.0.0\""));
    assert!(check(&checks, None, "meshctl")["fix"].as_str().unwrap().contains("first on your PATH"));
}

#[tokio::test]
async fn a_file_that_is_left_alone_is_a_failure_with_what_to_add_by_hand() {
    let mesh = Mesh::new();
    let user = User::new(&mesh);
    fs::write(user.home.join(".codex/config.toml"), "model = ").unwrap();
    let output = user.run(&["install", "codex", "--command", "meshctl"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("refused   ~/.codex/config.toml"), "{told}");
    assert!(told.contains("      [mcp_servers.mesh]\n      command = \"meshctl\"\n"), "{told}");
    assert!(told.contains("created   ~/.codex/hooks.json"), "{told}");
    assert_eq!(fs::read_to_string(user.home.join(".codex/config.toml")).unwrap(), "model = ");
}

#[tokio::test]
async fn a_project_gets_files_that_suit_everybody() {
    let mesh = Mesh::new();
    let user = User::new(&mesh);
    let project = user.home.join("app");
    fs::create_dir_all(project.join("deep")).unwrap();
    let git = Command::new("git").args(["init", "--quiet"]).current_dir(&project).status().unwrap();
    assert!(git.success());
    let output = user.command(&["install", "vscode", "--project"]).current_dir(project.join("deep")).output();
    let told = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(told.contains("created   .vscode/mcp.json"), "{told}");
    let servers: Value =
        serde_json::from_slice(&fs::read(project.join(".vscode/mcp.json")).unwrap()).unwrap();
    assert_eq!(servers["servers"]["mesh"]["command"], "meshctl");
    user.command(&["uninstall", "--project"]).current_dir(&project).output().unwrap();
    assert!(!project.join(".vscode").exists() && !project.join(".github").exists());
}

#[tokio::test]
async fn a_variable_that_reaches_hooks_alone_is_told() {
    let mesh = Mesh::new();
    let user = User::new(&mesh);
    for (host, told) in [("codex", true), ("gemini", true), ("cursor", false)] {
        let output = user.run(&["install", host, "--dry-run"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.contains("MESH_HOME set here reaches hooks and not the MCP server"), told, "{text}");
    }
}

#[tokio::test]
async fn a_dry_run_shows_a_diff_and_changes_nothing() {
    let mesh = Mesh::new();
    let user = User::new(&mesh);
    let config = user.home.join(".codex/config.toml");
    fs::write(&config, "model = \"gpt\"\n").unwrap();
    let output = user.run(&["install", "codex", "--no-hooks", "--command", "meshctl", "--dry-run"]);
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = told.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "",
            "codex",
            "  changed   ~/.codex/config.toml",
            "    --- ~/.codex/config.toml",
            "    +++ ~/.codex/config.toml",
            "    @@ -1 +1,5 @@",
            "     model = \"gpt\"",
            "    +",
            "    +[mcp_servers.mesh]",
            "    +command = \"meshctl\"",
            "    +args = [\"mcp\"]",
        ],
        "{told}"
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), "model = \"gpt\"\n");
    assert!(!mesh.path().join("install").exists());
}
