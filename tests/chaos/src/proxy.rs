//! A way to the broker that can be cut, stalled and slowed: a Unix socket in front of the broker's own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::record::pause;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Hands everything on.
    Open,
    /// Hands everything on, but late.
    Slow,
    /// Hands nothing on for now, in either direction.
    Stalled,
    /// Takes what the clients say, and hands back nothing: they are heard and do not hear.
    Mute,
}

/// The proxy. Dropping it ends every connection.
#[derive(Debug)]
pub struct Proxy {
    path: PathBuf,
    state: watch::Sender<State>,
    _accepting: Ends,
}

#[derive(Clone, Copy, Debug)]
struct State {
    way: Way,
    /// Connections of an earlier number are cut, after this many bytes more.
    generation: u64,
    after: u64,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Proxy {
    /// Listens at `path` for clients of the broker at `broker`.
    pub fn start(path: &Path, broker: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let state = watch::Sender::new(State { way: Way::Open, generation: 0, after: 0 });
        let (broker, subscribe) = (Arc::<Path>::from(broker), state.clone());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (broker, state) = (Arc::clone(&broker), subscribe.subscribe());
                connections.spawn(async move {
                    // A broker that is away is one that hangs up.
                    if let Ok(broker) = UnixStream::connect(broker).await {
                        connect(client, broker, state).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { path: path.to_path_buf(), state, _accepting: Ends(accepting.abort_handle()) })
    }

    /// Where clients connect.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts every connection once so many bytes more have passed in either direction: in the midst of a frame, as
    /// likely as not.
    pub fn cut(&self, after: u64) {
        self.state.send_modify(|state| (state.generation, state.after) = (state.generation + 1, after));
    }

    /// Makes every connection go this way.
    pub fn go(&self, way: Way) {
        self.state.send_modify(|state| state.way = way);
    }
}

async fn connect(client: UnixStream, broker: UnixStream, state: watch::Receiver<State>) {
    let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
    let forth = hand_on(from_client, to_broker, state.clone(), Side::Client);
    let back = hand_on(from_broker, to_client, state, Side::Broker);
    // When one direction has ended, both ends of both sockets are dropped.
    tokio::select! {
        _ = forth => {}
        _ = back => {}
    }
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Broker,
}

async fn hand_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    side: Side,
) -> io::Result<()> {
    let began = state.borrow_and_update().generation;
    let mut buffer = vec![0; 16 << 10];
    let mut left = None;
    loop {
        let now = *state.borrow_and_update();
        if now.generation != began && left.is_none() {
            left = Some(now.after);
        }
        let stopped = now.way == Way::Stalled || now.way == Way::Mute && side == Side::Broker;
        if left == Some(0) {
            return Ok(());
        }
        let read = tokio::select! {
            read = from.read(&mut buffer), if !stopped => read?,
            changed = state.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                continue;
            }
        };
        if read == 0 {
            return Ok(());
        }
        if now.way == Way::Slow {
            pause(Duration::from_millis(20)).await;
        }
        let passing = left.map_or(read, |left| read.min(usize::try_from(left).unwrap_or(read)));
        to.write_all(&buffer[..passing]).await?;
        left = left.map(|left| left - passing as u64);
    }
}
