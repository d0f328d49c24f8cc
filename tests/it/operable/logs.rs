//! Logs tell what happened, and no secret.
