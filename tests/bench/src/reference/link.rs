//! A connection on which several callers have requests under way, answered in their order.
//!
//! What waits is written together, as clients of these servers do.

use std::marker::PhantomData;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Requests that may wait on one connection.
const WAITING: usize = 1_024;

/// How a server's answers are told apart.
pub(super) trait Protocol: Send + Sync + 'static {
    type Frame: Send + std::fmt::Debug + 'static;

    /// Takes one answer off the buffer, if it is whole.
    fn parse(buffer: &mut BytesMut) -> Result<Option<Self::Frame>>;

    /// What answers the oldest request; anything else is dealt with here.
    fn answer(&self, frame: Self::Frame) -> Option<Self::Frame>;
}

/// What is to be written, and who waits for its answer.
#[derive(Debug)]
struct Request<F> {
    bytes: Vec<u8>,
    answer: Option<oneshot::Sender<F>>,
}

/// The way to a connection, which ends with the last clone's.
#[derive(Debug)]
pub(super) struct Link<P: Protocol> {
    requests: mpsc::Sender<Request<P::Frame>>,
    protocol: PhantomData<P>,
}

impl<P: Protocol> Clone for Link<P> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone(), protocol: PhantomData }
    }
}

impl<P: Protocol> Link<P> {
    pub(super) fn over(stream: TcpStream, protocol: P) -> Result<Self> {
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let (requests, queue) = mpsc::channel(WAITING);
        let (waiters, waiting) = mpsc::channel(WAITING * 2);
        tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            tasks.spawn(write::<P>(writer, queue, waiters));
            tasks.spawn(read(reader, waiting, protocol));
            // The first to end ends the other; who waits learns it by its channel.
            if let Some(Ok(Err(error))) = tasks.join_next().await {
                eprintln!("mesh-bench: a connection ended: {error:#}");
            }
        });
        Ok(Self { requests, protocol: PhantomData })
    }

    /// Writes without waiting for an answer.
    pub(super) async fn send(&self, bytes: Vec<u8>) -> Result<()> {
        self.requests.send(Request { bytes, answer: None }).await.ok().context("the connection is gone")
    }

    /// Writes, and waits for the answer.
    pub(super) async fn call(&self, bytes: Vec<u8>) -> Result<P::Frame> {
        let (answer, answered) = oneshot::channel();
        let request = Request { bytes, answer: Some(answer) };
        self.requests.send(request).await.ok().context("the connection is gone")?;
        answered.await.context("the connection ended before its answer")
    }
}

async fn write<P: Protocol>(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Request<P::Frame>>,
    waiters: mpsc::Sender<oneshot::Sender<P::Frame>>,
) -> Result<()> {
    while let Some(first) = queue.recv().await {
        let mut bytes = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            bytes.extend(request.bytes);
            if let Some(answer) = request.answer {
                waiters.send(answer).await.ok().context("nobody reads")?;
            }
            next = queue.try_recv().ok();
        }
        writer.write_all(&bytes).await?;
    }
    Ok(())
}

async fn read<P: Protocol>(
    mut reader: OwnedReadHalf,
    mut waiting: mpsc::Receiver<oneshot::Sender<P::Frame>>,
    protocol: P,
) -> Result<()> {
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    loop {
        while let Some(frame) = P::parse(&mut buffer)? {
            if let Some(answer) = protocol.answer(frame) {
                let waiter = waiting.recv().await.context("an answer that nobody asked for")?;
                // Who gave up needs no answer.
                let _ = waiter.send(answer);
            }
        }
        if reader.read_buf(&mut buffer).await? == 0 {
            bail!("the server closed it");
        }
    }
}

/// Takes a line off the buffer, without its end.
pub(super) fn line(buffer: &mut BytesMut) -> Option<BytesMut> {
    let end = buffer.windows(2).position(|pair| pair == b"\r\n")?;
    let line = buffer.split_to(end + 2);
    Some(BytesMut::from(&line[..end]))
}
