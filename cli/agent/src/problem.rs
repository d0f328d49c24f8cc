//! Why a hook has nothing to say.

use std::fmt;
use std::io;

use mesh_client::ClientError;

/// What went wrong, on one line; it ends a hook, and nothing else.
#[derive(Debug)]
pub(crate) struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        Self(error.to_string())
    }
}

/// Files are read and written here for the registry of agents only.
impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self(format!("the registry of agents: {error}"))
    }
}
