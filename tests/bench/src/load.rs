//! Work that can be given to a server again and again: each figure is one kind of load.

use std::time::Duration;

use anyhow::Result;
use tonic::async_trait;

use crate::cell::Cell;

/// A server with its clients connected, ready to work.
#[async_trait]
pub(crate) trait Load: Send {
    /// The server's name.
    fn name(&self) -> &str;

    /// Works for so long.
    async fn run(&mut self, span: Duration) -> Result<Cell>;
}

/// Gives every server the same work in turn, round after round; by server, then round. The first round only
/// warms up and counts for nothing. `between` runs before each round that counts.
pub(crate) async fn rounds(
    loads: &mut [Box<dyn Load>],
    rounds: u32,
    span: Duration,
    mut between: impl FnMut() -> Result<()>,
) -> Result<Vec<Vec<Cell>>> {
    for load in &mut *loads {
        load.run(span.min(Duration::from_secs(1))).await?;
    }
    let mut cells: Vec<_> = loads.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        between()?;
        for (load, cells) in loads.iter_mut().zip(&mut cells) {
            eprint!("\r\x1b[Kround {round} of {rounds}: {}", load.name());
            cells.push(load.run(span).await?);
        }
    }
    eprint!("\r\x1b[K");
    Ok(cells)
}
