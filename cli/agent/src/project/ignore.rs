//! Which files are nobody else's business: secrets, always, and what `.meshignore` names.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The file, with the syntax of `.gitignore`.
const FILE: &str = ".meshignore";
/// Endings and beginnings of the names of files that hold secrets.
const ENDINGS: [&str; 10] =
    [".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".asc", ".tfstate", ".tfvars"];
const BEGINNINGS: [&str; 6] = [".env", "id_rsa", "id_ed25519", "id_ecdsa", "credentials", "secrets."];
const NAMES: [&str; 5] = [".netrc", ".npmrc", ".pypirc", ".git-credentials", ".htpasswd"];

/// What is not told of.
#[derive(Debug)]
pub(super) struct Ignored {
    patterns: Option<Gitignore>,
}

impl Ignored {
    /// Reads the patterns of a checkout. One that cannot be understood is left out, as git does.
    pub(super) fn read(root: &Path) -> Self {
        let file = root.join(FILE);
        if !file.is_file() {
            return Self { patterns: None };
        }
        let mut builder = GitignoreBuilder::new(root);
        if let Some(error) = builder.add(&file) {
            tracing::warn!(%error, "{FILE} is not understood everywhere");
        }
        Self { patterns: builder.build().ok() }
    }

    /// Whether a scope-relative path is not told of. A pattern with `!` brings back a secret too.
    pub(super) fn holds(&self, name: &str) -> bool {
        let is_directory = name.ends_with('/');
        let matched = self
            .patterns
            .as_ref()
            .map(|patterns| patterns.matched_path_or_any_parents(name.trim_end_matches('/'), is_directory));
        match matched {
            Some(found) if found.is_ignore() => true,
            Some(found) if found.is_whitelist() => false,
            Some(_) | None => is_secret(name),
        }
    }
}

/// Whether the name of a file says that it holds secrets.
fn is_secret(name: &str) -> bool {
    let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let public = name.ends_with(".pub") || name.ends_with(".example") || name.ends_with(".sample");
    let beginning = |start: &&str| {
        let rest = name.strip_prefix(*start);
        // `.envrc` is one, `.environment` and `credentials_test.rs` are not.
        rest.is_some_and(|rest| {
            rest.is_empty() || rest == "rc" || rest.starts_with('.') || start.ends_with('.')
        })
    };
    !public
        && (ENDINGS.iter().any(|end| name.ends_with(end))
            || BEGINNINGS.iter().any(beginning)
            || NAMES.contains(&name))
}
