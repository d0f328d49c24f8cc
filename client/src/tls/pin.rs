//! Trust in one certificate, by its fingerprint.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use crate::ClientError;

/// SHA-256 of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Self(bytes)
    }
}

/// `sha256:` and 64 hexadecimal digits, as the broker's log shows it; or as `openssl` does, with colons between them.
impl FromStr for Fingerprint {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let bad = || {
            ClientError::config(
                "MESH_FINGERPRINT is not `sha256:` and 64 hexadecimal digits; copy it from the broker's log",
            )
        };
        // openssl prints `sha256 Fingerprint=AB:CD:…`.
        let (name, digits) = text.trim().split_once([':', '=']).ok_or_else(bad)?;
        if !matches!(name.to_ascii_lowercase().as_str(), "sha256" | "sha256 fingerprint") {
            return Err(bad());
        }
        let digits: Vec<u8> = digits
            .chars()
            .filter(|digit| *digit != ':')
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or_else(bad))
            .collect::<Result<_, _>>()?;
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(bad());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why another certificate than the pinned one is refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mismatch {
    /// What the broker showed.
    pub(super) shown: Fingerprint,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate's fingerprint is {}", self.shown)
    }
}

impl std::error::Error for Mismatch {}

/// Takes the one certificate, whatever its names, dates and signer, from who proves to have its key.
#[derive(Debug)]
pub(super) struct Pinned {
    fingerprint: Fingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    pub(super) fn new(fingerprint: Fingerprint, provider: &CryptoProvider) -> Self {
        Self { fingerprint, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Both are known to all, so it does not matter how long the comparison takes.
        let shown = Fingerprint::of(certificate);
        if shown == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Mismatch { shown })))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_taken_as_the_broker_and_openssl_write_it() {
        let digits = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let plain = format!("sha256:{digits}");
        let fingerprint: Fingerprint = plain.parse().unwrap();
        assert_eq!(fingerprint.to_string(), plain);
        let pairs: Vec<&str> = (0..32).map(|at| &digits[2 * at..2 * at + 2]).collect();
        let colons = pairs.join(":").to_uppercase();
        for same in [format!("SHA256:{colons}"), format!("sha256 Fingerprint={colons}\n")] {
            assert_eq!(same.parse::<Fingerprint>().unwrap(), fingerprint, "{same}");
        }
        let short = &plain[..plain.len() - 1];
        let (long, sha1, other) = (format!("{plain}0"), format!("sha1:{digits}"), plain.replace('f', "g"));
        for bad in ["", "sha256:", digits, short, &long, &sha1, &other, "sha256:é"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
