//! How many tokens texts are.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Reads a JSON list of texts, and prints the sum of their tokens.
const SCRIPT: &str = "
const { createRequire } = require('node:module');
const { countTokens } = createRequire(process.argv[1] + '/package.json')('gpt-tokenizer/encoding/o200k_base');
const texts = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
console.log(texts.reduce((sum, text) => sum + countTokens(text), 0));
";

/// What counts.
#[derive(Debug)]
pub(super) enum Counter {
    /// The o200k encoding, of the tokenizer that `cargo xtask install-tools` installs here.
    O200k(PathBuf),
    /// A token for every four bytes.
    Bytes,
}

impl Counter {
    pub(super) fn find() -> Self {
        let named = std::env::var_os("MESH_TOOLS").map(PathBuf::from);
        let beside =
            std::env::current_exe().ok().and_then(|this| Some(this.ancestors().nth(2)?.join("tools")));
        let tools = named.or(beside).filter(|tools| tools.join("node_modules/gpt-tokenizer").is_dir());
        tools.map_or(Self::Bytes, Self::O200k)
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::O200k(_) => "o200k",
            Self::Bytes => "bytes ÷ 4; the tokenizer is not installed",
        }
    }

    pub(super) fn count(&self, texts: &[String]) -> Result<usize> {
        let Self::O200k(tools) = self else {
            return Ok(texts.iter().map(String::len).sum::<usize>() / 4);
        };
        let mut node = Command::new("node");
        node.arg("-e").arg(SCRIPT).arg(tools).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = node.spawn().context("cannot run node")?;
        child.stdin.take().context("no stdin")?.write_all(serde_json::to_string(texts)?.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "the tokenizer failed");
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }
}
