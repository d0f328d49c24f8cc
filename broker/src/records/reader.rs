//! Reads old values part by part, where one of their parts is other than it is now.

use serde::de::DeserializeOwned;

use crate::store::StoreError;

/// Takes one thing after the other.
pub(super) struct Reader<'a> {
    format: u8,
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a value of a format, without the bytes of that.
    pub(super) fn new(format: u8, what: &'static str, bytes: &'a [u8]) -> Self {
        Self { format, what, rest: bytes }
    }

    /// The next thing.
    pub(super) fn take<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        let (taken, rest) = postcard::take_from_bytes(self.rest).map_err(|error| self.unreadable(error))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The place of the kind that comes next.
    pub(super) fn peek(&self) -> Result<u32, StoreError> {
        let (kind, _) = postcard::take_from_bytes(self.rest).map_err(|error| self.unreadable(error))?;
        Ok(kind)
    }

    /// What was read, if nothing is left.
    pub(super) fn finish<T>(self, read: T) -> Result<T, StoreError> {
        match self.rest {
            [] => Ok(read),
            rest => Err(self.unreadable(format_args!("{} bytes too many", rest.len()))),
        }
    }

    fn unreadable(&self, error: impl std::fmt::Display) -> StoreError {
        let (what, format) = (self.what, self.format);
        StoreError::Corrupt { what: format!("a {what} record of format {format} cannot be read: {error}") }
    }
}
