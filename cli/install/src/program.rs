//! What is registered: this program, as hosts call it; and how its entries are recognised later.
//!
//! What must hold: what one version wrote, every later version recognises; what others wrote, none does.

use crate::host::Host;

/// Whatever comes of the line before, nothing came of it: the program may be gone.
const OR_NOT: &str = " || :";
/// Copilot CLI says in the environment that it is itself.
const UNLESS_COPILOT: &str = "[ -n \"$COPILOT_CLI\" ] || ";

/// How the hosts are to call `meshctl`: a path, or a name on the search path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    command: String,
    /// What it was called when it was registered before.
    once: Option<String>,
}

impl Program {
    /// The program of this path or name.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), once: None }
    }

    /// The same, recognised by another name as well.
    pub(crate) fn once(&self, command: &str) -> Self {
        Self { command: self.command.clone(), once: Some(command.to_owned()) }
    }

    /// The path or name.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// What it is called, and was.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.command.as_str()).chain(self.once.as_deref())
    }

    /// The line, for a shell, that tells the program of a host's event.
    pub fn hook(&self, host: Host, rest: &str) -> String {
        let line = format!("{} hook {}", quoted(&self.command), host.name());
        if rest.is_empty() { line } else { format!("{line} {rest}") }
    }

    /// The line as [`Program::hook`] gives it, for a host that takes a failure for a denial.
    pub(crate) fn sure_hook(&self, host: Host, rest: &str) -> String {
        format!("{}{OR_NOT}", self.hook(host, rest))
    }

    /// The line as [`Program::hook`] gives it, for a host whose file Copilot CLI reads as well.
    pub(crate) fn hook_outside_copilot(&self, host: Host) -> String {
        format!("{UNLESS_COPILOT}{}", self.hook(host, ""))
    }

    /// Whether this shell line is one of ours, of this program or of any `meshctl`.
    pub(crate) fn is_hook(&self, line: &str) -> bool {
        let line = line.strip_prefix(UNLESS_COPILOT).unwrap_or(line);
        let line = line.strip_suffix(OR_NOT).unwrap_or(line);
        let Some(words) = words(line) else { return false };
        match words.as_slice() {
            [program, hook, host] | [program, hook, host, _] => {
                hook == "hook" && host.parse::<Host>().is_ok() && self.is_ours(program)
            }
            _ => false,
        }
    }

    /// Whether this is how the MCP server is started, by this program or any `meshctl`.
    pub(crate) fn is_server<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> bool {
        let mut words = words.into_iter();
        words.next().is_some_and(|program| self.is_ours(program)) && words.next() == Some("mcp")
    }

    fn is_ours(&self, program: &str) -> bool {
        let name = program.rsplit(['/', '\\']).next().unwrap_or(program);
        program == self.command
            || self.once.as_deref() == Some(program)
            || name == "meshctl"
            || name == "meshctl.exe"
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The words of a simple command; none if it is more than that.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut chars) = (Vec::new(), None::<String>, line.chars());
    while let Some(c) = chars.next() {
        match c {
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '`' | '$' | '\n' => return None,
            c if c.is_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(chars.next()?),
            quote @ ('\'' | '"') => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        c if c == quote => break,
                        '\\' if quote == '"' => word.push(chars.next()?),
                        c => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_lines_are_recognised_however_the_program_is_called() {
        let program = Program::new("/opt/my tools/it's mesh");
        let line = program.hook(Host::Copilot, "preToolUse");
        assert_eq!(line, r"'/opt/my tools/it'\''s mesh' hook copilot preToolUse");
        assert!(program.is_hook(&line));
        assert!(program.is_hook(&program.sure_hook(Host::Copilot, "agentStop")));
        assert!(program.is_hook(&program.hook_outside_copilot(Host::Vscode)));
        for line in
            ["meshctl hook codex", "/a/b/meshctl hook claude-code wait", "\"/a b/meshctl\" hook vscode"]
        {
            assert!(program.is_hook(line), "{line}");
        }
        assert!(program.is_server(["/usr/bin/meshctl", "mcp"]));
        assert!(program.is_server(["/opt/my tools/it's mesh", "mcp", "--legacy"]));
    }

    #[test]
    fn what_others_wrote_is_not_ours() {
        let program = Program::new("meshctl");
        for line in [
            "",
            "meshctl",
            "meshctl who",
            "meshctl hook emacs",
            "other hook codex",
            "meshctl hook codex && rm -rf x",
            "sleep 1; meshctl hook codex",
            "meshctl hook 'codex",
            "meshctl hook codex a b",
        ] {
            assert!(!program.is_hook(line), "{line}");
        }
        assert!(!program.is_server(["npx", "mcp"]));
        assert!(!program.is_server(["meshctl", "who"]));
        assert!(!program.is_server([]));
    }
}
