//! `.mesh.toml` at the root of a checkout: what its people decided about hooks. Committed, so it holds for all.
//!
//! ```toml
//! hooks = true            # false: hooks do nothing in this project
//!
//! [guard]
//! locked = "deny"         # an edit of a file that another peer has locked
//! stale = "warn"          # a partial edit of a file that another peer has changed since it was read
//! overwrite = "deny"      # a whole file written over such a change
//! git = "ask"             # a git command that moves HEAD, index or stash under another peer
//! ```
//!
//! Each is `deny`, `ask` (the user), `warn` (the agent) or `off`.

use std::path::Path;

use serde::Deserialize;

/// Its name.
const FILE: &str = ".mesh.toml";

/// What a project's people decided.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Whether hooks do anything in this project.
    pub(crate) hooks: bool,
    /// What happens before an edit or a git command.
    pub(crate) guard: Guard,
}

/// What happens before an edit or a git command that would harm another peer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Guard {
    /// An edit of a file that another live peer has locked exclusively.
    pub(crate) locked: Policy,
    /// A partial edit of a file that another peer has changed since this session read it.
    pub(crate) stale: Policy,
    /// The same, when the whole file would be written.
    pub(crate) overwrite: Policy,
    /// A git command that moves HEAD, index or stash in a checkout that another live peer shares.
    pub(crate) git: Policy,
}

/// How hard it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    /// Not at all, and nobody looks.
    Off,
    /// The agent is told, and goes on.
    Warn,
    /// The user is asked; where a host cannot ask, it is refused.
    Ask,
    /// It is refused.
    Deny,
}

impl Policy {
    /// For what deserves no more than a warning.
    pub(crate) fn min_warn(self) -> Self {
        if self == Self::Off { Self::Off } else { Self::Warn }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { hooks: true, guard: Guard::default() }
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self { locked: Policy::Deny, stale: Policy::Warn, overwrite: Policy::Deny, git: Policy::Ask }
    }
}

impl Settings {
    /// Those of a checkout; the defaults without the file.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        match std::fs::read_to_string(root.join(FILE)) {
            Ok(text) => Self::parse(&text),
            Err(_) => Ok(Self::default()),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| format!("{FILE}: {}", error.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_the_default() {
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
        let off = Settings::parse("hooks = false\n[guard]\ngit = \"off\"\n").unwrap();
        assert!(!off.hooks);
        assert_eq!(off.guard, Guard { git: Policy::Off, ..Guard::default() });
    }

    #[test]
    fn a_typing_error_is_told() {
        for text in ["hook = true", "[guard]\nlocked = \"denied\"", "hooks = 1", "["] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.starts_with(".mesh.toml: "), "{error}");
        }
    }
}
