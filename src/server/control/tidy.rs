//! Dropping what this node does not own any more, or never did.
//!
//! Invariant: a node takes part in a movement that brings it something only when it holds nothing of that: what is left
//! of an earlier movement may be what nobody agreed on, and would outrank what was agreed on since. Nothing is dropped
//! that a worker may still be told of: all of them go by the epoch that says whose it is.

use super::Control;
use crate::types::Epoch;

/// Shards that one turn of the control thread goes through.
const SHARDS_A_TURN: usize = 64;

/// How far this node is with that.
#[derive(Default)]
pub(super) struct Tidiness {
    /// The latest movement that it holds nothing of that is not its own.
    prepared: Option<Epoch>,
    /// The movement that it is to be prepared for, under the epoch that its workers go by.
    wanted: Option<(Epoch, Epoch)>,
    /// The epoch of the owners for which all was dropped that is not its own, and how far that is for another.
    dropped: Epoch,
    dropping: Option<(Epoch, usize)>,
}

impl Tidiness {
    /// Whether the node may take part: not in what it is not prepared for.
    pub(super) fn may_take_part(&mut self, epoch: Epoch, filling: Option<Epoch>) -> bool {
        let prepared = filling.is_none() || filling == self.prepared;
        self.wanted = filling.filter(|_| !prepared).map(|since| (since, epoch));
        prepared
    }
}

impl Control {
    /// Drops some of what is to be dropped.
    pub(super) fn tidy(&mut self) {
        let (own, adopted) = (self.metadata.number, self.roster.adopted());
        let Some((epoch, ring)) = &self.ring else { return };
        if ring.replicas() == 0 || adopted < *epoch {
            return;
        }
        let owns = |token| ring.preference_list(token).contains(&own);
        if let Some((since, epoch)) = self.tidiness.wanted {
            if adopted >= epoch {
                self.shared.store.drop_foreign(0, usize::MAX / 2, owns);
                self.tidiness.prepared = Some(since);
                self.changed = true;
            }
        } else if self.log.topology().movement.is_none() && self.tidiness.dropped != *epoch {
            let first = self.tidiness.dropping.filter(|(of, _)| of == epoch).map_or(0, |(_, first)| first);
            match self.shared.store.drop_foreign(first, SHARDS_A_TURN, owns) {
                Some(next) => self.tidiness.dropping = Some((*epoch, next)),
                None => self.tidiness.dropped = *epoch,
            }
        }
    }
}
