//! Why a hook has nothing to say.

use std::fmt;
use std::io;

use mesh_client::ClientError;
use mesh_client::display::model::said;

/// Characters of it that are told.
const LONGEST: usize = 400;

/// What went wrong, on one line; it ends a hook, and nothing else.
#[derive(Debug)]
pub(crate) struct Problem {
    text: String,
    away: bool,
}

impl Problem {
    /// Whether there was no answer; otherwise there was one, or the trouble is here.
    pub(crate) fn is_away(&self) -> bool {
        self.away
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self { text, away: false }
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        // A broker that could not be started left its log behind the first line, a refusal what is wrong with fields.
        let first = text.lines().next().unwrap_or_default();
        let refused = error.refusal().map(|refusal| refusal.message.as_str()).filter(|said| !said.is_empty());
        let started = matches!(error, ClientError::Start { .. }).then_some(first);
        let text = started.or(refused).unwrap_or(&text);
        let line: String = text.chars().take(LONGEST).collect();
        Self { text: said(&line), away: error.is_transient() }
    }
}

/// Files are read and written here for the registry of agents only.
impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        format!("the registry of agents: {error}").into()
    }
}
