//! Another user of this machine gets at nothing, and cannot pose as the broker.
//!
//! Where the tests run as root, as they do in CI, they act as that other user; elsewhere they check the rights of files.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mesh_tests::{Mesh, SCOPE, meshctl};
use tempfile::TempDir;

/// The other user's id.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Everything below a directory, links left out.
fn all_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut at = 0;
    while at < found.len() {
        if found[at].is_dir() {
            let entries = std::fs::read_dir(&found[at]).unwrap().map(|entry| entry.unwrap().path());
            found.extend(entries.filter(|path| !path.is_symlink()).collect::<Vec<_>>());
        }
        at += 1;
    }
    found
}

/// A place that all users share, as `/tmp` is, and the other user's own things in it.
struct Street {
    dir: TempDir,
}

impl Street {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("mesh").tempdir().unwrap();
        set_mode(dir.path(), 0o1777);
        // The build may lie where the other user cannot go.
        let program = dir.path().join("meshctl");
        std::fs::copy(meshctl(), &program).unwrap();
        set_mode(&program, 0o755);
        let street = Self { dir };
        std::fs::create_dir(street.at("theirs")).unwrap();
        set_mode(&street.at("theirs"), 0o700);
        chown(street.at("theirs"), Some(NOBODY), Some(NOBODY)).unwrap();
        street
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of the other user.
    fn theirs(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program).args(arguments);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.at("theirs"));
        command.env("MESH_HOME", self.at("theirs").join("home")).env("MESH_SCOPE", SCOPE);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `meshctl` in a mesh, under a umask.
fn under(umask: &str, mesh: &Mesh, arguments: &[&str], stdin: &str) -> Output {
    let like = mesh.meshctl(&[]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask $0; exec \"$@\"", umask]).arg(meshctl()).args(arguments);
    command.env_clear().envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(mesh.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn whatever_the_umask_everything_in_a_home_is_its_users_alone() {
    for umask in ["000", "022", "077"] {
        let outer = Mesh::new();
        let mesh = Mesh::at(outer.path().join("home"));
        std::fs::create_dir(mesh.path()).unwrap();
        set_mode(mesh.path(), 0o700);
        let hook = format!(
            "{{\"hook_event_name\":\"SessionStart\",\"session_id\":\"s\",\"source\":\"startup\",\"cwd\":{:?}}}",
            mesh.path()
        );
        for arguments in [&["who"][..], &["remember", "k", "v"], &["note", "hello"]] {
            let done = under(umask, &mesh, arguments, "");
            assert!(done.status.success(), "{umask} {arguments:?}: {}", told(&done));
        }
        let done = under(umask, &mesh, &["hook", "claude-code"], &hook);
        assert!(done.status.success(), "{umask}: {}", told(&done));
        // Started again, on TCP: a token, a certificate and a key.
        assert!(under(umask, &mesh, &["stop"], "").status.success());
        let (port, inner) = ("127.0.0.1:0", mesh.home());
        let script = "umask $0; exec \"$@\"";
        let mut serve = Command::new("/bin/sh");
        serve.args(["-c", script, umask]).arg(meshctl());
        serve.args(["serve", "--auto", "--listen", port, "--tls-self-signed"]);
        serve.env("MESH_HOME", mesh.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut broker = serve.spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(broker.stdout.take().unwrap()), &mut line)
            .unwrap();
        assert_eq!(line, "ready\n", "{umask}");
        let all = all_below(mesh.path());
        for path in [inner.socket_path(), inner.token_path(), inner.log_path(), inner.certificate_path()] {
            assert!(all.contains(&path), "{umask}: {} is there", path.display());
        }
        assert!(all.iter().any(|path| path.starts_with(inner.agents_path())), "{umask}: {all:?}");
        for path in all {
            let rights = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), rights, "{umask}: {}", path.display());
        }
        broker.kill().unwrap();
        broker.wait().unwrap();
    }
}

#[test]
fn a_home_that_others_can_write_to_is_not_used() {
    for rights in [0o777, 0o1777, 0o770] {
        let mesh = Mesh::new();
        set_mode(mesh.path(), rights);
        for arguments in [&["who"][..], &["serve"]] {
            let refused = mesh.run(arguments);
            assert!(!refused.status.success() && told(&refused).contains("chmod 700"), "{}", told(&refused));
        }
        assert_eq!(mesh.broker_pid(), None);
    }
}

#[tokio::test]
async fn another_user_gets_no_further_than_the_door() {
    if !is_root() {
        return whatever_the_umask_everything_in_a_home_is_its_users_alone();
    }
    let (street, mesh) = (Street::new(), Mesh::new());
    let socket = street.at("m.sock");
    let _broker =
        mesh.serve(&["--socket", socket.to_str().unwrap(), "--listen", "127.0.0.1:0", "--tls-self-signed"]);
    assert_eq!(mode(&socket), 0o600);
    let names: Vec<_> =
        std::fs::read_dir(street.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "the socket and its lock, and nothing from binding it: {names:?}");

    // The home is closed; and were it open, all that is in it would be.
    let look = |arguments: &[&str]| street.theirs(Path::new("find"), arguments).output().unwrap();
    let home = mesh.path().to_str().unwrap();
    set_mode(mesh.path(), 0o700);
    assert!(look(&[home, "-mindepth", "1"]).stdout.is_empty());
    set_mode(mesh.path(), 0o755);
    let found = look(&[home, "-mindepth", "1"]);
    assert!(told(&found).contains("token"), "they see the names: {}", told(&found));
    let open =
        look(&[home, "-mindepth", "1", "(", "-readable", "-o", "-writable", ")", "-not", "-type", "l"]);
    // The harness made the log.
    let log = mesh.home().log_path();
    let open = String::from_utf8_lossy(&open.stdout).replace(&format!("{}\n", log.display()), "");
    assert_eq!(open, "");
    set_mode(mesh.path(), 0o700);

    let endpoint = format!("unix://{}", socket.display());
    let call = |command: &str| {
        let mut call = street.theirs(&street.at("meshctl"), &["--endpoint", &endpoint, command]);
        call.output().unwrap()
    };
    let refused = call("who");
    assert!(!refused.status.success() && told(&refused).contains("Permission denied"), "{}", told(&refused));
    // Were the door left open, the kernel would still tell who comes in.
    set_mode(&socket, 0o777);
    for command in ["who", "status", "stop"] {
        let refused = call(command);
        assert!(!refused.status.success(), "{}", told(&refused));
        assert!(told(&refused).contains("this broker serves user 0 only"), "{}", told(&refused));
    }
    assert!(mesh.broker_pid().is_some());
}

#[test]
fn a_broker_of_another_user_is_told_nothing() {
    if !is_root() {
        return a_home_that_others_can_write_to_is_not_used();
    }
    let (street, mesh) = (Street::new(), Mesh::new());
    let socket = street.at("m.sock");
    let mut serve =
        street.theirs(&street.at("meshctl"), &["serve", "--auto", "--socket", socket.to_str().unwrap()]);
    let mut theirs = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(theirs.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    set_mode(&socket, 0o777);
    let endpoint = format!("unix://{}", socket.display());
    // Also where a link leads to it from the place of one's own.
    symlink(&socket, mesh.home().socket_path()).unwrap();
    for arguments in [&["--endpoint", &endpoint, "note", "secret"][..], &["note", "secret"]] {
        let refused = mesh.run(arguments);
        let told = told(&refused);
        assert!(!refused.status.success() && told.contains("belongs to user 65534"), "{told}");
    }
    assert_eq!(mesh.broker_pid(), None, "nothing was started in its place");
    theirs.kill().unwrap();
    theirs.wait().unwrap();
}

#[test]
fn links_that_another_user_plants_lead_nowhere() {
    if !is_root() {
        return a_home_that_others_can_write_to_is_not_used();
    }
    let (street, mesh) = (Street::new(), Mesh::new());
    let treasure = mesh.path().join("treasure");
    std::fs::write(&treasure, "mine").unwrap();
    let plant = |name: &str| {
        let link = street.at(name);
        let mut planted = street.theirs(Path::new("ln"), &["-s", treasure.to_str().unwrap()]);
        assert!(planted.arg(link).status().unwrap().success());
    };
    plant("a.sock.lock");
    let refused = mesh.run(&["serve", "--socket", street.at("a.sock").to_str().unwrap()]);
    assert!(!refused.status.success(), "the lock beside the socket is a link");
    plant("b.sock");
    let _broker = mesh.serve(&["--socket", street.at("b.sock").to_str().unwrap()]);
    assert!(!street.at("b.sock").is_symlink(), "replaced by the socket");
    assert_eq!(std::fs::read_to_string(&treasure).unwrap(), "mine");
    // A lock that is theirs to open would be theirs to hold.
    let mut made = street.theirs(Path::new("touch"), &[street.at("c.sock.lock").to_str().unwrap()]);
    assert!(made.status().unwrap().success());
    let other = Mesh::new();
    let refused = other.run(&["serve", "--socket", street.at("c.sock").to_str().unwrap()]);
    assert!(!refused.status.success() && !told(&refused).is_empty());
}
