//! Dropping what this node does not own any more, or never did.
//!
//! Invariant: a node takes part in a movement that brings it something only when it holds nothing of that: what is left
//! of an earlier movement may be what nobody agreed on, and would outrank what was agreed on since. Nothing is dropped
//! that a worker may still be told of: all of them go by the epoch that says whose it is.

use std::time::Duration;

use super::Control;
use crate::types::Epoch;

/// Shards that one turn of the control thread goes through.
const SHARDS_A_TURN: usize = 64;

/// How long the control thread rests between two such turns.
const PAUSE: Duration = Duration::from_millis(1);

/// How far this node is with that.
#[derive(Default)]
pub(super) struct Tidiness {
    /// The latest movement that it holds nothing of that is not its own.
    prepared: Option<Epoch>,
    /// The movement that it is to be prepared for.
    wanted: Option<Epoch>,
    /// The epoch by whose owners all was dropped that is not its own, and how far that is for another.
    dropped: Epoch,
    dropping: Option<(Epoch, usize)>,
}

impl Tidiness {
    /// Whether the node may take part: not in what it is not prepared for.
    pub(super) fn may_take_part(&mut self, filling: Option<Epoch>) -> bool {
        let prepared = filling.is_none() || filling == self.prepared;
        self.wanted = filling.filter(|_| !prepared);
        prepared
    }

    /// How long there is nothing to do, if that is known.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        self.dropping.map(|_| PAUSE)
    }
}

impl Control {
    /// Drops some of what is to be dropped.
    pub(super) fn tidy(&mut self) {
        let (own, adopted) = (self.metadata.number, self.roster.adopted());
        let moves = self.log.topology().movement.is_some();
        let Some((epoch, ring)) = &self.ring else { return };
        let due = if moves { self.tidiness.wanted.is_some() } else { self.tidiness.dropped != *epoch };
        if ring.replicas() == 0 || adopted < *epoch || !due {
            self.tidiness.dropping = None;
            return;
        }
        let owns = |token| ring.preference_list(token).contains(&own);
        let first = self.tidiness.dropping.filter(|(of, _)| of == epoch).map_or(0, |(_, first)| first);
        let next = self.shared.store.drop_foreign(first, SHARDS_A_TURN, owns);
        self.tidiness.dropping = next.map(|next| (*epoch, next));
        if next.is_none() {
            self.tidiness.dropped = *epoch;
            if let Some(since) = self.tidiness.wanted {
                self.tidiness.prepared = Some(since);
                self.changed = true;
            }
        }
    }
}
