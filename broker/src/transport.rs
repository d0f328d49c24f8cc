//! Accepted connections, as the services know them: how they came in, and whether they are still open.
//!
//! What must hold: a connection for which there is no place is closed without a word, and the others go on; what
//! one remote may not take is taken from no other.

mod handshakes;
mod places;

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;

use self::handshakes::Handshakes;
use self::places::{Place, Places, Prompt, Remote};
use crate::service::auth::{ConnectionInfo, Transport};
use crate::tls::Certificates;

/// How long nothing is accepted after a failure: one that lasts, such as no descriptor being free, would
/// otherwise be met again at once, for ever.
const PAUSE: Duration = Duration::from_millis(100);

/// An open connection. Its end is what tells that the process behind it may be gone.
#[derive(Debug)]
pub(crate) struct Connection<Io> {
    io: Prompt<Io>,
    transport: Transport,
    alive: Arc<()>,
    _place: Place,
    _open: OpenConnection,
}

/// How many connections are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenConnections(Arc<AtomicUsize>);

/// One open connection.
#[derive(Debug)]
struct OpenConnection(OpenConnections);

impl OpenConnections {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more for as long as it lives.
    fn one(&self) -> OpenConnection {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Connections to a Unix socket; the kernel says whose they are.
pub(crate) fn unix(
    listener: UnixListener,
    open: OpenConnections,
) -> impl Stream<Item = io::Result<Connection<UnixStream>>> {
    let (places, own) = (Places::new(), rustix::process::geteuid().as_raw());
    paced(UnixListenerStream::new(listener)).filter_map(move |accepted| {
        let with_uid = |io: UnixStream| Ok((io.peer_cred()?.uid(), io));
        let (uid, io) = match accepted.and_then(with_uid) {
            Ok(accepted) => accepted,
            Err(error) => return Some(Err(error)),
        };
        let place = places.take(if uid == own { Remote::Own } else { Remote::User(uid) })?;
        Some(Ok(Connection::new(io, Transport::Unix { uid }, place, open.one())))
    })
}

/// Connections to a TCP address.
pub(crate) fn tcp(
    listener: TcpListener,
    open: OpenConnections,
) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
    placed(listener).map(move |placed| {
        let (io, place) = placed?;
        Ok(Connection::new(io, Transport::Tcp, place, open.one()))
    })
}

/// Accepted connections that have a place.
fn placed(listener: TcpListener) -> impl Stream<Item = io::Result<(TcpStream, Place)>> {
    let with_address = |io: TcpStream| {
        io.set_nodelay(true)?;
        Ok((io.peer_addr()?.ip(), io))
    };
    async_stream::stream! {
        let places = Places::new();
        let mut accepted = pin!(paced(TcpListenerStream::new(listener)));
        while let Some(accepted) = accepted.next().await {
            match accepted.and_then(with_address) {
                Err(error) => yield Err(error),
                Ok((address, io)) => {
                    // Who connects too often takes no turn of the others.
                    let Some(place) = places.take(Remote::at(address)) else { continue };
                    places.turn().await;
                    yield Ok((io, place));
                }
            }
        }
    }
}

/// Connections to a TCP address that have come through a TLS handshake, with the certificate of that moment.
pub(crate) fn tls(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    open: OpenConnections,
) -> impl Stream<Item = io::Result<Connection<TlsStream<TcpStream>>>> {
    async_stream::stream! {
        let mut accepted = pin!(placed(listener));
        let mut handshakes = Handshakes::new();
        loop {
            let came = tokio::select! {
                accepted = accepted.next() => match accepted {
                    Some(Ok((io, place))) => {
                        handshakes.begin(io, place, certificates.current());
                        continue;
                    }
                    Some(Err(error)) => Err(error),
                    None => return,
                },
                (io, place) = handshakes.next() => {
                    Ok(Connection::new(io, Transport::Tcp, place, open.one()))
                }
            };
            yield came;
        }
    }
}

impl<Io> Connection<Io> {
    fn new(io: Io, transport: Transport, place: Place, open: OpenConnection) -> Self {
        Self { io: Prompt::new(io), transport, alive: Arc::new(()), _place: place, _open: open }
    }
}

/// The same, with a pause after each failure to accept.
fn paced<Io>(mut accepted: impl Stream<Item = io::Result<Io>> + Unpin) -> impl Stream<Item = io::Result<Io>> {
    async_stream::stream! {
        while let Some(accepted) = accepted.next().await {
            let failed = accepted.as_ref().err().map(ToString::to_string);
            yield accepted;
            if let Some(error) = failed {
                tracing::warn!(error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl<Io> Connected for Connection<Io> {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        ConnectionInfo { transport: self.transport, alive: Arc::downgrade(&self.alive) }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Connection<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Connection<Io> {
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_lasts_is_not_met_without_a_pause() {
        let failing = tokio_stream::iter((0..10).map(|_| io::Result::<()>::Err(io::Error::other("no room"))));
        let begun = tokio::time::Instant::now();
        let met = paced(failing).collect::<Vec<_>>().await;
        assert_eq!(met.len(), 10);
        assert!(begun.elapsed() >= 10 * PAUSE, "{:?}", begun.elapsed());
    }
}
