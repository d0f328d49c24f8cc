//! `kill -9` of what replaces a store, `meshctl restore` and a broker that writes it anew, at each change to the file system.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use mesh_tests::{Mesh, get, lock, meshctl, overwrite};

/// Calls by which a name or a file comes to be, changes, goes, or reaches the device.
const STEPS: &str =
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync,pwrite64,ftruncate";

/// A home with a store, and a backup of what was there before its last write.
async fn prepared() -> Mesh {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let fox = mesh.join_unattended("fox").await;
    for number in 0..20 {
        fox.put(overwrite(&format!("k/{number}"), &"v".repeat(1 + number * 500))).await.expect("an answer");
    }
    fox.acquire(lock(&["src/a.rs"])).await.expect("an answer");
    fox.put(overwrite("which", "backup")).await.expect("an answer");
    assert!(mesh.run(&["backup", "mesh.backup"]).status.success());
    fox.put(overwrite("which", "store")).await.expect("an answer");
    assert_eq!(broker.terminate(), Some(0));
    mesh
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the file system works");
    for entry in fs::read_dir(from).expect("an entry") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("the file system works");
        }
    }
}

/// `meshctl`, killed on entering its call of this kind and number.
fn killed_at(mesh: &Mesh, call: &str, number: usize, arguments: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
    command.arg("-e").arg(format!("inject={call}:signal=SIGKILL:when={number}"));
    command.arg(meshctl()).args(arguments).current_dir(mesh.path());
    command.env_clear().env("MESH_HOME", mesh.path()).env("HOME", mesh.path());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

const NO_STRACE: &str = "this check needs strace (Debian: `apt-get install strace`)";

fn restored(mesh: &Mesh, call: &str, number: usize) -> ExitStatus {
    let mut command = killed_at(mesh, call, number, &["restore", "--force", "mesh.backup"]);
    command.output().expect(NO_STRACE).status
}

/// Whether a broker came to be ready, which then is killed.
fn started(mesh: &Mesh, call: &str, number: usize) -> bool {
    let mut command = killed_at(mesh, call, number, &["serve", "--auto", "--idle-exit", "3600"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut tracer = command.spawn().expect(NO_STRACE);
    let mut line = String::new();
    BufReader::new(tracer.stdout.take().expect("its output")).read_line(&mut line).expect("its output");
    if let Some(broker) = mesh.broker_pid() {
        mesh_tests::kill(broker);
    }
    let ended = tracer.wait().expect("its end");
    assert_eq!(ended.signal(), Some(9), "{call} {number}: {line:?}");
    line.trim() == "ready"
}

/// What lies in the home that is of a store.
fn stores(home: &Mesh) -> Vec<String> {
    let names =
        fs::read_dir(home.path()).expect("an entry").map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.into_string().expect("a name in UTF-8"));
    names.filter(|name| name.starts_with("store")).collect()
}

/// Which store a broker finds, all of which must be there.
async fn served(home: &Mesh, place: &str) -> String {
    let _broker = home.serve(&[]);
    let owl = home.join_unattended("owl").await;
    for number in 0..20 {
        let entry = owl.get(get(&format!("k/{number}"))).await.expect("an answer").entry.expect("an answer");
        assert_eq!(entry.value.len(), 1 + number * 500, "{place}: k/{number}");
    }
    owl.get(get("which")).await.expect("an answer").entry.expect("an answer").value
}

/// A copy of a home, for one kill.
fn copied(model: &Mesh) -> (tempfile::TempDir, Mesh) {
    // Short, because the path of a Unix socket is.
    let dir = tempfile::Builder::new().prefix("mesh").tempdir().expect("the file system works");
    copy(model.path(), dir.path());
    let home = Mesh::at(dir.path().to_path_buf());
    (dir, home)
}

#[tokio::test]
async fn a_restore_killed_at_any_step_leaves_the_old_store_or_the_new_one() {
    let model = prepared().await;
    let (mut old, mut new, mut told) = (0, 0, 0);
    for call in STEPS.split(',') {
        for number in 1.. {
            let place = format!("{call} {number}");
            let (_dir, home) = copied(&model);
            let ended = restored(&home, call, number);
            let killed = ended.signal() == Some(9);
            assert!(killed || ended.success(), "{place}: {ended}");
            match served(&home, &place).await.as_str() {
                "store" if killed => old += 1,
                "backup" => new += 1,
                other => panic!("{place}: {other}"),
            }
            let log = fs::read_to_string(home.home().log_path()).unwrap_or_default();
            told += usize::from(killed && log.contains("cut short"));
            if !killed {
                break;
            }
        }
    }
    eprintln!(
        "{old} kills before the restore counted, {new} after, or none; {told} times the next start said so"
    );
    assert!(old > 10 && new > 10 && told > 10, "{old} {new} {told}");
}

/// A file among sled's that nothing refers to makes the store far larger than what it holds.
#[tokio::test]
async fn a_store_whose_rewrite_is_killed_at_any_step_stays_whole_and_is_written_anew_by_the_next_start() {
    const SURPLUS: u64 = 65 * 1024 * 1024;
    let model = prepared().await;
    let (mut before, mut after) = (0, 0);
    for call in STEPS.split(',') {
        for number in 1.. {
            let place = format!("{call} {number}");
            let (_dir, home) = copied(&model);
            let surplus = home.path().join("store/blobs/0");
            fs::File::create(&surplus).unwrap().set_len(SURPLUS).unwrap();
            let ready = started(&home, call, number);
            let is_old = surplus.exists();
            assert!(!ready || !is_old, "{place}: a broker serves what it should have written anew");
            before += usize::from(!ready && is_old);
            after += usize::from(!ready && !is_old);
            assert_eq!(served(&home, &place).await, "store", "{place}");
            assert_eq!(stores(&home), ["store"], "{place}");
            assert!(!surplus.exists(), "{place}: it was not written anew");
            if ready {
                break;
            }
        }
    }
    eprintln!("{before} kills before the new store counted, {after} after");
    assert!(before > 10 && after > 10, "{before} {after}");
}
