//! The SDK against a small fake broker, over real Unix sockets.

#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

mod calls;
mod fake;
mod sessions;
mod start;
mod watches;
