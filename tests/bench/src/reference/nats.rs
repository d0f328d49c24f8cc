//! NATS: its core, which stores nothing, and JetStream with a file, which does not sync each message.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::link::{Link, Protocol, line};
use crate::mesh::value;
use crate::process::Server;
use crate::system::{Caller, Subscriber, free_port};

const HELLO: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":false}\r\n";
const SUBJECT: &str = "bench.events";
const STREAM: &str = "MAIL";
/// How long a request may take.
const ANSWER: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Nats {
    server: Server,
    port: u16,
}

impl Nats {
    /// None when it is not installed.
    pub(crate) fn start(dir: &Path) -> Result<Option<Self>> {
        let Some(program) = super::find("nats-server") else { return Ok(None) };
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(dir);
        Ok(Some(Self { server: Server::start_listening(command, port)?, port }))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    async fn links(&self, callers: usize, connections: usize) -> Result<Vec<(Link<Lines>, Inboxes)>> {
        let mut links = Vec::with_capacity(connections);
        for _ in 0..connections {
            let inboxes = Inboxes::default();
            let lines = Lines { inboxes: inboxes.clone() };
            let link = Link::over(TcpStream::connect(("127.0.0.1", self.port)).await?, lines)?;
            link.send(HELLO.into()).await?;
            links.push((link, inboxes));
        }
        Ok(links.iter().cycle().take(callers).cloned().collect())
    }

    /// Callers that publish to the core, each once the server has taken the one before.
    pub(crate) async fn publishers(&self, callers: usize, connections: usize) -> Result<Vec<Publisher>> {
        let links = self.links(callers, connections).await?;
        Ok(links.into_iter().map(|(link, _)| Publisher { link }).collect())
    }

    /// A subscriber of the core on a connection of its own.
    pub(crate) async fn subscriber(&self) -> Result<Listener> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        stream.write_all(format!("{HELLO}SUB {SUBJECT} 1\r\nPING\r\n").as_bytes()).await?;
        let mut listener = Listener { stream, buffer: BytesMut::with_capacity(64 * 1024) };
        loop {
            match listener.frame().await? {
                Frame::Pong => return Ok(listener),
                Frame::Other => {}
                other @ (Frame::Ping | Frame::Message(_)) => bail!("{other:?} before the subscription"),
            }
        }
    }

    /// Callers that send a message, fetch it and acknowledge it, each with a mailbox of its own.
    pub(crate) async fn mailers(&self, callers: usize, connections: usize) -> Result<Vec<Mailer>> {
        let mut mailers = Vec::with_capacity(callers);
        for (caller, (link, inboxes)) in self.links(callers, connections).await?.into_iter().enumerate() {
            let mut requester = Requester::open(link, &inboxes, caller).await?;
            if caller == 0 {
                let stream = json!({"name": STREAM, "subjects": ["mail.*"], "storage": "file",
                    "retention": "limits", "max_msgs_per_subject": 1_000, "discard": "old", "num_replicas": 1});
                requester.api(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream).await?;
            }
            let name = format!("box{caller}");
            let consumer = json!({"stream_name": STREAM, "config": {"durable_name": name,
                "filter_subject": format!("mail.{caller}"), "ack_policy": "explicit", "deliver_policy": "all",
                "replay_policy": "instant", "max_ack_pending": 1_000}});
            requester.api(&format!("$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.{name}"), &consumer).await?;
            mailers.push(Mailer { requester, caller });
        }
        Ok(mailers)
    }
}

/// What the server says.
#[derive(Debug)]
enum Frame {
    Ping,
    Pong,
    Message(Message),
    /// Of no meaning here.
    Other,
}

#[derive(Debug)]
struct Message {
    /// Of whose subscription.
    subscription: usize,
    /// Where to answer.
    reply: Option<String>,
    body: BytesMut,
}

/// Where the answers to each subscription of a connection go, by its number from 1.
type Inboxes = Arc<Mutex<Vec<mpsc::Sender<Message>>>>;

#[derive(Debug)]
struct Lines {
    inboxes: Inboxes,
}

impl Protocol for Lines {
    type Frame = Frame;

    fn parse(buffer: &mut BytesMut) -> Result<Option<Frame>> {
        if buffer.starts_with(b"MSG ") {
            return message(buffer);
        }
        let Some(line) = line(buffer) else { return Ok(None) };
        Ok(Some(match &line[..] {
            b"PING" => Frame::Ping,
            b"PONG" => Frame::Pong,
            error if error.starts_with(b"-ERR") => bail!("NATS: {}", String::from_utf8_lossy(error)),
            _ => Frame::Other,
        }))
    }

    fn answer(&self, frame: Frame) -> Option<Frame> {
        match frame {
            Frame::Pong => Some(Frame::Pong),
            Frame::Message(message) => {
                let inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(inbox) = message.subscription.checked_sub(1).and_then(|at| inboxes.get(at)) {
                    // One request at a time is under way, so there is room.
                    let _ = inbox.try_send(message);
                }
                None
            }
            Frame::Ping | Frame::Other => None,
        }
    }
}

/// `MSG subject subscription [reply] bytes`, and the body.
fn message(buffer: &mut BytesMut) -> Result<Option<Frame>> {
    let Some(end) = buffer.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&buffer[..end])?;
    let words: Vec<_> = head.split(' ').collect();
    let (subscription, reply, size) = match words[..] {
        [_, _, subscription, size] => (subscription, None, size),
        [_, _, subscription, reply, size] => (subscription, Some(reply.to_owned()), size),
        _ => bail!("an odd line of NATS: {head}"),
    };
    let (subscription, size): (_, usize) = (subscription.parse()?, size.parse()?);
    if buffer.len() < end + 2 + size + 2 {
        return Ok(None);
    }
    let mut whole = buffer.split_to(end + 2 + size + 2);
    let mut body = whole.split_off(end + 2);
    body.truncate(size);
    Ok(Some(Frame::Message(Message { subscription, reply, body })))
}

#[derive(Debug)]
pub(crate) struct Publisher {
    link: Link<Lines>,
}

impl Caller for Publisher {
    async fn call(&mut self, number: u64) -> Result<()> {
        let value = value(number);
        self.link.call(format!("PUB {SUBJECT} {}\r\n{value}\r\nPING\r\n", value.len()).into()).await?;
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Listener {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Listener {
    async fn frame(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = Lines::parse(&mut self.buffer)? {
                return Ok(frame);
            }
            self.buffer.reserve(16 * 1024);
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "NATS closed the connection");
        }
    }
}

impl Subscriber for Listener {
    async fn next(&mut self) -> Result<u64> {
        loop {
            match self.frame().await? {
                Frame::Message(message) => {
                    let digits = message.body.get(..20).context("an event without a number")?;
                    return Ok(std::str::from_utf8(digits)?.parse()?);
                }
                Frame::Ping => self.stream.write_all(b"PONG\r\n").await?,
                Frame::Pong | Frame::Other => {}
            }
        }
    }
}

/// Makes requests, one at a time, answered to an inbox of its own.
#[derive(Debug)]
struct Requester {
    link: Link<Lines>,
    inbox: String,
    answers: mpsc::Receiver<Message>,
}

impl Requester {
    async fn open(link: Link<Lines>, inboxes: &Inboxes, caller: usize) -> Result<Self> {
        let (sender, answers) = mpsc::channel(16);
        let subscription = {
            let mut inboxes = inboxes.lock().unwrap_or_else(PoisonError::into_inner);
            inboxes.push(sender);
            inboxes.len()
        };
        let inbox = format!("_INBOX.bench.{caller}");
        link.send(format!("SUB {inbox} {subscription}\r\n").into()).await?;
        Ok(Self { link, inbox, answers })
    }

    async fn request(&mut self, subject: &str, body: &str) -> Result<Message> {
        let bytes = format!("PUB {subject} {} {}\r\n{body}\r\n", self.inbox, body.len());
        self.link.send(bytes.into()).await?;
        let answer = tokio::time::timeout(ANSWER, self.answers.recv()).await;
        answer.with_context(|| format!("no answer to {subject}"))?.context("the connection ended")
    }

    async fn api(&mut self, subject: &str, body: &serde_json::Value) -> Result<()> {
        let answer = self.request(subject, &body.to_string()).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
        ensure!(answer.get("error").is_none(), "{subject}: {answer}");
        Ok(())
    }
}

/// Sends a message into its mailbox, fetches it from there, and acknowledges it, each step answered.
#[derive(Debug)]
pub(crate) struct Mailer {
    requester: Requester,
    caller: usize,
}

impl Caller for Mailer {
    async fn call(&mut self, number: u64) -> Result<()> {
        let Self { requester, caller } = self;
        let body = value(number);
        let stored = requester.request(&format!("mail.{caller}"), &body).await?;
        ensure!(!stored.body.windows(5).any(|word| word == b"error"), "JetStream did not store it");
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.box{caller}");
        let fetched = requester.request(&next, "1").await?;
        ensure!(fetched.body == body.as_bytes(), "another message came");
        let acknowledge = fetched.reply.context("a message that cannot be acknowledged")?;
        requester.request(&acknowledge, "+ACK").await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_off_only_whole() {
        let mut buffer = BytesMut::from(&b"MSG a 7 back 3\r\nabc\r\nPONG\r\nMSG a 1 2\r\na"[..]);
        let Some(Frame::Message(first)) = Lines::parse(&mut buffer).unwrap() else { panic!() };
        assert_eq!(
            (first.subscription, first.reply.as_deref(), &first.body[..]),
            (7, Some("back"), &b"abc"[..])
        );
        assert!(matches!(Lines::parse(&mut buffer).unwrap(), Some(Frame::Pong)));
        assert!(Lines::parse(&mut buffer).unwrap().is_none());
    }
}
