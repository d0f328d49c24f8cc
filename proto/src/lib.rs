//! The `mesh.v1` contract as Rust types: what the wire looks like, and nothing else.
//!
//! The reference documentation is in `proto/mesh/v1/*.proto`; the comments there are the comments here.

/// Generated from `proto/mesh/v1/*.proto`.
#[expect(clippy::all, clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("mesh.v1");
}

/// The contract as an encoded `FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("mesh_v1_descriptor");

/// `google.rpc.ErrorInfo.domain` of every refusal.
pub const ERROR_DOMAIN: &str = "mesh.v1";

/// `google.protobuf.Any.type_url` of [`v1::WriteConflict`] among the details of a status.
pub const WRITE_CONFLICT_TYPE: &str = "type.googleapis.com/mesh.v1.WriteConflict";

/// Metadata key of the session token that `Join` returned.
pub const SESSION_METADATA: &str = "mesh-session";
