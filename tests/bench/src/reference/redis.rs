//! Redis with an append-only file that is synced before each answer.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;

use super::link::{Link, Protocol};
use crate::mesh::{KEYS, value};
use crate::process::Server;
use crate::system::{Caller, free_port};

/// Gives a lock back, if it is the caller's, as Redis' own documents have it.
const RELEASE: &str =
    "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";
/// How long who finds a lock taken waits before it looks again: Redis has no queue for locks.
const RETRY: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Redis {
    server: Server,
    port: u16,
}

impl Redis {
    /// None when it is not installed.
    pub(crate) fn start(dir: &Path) -> Result<Option<Self>> {
        let Some(program) = super::find("redis-server") else { return Ok(None) };
        std::fs::create_dir_all(dir)?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(dir);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        Ok(Some(Self { server: Server::start_listening(command, port)?, port }))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    async fn links(&self, callers: usize, connections: usize) -> Result<Vec<Link<Resp>>> {
        let mut links = Vec::with_capacity(connections);
        for _ in 0..connections {
            links.push(Link::over(TcpStream::connect(("127.0.0.1", self.port)).await?, Resp)?);
        }
        Ok(links.iter().cycle().take(callers).cloned().collect())
    }

    pub(crate) async fn writers(&self, callers: usize, connections: usize) -> Result<Vec<SetCaller>> {
        let links = self.links(callers, connections).await?.into_iter().enumerate();
        Ok(links.map(|(caller, link)| SetCaller { caller, link }).collect())
    }

    pub(crate) async fn lockers(
        &self,
        callers: usize,
        connections: usize,
        lock: impl Fn(usize) -> String,
    ) -> Result<Vec<LockCaller>> {
        let links = self.links(callers, connections).await?.into_iter().enumerate();
        Ok(links.map(|(caller, link)| LockCaller { caller, lock: lock(caller), link }).collect())
    }
}

/// Redis' protocol, as far as these calls need it.
#[derive(Debug)]
struct Resp;

/// One answer.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Done,
    Nothing,
    Number(i64),
    Refused(String),
}

impl Protocol for Resp {
    type Frame = Reply;

    fn parse(buffer: &mut BytesMut) -> Result<Option<Reply>> {
        let Some(end) = buffer.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let (kind, rest) = text.split_at_checked(1).context("an empty answer")?;
        let reply = match kind {
            "+" => Reply::Done,
            ":" => Reply::Number(rest.parse()?),
            "-" => Reply::Refused(rest.to_owned()),
            "$" if rest == "-1" => Reply::Nothing,
            _ => bail!("an answer of an unknown kind: {text}"),
        };
        buffer.advance(end + 2);
        Ok(Some(reply))
    }

    fn answer(&self, frame: Reply) -> Option<Reply> {
        Some(frame)
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    text.into_bytes()
}

#[derive(Debug)]
pub(crate) struct SetCaller {
    caller: usize,
    link: Link<Resp>,
}

impl Caller for SetCaller {
    async fn call(&mut self, number: u64) -> Result<()> {
        let key = format!("bench/caller-{:02}/{:02}", self.caller, number % KEYS);
        let reply = self.link.call(command(&["SET", &key, &value(number)])).await?;
        ensure!(reply == Reply::Done, "SET: {reply:?}");
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct LockCaller {
    caller: usize,
    lock: String,
    link: Link<Resp>,
}

impl Caller for LockCaller {
    async fn call(&mut self, number: u64) -> Result<()> {
        let secret = format!("{}-{number}", self.caller);
        let take = ["SET", &self.lock, &secret, "NX", "PX", "60000"];
        loop {
            match self.link.call(command(&take)).await? {
                Reply::Done => break,
                Reply::Nothing => tokio::time::sleep(RETRY).await,
                other @ (Reply::Number(_) | Reply::Refused(_)) => bail!("SET NX: {other:?}"),
            }
        }
        let reply = self.link.call(command(&["EVAL", RELEASE, "1", &self.lock, &secret])).await?;
        ensure!(reply == Reply::Number(1), "the lock was another's: {reply:?}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_off_one_by_one_and_only_whole() {
        let mut buffer = BytesMut::from(&b"+OK\r\n$-1\r\n:1\r\n-ERR no\r\n+O"[..]);
        let mut next = || Resp::parse(&mut buffer).unwrap();
        assert_eq!(next(), Some(Reply::Done));
        assert_eq!(next(), Some(Reply::Nothing));
        assert_eq!(next(), Some(Reply::Number(1)));
        assert_eq!(next(), Some(Reply::Refused("ERR no".into())));
        assert_eq!(next(), None);
    }

    #[test]
    fn a_command_names_the_length_of_each_word() {
        assert_eq!(command(&["SET", "a", ""]), b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n");
    }
}
