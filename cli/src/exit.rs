//! The exit codes: what a script may rely on.

/// How a command ended. A command run under `meshctl lock … -- COMMAND` ends with its own code instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// Anything not named below.
    Failure = 1,
    /// The arguments or the environment make no sense.
    Usage = 2,
    /// No broker runs, or it cannot be reached or started.
    NoBroker = 3,
    /// Refused because of somebody else: a lock is held, a value is another's, a key exists, a name is taken, a token is
    /// fenced, waiting would never end.
    Conflict = 4,
    /// No such peer, key, version, lock, request or message, or a revision whose events are no longer kept.
    NotFound = 5,
    /// The time of `--wait`, `--wait-reply` or `--timeout` is over.
    Timeout = 6,
}

impl Exit {
    /// The code that the process ends with.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

/// The table above, for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  failure
  2  the arguments or the environment make no sense
  3  no broker runs, or it cannot be reached or started
  4  refused because of somebody else: a lock is held, a value is another's, a key exists, a name is
     taken, a token is fenced, waiting would never end
  5  not found: no such peer, key, version, lock, request, message or revision
  6  the time of --wait, --wait-reply or --timeout is over

Environment:
  MESH_HOME         directory of data, socket and secrets; default ~/.mesh
  MESH_SCOPE        project to act in; default: derived from the current directory
  MESH_ENDPOINT     unix:///path, http://host:port or https://host:port; then no broker is started
                    automatically
  MESH_TOKEN        bearer token for TCP
  MESH_FINGERPRINT  for https: the broker's certificate, as its log shows it (sha256:...)
  MESH_CA           for https: file of the authority that signed the broker's certificate (PEM)
  MESH_CLIENT_CERT, MESH_CLIENT_KEY
                    for https: files of one's own certificate and key (PEM), where the broker asks
  NO_COLOR          no colours";
