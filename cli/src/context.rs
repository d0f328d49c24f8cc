//! What every command shares: the global flags, resolved when first needed.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use mesh_client::scope::{self, Scope};
use mesh_client::{Autostart, Client, Config};

use crate::config::MeshArgs;
use crate::error::CliError;
use crate::output::{Color, Output};

/// Flags that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    /// Print JSON: one object, or one per line; errors and notes too, on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Project to act in, or `global` [default: derived from the current directory]
    #[arg(long, global = true, value_name = "SLUG", env = "MESH_SCOPE", hide_env_values = true)]
    scope: Vec<String>,

    /// Name to act under [default: the user's]
    #[arg(long = "as", global = true, value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    mesh: MeshArgs,

    /// When to colour: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    color: Color,

    /// Log to stderr; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The resolved global flags.
pub(crate) struct Context {
    global: GlobalArgs,
    /// Where results go.
    pub(crate) out: Output,
    detected: OnceCell<Scope>,
}

impl Context {
    pub(crate) fn new(global: GlobalArgs) -> Self {
        let out = Output::new(global.json, global.color);
        Self { global, out, detected: OnceCell::new() }
    }

    /// Which mesh is meant.
    pub(crate) fn mesh(&self) -> &MeshArgs {
        &self.global.mesh
    }

    /// How often `-v` was given.
    pub(crate) fn verbose(&self) -> u8 {
        self.global.verbose
    }

    /// Runs a command of a client: one thread is all it needs.
    pub(crate) fn block_on<T>(
        &self,
        command: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(CliError::failure)?.block_on(command)
    }

    /// A client that starts a missing broker.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        Ok(Client::new(self.mesh().config()?)?)
    }

    /// A client that leaves a missing broker alone.
    pub(crate) fn client_of_running(&self) -> Result<Client, CliError> {
        Ok(Client::new(Config { autostart: Autostart::Never, ..self.mesh().config()? })?)
    }

    /// The one scope to act in.
    pub(crate) fn scope(&self) -> Result<String, CliError> {
        match self.given_scopes().as_slice() {
            [] => Ok(self.detect()?.slug.clone()),
            [one] => Ok((*one).to_owned()),
            [_, _, ..] => Err(CliError::usage("this command acts in one scope; give --scope once")),
        }
    }

    /// The scopes to see, where there may be several; none means all.
    pub(crate) fn scopes(&self, all: bool) -> Result<Vec<String>, CliError> {
        let given = self.given_scopes();
        if all {
            return Ok(Vec::new());
        }
        if given.is_empty() {
            Ok(vec![self.scope()?])
        } else {
            Ok(given.into_iter().map(str::to_owned).collect())
        }
    }

    /// The scope to list; empty means all.
    pub(crate) fn scope_or_all(&self, all: bool) -> Result<String, CliError> {
        if all { Ok(String::new()) } else { self.scope() }
    }

    /// Root of the checkout that typed paths belong to. With a scope given by hand, a directory that git
    /// cannot read will do.
    pub(crate) fn root(&self) -> Result<PathBuf, CliError> {
        match self.detect() {
            Ok(scope) => Ok(scope.root.clone()),
            Err(_) if !self.given_scopes().is_empty() => current_dir(),
            Err(error) => Err(error),
        }
    }

    /// The name this person acts under: as given, else the user's, brought into the grammar of names.
    pub(crate) fn name(&self) -> String {
        if let Some(name) = &self.global.name {
            return name.clone();
        }
        let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
        name_of_user(&user)
    }

    /// The scope given by hand.
    pub(crate) fn given_scope(&self) -> Result<Option<String>, CliError> {
        if self.given_scopes().is_empty() { Ok(None) } else { self.scope().map(Some) }
    }

    /// The name given by hand.
    pub(crate) fn given_name(&self) -> Option<&str> {
        self.global.name.as_deref()
    }

    /// The scopes given by hand.
    pub(crate) fn given_scopes(&self) -> Vec<&str> {
        self.global.scope.iter().map(String::as_str).filter(|scope| !scope.is_empty()).collect()
    }

    fn detect(&self) -> Result<&Scope, CliError> {
        if let Some(scope) = self.detected.get() {
            return Ok(scope);
        }
        let scope = scope::detect(Path::new("."))?;
        Ok(self.detected.get_or_init(|| scope))
    }
}

/// The directory that typed paths are relative to.
pub(crate) fn current_dir() -> Result<PathBuf, CliError> {
    std::env::current_dir().map_err(|error| CliError::usage(format_args!("no current directory: {error}")))
}

/// Longest name of a peer, in bytes.
const NAME_BYTES: usize = 64;

/// A user's name as that of a peer: `a-z`, `0-9`, `.`, `_`, `-`, beginning with a letter or digit.
fn name_of_user(user: &str) -> String {
    let lower = user.to_lowercase();
    let mapped: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let marks = ['.', '_', '-'];
    let trimmed = mapped.trim_start_matches(marks);
    let name = trimmed[..trimmed.len().min(NAME_BYTES)].trim_end_matches(marks);
    match name {
        "" => "human".to_owned(),
        // The broker lets nobody have a name that claims authority.
        "admin" | "administrator" | "all" | "assistant" | "broker" | "developer" | "everyone" | "mesh"
        | "meshctl" | "operator" | "root" | "system" | "user" | "you" => format!("{name}-user"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_name_becomes_a_peers() {
        for (user, name) in [
            ("alice", "alice"),
            ("Alice.Smith", "alice.smith"),
            ("ACME\\bob", "acme-bob"),
            ("_www", "www"),
            ("müller", "m-ller"),
            ("董", "human"),
            ("Admin", "admin-user"),
            ("fox.", "fox"),
            ("", "human"),
        ] {
            assert_eq!(name_of_user(user), name, "{user:?}");
        }
        assert_eq!(name_of_user(&"x".repeat(100)).len(), NAME_BYTES);
    }
}
