//! The intervals of a stage, put together from what the threads tell of each.
//!
//! Invariant: an interval is told once, when every thread has told it or gone on past it, and in order. The sum of a
//! stage is the sum of its intervals. It reads no clock.

use std::collections::BTreeMap;

use crate::tally::{Shape, Tally};

/// What has been told of a stage so far.
pub(crate) struct Timeline {
    /// For each thread the number of intervals that it has told or skipped; the greatest number once it is done.
    told: Vec<u32>,
    /// Intervals that a thread still owes.
    pending: BTreeMap<u32, Tally>,
    pub(crate) sum: Tally,
}

impl Timeline {
    /// A stage of so many threads.
    pub(crate) fn new(threads: usize, shape: Shape) -> Self {
        Self { told: vec![0; threads], pending: BTreeMap::new(), sum: Tally::new(shape) }
    }

    /// Takes what `thread` counted until the end of the interval `number`, and returns the room if it is not needed.
    pub(crate) fn tell(&mut self, thread: usize, number: u32, tally: Tally) -> Option<Tally> {
        self.told[thread] = self.told[thread].max(number + 1);
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.add(&tally);
            return Some(tally);
        }
        self.pending.insert(number, tally);
        None
    }

    /// `thread` has told everything.
    pub(crate) fn end(&mut self, thread: usize) {
        self.told[thread] = u32::MAX;
    }

    /// The next interval that is complete, with its number. It is in the sum from now on.
    pub(crate) fn next(&mut self) -> Option<(u32, Tally)> {
        let complete = self.told.iter().copied().min().unwrap_or(u32::MAX);
        let number = *self.pending.first_key_value().filter(|(number, _)| **number < complete)?.0;
        let tally = self.pending.remove(&number)?;
        self.sum.add(&tally);
        Some((number, tally))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { targets: 1, operations: 1, open: false };

    fn reads(reads: u64) -> Tally {
        let mut tally = Tally::new(SHAPE);
        tally.reads = reads;
        tally
    }

    fn next(timeline: &mut Timeline) -> Option<(u32, u64)> {
        timeline.next().map(|(number, tally)| (number, tally.reads))
    }

    #[test]
    fn an_interval_waits_for_the_slowest_thread() {
        let mut timeline = Timeline::new(2, SHAPE);
        assert!(timeline.tell(0, 0, reads(1)).is_none());
        assert!(timeline.tell(0, 1, reads(2)).is_none());
        assert_eq!(next(&mut timeline), None);
        assert!(timeline.tell(1, 0, reads(10)).is_some());
        assert_eq!(next(&mut timeline), Some((0, 11)));
        assert_eq!(next(&mut timeline), None);
        // A thread that was held up tells of two intervals at once.
        assert!(timeline.tell(1, 2, reads(20)).is_none());
        assert_eq!(next(&mut timeline), Some((1, 2)));
        assert_eq!(next(&mut timeline), None);
        timeline.end(0);
        assert_eq!(next(&mut timeline), Some((2, 20)));
        assert_eq!((next(&mut timeline), timeline.sum.reads), (None, 33));
    }
}
