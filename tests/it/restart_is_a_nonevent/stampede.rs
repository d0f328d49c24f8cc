//! However many clients look for a broker at the same instant, one is started and all connect to it.

use std::fs::{File, OpenOptions};
use std::time::Instant;

use mesh_tests::{Mesh, is_running, kill, within};
use tokio::task::JoinSet;

const CLIENTS: usize = 50;
const ROUNDS: usize = 20;

/// Processes that serve this home, found without the help of any of them.
fn brokers(mesh: &Mesh) -> Vec<u32> {
    let home = format!("MESH_HOME={}", mesh.path().display());
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    let serves = |pid: &u32| {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let (arguments, environment) = (read("cmdline"), read("environ"));
        let mut arguments = arguments.split(|byte| *byte == 0).skip(1);
        arguments.next() == Some(b"serve")
            && environment.split(|byte| *byte == 0).any(|variable| variable == home.as_bytes())
    };
    processes.filter(serves).filter(|pid| is_running(*pid)).collect()
}

/// Holds the clients back until all are there.
fn gate(mesh: &Mesh) -> File {
    mesh.home().create().unwrap();
    let gate =
        OpenOptions::new().create(true).truncate(false).write(true).open(mesh.home().start_lock_path());
    let gate = gate.unwrap();
    gate.lock().unwrap();
    gate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_at_the_same_instant_find_or_start_one_broker() {
    let mesh = Mesh::new();
    let begun = Instant::now();
    for round in 0..ROUNDS {
        // Every other time all of them wait at the door, and then run for it.
        let gate = (round % 2 == 1).then(|| gate(&mesh));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(mesh.spawn(&["who", "--json"]).wait_with_output());
        }
        drop(gate);
        for output in within("the clients", clients.join_all()).await {
            let output = output.unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "round {round}: {told}");
            let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(answer["peers"].as_array().unwrap().is_empty());
        }
        let pid = mesh.broker_pid().unwrap();
        assert_eq!(brokers(&mesh), [pid], "round {round}");
        let log = std::fs::read_to_string(mesh.home().log_path()).unwrap();
        let started = log.lines().filter(|line| line.contains("serving")).count();
        assert_eq!(started, round + 1, "one start a round:\n{log}");
        kill(pid);
        // The kernel gives the lock away when the process is gone.
        let lock = File::open(mesh.home().broker_lock_path()).unwrap();
        within("the broker's end", tokio::task::spawn_blocking(move || lock.lock())).await.unwrap().unwrap();
    }
    eprintln!("{ROUNDS} rounds of {CLIENTS} clients: one broker each, {:?} in all", begun.elapsed());
}
