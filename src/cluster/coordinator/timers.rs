//! When operations are to be looked at again.
//!
//! Invariant: what is due is handed out in the order of its time. Most come in that order already, because most
//! operations are looked at after the same while: those take their place in a queue, and only the others are sorted.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::types::Timestamp;

/// When, and what: a slot, and what tells the operation in it from those that had the slot before.
pub(super) type Timer = (Timestamp, u32, u32);

#[derive(Debug, Default)]
pub(super) struct Timers {
    in_order: VecDeque<Timer>,
    others: BinaryHeap<Reverse<Timer>>,
}

impl Timers {
    #[inline]
    pub(super) fn push(&mut self, timer: Timer) {
        if self.in_order.back().is_none_or(|last| *last <= timer) {
            self.in_order.push_back(timer);
        } else {
            self.others.push(Reverse(timer));
        }
    }

    /// When the first is due.
    #[inline]
    pub(super) fn next(&self) -> Option<Timestamp> {
        let first = self.in_order.front().map(|(at, ..)| *at);
        let other = self.others.peek().map(|Reverse((at, ..))| *at);
        first.into_iter().chain(other).min()
    }

    /// Takes out the first that is due.
    #[inline]
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let (first, other) = (self.in_order.front(), self.others.peek().map(|Reverse(timer)| timer));
        let other_first = other.is_some_and(|other| first.is_none_or(|first| other < first));
        let timer = if other_first { other } else { first };
        timer.filter(|(at, ..)| *at <= now)?;
        if other_first { self.others.pop().map(|Reverse(timer)| timer) } else { self.in_order.pop_front() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_the_order_of_its_time() {
        let mut timers = Timers::default();
        for at in [5, 7, 3, 9, 9, 4, 12] {
            timers.push((Timestamp(at), at as u32, 0));
        }
        assert_eq!(timers.next(), Some(Timestamp(3)));
        let due: Vec<u64> =
            std::iter::from_fn(|| timers.pop_due(Timestamp(9))).map(|(at, ..)| at.0).collect();
        assert_eq!(due, [3, 4, 5, 7, 9, 9]);
        assert_eq!((timers.next(), timers.pop_due(Timestamp(11))), (Some(Timestamp(12)), None));
    }
}
