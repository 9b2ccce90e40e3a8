//! What is due when: the library's timers and the machine's own beat.
//!
//! Invariant: what is due at the same moment is done in the order in which it was put here, also after a delay; so a
//! run depends on its inputs alone.

use std::collections::BTreeMap;
use std::time::Duration;

use foca::Timer;

use crate::message::gossip::Peer;
use crate::types::Timestamp;

/// Something that is due.
#[derive(Clone, Debug)]
pub(super) enum Due {
    /// What is done regularly.
    Beat,
    /// A timer of the library.
    Library(Timer<Peer>),
}

/// All that is due, in its order.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeMap<(Timestamp, u64), Due>,
    /// How many were put here ever.
    put: u64,
}

impl Schedule {
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    pub(super) fn first(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|(&(at, _), _)| at)
    }

    pub(super) fn put(&mut self, at: Timestamp, due: Due) {
        self.put += 1;
        self.due.insert((at, self.put), due);
    }

    /// Takes what is due first, if that is now.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Due> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// Puts everything off.
    pub(super) fn delay(&mut self, nanos: u64) {
        let late = Duration::from_nanos(nanos);
        self.due = std::mem::take(&mut self.due)
            .into_iter()
            .map(|((at, number), due)| ((at.after(late), number), due))
            .collect();
    }
}
