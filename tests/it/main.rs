//! The promises of the mesh, one module each, through its public faces only: the SDK, the generated clients, and
//! `meshctl` as a process.
//!
//! A test waits for events, never for time; the few that are about time itself say so.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and looks at one case of many"
)]

mod agents;
mod backup;
mod bad_input;
mod behind_tls;
mod browsers;
mod cli;
mod crashed_agents;
mod demo;
mod disk_trouble;
mod durable;
mod exclusion;
mod hooks;
mod hostile;
mod late_never_early;
mod mcp;
mod neighbours;
mod no_ghosts;
mod no_lost_event;
mod no_lost_message;
mod no_silent_overwrite;
mod one_order;
mod operable;
mod restart_is_a_nonevent;
mod retry_is_safe;
mod waiting;
mod you_are_who_you_are;

#[test]
fn every_file_beside_this_one_is_a_module_of_it() {
    let main = include_str!("main.rs");
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/it")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap_or(&name);
        assert!(module == "main" || main.contains(&format!("\nmod {module};\n")), "{name} is not in main.rs");
    }
}
