//! Starting the broker: one for all, again after a crash, and a clear word when it fails.

use std::ffi::OsString;
use std::time::Duration;

use mesh_client::proto::ListPeersRequest;
use mesh_client::{Autostart, Client, ClientError, Config};
use rustix::process::{Pid, Signal, kill_process};

use crate::fake::Fake;

async fn call(client: &Client) -> Result<(), ClientError> {
    client.call(|c| async move { c.peers().list_peers(ListPeersRequest::default()).await }).await.map(|_| ())
}

fn config(fake: &Fake, command: &[&str]) -> Config {
    let command = command.iter().map(OsString::from).collect();
    Config { autostart: Autostart::Command(command), ..fake.config() }
}

/// Starts this test program as a broker.
fn starting(fake: &Fake) -> Config {
    let this = std::env::current_exe().unwrap();
    let this = this.to_str().unwrap();
    config(fake, &["env", "MESH_FAKE_SERVE=1", this, "fake::serve_process", "--exact", "--nocapture"])
}

/// The brokers that were started; killed at the end of the test.
struct Started<'a>(&'a Fake);

impl Started<'_> {
    fn pids(&self) -> Vec<i32> {
        let starts = std::fs::read_to_string(self.0.home.path().join("starts")).unwrap_or_default();
        starts.lines().map(|line| line.parse().unwrap()).collect()
    }

    fn kill(&self) {
        for pid in self.pids() {
            _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once_start_one_broker_and_a_crash_is_repaired() {
    let fake = Fake::stopped();
    let started = Started(&fake);
    let clients: Vec<_> = (0..50).map(|_| Client::new(starting(&fake)).unwrap()).collect();
    for round in 1..=3 {
        let calls = clients.iter().cloned().map(|client| tokio::spawn(async move { call(&client).await }));
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
        assert_eq!(started.pids().len(), round);
        kill_process(Pid::from_raw(started.pids()[round - 1]).unwrap(), Signal::KILL).unwrap();
    }
}

#[tokio::test]
async fn a_start_that_fails_says_what_the_broker_said() {
    let fake = Fake::stopped();
    std::fs::write(fake.home.log_path(), "from an earlier start\n").unwrap();
    let client = Client::new(config(&fake, &["sh", "-c", "echo no room on the disk >&2; exit 3"])).unwrap();
    let error = call(&client).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ClientError::Start { .. }), "{text}");
    assert!(text.contains("ended before it was ready (exit status: 3)"), "{text}");
    assert!(text.contains("\n  no room on the disk") && !text.contains("earlier"), "{text}");
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let fake = Fake::stopped();
    let client = Client::new(config(&fake, &["/nonexistent/meshctl", "serve"])).unwrap();
    let text = call(&client).await.unwrap_err().to_string();
    assert!(text.contains("/nonexistent/meshctl") && text.contains("is meshctl installed"), "{text}");
}

#[tokio::test]
async fn a_broker_started_by_hand_meanwhile_is_used() {
    let fake = Fake::stopped();
    let lock = std::fs::File::create(fake.home.start_lock_path()).unwrap();
    lock.lock().unwrap();
    let client = Client::new(config(&fake, &["false"])).unwrap();
    let waiting = tokio::spawn(async move { call(&client).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    fake.start();
    drop(lock);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_broker_gets_its_home_and_none_of_the_secrets() {
    let fake = Fake::stopped();
    let script = "echo home=$MESH_HOME token=$MESH_TOKEN pwd=$(pwd) >&2; exit 1";
    let client = Client::new(config(&fake, &["env", "sh", "-c", script])).unwrap();
    let home = fake.home.path().display().to_string();
    let text = call(&client).await.unwrap_err().to_string();
    assert!(text.contains(&format!("home={home} token= pwd={home}")), "{text}");
}
