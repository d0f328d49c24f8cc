//! The Rust SDK of the mesh: find or start the broker, connect, retry, follow events without loss.
//!
//! ```no_run
//! # async fn example() -> Result<(), mesh_client::ClientError> {
//! use mesh_client::{Client, Config, JoinOptions, Session, proto};
//!
//! let client = Client::new(Config::from_env()?)?;
//! let options = JoinOptions { scope: "github.com/acme/app".into(), ..JoinOptions::default() };
//! let session = Session::join(&client, options).await?;
//! let message = proto::SendRequest { broadcast: true, body: "hello".into(), ..Default::default() };
//! session.send(message).await?;
//! # Ok(()) }
//! ```
//!
//! What must hold:
//! * Nothing is sent before the first call; making a [`Client`] costs nothing.
//! * A call is repeated only when that is safe, and always with the same `request_id`.
//! * A [`Watch`] delivers every batch once and in order across broker restarts, or ends with an error.
//! * Secrets (tokens, resume keys) never appear in `Debug` output, logs or errors.

pub mod agent;
mod backoff;
mod chance;
mod client;
mod config;
mod connection;
pub mod display;
mod error;
mod home;
mod locate;
pub mod scope;
mod session;
mod tls;
mod token;
mod watch;
mod way;
pub mod worktree;

pub use chance::Chance;
pub use client::{Client, Transport, request_id};
pub use config::{Autostart, Config, Endpoint};
pub use error::{ClientError, FieldViolation, Refusal};
pub use home::{BrokerRecord, Home};
/// The messages and generated services of the contract.
pub use mesh_proto::v1 as proto;
pub use proto::ErrorReason;
pub use session::{Acquired, JoinOptions, Liveness, SavedSession, Session, SessionEvents, SessionNews};
pub use tls::{ClientCertificate, Fingerprint, Tls, Trust};
pub use token::Token;
pub use watch::{Cursor, Watch, WatchItem, WatchOptions};
pub use way::{Lane, Way, WayError};
