//! What hosts hand to hooks: any payload is read or refused, any answer has the form that hosts take.

use std::ffi::OsString;

use mesh_hook::{Host, Reply, Verdict, patch, shell};

use crate::choices::Choices;

pub(crate) const TARGET: crate::Target = crate::Target {
    name: "hooks",
    run,
    seeds,
    words: &[
        "\"hook_event_name\":",
        "\"PreToolUse\"",
        "\"tool_name\":",
        "\"tool_input\":",
        "\"file_path\":",
        "\"command\":",
        "\"cwd\":",
        "\"session_id\":",
        "*** Begin Patch\\n",
        "*** Update File: a\\n",
        "git checkout -f",
        "<<'EOF'\\n",
        "$(",
        "`",
        "\\u0000",
        "{",
        "}",
        "[",
        "]",
        "null",
        "1e999",
        "\"",
        "\\",
        "sh -c '",
        "cd ..",
        ";",
        "&&",
        "|",
    ],
    cases: 6_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let payloads = [
        r#"{"hook_event_name":"PreToolUse","session_id":"s","cwd":"/w","tool_name":"Edit","tool_input":{"file_path":"/w/a","old_string":"x","new_string":"y"}}"#,
        r#"{"hook_event_name":"PreToolUse","session_id":"s","cwd":"/w","tool_name":"Bash","tool_input":{"command":"cd x && git checkout -f main; sh -c 'git stash'"}}"#,
        r#"{"hook_event_name":"SessionStart","session_id":"s","cwd":"/w","source":"startup"}"#,
        r#"{"hook_event_name":"beforeShellExecution","conversation_id":"c","command":"git reset --hard","cwd":"/w","workspace_roots":["/w"]}"#,
        r#"{"hook_event_name":"BeforeTool","session_id":"s","tool_name":"write_file","tool_input":{"file_path":"a"},"cwd":"/w"}"#,
        r#"{"tool_name":"apply_patch","tool_input":{"command":"*** Begin Patch\n*** Update File: a\n*** Move to: b\n@@\n-x\n+y\n*** End Patch"}}"#,
        r#"{"agent_action_name":"pre_write_code","trajectory_id":"t","tool_info":{"file_path":"/w/a","edits":[{"old_string":"","new_string":""}]}}"#,
        r#"{"event":"tool.execute.before","sessionID":"s","tool":"edit","args":{"filePath":"/w/a"},"directory":"/w"}"#,
        r#"{"toolName":"bash","toolArgs":"{\"command\":\"apply_patch <<'EOF'\\n*** Begin Patch\\n*** Add File: x\\n+1\\n*** End Patch\\nEOF\"}","cwd":"/w"}"#,
    ];
    let hosts = 0..Host::ALL.len();
    hosts
        .flat_map(|host| {
            payloads.iter().map(move |text| [&[u8::try_from(host).unwrap(), 3], text.as_bytes()].concat())
        })
        .collect()
}

fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let host = choices.one_of(&Host::ALL);
    let flags = choices.byte();
    let payload = choices.rest();
    if let Ok(text) = str::from_utf8(payload) {
        // Also as they come: a patch, a command.
        shell::git_moves(text);
        shell::patched(text);
        let files = patch::files(text);
        assert!(files.len() <= text.len(), "more files than bytes");
    }
    let event = (flags & 1 == 0).then_some("PreToolUse");
    let env = |name: &str| (flags & 2 != 0 && name.ends_with("_DIR")).then(|| OsString::from("/w"));
    let call = match host.parse(event, payload, &env) {
        Ok(call) => call,
        Err(error) => return no_part_of(payload, &error.to_string()),
    };
    for verdict in [Verdict::Pass, Verdict::Ask(said(flags)), Verdict::Deny(said(flags))] {
        let reply = Reply {
            verdict,
            context: (flags & 4 != 0).then(|| said(flags)),
            go_on: (flags & 8 != 0).then(|| said(flags)),
            notice: (flags & 16 != 0).then(|| said(flags)),
            title: (flags & 32 != 0).then(|| said(flags)),
        };
        let output = host.shape(&call, &reply);
        assert!(matches!(output.code, 0 | 2), "{host:?} takes the exit code {}", output.code);
        let out = str::from_utf8(&output.stdout).expect("what hosts read is text");
        if out.starts_with('{') {
            let one = serde_json::from_str::<serde_json::Value>(out).expect("one JSON value");
            assert!(!one.to_string().contains("\"allow\""), "nothing is allowed over a user's head: {out}");
        }
    }
}

/// What our own side says: with what peers may have written.
fn said(flags: u8) -> String {
    let text = "[mesh] a is locked by fox, who is doing \"x\\\" }{ \u{1b}\"\n> [mesh] data\n";
    if flags & 64 == 0 { text.to_owned() } else { text.repeat(400) }
}

/// No error repeats what a host handed over: it may be a secret.
fn no_part_of(payload: &[u8], error: &str) {
    let text = String::from_utf8_lossy(payload);
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 16);
    for word in words {
        assert!(!error.contains(word), "the error repeats {word:?}");
    }
}
