//! Where the broker is and how to get there.
//!
//! Owns the environment: [`Config::from_env`] is the only reader of it in this crate (but for `scope`, which
//! runs git). What must hold: a [`Config`] made here names a reachable kind of endpoint and, for TCP, a token.
//!
//! | variable | meaning |
//! |---|---|
//! | `MESH_HOME` | directory of data, socket and secrets; default `$HOME/.mesh` |
//! | `MESH_ENDPOINT` | `unix:///path`, `http://host:port` or `https://host:port`; then nothing is started automatically |
//! | `MESH_TOKEN` | bearer token for TCP; default for a loopback host: the home's `token` file |
//! | `MESH_CA` | file (PEM) of the authority that signs the broker's certificate, for `https` |
//! | `MESH_FINGERPRINT` | `sha256:…` of the broker's certificate, in place of any authority |
//! | `MESH_CLIENT_CERT`, `MESH_CLIENT_KEY` | files (PEM) of a certificate and key of the caller's, for a broker that asks |
//! | `MESH_SCOPE` | scope to use instead of the one derived from the working directory |

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use http::Uri;

use crate::home::check_socket_path;
use crate::{ClientError, Home, Tls, Token};

/// Everything needed to reach a broker.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of this user's mesh.
    pub home: Home,
    /// Where the broker listens.
    pub endpoint: Endpoint,
    /// Bearer token; needed for TCP, not for the Unix socket, where the kernel names the user.
    pub token: Option<Token>,
    /// For an `https` endpoint: whom to trust.
    pub tls: Tls,
    /// Scope to use instead of the derived one.
    pub scope: Option<String>,
    /// What to do when no broker listens on [`Endpoint::Local`].
    pub autostart: Autostart,
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The socket of the home; the only endpoint for which a broker is started automatically.
    Local,
    /// A Unix socket elsewhere.
    Unix(PathBuf),
    /// TCP: `http://host:port`, or `https://host:port` with TLS.
    Tcp(Uri),
}

/// What to do when no broker listens on the home's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Autostart {
    /// Run this program with these arguments. It must print the line `ready` once it listens, and detach.
    Command(Vec<OsString>),
    /// Fail.
    Never,
}

impl Config {
    /// Reads `HOME` and the variables of the table above.
    pub fn from_env() -> Result<Self, ClientError> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    /// A broker in `home`, started on demand.
    pub fn local(home: Home) -> Self {
        Self {
            home,
            endpoint: Endpoint::Local,
            token: None,
            tls: Tls::default(),
            scope: None,
            autostart: Autostart::default(),
        }
    }

    fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, ClientError> {
        let text = |name: &str| -> Result<Option<String>, ClientError> {
            let value = var(name).filter(|value| !value.is_empty());
            let not_utf8 = |_| ClientError::config(format!("{name} is not UTF-8 text"));
            value.map(|value| value.into_string().map_err(not_utf8)).transpose()
        };
        let home = Home::resolve(var("MESH_HOME").as_deref(), var("HOME").as_deref())?;
        let endpoint = text("MESH_ENDPOINT")?.map_or(Ok(Endpoint::Local), |text| Endpoint::parse(&text))?;
        let token = text("MESH_TOKEN")?.map(|text| Token::parse(&text)).transpose()?;
        let token = match (&endpoint, token) {
            (Endpoint::Tcp(uri), None) => Some(token_of_home(&home, uri)?),
            (Endpoint::Tcp(_) | Endpoint::Unix(_) | Endpoint::Local, token) => token,
        };
        let autostart = match endpoint {
            Endpoint::Local => Autostart::default(),
            Endpoint::Unix(_) | Endpoint::Tcp(_) => Autostart::Never,
        };
        let tls = Tls::from_vars(&home, &endpoint, &var)?;
        Ok(Self { home, endpoint, token, tls, scope: text("MESH_SCOPE")?, autostart })
    }

    /// The endpoint as text, for people.
    pub fn endpoint_name(&self) -> String {
        match &self.endpoint {
            Endpoint::Local => format!("unix://{}", self.home.socket_path().display()),
            Endpoint::Unix(_) | Endpoint::Tcp(_) => self.endpoint.to_string(),
        }
    }
}

impl Endpoint {
    /// Parses `unix:///path`, `http://host:port` or `https://host:port`.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        if let Some(path) = text.strip_prefix("unix://") {
            let path = Path::new(path);
            if !path.is_absolute() {
                return Err(bad_endpoint(text, "the socket's path is not absolute"));
            }
            check_socket_path(path)?;
            return Ok(Self::Unix(path.to_owned()));
        }
        let uri: Uri = text.parse().map_err(|_| bad_endpoint(text, "it is not a URL"))?;
        match (uri.scheme_str(), uri.host(), uri.port_u16(), uri.path()) {
            (Some("http" | "https"), Some(_), Some(_), "" | "/") => Ok(Self::Tcp(uri)),
            (Some("http" | "https"), ..) => {
                Err(bad_endpoint(text, "it needs a host and a port, and no path"))
            }
            (scheme, ..) => Err(bad_endpoint(text, &format!("scheme {scheme:?} is not supported"))),
        }
    }

    /// Whether TLS is spoken there.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tcp(uri) if uri.scheme_str() == Some("https"))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(uri) => write!(f, "{}", uri.to_string().trim_end_matches('/')),
        }
    }
}

impl Autostart {
    /// This very program with `serve --auto`: for `meshctl`, whatever its file is called.
    pub fn this_program() -> std::io::Result<Self> {
        Ok(Self::serve(&current_program()?))
    }

    fn serve(program: &Path) -> Self {
        Self::Command(vec![program.into(), "serve".into(), "--auto".into()])
    }
}

/// `meshctl serve --auto`: this program if it is meshctl, else the one on PATH. Never another program, which
/// could take `serve` to mean anything, or start itself for ever.
impl Default for Autostart {
    fn default() -> Self {
        let this = current_program().ok().filter(|path| path.file_stem() == Some(OsStr::new("meshctl")));
        Self::serve(this.as_deref().unwrap_or(Path::new("meshctl")))
    }
}

/// Path of the running program. Linux marks a replaced file as deleted; after an upgrade the new one is meant.
fn current_program() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let replaced = path.to_str().and_then(|text| text.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.unwrap_or(path))
}

fn bad_endpoint(text: &str, why: &str) -> ClientError {
    ClientError::config(format!(
        "endpoint {text:?}: {why}; write unix:///path, http://host:port or https://host:port"
    ))
}

/// The home's own token, for its own machine only: it must not leak to another host by a typing error.
fn token_of_home(home: &Home, uri: &Uri) -> Result<Token, ClientError> {
    let missing = || {
        ClientError::config(format!(
            "TCP needs a token: set MESH_TOKEN to that of the broker at {}",
            Endpoint::Tcp(uri.clone())
        ))
    };
    if !is_loopback(uri.host().unwrap_or_default()) {
        return Err(missing());
    }
    let text = std::fs::read_to_string(home.token_path()).map_err(|_| missing())?;
    Token::parse(&text)
}

pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Result<Config, ClientError> {
        Config::from_vars(|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn home_alone_is_enough() {
        let config = config(&[("HOME", "/h")]).unwrap();
        assert_eq!(config.endpoint, Endpoint::Local);
        assert_eq!(config.endpoint_name(), "unix:///h/.mesh/mesh.sock");
        let command = vec!["meshctl".into(), "serve".into(), "--auto".into()];
        assert_eq!(config.autostart, Autostart::Command(command));
    }

    #[test]
    fn an_explicit_endpoint_is_never_started() {
        let config = config(&[("HOME", "/h"), ("MESH_ENDPOINT", "unix:///run/m.sock")]).unwrap();
        assert_eq!(config.endpoint, Endpoint::Unix("/run/m.sock".into()));
        assert_eq!(config.autostart, Autostart::Never);
    }

    #[test]
    fn tcp_needs_a_token() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        let tcp = |endpoint: &str| config(&[("MESH_HOME", home), ("MESH_ENDPOINT", endpoint)]);
        let error = tcp("http://127.0.0.1:7000").unwrap_err().to_string();
        assert!(error.contains("set MESH_TOKEN"), "{error}");
        std::fs::write(dir.path().join("token"), "secret\n").unwrap();
        for loopback in ["http://127.0.0.1:7000", "http://localhost:7000", "http://[::1]:7000/"] {
            assert_eq!(tcp(loopback).unwrap().token.unwrap().expose(), "secret", "{loopback}");
        }
        assert!(tcp("http://broker.example:7000").is_err());
        let vars = [("HOME", "/h"), ("MESH_ENDPOINT", "http://broker.example:7000"), ("MESH_TOKEN", "t")];
        assert_eq!(config(&vars).unwrap().token.unwrap().expose(), "t");
    }

    #[test]
    fn malformed_endpoints_are_refused() {
        for text in [
            "unix://relative",
            "ftp://h:1",
            "http://h",
            "https://h",
            "https://h:1/path",
            "http://h:1/path",
            "h:1",
            "nonsense",
            "",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text:?}");
        }
    }
}
