//! TLS handshakes in progress: beside each other, bounded in number and time.
//!
//! What must hold: whoever is slow, silent or talks rubbish keeps nobody else from getting in.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a handshake may take. It is two round trips.
const WITHIN: Duration = Duration::from_secs(10);
/// How many may be in progress; one more ends the oldest, which is the one that waits for something that does not come.
const AT_ONCE: usize = 256;
/// How long the other end of one that failed has to read why, and how much it may still say meanwhile. Closing at once
/// would take back what it was told.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Handshakes<Io, T> {
    tasks: JoinSet<io::Result<(TlsStream<Io>, T)>>,
    /// Oldest first; those that have ended are taken out when a place is needed.
    order: VecDeque<AbortHandle>,
}

impl<Io, T> Handshakes<Io, T>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Send + 'static,
{
    pub(super) fn new() -> Self {
        Self { tasks: JoinSet::new(), order: VecDeque::new() }
    }

    /// Begins one; `with` is kept until it ends, and given back.
    pub(super) fn begin(&mut self, io: Io, with: T, settings: Arc<ServerConfig>) {
        self.order.retain(|task| !task.is_finished());
        if self.order.len() >= AT_ONCE
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        let handshake = TlsAcceptor::from(settings).accept(io).into_fallible();
        let task = self.tasks.spawn(async move {
            match tokio::time::timeout(WITHIN, handshake).await {
                Ok(Ok(stream)) => Ok((stream, with)),
                Ok(Err((error, io))) => {
                    let _ = tokio::time::timeout(FAREWELL, part_from(io)).await;
                    Err(error)
                }
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        });
        self.order.push_back(task);
    }

    /// The next that has come to its end well; waits for ever when none is in progress. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> (TlsStream<Io>, T) {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Ok(done))) => return done,
                Some(Ok(Err(error))) => tracing::debug!(%error, "a TLS handshake failed"),
                Some(Err(_)) => tracing::debug!("a TLS handshake was given up for others"),
                None => std::future::pending().await,
            }
        }
    }
}

/// Says that nothing more comes, and listens until the other end has understood.
async fn part_from(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    io.shutdown().await?;
    tokio::io::copy(&mut io.take(FAREWELL_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::tls::{Certificates, prepare};

    fn settings() -> (tempfile::TempDir, Arc<ServerConfig>) {
        let dir = tempfile::tempdir().unwrap();
        let files = prepare(dir.path(), &[], "127.0.0.1".parse().unwrap()).unwrap();
        let settings = Certificates::load(files, None).unwrap().current();
        (dir, settings)
    }

    /// A client that trusts the certificate in the directory.
    async fn connect(
        dir: &tempfile::TempDir,
        io: DuplexStream,
    ) -> io::Result<tokio_rustls::client::TlsStream<DuplexStream>> {
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        let certificate = rustls::pki_types::CertificateDer::from_pem_file(dir.path().join("cert.pem"));
        roots.add(certificate.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let settings =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let settings = settings.unwrap().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(settings)).connect(name, io).await
    }

    #[tokio::test]
    async fn more_silent_and_garbled_ones_than_there_is_room_for_keep_nobody_out() {
        let (dir, settings) = settings();
        let mut handshakes = Handshakes::new();
        let mut silent = Vec::new();
        for _ in 0..2 * AT_ONCE {
            let (ours, theirs) = duplex(1 << 14);
            silent.push(theirs);
            handshakes.begin(ours, (), settings.clone());
        }
        for _ in 0..10 {
            let (ours, mut theirs) = duplex(1 << 14);
            theirs.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            silent.push(theirs);
            handshakes.begin(ours, (), settings.clone());
        }
        let (ours, theirs) = duplex(1 << 14);
        handshakes.begin(ours, (), settings.clone());
        let (_ours, connected) = tokio::join!(handshakes.next(), connect(&dir, theirs));
        let _theirs = connected.unwrap();
        // The first ones were given up, and learn it.
        assert_eq!(silent[0].read(&mut [0; 16]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_takes_too_long_is_ended() {
        let (_dir, settings) = settings();
        let mut handshakes = Handshakes::new();
        let (ours, mut theirs) = duplex(1 << 14);
        let begun = tokio::time::Instant::now();
        handshakes.begin(ours, (), settings);
        let next = tokio::spawn(async move { handshakes.next().await });
        assert_eq!(theirs.read(&mut [0; 16]).await.unwrap(), 0);
        assert!(begun.elapsed() >= WITHIN);
        next.abort();
    }
}
