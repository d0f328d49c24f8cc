//! The help texts, which are part of the interface, and what needs no broker.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::process::{Command, Output};

fn meshctl(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshctl"));
    // The width of the help follows the terminal.
    command.env_clear().env("HOME", "/nonexistent").args(args).output().unwrap()
}

fn stdout(args: &[&str]) -> String {
    let output = meshctl(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands, as the help of the program lists them.
fn commands() -> Vec<String> {
    let help = stdout(&["--help"]);
    let list = help.split("\nOptions:\n").next().unwrap();
    let words = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    words.map(str::to_owned).collect()
}

#[test]
fn help_is_as_documented() {
    insta::assert_snapshot!("help", stdout(&["--help"]));
    for command in commands() {
        let help = stdout(&[&command, "--help"]);
        assert!(help.contains("Example"), "{command} has no example");
        insta::assert_snapshot!(format!("help_{command}"), help);
    }
}

#[test]
fn help_of_what_can_be_waited_for_is_as_documented() {
    for what in ["key", "lock", "peer", "reply", "event"] {
        let help = stdout(&["wait", what, "--help"]);
        assert!(help.contains("Example"), "wait {what} has no example");
        insta::assert_snapshot!(format!("help_wait_{what}"), help);
    }
}

#[test]
fn help_of_what_is_done_to_tokens_is_as_documented() {
    for what in ["create", "list", "revoke"] {
        let help = stdout(&["token", what, "--help"]);
        assert!(help.contains("Example"), "token {what} has no example");
        insta::assert_snapshot!(format!("help_token_{what}"), help);
    }
}

#[test]
fn who_asks_for_nothing_is_shown_what_there_is() {
    let output = meshctl(&[]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("\nTalk:\n  send ") && told.contains("\nExit codes:\n"), "{told}");
}

#[test]
fn a_typing_error_ends_with_code_2() {
    for args in [
        &["nonsense"][..],
        &[],
        &["lock"],
        &["unlock"],
        &["send", "amber-fox"],
        &["lock", "x", "--ttl", "soon"],
        &["watch", "--type", "peer_sneezed"],
        &["watch", "--since", "-1"],
        &["unlock", "x", "--all"],
        &["recall", "key", "--prefix", "k"],
        &["recall", "--history"],
        &["recall", "key", "--version", "0"],
        &["remember", "k", "v", "--if-version", "1", "--overwrite"],
        &["remember", "k", "v", "--fence", "src/a.rs"],
        &["lock", "x", "--urgent"],
        &["lock", "x", "--contract", "text", "--shared"],
        &["unlock", "x", "--force"],
        &["unlock", "x", "--reason", "because"],
        &["unlock", "x", "--force", "--reason", "because", "--keep", "y"],
        &["answer", "soon", "keep"],
        &["answer", "1", "narrow"],
        &["answer", "1", "maybe"],
        &["fence", "x"],
        &["policy", "log/", "whatever"],
        &["wait"],
        &["wait", "key", "k", "--value", "v", "--absent"],
        &["wait", "event"],
        &["wait", "event", "peer_sneezed"],
        &["wait", "event", "peer_joined", "--after", "0"],
        &["inbox", "--topic", "x", "--ack"],
        &["touch"],
    ] {
        let output = meshctl(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_typing_error_is_json_when_asked_for() {
    let output = meshctl(&["lock", "x", "--ttl", "soon", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @r#"
    {"error":{"code":2,"reason":"USAGE","message":"invalid value 'soon' for '--ttl <TIME>': write a number and s, m, h or d, such as 90s, 30m or 12h","hint":"see --help"}}
    "#);
}

#[test]
fn a_command_that_needs_a_running_broker_says_that_there_is_none() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().to_str().unwrap();
    let status = meshctl(&["status", "--home", home]);
    assert_eq!(status.status.code(), Some(3), "{status:?}");
    assert!(status.stdout.is_empty());
    let error = String::from_utf8(status.stderr).unwrap();
    assert!(error.starts_with("error: no broker runs at unix:///"), "{error}");
    assert!(error.contains("\nhint: "), "{error}");

    assert_eq!(stdout(&["stop", "--home", home]), "no broker runs\n");
    assert_eq!(stdout(&["stop", "--home", home, "--json"]), "{\"stopped\":false,\"pid\":null}\n");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell]);
        for command in commands() {
            assert!(script.contains(&command), "{shell} does not know {command}");
        }
    }
}
