//! Dropping what this node does not own any more, or never did.
//!
//! Invariant: nothing is dropped while keys move, nor by owners that are not the latest, nor what a worker may still be
//! told of: all of them go by the epoch that says whose it is.

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
    /// The epoch by whose owners all was dropped that is not this node's own.
    dropped: Epoch,
    /// The epoch by whose owners it is being dropped, and the next shard.
    dropping: Option<(Epoch, usize)>,
}

impl Tidiness {
    /// How long there is nothing to do, if that is known.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        self.dropping.map(|_| PAUSE)
    }
}

impl Control {
    /// Drops some of what is to be dropped.
    pub(super) fn tidy(&mut self) {
        let (own, topology) = (self.metadata.number, self.log.topology());
        let Some((epoch, ring)) = &self.ring else { return };
        // The log may be further than what workers were told.
        let settled = topology.movement.is_none() && topology.epoch == *epoch;
        let adopted = self.roster.adopted() >= *epoch;
        if !settled || !adopted || ring.replicas() == 0 || self.tidiness.dropped == *epoch {
            self.tidiness.dropping = None;
            return;
        }
        let owns = |token| ring.preference_list(token).contains(&own);
        let first = self.tidiness.dropping.filter(|(of, _)| of == epoch).map_or(0, |(_, first)| first);
        let next = self.shared.store.drop_foreign(first, SHARDS_A_TURN, owns);
        self.tidiness.dropping = next.map(|next| (*epoch, next));
        if next.is_none() {
            self.tidiness.dropped = *epoch;
        }
    }
}
