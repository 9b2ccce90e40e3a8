//! How patient a node is with others: the more it has reason to doubt itself, the more.
//!
//! The rule: whoever is looked at later than planned by more than the allowance was asleep (paused, starved of its
//! cores, stuck behind a disk). Then everything it waits for gets as much longer as it slept, so that what arrived
//! meanwhile is read first; every suspicion it holds begins anew; and its doubt rises by one. A second awake takes
//! one off again. Whoever suspects more than half of the members that are not dead, and at least two, is more likely
//! cut off itself, which counts as one doubt more.
//!
//! Invariant: a suspicion lasts 1 to [`PATIENCE_MAX`] times as long as usual, so doubt delays a verdict on a node that
//! is really dead, and never prevents it.
//!
//! Source: Dadgar et al., "Lifeguard" (2017), section IV: the local health multiplier, here of the suspicion alone, and
//! fed by the machine's own clock instead of missing answers, since the probes' own times are the library's.

use crate::config::gossip::PATIENCE_MAX;
use crate::types::Timestamp;

/// How long awake takes one doubt away, in nanoseconds.
const RECOVERY_NS: u64 = 1_000_000_000;

/// What a node thinks of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    doubt: u32,
    /// When it last rose or fell.
    changed_at: Timestamp,
}

impl Patience {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { doubt: 0, changed_at: now }
    }

    /// It was asleep.
    pub(super) fn doubt(&mut self, now: Timestamp) {
        self.doubt = (self.doubt + 1).min(PATIENCE_MAX - 1);
        self.changed_at = now;
    }

    /// It was awake until now.
    pub(super) fn recover(&mut self, now: Timestamp) {
        if self.doubt > 0 && now.nanos_since(self.changed_at) >= RECOVERY_NS {
            self.doubt -= 1;
            self.changed_at = now;
        }
    }

    /// How many times as long as usual a suspicion lasts, if it suspects `suspected` of `heeded` members.
    pub(super) fn factor(&self, suspected: usize, heeded: usize) -> u32 {
        let most = suspected >= 2 && suspected * 2 > heeded;
        (1 + self.doubt + u32::from(most)).min(PATIENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = RECOVERY_NS;

    #[test]
    fn doubt_rises_with_every_sleep_to_its_bound_and_goes_with_seconds_awake() {
        let mut patience = Patience::new(Timestamp(0));
        assert_eq!(patience.factor(0, 4), 1);
        for expected in [2, 3, 4, 4, 4] {
            patience.doubt(Timestamp(0));
            assert_eq!(patience.factor(0, 4), expected);
        }
        for (at, expected) in
            [(SECOND - 1, 4), (SECOND, 3), (SECOND + 1, 3), (2 * SECOND, 2), (3 * SECOND, 1)]
        {
            patience.recover(Timestamp(at));
            assert_eq!(patience.factor(0, 4), expected, "at {at}");
        }
    }

    #[test]
    fn whoever_suspects_most_doubts_itself_but_not_for_one() {
        let patience = Patience::new(Timestamp(0));
        let factors = [(1, 1), (1, 2), (2, 4), (2, 3), (2, 2), (3, 5)];
        assert_eq!(factors.map(|(suspected, heeded)| patience.factor(suspected, heeded)), [1, 1, 1, 2, 2, 2]);
    }
}
