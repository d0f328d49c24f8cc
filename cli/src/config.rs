//! How the broker is reached: flags and environment become a [`Config`].
//!
//! What must hold: a flag wins over its variable; an empty variable counts as unset; `MESH_TOKEN` has no flag,
//! since arguments are visible to everybody on the machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mesh_client::{Autostart, Config, Endpoint, Home, Tls, Token};

use crate::error::CliError;

/// Which mesh is meant.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MeshArgs {
    /// Directory of the mesh: data, socket and secrets [default: ~/.mesh]
    #[arg(long, global = true, value_name = "DIR", env = "MESH_HOME", hide_env_values = true)]
    home: Option<OsString>,

    /// Broker to use, never started automatically: unix:///path, http://host:port or https://host:port
    #[arg(long, global = true, value_name = "URL", env = "MESH_ENDPOINT", hide_env_values = true)]
    endpoint: Option<String>,
}

impl MeshArgs {
    /// The home directory.
    pub(crate) fn home(&self) -> Result<Home, CliError> {
        let given = self.home.clone().filter(|home| !home.is_empty()).map(PathBuf::from);
        if let Some(path) = given {
            return Ok(Home::at(std::path::absolute(path).map_err(CliError::usage)?)?);
        }
        let user = std::env::var_os("HOME").filter(|home| !home.is_empty());
        let user = user.ok_or_else(|| {
            CliError::usage("neither --home nor MESH_HOME nor HOME is set").hint("set one of them")
        })?;
        Ok(Home::at(Path::new(&user).join(".mesh"))?)
    }

    /// Everything that a client needs; a missing broker is started by this very program.
    pub(crate) fn config(&self) -> Result<Config, CliError> {
        let home = self.home()?;
        let given = self.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
        let endpoint = given.map_or(Ok(Endpoint::Local), Endpoint::parse)?;
        let autostart = match endpoint {
            Endpoint::Local => Autostart::this_program().map_err(CliError::failure)?,
            Endpoint::Unix(_) | Endpoint::Tcp(_) => Autostart::Never,
        };
        let token = token(&home, &endpoint)?;
        let tls = Tls::from_env(&home, &endpoint)?;
        Ok(Config { home, endpoint, token, tls, scope: None, autostart })
    }
}

/// `MESH_TOKEN`, else, for a broker on this machine only, the home's own: it must not leak to another host by
/// a typing error.
fn token(home: &Home, endpoint: &Endpoint) -> Result<Option<Token>, CliError> {
    let Endpoint::Tcp(uri) = endpoint else { return Ok(None) };
    let given = std::env::var("MESH_TOKEN").ok().filter(|token| !token.is_empty());
    let text = match given {
        Some(token) => Some(token),
        None if is_loopback(uri.host().unwrap_or_default()) => {
            std::fs::read_to_string(home.token_path()).ok()
        }
        None => None,
    };
    let missing = || {
        CliError::usage(format_args!("the broker at {endpoint} needs a token"))
            .hint("set MESH_TOKEN to its token (the file `token` in its home)")
    };
    Ok(Some(Token::parse(&text.ok_or_else(missing)?)?))
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(home: &Path, endpoint: &str) -> MeshArgs {
        MeshArgs { home: Some(home.into()), endpoint: Some(endpoint.to_owned()) }
    }

    #[test]
    fn only_the_homes_own_socket_is_started() {
        let dir = tempfile::tempdir().unwrap();
        let config = mesh(dir.path(), "").config().unwrap();
        assert_eq!(config.endpoint, Endpoint::Local);
        assert!(
            matches!(config.autostart, Autostart::Command(command) if command[1..] == ["serve", "--auto"])
        );
        assert_eq!(mesh(dir.path(), "unix:///run/m.sock").config().unwrap().autostart, Autostart::Never);
    }

    #[test]
    fn the_token_of_the_home_is_for_this_machine_only() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "secret\n").unwrap();
        for local in ["http://127.0.0.1:7", "http://localhost:7", "http://[::1]:7"] {
            assert_eq!(
                mesh(dir.path(), local).config().unwrap().token.unwrap().expose(),
                "secret",
                "{local}"
            );
        }
        let error = mesh(dir.path(), "http://broker.example:7").config().unwrap_err();
        assert!(error.message.contains("needs a token"), "{}", error.message);
    }
}
