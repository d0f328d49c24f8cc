//! Accepted connections, as the services know them: how they came in, and whether they are still open.

mod handshakes;

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
use crate::service::auth::{ConnectionInfo, Transport};
use crate::tls::Certificates;

/// How long nothing is accepted after a failure: one that lasts, such as no descriptor being free, would
/// otherwise be met again at once, for ever.
const PAUSE: Duration = Duration::from_millis(100);

/// An open connection. Its end is what tells that the process behind it may be gone.
#[derive(Debug)]
pub(crate) struct Connection<Io> {
    io: Io,
    transport: Transport,
    alive: Arc<()>,
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
    paced(UnixListenerStream::new(listener)).map(move |accepted| {
        let io = accepted?;
        let uid = io.peer_cred()?.uid();
        Ok(Connection { io, transport: Transport::Unix { uid }, alive: Arc::new(()), _open: open.one() })
    })
}

/// Connections to a TCP address.
pub(crate) fn tcp(
    listener: TcpListener,
    open: OpenConnections,
) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
    paced(TcpListenerStream::new(listener)).map(move |accepted| {
        let io = accepted?;
        io.set_nodelay(true)?;
        Ok(Connection { io, transport: Transport::Tcp, alive: Arc::new(()), _open: open.one() })
    })
}

/// Connections to a TCP address that have come through a TLS handshake, with the certificate of that moment.
pub(crate) fn tls(
    listener: TcpListener,
    certificates: Arc<Certificates>,
    open: OpenConnections,
) -> impl Stream<Item = io::Result<Connection<TlsStream<TcpStream>>>> {
    async_stream::stream! {
        let mut accepted = pin!(paced(TcpListenerStream::new(listener)));
        let mut handshakes = Handshakes::new();
        loop {
            let came = tokio::select! {
                accepted = accepted.next() => match accepted {
                    Some(Ok(io)) => {
                        // One that is closed already fails in the handshake.
                        let _ = io.set_nodelay(true);
                        handshakes.begin(io, certificates.current());
                        continue;
                    }
                    Some(Err(error)) => Err(error),
                    None => return,
                },
                io = handshakes.next() => {
                    Ok(Connection { io, transport: Transport::Tcp, alive: Arc::new(()), _open: open.one() })
                }
            };
            yield came;
        }
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
