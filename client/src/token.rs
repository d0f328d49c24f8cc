//! A secret that proves who is calling: a bearer token or a session's token.
//!
//! Owns the rule that secrets are not shown: `Debug` hides the text and there is no `Display`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ClientError;

/// A secret text that fits into gRPC metadata; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

impl Token {
    /// Takes a text of 1 or more visible ASCII characters; surrounding white space is dropped.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ClientError::config(
                "the token is empty or holds characters other than visible ASCII; copy it again, on one line",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself, for metadata and files of mode 0600.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Token {
    type Error = ClientError;

    fn try_from(text: String) -> Result<Self, ClientError> {
        Self::parse(&text)
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_secret() {
        let token = Token::parse(" s3cret\n").unwrap();
        assert_eq!(token.expose(), "s3cret");
        assert_eq!(format!("{token:?}"), "Token(hidden)");
    }

    #[test]
    fn a_token_must_fit_into_metadata() {
        for text in ["", "  ", "two words", "nul\0", "ümlaut"] {
            assert!(Token::parse(text).is_err(), "{text:?}");
        }
    }
}
