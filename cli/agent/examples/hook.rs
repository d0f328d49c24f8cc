//! Measurement only.
fn main() -> std::process::ExitCode {
    let host = mesh_hook::Host::ALL.iter().copied().find(|h| h.to_string() == "claude-code");
    let Some(host) = host else { return std::process::ExitCode::FAILURE };
    mesh_agent::run(host, None, || mesh_client::Config::from_env().map_err(|e| e.to_string())).into()
}
