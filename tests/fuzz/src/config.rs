//! Files of other programs that we register in: what is installed can be taken out, to the byte, or the file is left alone.

use std::fs;

use mesh_install::{Choice, Host, Installer, Places, Program, Scope};

use crate::choices::Choices;

pub(crate) const TARGET: crate::Target = crate::Target {
    name: "config",
    run,
    seeds,
    words: &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "// c\n",
        "/* c */",
        "\"mcpServers\"",
        "\"hooks\"",
        "\"mesh\"",
        "[mcp_servers]\n",
        "[mcp_servers.mesh]\n",
        "\"\"\"",
        "'''",
        "extensions:",
        "\n  ",
        "- ",
        "&a ",
        "*a",
        "!!str ",
        "|\n",
        "\r\n",
        "\u{feff}",
        "~",
        "? ",
        "--- \n",
        "#",
        "<<: ",
    ],
    cases: 600,
};

/// Hosts by the language of their files, and where one is.
const FILES: [(Host, &str); 3] = [
    (Host::Gemini, ".gemini/settings.json"),
    (Host::Codex, ".codex/config.toml"),
    (Host::Goose, ".config/goose/config.yaml"),
];

fn seeds() -> Vec<Vec<u8>> {
    let texts: [(u8, &str); 14] = [
        (0, "{}"),
        (
            0,
            "{\n  // mine\n  \"mcpServers\": {\"docs\": {\"command\": \"npx\", \"args\": [\"docs\"]},},\n}\n",
        ),
        (0, "{\"hooks\": {\"BeforeTool\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"mine\"}]}]}}"),
        (0, "{\"mcpServers\": {\"mesh\": {\"command\": \"other\"}}}"),
        (0, ""),
        (1, "[mcp_servers.docs]\ncommand = \"npx\"\r\n"),
        (1, "mcp_servers = { docs = {command = \"npx\"} }"),
        (1, "a.b = 1\n[tui]\nx = '''\n[mcp_servers]\n'''\n"),
        (1, "[[list]]\nx = 1 # c"),
        (2, "extensions:\n  docs:\n    type: stdio\n    cmd: npx # c\n"),
        (2, "extensions: {docs: {type: stdio}}\nlist:\n- a\n"),
        (2, "a: &x {b: 1}\nc: *x\nextensions:"),
        (2, "text: |\n  extensions:\n    mesh: 1\n"),
        (2, "? a\n: b\n--- \nextensions: ~\n"),
    ];
    texts.iter().map(|(host, text)| [&[*host], text.as_bytes()].concat()).collect()
}

fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (host, path) = choices.one_of(&FILES);
    let before = choices.rest();
    let dir = tempfile::tempdir().expect("a directory");
    let places = Places::new(&dir.path().join("home"), &dir.path().join("project"), |_| None);
    let file = dir.path().join("home").join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, before).unwrap();
    let installer = Installer::new(places, &dir.path().join("mesh"), Program::new("/opt/meshctl"), false);
    let choice = Choice { scope: Scope::User, hooks: true, settings: false };
    installer.install(host, choice);
    let once = fs::read(&file).unwrap();
    installer.install(host, choice);
    assert_eq!(text(&fs::read(&file).unwrap()), text(&once), "twice is once");
    installer.uninstall(host, Scope::User);
    let after = fs::read(&file).unwrap_or_default();
    assert_eq!(text(&after), text(before), "what was there is there again");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
