//! Wall time that never jumps: a node's own, steered towards the machine's.
//!
//! Invariant: it never goes back, and goes at most a tenth faster or slower than monotonic time, whatever somebody does
//! to the machine's clock. So a jump reaches versions slowly enough for other nodes to bear, or for somebody to notice.
//! It reads no clock: both times are shown to it. What it says at the start is what it is shown.

use crate::types::{Timestamp, WallTime};

/// It is steered by one in so many.
const SLEW_SHARE: u64 = 10;

const NANOS_PER_MS: u64 = 1_000_000;

/// The wall time of a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlewedClock {
    /// Nanoseconds since 1970, and when they were that; `None` before the first look.
    steered: Option<(u64, Timestamp)>,
}

impl SlewedClock {
    /// The wall time, at `now`, when the machine's clock says `machine`.
    pub fn show(&mut self, now: Timestamp, machine: WallTime) -> WallTime {
        let target_ns = machine.0.saturating_mul(NANOS_PER_MS);
        let steered_ns = match self.steered {
            None => target_ns,
            Some((before_ns, at)) => {
                let elapsed_ns = now.nanos_since(at);
                let slew_ns = elapsed_ns / SLEW_SHARE;
                let on_ns = before_ns.saturating_add(elapsed_ns);
                // The machine tells milliseconds: within one, it is right.
                if on_ns > target_ns.saturating_add(NANOS_PER_MS) {
                    on_ns - slew_ns.min(on_ns - target_ns)
                } else {
                    on_ns.saturating_add(slew_ns.min(target_ns.saturating_sub(on_ns)))
                }
            }
        };
        self.steered = Some((steered_ns, now));
        WallTime(steered_ns / NANOS_PER_MS)
    }

    /// How far the machine's clock is from it, in milliseconds: more than a few mean that somebody has set it.
    #[must_use]
    pub fn distance_ms(&self, machine: WallTime) -> u64 {
        self.steered.map_or(0, |(steered_ns, _)| machine.0.abs_diff(steered_ns / NANOS_PER_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_700_000_000_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * NANOS_PER_MS)
    }

    #[test]
    fn it_follows_a_steady_clock_to_the_millisecond() {
        let mut clock = SlewedClock::default();
        for ms in 0..10_000 {
            let machine = WallTime(START_MS + ms);
            let shown = clock.show(at(ms), machine);
            assert!(shown.0.abs_diff(machine.0) <= 1, "{ms}: {shown:?}");
        }
    }

    #[test]
    fn a_jump_is_slewed_in_either_direction_and_time_never_goes_back() {
        for jump_ms in [-5_000_i64, 5_000] {
            let mut clock = SlewedClock::default();
            let mut before = clock.show(at(0), WallTime(START_MS));
            for ms in 1..=60_000 {
                let machine = WallTime((START_MS + ms).saturating_add_signed(jump_ms));
                let shown = clock.show(at(ms), machine);
                assert!(shown >= before && shown.0 - before.0 <= 2, "{before:?} {shown:?}");
                if ms == 1_000 {
                    assert!(clock.distance_ms(machine) > 4_800, "not there yet");
                }
                before = shown;
            }
            assert!(clock.distance_ms(WallTime((START_MS + 60_000).saturating_add_signed(jump_ms))) <= 1);
        }
    }
}
