//! Standard input and output as the way to the host, and what ends the process.
//!
//! What must hold: the end of the input is noticed at once, also while calls are being answered.

use std::fs::File;
use std::io::{self, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal as on_signal};
use tokio_util::sync::CancellationToken;

/// Where requests come from.
pub(crate) type Input = Box<dyn AsyncRead + Send + Unpin>;
/// Where answers go.
pub(crate) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Standard input and output, without helper threads when they are pipes or sockets, as with every usual host.
pub(crate) fn open() -> (Input, Output) {
    // Hosts on Node or Bun give sockets, which the pipe driver does not take.
    if let (Some(input), Some(output)) = (socket(&io::stdin()), socket(&io::stdout())) {
        return (Box::new(input), Box::new(output));
    }
    let (input, output) = rmcp::transport::stdio_pipes();
    (Box::new(input), Box::new(output))
}

/// A non-blocking stream over a descriptor that is a socket. Only this process uses its end of it.
fn socket(stream: &impl AsFd) -> Option<UnixStream> {
    let file = File::from(stream.as_fd().try_clone_to_owned().ok()?);
    if !file.metadata().ok()?.file_type().is_socket() {
        return None;
    }
    let stream = std::os::unix::net::UnixStream::from(OwnedFd::from(file));
    stream.set_nonblocking(true).ok()?;
    UnixStream::from_std(stream).ok()
}

/// Resolves when the process is asked to end.
pub(crate) fn signal() -> Result<impl Future<Output = ()>> {
    let mut terminate = on_signal(SignalKind::terminate())?;
    let mut interrupt = on_signal(SignalKind::interrupt())?;
    let mut hangup = on_signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// An input that tells when it has ended.
pub(crate) struct Watched<R> {
    input: R,
    ended: CancellationToken,
}

impl<R> Watched<R> {
    /// Cancels `ended` at the end of `input`, or when it fails.
    pub(crate) fn new(input: R, ended: CancellationToken) -> Self {
        Self { input, ended }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.input).poll_read(cx, buf));
        if read.is_err() || buf.filled().len() == before {
            self.ended.cancel();
        }
        Poll::Ready(read)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_end_of_the_input_is_told() {
        let (mut host, input) = tokio::io::duplex(64);
        let ended = CancellationToken::new();
        let mut input = Watched::new(input, ended.clone());
        host.write_all(b"x").await.unwrap();
        assert_eq!(input.read_u8().await.unwrap(), b'x');
        assert!(!ended.is_cancelled());
        drop(host);
        input.read_u8().await.unwrap_err();
        assert!(ended.is_cancelled());
    }

    #[tokio::test]
    async fn sockets_are_read_without_a_thread_and_files_are_not_taken_for_one() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut stream = socket(&ours).unwrap();
        std::io::Write::write_all(&mut &theirs, b"hello").unwrap();
        let mut text = [0; 5];
        stream.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"hello");
        assert!(socket(&File::open("/dev/null").unwrap()).is_none());
    }
}
