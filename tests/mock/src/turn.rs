//! What the model does when it is asked.

use serde_json::Value;
use tokio::sync::watch;

/// One answer of the model: things it says and tools it calls, in order.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    pub(crate) blocks: Vec<Block>,
    hold: Option<watch::Receiver<bool>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Block {
    Say(String),
    Call { tool: String, input: Value },
}

impl Turn {
    /// Says something, and ends its turn.
    #[must_use]
    pub fn say(text: impl Into<String>) -> Self {
        Self::default().and_say(text)
    }

    /// Calls a tool by the name the host gives it; MCP tools are `mcp__SERVER__TOOL` for Claude Code and Codex. A tool that
    /// takes free text, as Codex's `apply_patch` does, gets a string.
    #[must_use]
    pub fn call(tool: impl Into<String>, input: Value) -> Self {
        Self::default().and_call(tool, input)
    }

    /// Says something further in the same answer.
    #[must_use]
    pub fn and_say(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(Block::Say(text.into()));
        self
    }

    /// Calls a further tool in the same answer.
    #[must_use]
    pub fn and_call(mut self, tool: impl Into<String>, input: Value) -> Self {
        self.blocks.push(Block::Call { tool: tool.into(), input });
        self
    }

    /// Keeps the answer back until the hold is released, so that the session is busy meanwhile.
    #[must_use]
    pub fn held(mut self) -> (Self, Hold) {
        let (sender, receiver) = watch::channel(false);
        self.hold = Some(receiver);
        (self, Hold(sender))
    }

    /// Returns once the answer may be given.
    pub(crate) async fn is_due(&mut self) {
        if let Some(hold) = &mut self.hold {
            // A test that has dropped its hold wants no more of it.
            let _ = hold.wait_for(|released| *released).await;
        }
    }

    /// Everything said, as one text.
    pub(crate) fn text(&self) -> String {
        let said = self.blocks.iter().filter_map(|block| match block {
            Block::Say(text) => Some(text.as_str()),
            Block::Call { .. } => None,
        });
        said.collect()
    }
}

/// Holds a turn back; see [`Turn::held`].
#[derive(Debug)]
pub struct Hold(watch::Sender<bool>);

impl Hold {
    /// Lets the model answer.
    pub fn release(self) {
        self.0.send_replace(true);
    }
}
