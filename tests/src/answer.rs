//! Answers as tests look at them.

use std::fmt::Debug;

use mesh_client::{Client, ClientError, Refusal};
use tonic::Status;

/// The refusal that a call must have met.
pub fn refused<T: Debug>(result: Result<T, ClientError>) -> Refusal {
    match result {
        Err(ClientError::Refused(refusal)) => *refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// The refusal that a call with a generated client must have met.
pub fn status_refused<T: Debug>(client: &Client, result: Result<T, Status>) -> Refusal {
    refused(result.map_err(|status| client.decode(&status)))
}
