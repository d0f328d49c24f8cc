//! What can be measured: the same work, whoever does it.
//!
//! A further reference (another broker, another transport) is one more implementation of [`System`].

use anyhow::Result;

/// A running server, and how to give it work.
pub(crate) trait System {
    type Caller: Caller;
    type Publisher: Caller;
    type Subscriber: Subscriber;

    /// What it is called in tables.
    fn name(&self) -> String;

    /// Its process.
    fn pid(&self) -> u32;

    /// Callers that share connections evenly, connected.
    async fn callers(&self, callers: usize, connections: usize) -> Result<Vec<Self::Caller>>;

    /// A caller whose calls reach the subscribers.
    async fn publisher(&self) -> Result<Self::Publisher>;

    /// A subscriber on a connection of its own, once its stream is open.
    async fn subscriber(&self) -> Result<Self::Subscriber>;
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
