//! How many connections there are, and how fast new ones come, in all and of each remote; and that a new one says soon
//! what it is.
//!
//! A process of the broker's own user may connect as fast as it likes: its connections cost little, and to hold some
//! back would hold back those of agents that keep quiet.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use mesh_core::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::pace::{Paces, Rate};

/// What every HTTP/2 connection begins with has so many bytes.
const GREETING_BYTES: usize = 24;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Remote {
    /// A process of the broker's own user.
    Own,
    /// A process of another user.
    User(u32),
    /// A machine, or a network in which one can have any number of addresses.
    Address(IpAddr),
}

impl Remote {
    /// Who is at this address: of IPv6, whoever has the network of 64 bits.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            other @ (IpAddr::V4(_) | IpAddr::V6(_)) => other,
        })
    }
}

/// The open connections of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    most: usize,
    taken: Arc<Mutex<Taken>>,
    paces: Arc<Paces<Remote>>,
    pace_of_all: Arc<Paces<()>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_remote: HashMap<Remote, usize>,
    closed: Closed,
}

/// Those that found no place.
#[derive(Debug, Default)]
struct Closed {
    /// How many there were since they were told of.
    untold: usize,
    told: Option<Instant>,
}

/// How often a flood is told of.
const TOLD_EVERY: Duration = Duration::from_secs(10);

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
        let rate = |(per_second, at_once)| Rate { per_second, at_once };
        let paces = Arc::new(Paces::new(rate(limits::NEW_CONNECTIONS_PER_REMOTE)));
        let pace_of_all = Arc::new(Paces::new(rate(limits::NEW_CONNECTIONS)));
        Self { most, taken: Arc::default(), paces, pace_of_all }
    }

    /// A place, unless there are as many as may be, or its remote connects too often.
    pub(crate) fn take(&self, remote: Remote) -> Option<Place> {
        let in_time = remote == Remote::Own || self.paces.count(remote, Duration::ZERO).is_ok();
        let mut taken = self.taken();
        let most = if remote == Remote::Own { self.most } else { limits::CONNECTIONS_PER_REMOTE };
        let own = taken.by_remote.get(&remote).copied().unwrap_or_default();
        if !in_time || taken.all >= self.most || own >= most {
            if let Some(closed) = taken.closed.one_more() {
                tracing::warn!(
                    ?remote,
                    open = taken.all,
                    closed,
                    "too many connections; new ones are closed"
                );
            }
            return None;
        }
        taken.all += 1;
        *taken.by_remote.entry(remote).or_default() += 1;
        Some(Place { remote, places: self.clone() })
    }

    /// When it is a new connection's turn, those of all others counted.
    pub(crate) async fn turn(&self) {
        let early = self.pace_of_all.count((), Duration::MAX);
        sleep(early.unwrap_or_default()).await;
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Closed {
    /// Counts one; how many there were, when it is time to tell.
    fn one_more(&mut self) -> Option<usize> {
        self.untold += 1;
        if self.told.is_some_and(|told| told.elapsed() < TOLD_EVERY) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.untold))
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

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_connects_too_often_is_closed_and_nobody_else() {
        let places = Places::with(limits::CONNECTIONS);
        let (per_second, at_once) = limits::NEW_CONNECTIONS_PER_REMOTE;
        let network = |low: usize| Remote::at(format!("2001:db8::{low:x}").parse().unwrap());
        for n in 0..at_once {
            assert!(places.take(network(n % 1_000)).is_some(), "{n}");
        }
        assert!(places.take(network(9)).is_none(), "another address of the same network");
        for other in ["2001:db8:0:1::", "192.0.2.1", "::ffff:192.0.2.2", "::1"] {
            assert!(places.take(Remote::at(other.parse().unwrap())).is_some(), "{other}");
        }
        for _ in 0..2 * at_once {
            assert!(places.take(Remote::Own).is_some());
        }
        sleep(Duration::from_secs(1)).await;
        let after_a_second = (0..at_once).filter(|_| places.take(network(1)).is_some()).count();
        assert_eq!(after_a_second, per_second);
        let passers_by = (0..100_000_u32).map(Remote::User);
        for (n, remote) in passers_by.enumerate() {
            places.take(remote).unwrap();
            if n % 100 == 0 {
                sleep(Duration::from_secs(1)).await;
            }
        }
        assert!(places.paces.remembered() < 1_000, "{}", places.paces.remembered());
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_rate_of_all_a_new_connection_waits_for_its_turn() {
        let places = Places::with(limits::CONNECTIONS);
        let (per_second, at_once) = limits::NEW_CONNECTIONS;
        let begun = Instant::now();
        for _ in 0..at_once {
            places.turn().await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..3 * per_second {
            places.turn().await;
        }
        assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_told_of_now_and_then() {
        let mut closed = Closed::default();
        assert_eq!(closed.one_more(), Some(1));
        for _ in 0..1_000 {
            assert_eq!(closed.one_more(), None);
        }
        sleep(TOLD_EVERY).await;
        assert_eq!(closed.one_more(), Some(1_001));
    }

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
