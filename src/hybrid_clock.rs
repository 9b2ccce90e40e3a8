//! The hybrid logical clock of one worker.
//!
//! Invariant: no version is issued twice, and each is above everything the clock issued or was shown before,
//! whatever the wall clock does. It reads no clock itself: wall time is shown to it once a turn.

use crate::types::{Stamp, Version, WallTime, WriterId};

/// Issues versions for one writer.
#[derive(Debug)]
pub struct HybridClock {
    writer: WriterId,
    last: Stamp,
    wall: WallTime,
    /// The first stamp of the wall time.
    present: Stamp,
}

impl HybridClock {
    /// A clock that issues for `writer`, which no other clock may share.
    #[must_use]
    pub const fn new(writer: WriterId) -> Self {
        Self { writer, last: Stamp(0), wall: WallTime(0), present: Stamp(0) }
    }

    /// A clock that shows `wall` and issues `version` next, then those after it, whatever the time is.
    #[must_use]
    pub const fn issuing(version: Version, wall: WallTime) -> Self {
        let last = Stamp(version.stamp.0.saturating_sub(1));
        Self { writer: version.writer, last, wall, present: Stamp(0) }
    }

    /// Issues for another writer from now on, still above all that it issued.
    pub const fn become_writer(&mut self, writer: WriterId) {
        self.writer = writer;
    }

    /// The later of the wall time and the latest stamp.
    #[inline]
    #[must_use]
    pub fn latest(&self) -> WallTime {
        self.wall.max(self.last.wall())
    }

    /// Shows the clock the time. A wall clock that steps back leaves the stamps where they are.
    #[inline]
    pub fn observe(&mut self, now: WallTime) {
        self.wall = now;
        self.present = Stamp::at(now);
    }

    /// The wall time it was last shown, in milliseconds.
    #[inline]
    #[must_use]
    pub const fn wall(&self) -> WallTime {
        self.wall
    }

    /// Moves past a stamp that another clock issued.
    #[inline]
    pub fn witness(&mut self, seen: Stamp) {
        self.last = self.last.max(seen);
    }

    /// A new version, above all it issued before and above every version of the stamp `seen`.
    #[inline]
    pub fn issue_above(&mut self, seen: Stamp) -> Version {
        let after = self.last.max(seen).0 + 1;
        self.last = Stamp(after).max(self.present);
        Version { stamp: self.last, writer: self.writer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_only_rise() {
        let mut clock = HybridClock::new(WriterId(3));
        clock.observe(WallTime(1_000));
        let first = clock.issue_above(Stamp::default());
        assert_eq!(first.stamp.wall(), WallTime(1_000));
        clock.observe(WallTime(10));
        let second = clock.issue_above(Stamp::default());
        assert!(second > first, "a wall clock that steps back does not");
        let foreign = Version { stamp: Stamp::at(WallTime(5_000)), writer: WriterId(9) };
        assert!(clock.issue_above(foreign.stamp) > foreign);
        assert!(clock.issue_above(Stamp::default()) > foreign, "what was seen is remembered");
    }

    #[test]
    fn more_than_65536_in_a_millisecond_borrow_from_the_next() {
        let mut clock = HybridClock::new(WriterId(0));
        clock.observe(WallTime(7));
        let mut before = clock.issue_above(Stamp::default());
        for _ in 0..70_000 {
            let after = clock.issue_above(Stamp::default());
            assert!(after > before);
            before = after;
        }
        assert_eq!(before.stamp.wall(), WallTime(8));
    }
}
