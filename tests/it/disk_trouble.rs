//! A disk that is full, closed or wrong: the broker says so and ends, and nothing acknowledged is lost.
//!
//! These tests mount small file systems of their own, which takes root; without it they say so and end.

use std::path::{Path, PathBuf};
use std::process::Command;

use mesh_tests::{Mesh, get, put, within};

/// A file system in memory, of a size that can change.
#[derive(Debug)]
struct Mount(PathBuf);

impl Mount {
    /// None where one may not mount.
    #[expect(clippy::print_stderr, reason = "says why a test did not run")]
    fn new(at: PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        if mount(&["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()]) {
            return Some(Self(at));
        }
        eprintln!("not run: this user may not mount");
        None
    }

    fn change(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}"), self.0.to_str().unwrap()]));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a broker may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str]) -> bool {
    Command::new("mount").args(arguments).output().is_ok_and(|output| output.status.success())
}

fn log(mesh: &Mesh) -> String {
    std::fs::read_to_string(mesh.home().log_path()).unwrap_or_default()
}

/// What `meshctl serve` says when it cannot.
fn refused(mesh: &Mesh) -> String {
    let output = mesh.run(&["serve", "--idle-exit", "1"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(!told.contains("panicked at"), "{told}");
    told
}

#[tokio::test]
async fn a_disk_that_fills_up_ends_the_broker_and_loses_nothing_acknowledged() {
    let mesh = Mesh::new();
    let Some(disk) = Mount::new(mesh.home().store_path(), "size=12m,mode=700") else { return };
    let broker = mesh.serve(&[]);
    let session = mesh.join_unattended("fox").await;
    let value = |number: u32| format!("{number} {}", "v".repeat(30_000));
    let mut acknowledged = 0;
    while session.client().state().put(put(&format!("k/{acknowledged}"), &value(acknowledged))).await.is_ok()
    {
        acknowledged += 1;
    }
    assert!(acknowledged > 10);
    let ended = within("the broker's end", tokio::task::spawn_blocking(move || broker.wait())).await.unwrap();
    assert_ne!(ended, Some(0));
    let told = log(&mesh);
    assert!(told.contains("No space left on device") && told.contains("store"), "{told}");

    disk.change("size=64m");
    let _broker = mesh.serve(&[]);
    for number in 0..acknowledged {
        let entry = session.get(get(&format!("k/{number}"))).await.unwrap().entry.unwrap();
        assert!(entry.value == value(number), "k/{number}");
    }
    session.put(put("k/again", "v")).await.unwrap();
}

#[tokio::test]
async fn a_disk_without_room_for_a_store_is_refused() {
    let mesh = Mesh::new();
    let Some(_disk) = Mount::new(mesh.home().store_path(), "size=8k,mode=700") else { return };
    let told = refused(&mesh);
    assert!(told.contains("No space left on device") && told.contains("store"), "{told}");
}

#[tokio::test]
async fn a_store_that_may_only_be_read_is_refused_and_can_be_checked() {
    let mesh = Mesh::new();
    let Some(disk) = Mount::new(mesh.home().store_path(), "size=64m,mode=700") else { return };
    let broker = mesh.serve(&[]);
    let session = mesh.join_unattended("fox").await;
    session.put(put("k", "v")).await.unwrap();
    assert_eq!(broker.terminate(), Some(0));
    disk.change("ro");
    let told = refused(&mesh);
    assert!(told.contains("Read-only file system") && told.contains(disk.0.to_str().unwrap()), "{told}");
    let checked = mesh.run(&["fsck"]);
    assert!(checked.status.success(), "{checked:?}");
    disk.change("rw");
    let _broker = mesh.serve(&[]);
    assert_eq!(session.get(get("k")).await.unwrap().entry.unwrap().value, "v");
}

#[tokio::test]
async fn a_home_that_may_only_be_read_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::new(place.path().join("home"), "size=64m,mode=700") else { return };
    let mesh = Mesh::at(disk.0.clone());
    assert_eq!(mesh.serve(&[]).terminate(), Some(0));
    disk.change("ro");
    let told = refused(&mesh);
    assert!(told.contains("Read-only file system") && told.contains(disk.0.to_str().unwrap()), "{told}");
    drop(mesh);
}

/// Files of the store of a home.
fn file(mesh: &Mesh, name: &str) -> PathBuf {
    mesh.home().store_path().join(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

#[tokio::test]
async fn a_store_without_its_data_is_refused_with_the_next_step() {
    let mesh = Mesh::new();
    let broker = mesh.serve(&[]);
    let session = mesh.join_unattended("fox").await;
    session.put(put("k", "v")).await.unwrap();
    broker.kill();
    let kept = mesh.path().join("kept");
    copy(&file(&mesh, "db"), &kept);
    std::fs::remove_file(file(&mesh, "db")).unwrap();
    let told = refused(&mesh);
    assert!(told.contains("store/db is missing") && told.contains("meshctl restore"), "{told}");
    let checked = mesh.run(&["fsck"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    copy(&kept, &file(&mesh, "db"));
    let _broker = mesh.serve(&[]);
    assert_eq!(session.get(get("k")).await.unwrap().entry.unwrap().value, "v");
}
