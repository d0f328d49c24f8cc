//! What failed between two ends that do not speak the same, or do not trust each other, in words that help.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use rustls::{AlertDescription, CertificateError, Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pin::Mismatch;
use crate::ClientError;

/// First byte of an alert of TLS: what a broker that speaks it answers to one who does not.
const TLS_ALERT: u8 = 0x15;
/// First byte of an answer in HTTP/1.
const HTTP1: u8 = b'H';

/// The error of a handshake that failed.
pub(super) fn handshake(error: &io::Error, host: &str, endpoint: &str) -> ClientError {
    let unreachable = |why: &str| ClientError::unreachable(endpoint, why);
    match tls_error(error) {
        Some(Error::InvalidCertificate(reason)) => {
            ClientError::Untrusted { endpoint: endpoint.to_owned(), cause: distrust(reason, host) }
        }
        Some(Error::InvalidMessage(_)) => unreachable("it does not speak TLS; write http://"),
        Some(Error::AlertReceived(alert)) => unreachable(&refused(*alert)),
        Some(other) => unreachable(&format!("the TLS handshake failed: {other}")),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            unreachable("it closed the connection in the TLS handshake; does it speak TLS?")
        }
        None => unreachable(&error.to_string()),
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Why a certificate is not trusted, and what to do.
fn distrust(reason: &CertificateError, host: &str) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "most reasons need no more than their own words")]
    match reason {
        CertificateError::Other(other) if other.0.is::<Mismatch>() => format!(
            "{}, not the one of MESH_FINGERPRINT; ask who runs the broker whether it has a new one, for else \
             somebody is in between",
            other.0
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "nobody who is trusted has signed its certificate; set MESH_CA to a file with its authority (PEM), or \
             MESH_FINGERPRINT to the fingerprint in the broker's log"
                .into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate has expired ({reason}); who runs the broker must renew it")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("its certificate is not good yet ({reason}); is this machine's clock right?")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is not for {host} ({reason}); call it by a name that it has")
        }
        other => format!("its certificate cannot be used: {other}"),
    }
}

/// What an alert of the broker's means to who calls it.
fn refused(alert: AlertDescription) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "most alerts need no more than their own words")]
    match alert {
        AlertDescription::CertificateRequired => {
            "it asks callers for a certificate; set MESH_CLIENT_CERT and MESH_CLIENT_KEY".into()
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => {
            format!(
                "it does not take the certificate of MESH_CLIENT_CERT ({alert:?}); ask who runs it for one"
            )
        }
        AlertDescription::NoApplicationProtocol => "it speaks TLS, but not gRPC; is the port right?".into(),
        other => format!("it refused the TLS connection ({other:?})"),
    }
}

/// Why the last connection could not be used, if its other end has said so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reason(Arc<Mutex<Option<String>>>);

impl Reason {
    /// What was said last.
    pub(crate) fn get(&self) -> Option<String> {
        self.lock().clone()
    }

    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose first words are looked at, and whose errors are explained: a broker that wants another way of
/// speaking, or a certificate, says so only when the client thinks that it is connected. HTTP/2 then tells its callers
/// that the connection was closed and no more, so the reason is kept beside it.
#[derive(Debug)]
pub(crate) struct Heard<Io> {
    io: Io,
    first: bool,
    reason: Reason,
}

impl<Io> Heard<Io> {
    /// Leaves what is said in `reason`.
    pub(crate) fn new(io: Io, reason: Reason) -> Self {
        Self { io, first: true, reason }
    }

    fn fail(&self, why: String) -> Poll<io::Result<()>> {
        *self.reason.lock() = Some(why.clone());
        Poll::Ready(Err(io::Error::other(why)))
    }
}

fn unlike_grpc(byte: u8) -> Option<&'static str> {
    match byte {
        TLS_ALERT => Some("it speaks TLS; write https://"),
        HTTP1 => Some("what listens there is a web server and no broker; is the port right?"),
        _ => None,
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Heard<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if self.first => {
                self.first = false;
                match buf.filled().get(before).copied().and_then(unlike_grpc) {
                    Some(why) => self.fail(why.to_owned()),
                    None => polled,
                }
            }
            Poll::Ready(Err(error)) => match tls_error(error) {
                Some(Error::AlertReceived(alert)) => self.fail(refused(*alert)),
                Some(_) | None => polled,
            },
            Poll::Ready(Ok(())) | Poll::Pending => polled,
        }
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Heard<Io> {
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
