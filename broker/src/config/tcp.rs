//! How a broker listens on TCP: [`TcpArgs`] as typed, [`Tcp`] once they hold together.
//!
//! What must hold: what leaves this machine is encrypted, unless the one flag that says otherwise was given.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ConfigError;

/// Options of TCP, as typed.
#[derive(Clone, Debug, clap::Args)]
pub struct TcpArgs {
    /// Also listen on this TCP address (127.0.0.1:7070, or port 0 for a free one). Callers need the bearer token in
    /// the home's `token` file. An address that other machines reach needs TLS.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// TLS on the TCP address, with this certificate chain (PEM). Files are read again when they change.
    #[arg(long, value_name = "FILE", requires_all = ["listen", "tls_key"])]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// TLS with a certificate of the broker's own, made once and kept in `tls/` in the home. Clients trust it by the
    /// fingerprint in the log.
    #[arg(long, requires = "listen", conflicts_with = "tls_cert")]
    pub tls_self_signed: bool,

    /// Besides the token, callers need a certificate of an authority in this file (PEM).
    #[arg(long, value_name = "FILE", requires = "listen")]
    pub tls_client_ca: Option<PathBuf>,

    /// A name by which callers reach this broker, besides `localhost` and this machine's own; may be repeated. It goes
    /// into a self-signed certificate; without TLS, calls to other names are refused.
    #[arg(long = "host", value_name = "NAME", requires = "listen")]
    pub hosts: Vec<String>,

    /// Listen beyond this machine without TLS: whoever is on the way reads everything, the token first.
    #[arg(long, requires = "listen", conflicts_with_all = ["tls_cert", "tls_self_signed"])]
    pub plaintext_beyond_this_machine: bool,
}

/// How a broker listens on TCP.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// Where.
    pub address: SocketAddr,
    /// The certificate to show; without one, nothing is encrypted.
    pub tls: Option<Tls>,
    /// Names of this broker, besides those that it knows itself.
    pub hosts: Vec<String>,
}

/// How a broker speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and its key; when not given, one of its own.
    pub files: Option<CertificateFiles>,
    /// Authorities of which callers need a certificate.
    pub client_ca: Option<PathBuf>,
}

/// Where a certificate and its private key are.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The chain, the broker's own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Tcp {
    /// Checks the arguments; none when nothing listens on TCP.
    pub(super) fn new(args: TcpArgs) -> Result<Option<Self>, ConfigError> {
        let Some(address) = args.listen else { return Ok(None) };
        let files =
            args.tls_cert.zip(args.tls_key).map(|(certificate, key)| CertificateFiles { certificate, key });
        let tls = (files.is_some() || args.tls_self_signed)
            .then_some(Tls { files, client_ca: args.tls_client_ca.clone() });
        if tls.is_none() && args.tls_client_ca.is_some() {
            return Err(ConfigError::ClientCaWithoutTls);
        }
        if tls.is_none() && !address.ip().is_loopback() && !args.plaintext_beyond_this_machine {
            return Err(ConfigError::NotEncrypted(address));
        }
        if let Some(bad) = args.hosts.iter().find(|host| !is_host(host)) {
            return Err(ConfigError::NotAHost(bad.clone()));
        }
        Ok(Some(Self { address, tls, hosts: args.hosts }))
    }

    /// Whether what is said on the address can be read on the way.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.tls.is_none() && !self.address.ip().is_loopback()
    }
}

/// A name of DNS or an IP address, without a port.
fn is_host(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
        || (!text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn typed(arguments: &[&str]) -> Result<TcpArgs, clap::Error> {
        let command = TcpArgs::augment_args(clap::Command::new("serve").no_binary_name(true));
        TcpArgs::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    fn tcp(arguments: &[&str]) -> Result<Option<Tcp>, ConfigError> {
        Tcp::new(typed(arguments).unwrap())
    }

    #[test]
    fn plaintext_stays_on_this_machine_unless_the_danger_is_spelled_out() {
        assert!(tcp(&[]).unwrap().is_none());
        for loopback in ["127.0.0.1:0", "127.8.9.1:7070", "[::1]:7070"] {
            assert!(!tcp(&["--listen", loopback]).unwrap().unwrap().is_exposed(), "{loopback}");
        }
        for beyond in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7070", "[2001:db8::1]:7070", "[::ffff:127.0.0.1]:7"]
        {
            let refused = tcp(&["--listen", beyond]).unwrap_err().to_string();
            for remedy in ["--tls-self-signed", "--plaintext-beyond-this-machine"] {
                assert!(refused.contains(remedy), "{refused}");
            }
            let flag = ["--listen", beyond, "--plaintext-beyond-this-machine"];
            assert!(tcp(&flag).unwrap().unwrap().is_exposed(), "{beyond}");
            let tls = tcp(&["--listen", beyond, "--tls-self-signed"]).unwrap().unwrap();
            assert!(!tls.is_exposed() && tls.tls.is_some(), "{beyond}");
        }
    }

    #[test]
    fn halves_of_a_setting_are_refused() {
        let listen = ["--listen", "127.0.0.1:0"];
        for halves in [
            &["--tls-cert", "c"][..],
            &["--tls-key", "k"],
            &["--tls-cert", "c", "--tls-key", "k", "--tls-self-signed"],
            &["--tls-self-signed", "--plaintext-beyond-this-machine"],
        ] {
            assert!(typed(&[&listen, halves].concat()).is_err(), "{halves:?}");
        }
        for alone in [&["--tls-self-signed"][..], &["--host", "a"], &["--tls-cert", "c", "--tls-key", "k"]] {
            assert!(typed(alone).is_err(), "{alone:?}");
        }
        let refused = tcp(&[&listen[..], &["--tls-client-ca", "ca"]].concat());
        assert!(matches!(refused, Err(ConfigError::ClientCaWithoutTls)));
        for host in ["", "a:1", "http://a", "a b", "*"] {
            let refused = tcp(&[&listen[..], &["--host", host]].concat());
            assert!(matches!(refused, Err(ConfigError::NotAHost(_))), "{host:?}");
        }
    }
}
