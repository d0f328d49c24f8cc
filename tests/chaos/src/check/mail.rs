//! Every page of mail is exactly what was sent to its reader after its cursor.

use std::collections::BTreeMap;

use super::{Fault, Found};
use crate::history::{Mail, MailStep};

/// Where the broker may hold a reader's cursor, and how far it has read.
#[derive(Debug, Default)]
struct Reader {
    /// Unknown before the first page: a peer has missed nothing before it first joined.
    cursor: Option<u64>,
    /// Acknowledged, but nobody knows whether that was heard.
    perhaps: Option<u64>,
    last_page: Option<(u64, u64)>,
}

pub(super) fn check(mail: &[Mail], sent: &BTreeMap<String, Vec<u64>>, found: &mut Found) {
    let mut readers: BTreeMap<&str, Reader> = BTreeMap::new();
    for Mail { peer, step } in mail {
        let reader = readers.entry(peer).or_default();
        match step {
            MailStep::Acknowledged(up_to, true) => {
                reader.cursor = reader.cursor.max(Some(*up_to));
                reader.perhaps = None;
            }
            MailStep::Acknowledged(up_to, false) => reader.perhaps = Some(*up_to),
            MailStep::Page { revision, cursor, messages, unread } => {
                let all = sent.get(peer).map(Vec::as_slice).unwrap_or_default();
                let known = match reader.cursor {
                    Some(known) => *cursor == known || reader.perhaps == Some(*cursor),
                    None => all.iter().all(|at| at > cursor),
                };
                found.unless(known, Fault::Mail, || {
                    format!("the cursor of {peer} is {cursor}; {reader:?} had been acknowledged")
                });
                let due: Vec<u64> = all.iter().copied().filter(|at| at > cursor && at <= revision).collect();
                let whole = due.starts_with(messages) && messages.is_empty() == due.is_empty();
                found.unless(whole && due.len() == *unread as usize, Fault::Mail, || {
                    format!("{peer} is shown {messages:?} and told {unread} at {revision}; due are {due:?}")
                });
                *reader =
                    Reader { cursor: Some(*cursor), perhaps: None, last_page: Some((*revision, *cursor)) };
            }
        }
    }
    for (peer, reader) in readers {
        let last = sent.get(peer).and_then(|all| all.last()).copied().unwrap_or(0);
        // The last page of each reader shows all that is left.
        found.unless(reader.last_page.is_some_and(|(revision, _)| revision >= last), Fault::Mail, || {
            format!("{peer} never looked at its mail after {last}")
        });
    }
}
