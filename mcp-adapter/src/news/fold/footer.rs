//! What is said below an answer. What it tells is no longer news.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::News;
use crate::news::{NAMED, Reached};
use crate::render::{word, words};

impl News {
    /// Lines to append to an answer, each after `\n`; empty without news. What they tell is no longer news.
    /// `reached` says that the answer came from the broker, so that the connection is there.
    pub(crate) fn footer(&mut self, reached: Reached) -> String {
        let mut out = String::new();
        if self.rejoined {
            _ = write!(out, "\n[mesh] your session had ended; you are {} again", self.me);
            (self.rejoined, self.interrupted) = (false, false);
        }
        if self.interrupted && reached == Reached::Yes {
            out.push_str("\n[mesh] the connection to the broker was lost and is back; nothing was missed");
            self.interrupted = false;
        }
        if std::mem::take(&mut self.incomplete) {
            out.push_str("\n[mesh] some events are no longer kept: see mesh_who and mesh_locks");
        }
        self.locks_footer(&mut out);
        self.requests.footer(&self.locks, &mut out);
        self.contracts_footer(&mut out);
        self.mail_footer(&mut out);
        out
    }

    fn locks_footer(&mut self, out: &mut String) {
        let mut causes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, why) in std::mem::take(&mut self.lost) {
            causes.entry(why).or_default().push(path);
        }
        for (why, paths) in causes {
            let paths = words(&paths, NAMED);
            _ = write!(out, "\n[mesh] you lost the lock on {paths} ({why}). mesh_lock again before editing");
        }
    }

    fn contracts_footer(&mut self, out: &mut String) {
        for (key, changed) in std::mem::take(&mut self.contracts) {
            let (subject, key) = (word(&changed.subject), word(&key));
            let by = if changed.changed_by.is_empty() { "the broker" } else { &changed.changed_by };
            _ = match (changed.deleted, changed.changed_by.is_empty()) {
                (true, true) => write!(out, "\n[mesh] contract {subject} expired"),
                (true, false) => write!(out, "\n[mesh] contract {subject} deleted by {}", word(by)),
                (false, _) => write!(
                    out,
                    "\n[mesh] contract {subject} changed by {} (version {}): mesh_recall {{key: {key}}}",
                    word(by),
                    changed.version
                ),
            };
        }
        if self.more_contracts > 0 {
            let more = std::mem::take(&mut self.more_contracts);
            _ = write!(
                out,
                "\n[mesh] {more} more contracts changed: mesh_events {{types: contract_changed}}"
            );
        }
    }

    fn mail_footer(&mut self, out: &mut String) {
        if !self.has_mail() {
            return;
        }
        let (newest, unread) = (self.newest(), self.unread_now());
        _ = write!(out, "\n[mesh] {unread} unread");
        let mut senders = Vec::new();
        for message in self.since.iter().rev() {
            if senders.len() < NAMED && !senders.contains(&&message.from) {
                senders.push(&message.from);
            }
        }
        if !senders.is_empty() {
            _ = write!(out, " (newest from {})", words(senders, NAMED));
        }
        let urgent = self.since.iter().any(|message| message.urgent && message.revision > self.told);
        out.push_str(if urgent { ", URGENT: mesh_inbox now" } else { ": mesh_inbox" });
        self.told = newest;
    }
}
