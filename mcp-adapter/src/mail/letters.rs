//! Messages as an agent names them: by their revision, which is short.

use std::collections::VecDeque;

use mesh_client::proto::Message;

/// Envelopes kept to be answered.
const LETTERS: usize = 200;

/// Messages of this conversation, by revision: what is acknowledged is no longer listed, and may still be answered.
#[derive(Debug, Default)]
pub(crate) struct Letters(VecDeque<Message>);

impl Letters {
    /// Keeps the envelope of a message.
    pub(crate) fn keep(&mut self, message: &Message) {
        if self.by_revision(message.revision).is_none() {
            self.0.truncate(LETTERS - 1);
            self.0.push_front(Message { body: String::new(), ..message.clone() });
        }
    }

    /// The envelope of a message.
    pub(crate) fn by_revision(&self, revision: u64) -> Option<&Message> {
        self.0.iter().find(|message| message.revision == revision)
    }

    /// The revision of a message.
    pub(crate) fn revision_of(&self, id: &str) -> Option<u64> {
        self.0.iter().find(|message| message.message_id == id).map(|message| message.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_known_by_number_and_bounded() {
        let mut letters = Letters::default();
        for revision in 1..=LETTERS as u64 + 5 {
            let (message_id, body) = (format!("id-{revision}"), "body".into());
            letters.keep(&Message { revision, message_id, body, ..Message::default() });
        }
        assert_eq!((letters.0.len(), letters.by_revision(5)), (LETTERS, None));
        assert_eq!(letters.revision_of("id-77"), Some(77));
        assert_eq!(letters.by_revision(77).map(|known| known.body.as_str()), Some(""));
    }
}
