//! Every host's payloads and answers: `tests/payloads/HOST/*.json` are payloads; the snapshots hold what is read of
//! them and, byte for byte, what is answered.

#![expect(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use mesh_hook::{Call, Event, Host, Malformed, Output, Reply, Tool, Verdict};
use proptest::prelude::*;

fn env(name: &str) -> Option<OsString> {
    match name {
        "AI_AGENT" => Some("claude-code_2-1-329_harness".into()),
        "CODEX_VERSION" => Some("0.169.0".into()),
        "PWD" => Some("/pwd".into()),
        _ => None,
    }
}

/// Name, payload and call of every sample of `host`. The name up to a point is the event on the command line.
fn samples(host: Host) -> Vec<(String, Vec<u8>, Call)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/payloads").join(host.to_string());
    let mut samples: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let payload = std::fs::read(&path).unwrap();
            let event = name.split('.').next();
            let call =
                host.parse(event, &payload, &env).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (name, payload, call)
        })
        .collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(samples.len() > 5, "{host}");
    samples
}

fn replies() -> Vec<(&'static str, Reply)> {
    let text = |text: &str| Some(text.to_owned());
    let deny = Verdict::Deny("locked by fox".to_owned());
    vec![
        ("nothing", Reply::default()),
        ("context", Reply { context: text("one new message"), ..Reply::default() }),
        ("notice", Reply { notice: text("joined as fox"), ..Reply::default() }),
        ("title", Reply { title: text("fox"), ..Reply::default() }),
        ("deny", Reply { verdict: deny.clone(), ..Reply::default() }),
        (
            "deny+",
            Reply {
                verdict: deny,
                context: text("one new message"),
                notice: text("a lock"),
                ..Reply::default()
            },
        ),
        ("deny-", Reply { verdict: Verdict::Deny(" ".to_owned()), ..Reply::default() }),
        ("ask", Reply { verdict: Verdict::Ask("others work here".to_owned()), ..Reply::default() }),
        ("go on", Reply { go_on: text("unread: 1"), ..Reply::default() }),
        ("go on+", Reply { go_on: text("unread: 1"), context: text("from owl: \"hi\""), ..Reply::default() }),
    ]
}

fn shown(output: &Output) -> String {
    let mut shown = String::from_utf8(output.stdout.clone()).unwrap();
    if output.code != 0 || !output.stderr.is_empty() {
        write!(shown, " (code {}, stderr {:?})", output.code, output.stderr).unwrap();
    }
    shown
}

fn described(call: &Call) -> String {
    let Call { host, session, subagent, cwd, version, called, event } = call;
    let version = version.as_deref().unwrap_or("-");
    let mut text = format!("{host} {version} {session} in {}: {called}\n{event:?}\n", cwd.display());
    if let Some(subagent) = subagent {
        writeln!(text, "by {} ({})", subagent.id, subagent.kind).unwrap();
    }
    text
}

fn golden(host: Host) -> String {
    let mut text = String::new();
    for (name, _, call) in samples(host) {
        write!(text, "# {name}\n{}", described(&call)).unwrap();
        let silent = call.host.shape(&call, &Reply::default());
        for (what, reply) in replies() {
            let output = call.host.shape(&call, &reply);
            if what == "nothing" && output != Output::default() || output != silent {
                writeln!(text, "{what}: {}", shown(&output)).unwrap();
            }
        }
        text.push('\n');
    }
    text
}

#[test]
fn payloads_are_read_and_replies_shaped() {
    for host in Host::ALL {
        insta::assert_snapshot!(host.to_string(), golden(host));
    }
}

#[test]
fn names_are_read_back() {
    for host in Host::ALL {
        assert_eq!(host.to_string().parse(), Ok(host));
        assert_eq!(host.agent_kind(), host.to_string());
    }
    let error = "emacs".parse::<Host>().unwrap_err().to_string();
    assert!(error.contains("claude-code, codex"), "{error}");
}

#[test]
fn what_a_payload_lacks_comes_from_the_command_line_and_the_environment() {
    let parse = |host: Host, event, payload: &str| host.parse(event, payload.as_bytes(), &env);
    for host in Host::ALL {
        assert_eq!(parse(host, None, "{}"), Err(Malformed::NoEvent), "{host}");
        let call = parse(host, Some("Nonesuch"), "{\"cwd\":7}").unwrap();
        assert_eq!((&call.event, call.called.as_str()), (&Event::Other, "Nonesuch"), "{host}");
        assert_eq!(call.cwd, Path::new("/pwd"), "{host}");
        assert_eq!(call.session, "", "{host}");
        assert_eq!(host.shape(&call, &Reply::default()), host.silence(), "{host}");
        let bare = host.parse(Some("x"), b"{}", &|_| None).unwrap();
        assert_eq!((bare.cwd.as_path(), bare.version), (Path::new(""), None), "{host}");
    }
    let gemini = |name: &str| match name {
        "GEMINI_SESSION_ID" => Some("g".into()),
        "GEMINI_CWD" => Some("/g".into()),
        _ => None,
    };
    let call = Host::Gemini.parse(Some("BeforeAgent"), b"{}", &gemini).unwrap();
    assert_eq!((call.session.as_str(), call.cwd.as_path()), ("g", Path::new("/g")));
}

#[test]
fn an_answer_never_allows_and_is_json_or_nothing() {
    for host in Host::ALL {
        for (name, _, call) in samples(host) {
            for (what, reply) in replies() {
                let at = format!("{host} {name} {what}");
                let output = call.host.shape(&call, &reply);
                let text = String::from_utf8(output.stdout).unwrap();
                assert!(!text.contains("\"allow\""), "{at}: {text}");
                if !text.is_empty() {
                    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                    assert!(json.is_object(), "{at}: {text}");
                }
                assert!(text.is_empty() || output.code == 0, "{at}");
                assert!(call.event != Event::Other || text.is_empty() || text == "{}", "{at}: {text}");
            }
        }
    }
}

#[test]
fn what_a_host_is_said_to_express_reaches_it() {
    let context = "one new message";
    for host in Host::ALL {
        for (name, _, call) in samples(host) {
            let at = format!("{host} {name}");
            let told = Reply { context: Some(context.to_owned()), ..Reply::default() };
            let output = shown(&call.host.shape(&call, &told));
            assert_eq!(output.contains(context), call.host.takes_context(&call), "{at}: {output}");

            let asked = Reply { verdict: Verdict::Ask("why".to_owned()), ..Reply::default() };
            let output = shown(&call.host.shape(&call, &asked));
            assert_eq!(output.contains("\"ask\""), call.host.takes_ask(&call), "{at}: {output}");
            assert_eq!(output.contains("why"), matches!(call.event, Event::BeforeTool(_)), "{at}: {output}");
        }
    }
}

/// The members that the JSON schemas of Codex know, per event: at the top, and in `hookSpecificOutput`.
#[test]
fn codex_gets_no_member_that_its_schema_lacks() {
    for (name, _, call) in samples(Host::Codex) {
        let (top, inner): (&[&str], &[&str]) = match call.called.as_str() {
            "PreToolUse" => (
                &["systemMessage", "hookSpecificOutput"],
                &["hookEventName", "permissionDecision", "permissionDecisionReason", "additionalContext"],
            ),
            "SessionStart" | "UserPromptSubmit" | "PostToolUse" | "SubagentStart" => {
                (&["systemMessage", "hookSpecificOutput"], &["hookEventName", "additionalContext"])
            }
            "Stop" | "SubagentStop" => (&["systemMessage", "decision", "reason"], &[]),
            "Interrupt" => (&["systemMessage"], &[]),
            _ => (&[], &[]),
        };
        for (what, reply) in replies() {
            let output = call.host.shape(&call, &reply);
            if output.stdout.is_empty() {
                continue;
            }
            let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            for (member, value) in json.as_object().unwrap() {
                assert!(top.contains(&member.as_str()), "{name} {what}: {json}");
                for inside in value.as_object().into_iter().flatten().map(|(inside, _)| inside) {
                    assert!(inner.contains(&inside.as_str()), "{name} {what}: {json}");
                }
            }
            assert_ne!(json["hookSpecificOutput"]["permissionDecision"], "ask");
        }
    }
}

#[test]
fn long_texts_are_cut() {
    for host in Host::ALL {
        for (name, _, call) in samples(host) {
            let long = "é".repeat(2 * mesh_hook::CONTEXT_LIMIT);
            let reply = Reply {
                verdict: Verdict::Deny(long.clone()),
                context: Some(long.clone()),
                go_on: Some(long.clone()),
                notice: Some(long.clone()),
                title: None,
            };
            let output = shown(&call.host.shape(&call, &reply));
            assert!(!output.contains(&"é".repeat(mesh_hook::CONTEXT_LIMIT)), "{host} {name}");
        }
    }
}

fn any_host() -> impl Strategy<Value = Host> {
    proptest::sample::select(Host::ALL.to_vec())
}

/// JSON of any shape, with the names of members that matter.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let names = proptest::sample::select(vec![
        "hook_event_name",
        "event",
        "agent_action_name",
        "session_id",
        "cwd",
        "tool_name",
        "toolName",
        "tool",
        "tool_input",
        "toolArgs",
        "args",
        "tool_info",
        "command",
        "file_path",
        "path",
        "files",
        "edits",
        "workspace_roots",
        "agent_id",
    ]);
    let texts = proptest::sample::select(vec![
        "",
        "/p/a",
        "a",
        "{}",
        "{\"path\":\"x\"}",
        "PreToolUse",
        "preToolUse",
        "BeforeTool",
        "tool.execute.before",
        "pre_write_code",
        "Edit",
        "edit",
        "Bash",
        "apply_patch",
        "*** Begin Patch\n*** Add File: x",
        "git stash",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        texts.prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::vec((names.clone(), inner), 0..8).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(host in any_host(), bytes in any::<Vec<u8>>()) {
        let parsed = host.parse(Some("PreToolUse"), &bytes, &env);
        prop_assert!(parsed.is_err());
    }

    #[test]
    fn any_object_is_a_call(host in any_host(), json in any_json()) {
        let parsed = host.parse(Some("preToolUse"), json.to_string().as_bytes(), &env);
        prop_assert_eq!(parsed.is_ok(), json.is_object());
        if let Ok(call) = parsed {
            let reply = Reply { verdict: Verdict::Deny("no".to_owned()), ..Reply::default() };
            let output = call.host.shape(&call, &reply);
            prop_assert!(output.stdout.is_empty() || serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok());
            if let Event::BeforeTool(Tool::Edit(edits)) = &call.event {
                prop_assert!(!edits.is_empty());
            }
        }
    }

    #[test]
    fn a_damaged_payload_is_a_call_or_an_error(
        host in any_host(), which in any::<proptest::sample::Index>(), at in any::<proptest::sample::Index>(), byte in any::<u8>(),
    ) {
        let samples = samples(host);
        let mut payload = samples[which.index(samples.len())].1.clone();
        let at = at.index(payload.len());
        payload[at] = byte;
        match host.parse(None, &payload, &env) {
            Ok(call) => prop_assert!(!call.called.is_empty()),
            Err(e) => prop_assert!(!e.to_string().is_empty()),
        }
    }
}
