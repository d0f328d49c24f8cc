//! The certificate that the broker shows, and whose certificates it asks for.
//!
//! Owns the TLS settings in effect. They are made from files and made anew when the files have changed, which is looked
//! at when somebody connects, and on SIGHUP. What must hold: what cannot be used never replaces what can; TLS is 1.3,
//! and HTTP/2 is all that is spoken over it.

mod self_signed;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};

pub(crate) use self::self_signed::{own_name, prepare};
use crate::config::CertificateFiles;

/// What is negotiated: gRPC is HTTP/2, and nothing else is served.
const HTTP2: &[u8] = b"h2";

/// The TLS settings of a listener, which follow their files.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: CertificateFiles,
    client_ca: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    in_use: Loaded,
    /// The files as they were when they were last read, usable or not.
    seen: Vec<Option<Stamp>>,
}

#[derive(Clone, Debug)]
struct Loaded {
    settings: Arc<ServerConfig>,
    fingerprint: String,
}

/// What changes when a file is written or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last change of the file's data, name or rights.
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Certificates {
    /// Reads the files; what is wrong with them is said with the file's name.
    pub(crate) fn load(files: CertificateFiles, client_ca: Option<PathBuf>) -> anyhow::Result<Self> {
        let seen = stamps(&files, client_ca.as_deref());
        let in_use = read(&files, client_ca.as_deref())?;
        Ok(Self { files, client_ca, state: Mutex::new(State { in_use, seen }) })
    }

    /// The settings for somebody who connects, made anew first if the files have changed.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let mut state = self.state();
        if stamps(&self.files, self.client_ca.as_deref()) != state.seen {
            self.read_again(&mut state);
        }
        state.in_use.settings.clone()
    }

    /// Reads the files again, whether they have changed or not.
    pub(crate) fn reload(&self) {
        self.read_again(&mut self.state());
    }

    /// SHA-256 of the certificate in use, as clients pin it.
    pub(crate) fn fingerprint(&self) -> String {
        self.state().in_use.fingerprint.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_again(&self, state: &mut State) {
        // Before reading, so that a change while reading is seen the next time.
        state.seen = stamps(&self.files, self.client_ca.as_deref());
        match read(&self.files, self.client_ca.as_deref()) {
            Ok(loaded) => {
                tracing::info!(fingerprint = loaded.fingerprint, "the TLS files were read again");
                state.in_use = loaded;
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "the TLS files cannot be used; the certificate from before stays");
            }
        }
    }
}

fn stamps(files: &CertificateFiles, client_ca: Option<&Path>) -> Vec<Option<Stamp>> {
    let paths = [Some(files.certificate.as_path()), Some(files.key.as_path()), client_ca];
    paths.into_iter().flatten().map(|path| fs::metadata(path).ok().map(|file| Stamp::of(&file))).collect()
}

impl Stamp {
    fn of(file: &fs::Metadata) -> Self {
        Self {
            inode: file.ino(),
            size: file.size(),
            changed: (file.ctime(), file.ctime_nsec()),
            modified: (file.mtime(), file.mtime_nsec()),
        }
    }
}

fn read(files: &CertificateFiles, client_ca: Option<&Path>) -> anyhow::Result<Loaded> {
    let chain = certificates(&files.certificate)?;
    let fingerprint = fingerprint(&chain[0]);
    let key = private_key(&files.key)?;
    let provider = Arc::new(default_provider());
    let callers: Arc<dyn ClientCertVerifier> = match client_ca {
        None => Arc::new(NoClientAuth),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).with_context(|| format!("{}: not a certificate", path.display()))?;
            }
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?
        }
    };
    let settings = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(callers);
    let mut settings = settings.with_single_cert(chain, key).with_context(|| {
        format!("{} and {} do not go together", files.certificate.display(), files.key.display())
    })?;
    settings.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Loaded { settings: Arc::new(settings), fingerprint })
}

/// The certificates of a PEM file; at least one.
fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.with_context(|| format!("{} is not PEM", path.display()))?;
    if found.is_empty() {
        bail!("{} holds no certificate (PEM)", path.display());
    }
    Ok(found)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if fs::metadata(path).is_ok_and(|file| file.mode() & 0o004 != 0) {
        tracing::warn!(path = %path.display(), "every user of this machine can read the private key; chmod 600 it");
    }
    PrivateKeyDer::from_pem_slice(&text)
        .with_context(|| format!("{} holds no private key (PEM)", path.display()))
}

/// SHA-256 of a certificate, as `sha256:` and lower-case hexadecimal.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn made(directory: &Path) -> CertificateFiles {
        prepare(directory, &["broker.example".into()], "127.0.0.1".parse().unwrap()).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_certificate_of_its_own_is_made_once_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("tls");
        let files = made(&directory);
        assert_eq!((mode(&directory), mode(&files.key)), (0o700, 0o600));
        let first = Certificates::load(files, None).unwrap().fingerprint();
        assert!(first.starts_with("sha256:") && first.len() == 71, "{first}");
        assert_eq!(Certificates::load(made(&directory), None).unwrap().fingerprint(), first);
        // A start that was cut off before the certificate was there begins again.
        fs::remove_file(directory.join("cert.pem")).unwrap();
        assert_ne!(Certificates::load(made(&directory), None).unwrap().fingerprint(), first);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn new_files_are_taken_up_and_broken_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = made(&dir.path().join("a"));
        let other = made(&dir.path().join("b"));
        let certificates = Certificates::load(files.clone(), None).unwrap();
        let (first, settings) = (certificates.fingerprint(), certificates.current());
        assert!(Arc::ptr_eq(&settings, &certificates.current()), "nothing changed");

        // The certificate without its key, as in the middle of a renewal; then text; then nothing.
        fs::copy(&other.certificate, &files.certificate).unwrap();
        assert!(Arc::ptr_eq(&settings, &certificates.current()));
        fs::write(&files.certificate, "no PEM").unwrap();
        assert!(Arc::ptr_eq(&settings, &certificates.current()));
        fs::remove_file(&files.certificate).unwrap();
        assert!(Arc::ptr_eq(&settings, &certificates.current()));
        certificates.reload();
        assert_eq!(certificates.fingerprint(), first);

        fs::copy(&other.certificate, &files.certificate).unwrap();
        fs::rename(&other.key, &files.key).unwrap();
        assert!(!Arc::ptr_eq(&settings, &certificates.current()));
        assert_ne!(certificates.fingerprint(), first);
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (files, other) = (made(&dir.path().join("a")), made(&dir.path().join("b")));
        let text = dir.path().join("text");
        fs::write(&text, "text").unwrap();
        let refused = |certificate: &Path, key: &Path, ca: Option<&Path>| {
            let files = CertificateFiles { certificate: certificate.into(), key: key.into() };
            format!("{:#}", Certificates::load(files, ca.map(Into::into)).unwrap_err())
        };
        for (told, why) in [
            (refused(&text, &files.key, None), "text holds no certificate"),
            (refused(&files.certificate, &text, None), "text holds no private key"),
            (refused(&files.certificate, &other.key, None), "do not go together"),
            (refused(&dir.path().join("none"), &files.key, None), "none"),
            (refused(&files.certificate, &files.key, Some(&text)), "text holds no certificate"),
        ] {
            assert!(told.contains(why), "{told}");
        }
    }
}
