//! Generates the clients of the contract as it was last released, to be tried on the broker of today.

use prost::Message;
use prost_types::FileDescriptorSet;

/// The same image that `buf breaking` compares with.
const BASELINE: &str = "../proto/baseline.binpb";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={BASELINE}");
    let released = FileDescriptorSet::decode(std::fs::read(BASELINE)?.as_slice())?;
    tonic_prost_build::configure().build_server(false).compile_fds(released)?;
    Ok(())
}
