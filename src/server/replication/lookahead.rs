//! Inquiries of a turn, whose cells are on their way into the cache before they are served.
//!
//! Invariant: messages are lent in the order in which they were added, all of them; fetching ahead changes nothing.

use crate::protocol::peer::PeerMessage;
use crate::server::link::TOGETHER_MAX;
use crate::store::Store;
use crate::types::KeyHash;

/// Messages whose cells are fetched ahead: those of inquiries about as many keys as may be in flight at once.
pub(super) struct Lookahead<'a> {
    messages: [Option<PeerMessage<'a>>; TOGETHER_MAX],
    hashes: [KeyHash; TOGETHER_MAX],
    count: usize,
}

impl Default for Lookahead<'_> {
    fn default() -> Self {
        Self { messages: [None; TOGETHER_MAX], hashes: [KeyHash(0); TOGETHER_MAX], count: 0 }
    }
}

impl<'a> Lookahead<'a> {
    pub(super) fn is_full(&self) -> bool {
        self.count == TOGETHER_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a message, and asks for the slot of its key.
    #[inline]
    pub(super) fn add(&mut self, message: PeerMessage<'a>, store: &Store) {
        if let PeerMessage::Inquiry(inquiry) = &message {
            self.hashes[self.count] = store.hash(inquiry.key);
            store.prefetch_slot(self.hashes[self.count]);
        }
        self.messages[self.count] = Some(message);
        self.count += 1;
    }

    /// Asks for the cells, and lends the messages.
    #[inline]
    pub(super) fn messages(&self, store: &Store) -> impl Iterator<Item = &PeerMessage<'a>> {
        let messages = || self.messages[..self.count].iter().flatten();
        for (message, hash) in messages().zip(self.hashes) {
            if matches!(message, PeerMessage::Inquiry(_)) {
                store.prefetch_cell(hash);
            }
        }
        messages()
    }
}
