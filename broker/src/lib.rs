//! The broker: gRPC services over one writer, one store and one event log.
//!
//! The way of a change: `service` authenticates and parses it into a [`mesh_core::command::Request`]; [`queue`]
//! takes it to the [`writer`], the only owner of the state; [`mesh_core::State::decide`] says what happens; the
//! [`store`] makes it durable; then, in this order, [`view`] shows it, [`events`] publishes it and the caller is
//! answered. Reads go to the view and never wait for the disk. Heartbeats go to [`leases`] and never reach it.

pub mod clock;
pub mod events;
pub mod leases;
pub mod queue;
pub mod records;
pub mod store;
pub mod view;
pub mod writer;
