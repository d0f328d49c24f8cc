//! What is measured, in the words that every server shares: who makes calls, who hears of them, on which way.
//!
//! A further reference (another broker, another transport) is one more implementation of [`Caller`] and
//! [`Subscriber`] in `reference/`.

use anyhow::Result;

/// How load and server reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A Unix socket.
    Unix,
    /// TCP on loopback.
    Tcp,
}

impl Way {
    /// As tables tell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unix => "Unix",
            Self::Tcp => "TCP",
        }
    }
}

/// Makes one call at a time.
pub(crate) trait Caller: Send + 'static {
    /// Makes one call, which carries this number.
    fn call(&mut self, number: u64) -> impl Future<Output = Result<()>> + Send;
}

/// Receives what a publisher's calls cause.
pub(crate) trait Subscriber: Send + 'static {
    /// The number of the next call that was heard of.
    fn next(&mut self) -> impl Future<Output = Result<u64>> + Send;
}

/// A port of loopback that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
