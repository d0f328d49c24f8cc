//! `kill -9` of `meshctl restore` at each of its changes to the file system.

#![cfg(target_os = "linux")]
#![expect(clippy::print_stderr, reason = "a test says how much it did")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

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
        fox.put(overwrite(&format!("k/{number}"), &"v".repeat(1 + number * 500))).await.unwrap();
    }
    fox.acquire(lock(&["src/a.rs"])).await.unwrap();
    fox.put(overwrite("which", "backup")).await.unwrap();
    assert!(mesh.run(&["backup", "mesh.backup"]).status.success());
    fox.put(overwrite("which", "store")).await.unwrap();
    assert_eq!(broker.terminate(), Some(0));
    mesh
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// Restores, and is killed on entering its call of this kind and number.
fn restored(mesh: &Mesh, call: &str, number: usize) -> ExitStatus {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
    command.arg("-e").arg(format!("inject={call}:signal=SIGKILL:when={number}"));
    command.arg(meshctl()).args(["restore", "--force", "mesh.backup"]).current_dir(mesh.path());
    command.env_clear().env("MESH_HOME", mesh.path()).env("HOME", mesh.path());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.output().expect("this check needs strace (Debian: `apt-get install strace`)").status
}

/// Which store a broker finds, all of which must be there.
async fn served(home: &Mesh, place: &str) -> String {
    let _broker = home.serve(&[]);
    let owl = home.join_unattended("owl").await;
    for number in 0..20 {
        let entry = owl.get(get(&format!("k/{number}"))).await.unwrap().entry.unwrap();
        assert_eq!(entry.value.len(), 1 + number * 500, "{place}: k/{number}");
    }
    owl.get(get("which")).await.unwrap().entry.unwrap().value
}

#[tokio::test]
async fn a_restore_killed_at_any_step_leaves_the_old_store_or_the_new_one() {
    let model = prepared().await;
    let (mut old, mut new, mut told) = (0, 0, 0);
    for call in STEPS.split(',') {
        for number in 1.. {
            let place = format!("{call} {number}");
            let dir = tempfile::Builder::new().prefix("mesh").tempdir().unwrap();
            copy(model.path(), dir.path());
            let home = Mesh::at(dir.path().to_path_buf());
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
