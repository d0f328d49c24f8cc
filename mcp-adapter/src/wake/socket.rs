//! The inbox of a Claude Code session: a Unix socket that takes messages of other sessions of the same user.
//!
//! Lines of JSON: who is allowed to speak, then what is said. Nothing comes back, and the form of the message is that of
//! its own senders rather than a published one, so it is used only with the protocol that it was seen with.
//!
//! What must hold: nothing is said to a socket of another user; nothing waits for longer than [`WITHIN`].

use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// How long the host may take to take a message.
const WITHIN: Duration = Duration::from_secs(2);
/// The version of the protocol between sessions that is spoken here.
const PROTOCOL: u64 = 1;
/// Longest text, well below what the host takes.
const LONGEST: usize = 32 << 10;
/// Most of what a host says of a session that is read.
const LONGEST_RECORD: u64 = 1 << 20;

/// Where a session takes messages.
#[derive(Clone)]
pub(crate) struct Inbox {
    /// Its socket.
    pub(crate) path: PathBuf,
    /// What lets this process speak; a secret.
    pub(crate) token: Option<String>,
    /// What the host says of its sessions: a file for each process.
    pub(crate) sessions: Option<PathBuf>,
    /// The process of the host.
    pub(crate) host: Option<u32>,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("path", &self.path).field("host", &self.host).finish_non_exhaustive()
    }
}

impl Inbox {
    /// Whether it may be used: it is a socket of this user, and the host does not say that it speaks another protocol.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.path.is_absolute() {
            return Err("the path of the inbox is not absolute".into());
        }
        let socket = self.path.symlink_metadata().map_err(|error| format!("no inbox: {error}"))?;
        if !socket.file_type().is_socket() {
            return Err("the inbox is no socket".into());
        }
        if socket.uid() != geteuid().as_raw() {
            return Err("the inbox belongs to another user".into());
        }
        match self.protocol() {
            Some(PROTOCOL) | None => Ok(()),
            Some(other) => Err(format!("the inbox speaks protocol {other}, not {PROTOCOL}")),
        }
    }

    /// The protocol that the host says it speaks, where that can be read.
    fn protocol(&self) -> Option<u64> {
        let record = self.sessions.as_ref()?.join(format!("{}.json", self.host?));
        let record = read(&record)?;
        // A record without it is of a host that does not speak it.
        Some(record.get("peerProtocol").and_then(Value::as_u64).unwrap_or_default())
    }

    /// Puts a message into the session.
    pub(super) async fn send(&self, text: &str) -> Result<(), String> {
        self.check()?;
        match tokio::time::timeout(WITHIN, self.write(text)).await {
            Ok(sent) => sent,
            Err(_) => Err("the inbox took too long".into()),
        }
    }

    async fn write(&self, text: &str) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("the inbox: {error}");
        let mut stream = UnixStream::connect(&self.path).await.map_err(failed)?;
        if stream.peer_cred().map_err(failed)?.uid() != geteuid().as_raw() {
            return Err("the inbox is served by another user".into());
        }
        stream.write_all(lines(self.token.as_deref(), text).as_bytes()).await.map_err(failed)?;
        stream.shutdown().await.map_err(failed)
    }
}

fn read(path: &Path) -> Option<Value> {
    let file = std::fs::File::open(path).ok()?;
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, LONGEST_RECORD), &mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// What is written: one message, after the word that lets it in.
fn lines(token: Option<&str>, text: &str) -> String {
    let text = &text[..text.floor_char_boundary(LONGEST)];
    let message = json!({
        "type": "user",
        "message": {"role": "user", "content": text},
        "msgV": 1,
        "msg_id": mesh_client::request_id(),
        "priority": "next",
    });
    let auth = token.map(|token| json!({"type": "auth", "token": token}));
    auth.iter().chain([&message]).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixListener;

    use super::*;

    fn inbox(dir: &Path) -> Inbox {
        Inbox {
            path: dir.join("1.sock"),
            token: Some("secret".into()),
            sessions: Some(dir.to_path_buf()),
            host: Some(7),
        }
    }

    #[tokio::test]
    async fn a_message_is_two_lines_after_which_nothing_follows() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = inbox(dir.path());
        let listener = UnixListener::bind(&inbox.path).unwrap();
        let read = async {
            let mut text = String::new();
            listener.accept().await.unwrap().0.read_to_string(&mut text).await.unwrap();
            text
        };
        let (text, sent) = tokio::join!(read, inbox.send("hi\nyou"));
        sent.unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0], json!({"type": "auth", "token": "secret"}));
        assert_eq!(lines[1]["message"], json!({"role": "user", "content": "hi\nyou"}));
        assert_eq!((&lines[1]["type"], &lines[1]["msgV"], lines.len()), (&json!("user"), &json!(1), 2));
        assert!(lines[1]["msg_id"].as_str().is_some_and(|id| id.len() == 36));
        assert!(!format!("{inbox:?}").contains("secret"));
    }

    #[tokio::test]
    async fn what_is_no_inbox_of_this_user_and_protocol_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = inbox(dir.path());
        assert!(inbox.check().unwrap_err().starts_with("no inbox"));
        std::fs::write(&inbox.path, "").unwrap();
        assert_eq!(inbox.check().unwrap_err(), "the inbox is no socket");
        std::fs::remove_file(&inbox.path).unwrap();
        let listener = UnixListener::bind(&inbox.path).unwrap();
        for (record, usable) in
            [(r#"{"peerProtocol": 1}"#, true), ("{", true), (r#"{"peerProtocol": 2}"#, false), ("{}", false)]
        {
            std::fs::write(dir.path().join("7.json"), record).unwrap();
            assert_eq!(inbox.check().is_ok(), usable, "{record}");
        }
        std::fs::remove_file(dir.path().join("7.json")).unwrap();
        inbox.check().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&inbox.path, &link).unwrap();
        assert!(Inbox { path: link, ..inbox.clone() }.check().is_err());
        assert!(Inbox { path: "1.sock".into(), ..inbox.clone() }.check().is_err());
        drop(listener);
        // A listener that was dropped may live on for a moment, in a process that is just being started.
        let deaf = Inbox { path: dir.path().join("deaf"), ..inbox };
        let _socket = std::os::unix::net::UnixDatagram::bind(&deaf.path).unwrap();
        assert!(deaf.send("x").await.unwrap_err().starts_with("the inbox: "), "nobody listens");
    }

    #[test]
    fn a_text_is_bounded_and_a_token_is_only_said_when_there_is_one() {
        let text = lines(None, &"é".repeat(LONGEST));
        assert!(text.lines().count() == 1 && text.len() < LONGEST + 500);
    }
}
