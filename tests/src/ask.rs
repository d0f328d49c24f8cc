//! Requests as tests make them: the fields that matter, and defaults for the rest.

use mesh_client::proto::{
    AcquireLocksRequest, GetRequest, LockMode, Precondition, PutRequest, SendRequest, precondition,
};

/// A span of whole seconds, as requests hold it.
#[must_use]
pub fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// Writes an entry.
#[must_use]
pub fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() }
}

/// Writes an entry whatever is there.
#[must_use]
pub fn overwrite(key: &str, value: &str) -> PutRequest {
    let condition = Some(precondition::Condition::Overwrite(true));
    PutRequest { precondition: Some(Precondition { condition }), ..put(key, value) }
}

/// Reads an entry of the session's scope.
#[must_use]
pub fn get(key: &str) -> GetRequest {
    GetRequest { key: key.into(), ..GetRequest::default() }
}

/// Says something to one peer.
#[must_use]
pub fn message(to: &str, body: &str) -> SendRequest {
    SendRequest { to: vec![to.into()], body: body.into(), ..SendRequest::default() }
}

/// Says something to all.
#[must_use]
pub fn broadcast(body: &str) -> SendRequest {
    SendRequest { broadcast: true, body: body.into(), ..SendRequest::default() }
}

/// Takes exclusive locks.
#[must_use]
pub fn lock(paths: &[&str]) -> AcquireLocksRequest {
    let paths = paths.iter().map(ToString::to_string).collect();
    AcquireLocksRequest { paths, mode: LockMode::Exclusive.into(), ..AcquireLocksRequest::default() }
}

/// Takes shared locks.
#[must_use]
pub fn share(paths: &[&str]) -> AcquireLocksRequest {
    AcquireLocksRequest { mode: LockMode::Shared.into(), ..lock(paths) }
}
