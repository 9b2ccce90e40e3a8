//! A key space that grows: which key is inserted next, and up to which every insert was answered.
//!
//! Invariant: no index is given away twice, whichever thread asks; below [`answered`](Inserts::answered) lies no index
//! whose insert is still under way, so that whoever reads the newest keys reads none that is not there yet. An insert
//! that failed counts as answered: its key is then a miss.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The growth of a key space, shared by all connections. Indexes count from the beginning of the space.
pub(crate) struct Inserts {
    next: AtomicU64,
    answered: AtomicU64,
    /// Indexes answered while one below them is under way.
    early: Mutex<BinaryHeap<Reverse<u64>>>,
}

impl Inserts {
    /// Grows from `keys` that are there.
    pub(crate) fn from(keys: u64) -> Self {
        Self { next: AtomicU64::new(keys), answered: AtomicU64::new(keys), early: Mutex::default() }
    }

    /// The index to insert next.
    pub(crate) fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The insert of `index` was answered, or never will be.
    pub(crate) fn settle(&self, index: u64) {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        early.push(Reverse(index));
        let mut answered = self.answered.load(Ordering::Relaxed);
        while early.peek() == Some(&Reverse(answered)) {
            early.pop();
            answered += 1;
        }
        self.answered.store(answered, Ordering::Release);
    }

    /// Keys below this index are there.
    #[inline]
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_there_once_all_below_them_are_answered() {
        let inserts = Inserts::from(10);
        assert_eq!([inserts.take(), inserts.take(), inserts.take()], [10, 11, 12]);
        assert_eq!(inserts.answered(), 10);
        inserts.settle(12);
        inserts.settle(11);
        assert_eq!(inserts.answered(), 10);
        inserts.settle(10);
        assert_eq!(inserts.answered(), 13);
    }

    #[test]
    fn threads_share_the_growth() {
        let inserts = Inserts::from(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| inserts.settle(inserts.take())));
            }
        });
        assert_eq!((inserts.take(), inserts.answered()), (4000, 4000));
    }
}
