//! The longest time in which nobody was served: availability, as clients feel it.
//!
//! Invariant: a gap lies between two successes of whichever connections, or between one and an end of the phase; error
//! replies are no successes. What happened before counting began is left out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When somebody was served last, and the longest gap so far.
pub(crate) struct Served {
    count_from: Instant,
    last_ns: AtomicU64,
    longest_ns: AtomicU64,
}

impl Served {
    pub(crate) const fn from(count_from: Instant) -> Self {
        Self { count_from, last_ns: AtomicU64::new(0), longest_ns: AtomicU64::new(0) }
    }

    /// Somebody was served.
    pub(crate) fn note(&self, now: Instant) {
        let now_ns = now.saturating_duration_since(self.count_from).as_nanos() as u64;
        let before_ns = self.last_ns.fetch_max(now_ns, Ordering::Relaxed);
        let gap_ns = now_ns.saturating_sub(before_ns);
        if gap_ns > self.longest_ns.load(Ordering::Relaxed) {
            self.longest_ns.fetch_max(gap_ns, Ordering::Relaxed);
        }
    }

    /// The longest gap of a phase of this length.
    pub(crate) fn longest_gap(&self, duration: Duration) -> Duration {
        let tail_ns = (duration.as_nanos() as u64).saturating_sub(self.last_ns.load(Ordering::Relaxed));
        Duration::from_nanos(tail_ns.max(self.longest_ns.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_between_successes_or_at_an_end() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let served = Served::from(at(100));
        for ms in [50, 90, 130, 200, 180, 210] {
            served.note(at(ms));
        }
        assert_eq!(served.longest_gap(Duration::from_millis(115)), Duration::from_millis(70));
        assert_eq!(served.longest_gap(Duration::from_millis(400)), Duration::from_millis(290));
    }
}
