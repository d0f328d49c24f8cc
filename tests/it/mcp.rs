//! The MCP adapter as agents meet it: `meshctl mcp` processes, driven over their standard input and output against
//! a real broker.

pub(crate) mod agent;
mod arguments;
mod attach;
mod clients;
mod endings;
pub(crate) mod host;
mod inbox;
mod news;
mod places;
mod protocol;
mod restart;
mod together;
mod waits;
mod wakes;
