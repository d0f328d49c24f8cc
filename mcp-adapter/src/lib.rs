//! The MCP server that an agent's host starts: tool calls in, RPCs out, news back.
//!
//! Modules in reading order: `server` (the handler), `schema` (what the agent reads of the tools), one module
//! per tool group (`presence`, `mail`, `memory`, `locks` and `unlock`, `events`), `member` (the peer behind the calls),
//! `news` (what happened meanwhile), `wake` (handing mail to an idle agent), `waiting` (calls that wait), `resource` (the
//! inbox), `place`, `host`, `call`, `args`, `render`, `stdio`.
//!
//! What must hold:
//! * Nothing touches the broker before the first tool call, or the first reading of the inbox; that joins. Where hooks
//!   have joined for the same agent session, that session is taken up without waiting for a call.
//! * A tool that fails answers with a result the model can read, which names the next step.
//! * What other peers wrote is shown as quoted data, and cannot be mistaken for anything else in an answer.
//! * The process ends with its host: at the end of its input or on a signal, within about a second.

mod args;
mod call;
mod events;
mod host;
mod locks;
mod mail;
mod member;
mod memory;
mod news;
mod place;
mod presence;
mod render {
    pub(crate) use mesh_client::display::model::*;
}
mod resource;
mod schema;
mod server;
mod stdio;
#[cfg(test)]
mod tests;
mod unlock;
mod waiting;
mod wake;

/// How things are said to a model, for others that speak to one.
pub mod text {
    pub use crate::locks::line as lock;
    pub use crate::news::asks;
}

use anyhow::Context as _;

pub use self::wake::Push;

/// How to run the adapter.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to reach the mesh.
    pub config: mesh_client::Config,
    /// Scope to join instead of `config.scope`, or else that of the project directory.
    pub scope: Option<String>,
    /// Name to join under while it is free; `None` for a generated one.
    pub name: Option<String>,
    /// Speak no protocol version later than 2025-11-25, the last with an `initialize` handshake: some host
    /// features need it.
    pub legacy: bool,
    /// How mail is pushed into the agent's session. A channel implies `legacy`.
    pub push: Push,
}

/// Serves MCP on any input and output until the input ends.
pub async fn serve<R, W>(options: Options, input: R, output: W) -> anyhow::Result<()>
where
    R: tokio::io::AsyncRead + Send + Unpin + 'static,
    W: tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let adapter = server::Adapter::new(options, host::Host::from_env())?;
    server::serve(adapter, input, output, std::future::pending()).await
}

/// Serves MCP on standard input and output until the input ends or a signal comes, on one thread.
pub fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime; see the limits of this process (`ulimit -a`)")?;
    let outcome = runtime.block_on(async {
        let adapter = server::Adapter::new(options, host::Host::from_env())?;
        let (input, output) = stdio::open();
        server::serve(adapter, input, output, stdio::signal()?).await
    });
    // Standard input may be read by a thread that cannot be interrupted.
    runtime.shutdown_background();
    outcome
}
