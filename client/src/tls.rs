//! Whom to trust at the other end of TLS, and what to show of oneself.
//!
//! What must hold: the certificate is trusted for one stated reason (its fingerprint, an authority that was named, or the
//! platform's), and who fails that is told what to set. Files are read for each connection, so a renewed one is taken up.

mod explain;
mod pin;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use self::explain::{Heard, Reason};
pub use self::pin::Fingerprint;
use self::pin::Pinned;
use crate::config::is_loopback;
use crate::{ClientError, Endpoint, Home};

/// What a client needs for an `https` endpoint.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Why the broker's certificate is trusted.
    pub trust: Trust,
    /// What proves who calls, where the broker asks for it.
    pub identity: Option<ClientCertificate>,
}

/// Why a broker's certificate is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// An authority that the operating system trusts has signed it, and it has the host's name.
    #[default]
    Platform,
    /// An authority in this file (PEM) has signed it, or it is in there itself; and it has the host's name.
    Authorities(PathBuf),
    /// It is this very certificate.
    Fingerprint(Fingerprint),
}

/// A certificate of the caller's, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// File of the chain (PEM).
    pub certificate: PathBuf,
    /// File of the private key (PEM).
    pub key: PathBuf,
}

impl Tls {
    /// Reads `MESH_CA`, `MESH_FINGERPRINT`, `MESH_CLIENT_CERT` and `MESH_CLIENT_KEY`.
    ///
    /// For a broker on this machine, the certificate in the home is trusted unless something else is named.
    pub fn from_env(home: &Home, endpoint: &Endpoint) -> Result<Self, ClientError> {
        Self::from_vars(home, endpoint, |name| std::env::var_os(name))
    }

    pub(crate) fn from_vars(
        home: &Home,
        endpoint: &Endpoint,
        var: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ClientError> {
        let Endpoint::Tcp(uri) = endpoint else { return Ok(Self::default()) };
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        if !endpoint.is_encrypted() {
            // Who sets these relies on what http does not give.
            let names = ["MESH_CA", "MESH_FINGERPRINT", "MESH_CLIENT_CERT", "MESH_CLIENT_KEY"];
            return match names.into_iter().find(|name| set(name).is_some()) {
                None => Ok(Self::default()),
                Some(name) => Err(ClientError::config(format!(
                    "{name} is set, but {endpoint} is not encrypted; write https:// or unset it"
                ))),
            };
        }
        let own = home.certificate_path();
        let trust = match (set("MESH_CA"), set("MESH_FINGERPRINT")) {
            (Some(_), Some(_)) => {
                return Err(ClientError::config("MESH_CA and MESH_FINGERPRINT are both set; unset one"));
            }
            (Some(file), None) => Trust::Authorities(file.into()),
            (None, Some(text)) => Trust::Fingerprint(text.to_string_lossy().parse()?),
            (None, None) if is_loopback(uri.host().unwrap_or_default()) && own.exists() => {
                Trust::Authorities(own)
            }
            (None, None) => Trust::Platform,
        };
        let identity = match (set("MESH_CLIENT_CERT"), set("MESH_CLIENT_KEY")) {
            (Some(certificate), Some(key)) => {
                Some(ClientCertificate { certificate: certificate.into(), key: key.into() })
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(ClientError::config(
                    "MESH_CLIENT_CERT and MESH_CLIENT_KEY go together; set both",
                ));
            }
        };
        Ok(Self { trust, identity })
    }

    /// Does the handshake; `endpoint` is for errors.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
        endpoint: &str,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            ClientError::config(format!("{host:?} is not a name that a certificate can have"))
        })?;
        let connector = TlsConnector::from(Arc::new(self.settings()?));
        let connected = connector.connect(name, stream).await;
        connected.map_err(|error| explain::handshake(&error, host, endpoint))
    }

    fn settings(&self) -> Result<ClientConfig, ClientError> {
        let provider = Arc::new(default_provider());
        let settings = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| ClientError::config(error.to_string()))?;
        let settings = match &self.trust {
            Trust::Platform => settings.with_root_certificates(platform_roots()),
            Trust::Authorities(file) => settings.with_root_certificates(roots(file)?),
            Trust::Fingerprint(fingerprint) => settings
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned::new(*fingerprint, &provider))),
        };
        let mut settings = match &self.identity {
            None => settings.with_no_client_auth(),
            Some(ClientCertificate { certificate, key }) => settings
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|error| unusable(certificate, &error))?,
        };
        settings.alpn_protocols = vec![b"h2".to_vec()];
        Ok(settings)
    }
}

/// Whatever of the platform's authorities can be read: with none, nothing is trusted, and the handshake says so.
fn platform_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "an authority of the platform cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

fn roots(file: &Path) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unusable(file, &error))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let text = std::fs::read(file).map_err(|error| unusable(file, &error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| unusable(file, &error))?;
    if found.is_empty() {
        return Err(unusable(file, &"it holds no certificate (PEM)"));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, ClientError> {
    let text = std::fs::read(file).map_err(|error| unusable(file, &error))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| unusable(file, &"it holds no private key (PEM)"))
}

fn unusable(file: &Path, why: &dyn std::fmt::Display) -> ClientError {
    ClientError::config(format!("cannot use {}: {why}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn tls(home: &Path, endpoint: &str, vars: &[(&str, &str)]) -> Result<Tls, ClientError> {
        Tls::from_vars(&Home::at(home)?, &Endpoint::parse(endpoint)?, |name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn one_reason_to_trust_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let (home, far, near) = (dir.path(), "https://broker.example:7070", "https://127.0.0.1:7070");
        assert_eq!(tls(home, near, &[]).unwrap().trust, Trust::Platform);
        let own = Home::at(home).unwrap().certificate_path();
        std::fs::create_dir(own.parent().unwrap()).unwrap();
        std::fs::write(&own, "").unwrap();
        assert_eq!(tls(home, near, &[]).unwrap().trust, Trust::Authorities(own));
        assert_eq!(tls(home, far, &[]).unwrap().trust, Trust::Platform, "the home's own is for this machine");
        for endpoint in [near, far] {
            let trust = tls(home, endpoint, &[("MESH_CA", "/ca.pem")]).unwrap().trust;
            assert_eq!(trust, Trust::Authorities("/ca.pem".into()));
            let trust = tls(home, endpoint, &[("MESH_FINGERPRINT", FINGERPRINT)]).unwrap().trust;
            assert_eq!(trust, Trust::Fingerprint(FINGERPRINT.parse().unwrap()));
        }
        assert!(tls(home, far, &[("MESH_CA", "/ca.pem"), ("MESH_FINGERPRINT", FINGERPRINT)]).is_err());
    }

    #[test]
    fn settings_that_would_not_be_kept_are_refused() {
        let home = Path::new("/h");
        for (name, value) in
            [("MESH_CA", "/ca"), ("MESH_FINGERPRINT", FINGERPRINT), ("MESH_CLIENT_CERT", "/c")]
        {
            let refused = tls(home, "http://broker.example:7070", &[(name, value)]).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("https://"), "{refused}");
            tls(home, "unix:///run/m.sock", &[(name, value)]).unwrap();
        }
        for half in ["MESH_CLIENT_CERT", "MESH_CLIENT_KEY"] {
            assert!(tls(home, "https://broker.example:7070", &[(half, "/x")]).is_err());
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("text");
        std::fs::write(&text, "text").unwrap();
        for file in [text, dir.path().join("none")] {
            let identity = ClientCertificate { certificate: file.clone(), key: file.clone() };
            let trust = Trust::Authorities(file.clone());
            let tries =
                [Tls { trust, identity: None }, Tls { trust: Trust::Platform, identity: Some(identity) }];
            for tls in tries {
                let refused = tls.settings().unwrap_err().to_string();
                assert!(refused.contains(&file.display().to_string()), "{refused}");
            }
        }
    }
}
