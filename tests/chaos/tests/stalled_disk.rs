//! A disk that takes writes and does not answer a sync: the broker says that it does not work, and works on when it does.

#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use mesh_client::{Client, Session};
use mesh_tests::{Mesh, get, is_running, kill, meshctl, overwrite, unattended, within};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

/// A broker that never has an answer to a sync of its store's data, as long as its tracer lives.
fn stalled(mesh: &Mesh) -> Child {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]);
    command.args(["-e", "inject=fdatasync:delay_enter=3600000000"]);
    command.arg(meshctl()).args(["serve", "--auto", "--idle-exit", "3600"]).current_dir(mesh.path());
    command.env_clear().env("MESH_HOME", mesh.path()).env("HOME", mesh.path());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut tracer = command.spawn().expect("this check needs strace (Debian: `apt-get install strace`)");
    let mut line = String::new();
    BufReader::new(tracer.stdout.take().expect("its output")).read_line(&mut line).expect("its output");
    assert_eq!(line.trim(), "ready");
    tracer
}

async fn health(client: &Client) -> ServingStatus {
    client.health().check(HealthCheckRequest::default()).await.expect("an answer").into_inner().status()
}

#[tokio::test]
async fn a_broker_whose_disk_stalls_is_not_healthy_until_it_answers_and_loses_nothing() {
    let mesh = Mesh::new();
    let mut tracer = stalled(&mesh);
    let broker = mesh.broker_pid().unwrap();
    let client = mesh.client();
    let joining = tokio::spawn({
        let client = mesh.client();
        async move {
            let fox = Session::join(&client, unattended("fox")).await.unwrap();
            fox.put(overwrite("k", "v")).await.unwrap();
        }
    });
    assert_eq!(health(&client).await, ServingStatus::NotServing);
    assert!(!joining.is_finished(), "a call was answered that is not on the disk");

    tracer.kill().unwrap();
    tracer.wait().unwrap();
    joining.await.unwrap();
    assert!(is_running(broker), "the broker ended with its tracer");
    // What a probe found is told for some seconds.
    within("a healthy broker", async {
        while health(&mesh.client()).await != ServingStatus::Serving {
            tokio::task::yield_now().await;
        }
    })
    .await;
    kill(broker);
    let _next = mesh.serve(&[]);
    let owl = mesh.join_unattended("owl").await;
    assert_eq!(owl.get(get("k")).await.unwrap().entry.unwrap().value, "v");
}
