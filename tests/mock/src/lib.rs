//! A model server on loopback whose answers a test writes.
//!
//! It speaks what the agents' command lines speak: Anthropic Messages, OpenAI Responses, Gemini and OpenAI chat
//! completions. A session takes its turns from the script; whatever else a host asks its model for (titles, summaries,
//! token counts) gets a harmless answer and takes nothing from the script. Every request is kept, so that a test can see
//! what reached the model, and wait for it.
//!
//! What must hold: a turn is given once, in order; nothing here knows about time, so a test waits for requests only; the
//! server ends with its [`Model`].

mod dialect;
mod model;
mod request;
mod turn;

pub use dialect::Dialect;
pub use model::Model;
pub use request::{Purpose, Request};
pub use turn::{Hold, Turn};
