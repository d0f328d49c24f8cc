//! Tokens as JSON, without their secrets.

use mesh_client::proto;
use serde::Serialize;

use super::{time, word};

/// A token.
#[derive(Debug, Serialize)]
pub(crate) struct AccessToken<'a> {
    id: &'a str,
    note: &'a str,
    role: String,
    scopes: &'a [String],
    peers: &'a str,
    expire_time: Option<String>,
    create_time: Option<String>,
    created_by: &'a str,
    last_used_time: Option<String>,
    expired: bool,
}

impl<'a> From<&'a proto::AccessToken> for AccessToken<'a> {
    fn from(token: &'a proto::AccessToken) -> Self {
        Self {
            id: &token.id,
            note: &token.note,
            role: word(token.role().as_str_name(), "ROLE_"),
            scopes: &token.scopes,
            peers: &token.peers,
            expire_time: time(token.expire_time.as_ref()),
            create_time: time(token.create_time.as_ref()),
            created_by: &token.created_by,
            last_used_time: time(token.last_used_time.as_ref()),
            expired: token.expired,
        }
    }
}
