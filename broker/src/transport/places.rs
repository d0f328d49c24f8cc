//! How many connections there are, in all and of each remote; and that a new one says soon what it is.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use mesh_core::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What every HTTP/2 connection begins with has so many bytes.
const GREETING_BYTES: usize = 24;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Remote {
    /// A process of the broker's own user.
    Own,
    /// A process of another user.
    User(u32),
    /// A machine.
    Address(IpAddr),
}

/// The open connections of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_remote: HashMap<Remote, usize>,
    /// Whether the last one found no place, so that a flood is told of once.
    full: bool,
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Place {
    remote: Remote,
    places: Places,
}

impl Places {
    /// As many as the bound says, or as the limit of open files leaves room for, beside another listener.
    pub(crate) fn new() -> Self {
        use rustix::process::{Resource, getrlimit};
        let files = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files as usize);
        Self::with(limits::CONNECTIONS.min((files.saturating_sub(SPARE_FILES) / 2).max(1)))
    }

    fn with(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A place, unless there are as many as may be.
    pub(crate) fn take(&self, remote: Remote) -> Option<Place> {
        let mut taken = self.taken();
        let most = if remote == Remote::Own { self.most } else { limits::CONNECTIONS_PER_REMOTE };
        let own = taken.by_remote.get(&remote).copied().unwrap_or_default();
        if taken.all >= self.most || own >= most {
            if !taken.full {
                tracing::warn!(?remote, open = taken.all, "too many connections; new ones are closed");
            }
            taken.full = true;
            return None;
        }
        taken.full = false;
        taken.all += 1;
        *taken.by_remote.entry(remote).or_default() += 1;
        Some(Place { remote, places: self.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Open files that are left for the store, the log and the rest.
const SPARE_FILES: usize = 128;

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(count) = taken.by_remote.get_mut(&self.remote) {
            *count -= 1;
            if *count == 0 {
                taken.by_remote.remove(&self.remote);
            }
        }
    }
}

/// A connection that fails unless its greeting comes in time. Afterwards it may be silent for as long as it likes.
#[derive(Debug)]
pub(crate) struct Prompt<Io> {
    io: Io,
    /// What is left of the greeting, and until when it may come.
    greeting: Option<(usize, Pin<Box<Sleep>>)>,
}

impl<Io> Prompt<Io> {
    /// The time runs from here.
    pub(crate) fn new(io: Io) -> Self {
        let until = sleep(Duration::from_millis(limits::GREETING.0));
        Self { io, greeting: Some((GREETING_BYTES, Box::pin(until))) }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Prompt<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let came = buf.filled().len() - before;
        let Some((left, until)) = &mut self.greeting else { return read };
        *left = left.saturating_sub(came);
        if *left == 0 {
            self.greeting = None;
        } else if read.is_pending() && until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Prompt<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn places_are_counted_in_all_and_of_each_remote() {
        let places = Places::with(limits::CONNECTIONS_PER_REMOTE + 10);
        let noisy = Remote::Address("192.0.2.1".parse().unwrap());
        let all: Vec<_> = (0..2_000).map_while(|_| places.take(noisy)).collect();
        assert_eq!(all.len(), limits::CONNECTIONS_PER_REMOTE);
        assert!(places.take(noisy).is_none());
        let own: Vec<_> = (0..2_000).map_while(|_| places.take(Remote::Own)).collect();
        assert_eq!(own.len(), 10);
        assert!(places.take(Remote::User(1)).is_none());
        drop(all);
        assert!(places.take(noisy).is_some());
        drop(own);
        let taken = places.taken();
        assert_eq!((taken.all, taken.by_remote.len()), (0, 0));
    }

    #[test]
    fn there_are_only_so_many_places() {
        let places = Places::with(limits::CONNECTIONS);
        let all: Vec<_> = (0..limits::CONNECTIONS).map_while(|_| places.take(Remote::Own)).collect();
        assert_eq!(all.len(), limits::CONNECTIONS);
        assert!(places.take(Remote::Own).is_none());
        drop(all);
        assert!(places.take(Remote::Own).is_some());
        assert!(Places::new().most <= limits::CONNECTIONS, "fewer where fewer files may be open");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_drips_is_closed_and_one_that_has_greeted_is_not() {
        let begun = Instant::now();
        let (mut client, server) = duplex(64);
        let mut server = Prompt::new(server);
        let dripping = tokio::spawn(async move {
            while client.write_all(b"P").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let mut greeting = [0; GREETING_BYTES];
        let failed = server.read_exact(&mut greeting).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), limits::GREETING.0 / 1_000);
        drop(server);
        dripping.await.unwrap();

        let (mut client, server) = duplex(64);
        let mut server = Prompt::new(server);
        client.write_all(&greeting).await.unwrap();
        server.read_exact(&mut greeting).await.unwrap();
        let later = tokio::spawn(async move {
            sleep(Duration::from_secs(3_600)).await;
            client.write_all(b"x").await.unwrap();
        });
        assert_eq!(server.read_u8().await.unwrap(), b'x');
        later.await.unwrap();
    }
}
