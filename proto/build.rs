//! Compiles the contract without a protoc on the machine.

use std::path::PathBuf;

const FILES: [&str; 9] = [
    "mesh/v1/common.proto",
    "mesh/v1/peers.proto",
    "mesh/v1/messages.proto",
    "mesh/v1/state.proto",
    "mesh/v1/locks.proto",
    "mesh/v1/paths.proto",
    "mesh/v1/tokens.proto",
    "mesh/v1/events.proto",
    "mesh/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=mesh");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    std::fs::write(out.join("mesh_v1_descriptor.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
