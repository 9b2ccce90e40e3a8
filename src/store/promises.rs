//! Promised ballots: a key's replica that has promised one takes no lower version, from anybody.
//!
//! Invariants: a promise is looked at and given under the lock of its key's shard, so that nothing slips in between;
//! there is room for a fixed number, and the lowest of a bucket makes room for the next. A promise that was dropped is
//! known to be dropped: what was promised to it is refused from then on, so forgetting costs a round and never safety.
//! Kept by hash: two keys of one hash share a promise, and take turns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::types::{KeyHash, Version};

/// Promises that share a lock, and compete for room.
const BUCKET: usize = 8;

type Bucket = [Option<(KeyHash, Version)>; BUCKET];

/// All of a node's.
pub(super) struct Promises {
    /// Whether any was ever given: most nodes never do.
    any: AtomicBool,
    buckets: OnceLock<Box<[Mutex<Bucket>]>>,
    buckets_count: usize,
}

impl Promises {
    /// Room for about so many.
    pub(super) fn new(count_max: usize) -> Self {
        let buckets_count = (count_max / BUCKET).max(1);
        Self { any: AtomicBool::new(false), buckets: OnceLock::new(), buckets_count }
    }

    /// What is promised for keys of this hash.
    #[inline]
    pub(super) fn of(&self, hash: KeyHash) -> Option<Version> {
        // Whoever gave one held the shard's lock, which the caller holds now.
        if self.any.load(Ordering::Relaxed) { self.find(hash) } else { None }
    }

    #[cold]
    fn find(&self, hash: KeyHash) -> Option<Version> {
        self.with(hash, |bucket| {
            bucket.iter().flatten().find(|(other, _)| *other == hash).map(|found| found.1)
        })
    }

    /// Promises `ballot`, instead of what was promised before.
    pub(super) fn give(&self, hash: KeyHash, ballot: Version) {
        self.any.store(true, Ordering::Relaxed);
        self.with(hash, |bucket| {
            let rank = |slot: &Option<(KeyHash, Version)>| match slot {
                Some((other, _)) if *other == hash => None,
                Some((_, promised)) => Some(Some(*promised)),
                None => Some(None),
            };
            let slot = bucket.iter_mut().min_by_key(|slot| rank(slot)).expect("a bucket has slots");
            *slot = Some((hash, ballot));
        });
    }

    /// Takes back what was promised: a cell of that version binds as much.
    pub(super) fn redeem(&self, hash: KeyHash) {
        self.with(hash, |bucket| {
            for slot in bucket.iter_mut().filter(|slot| slot.is_some_and(|(other, _)| other == hash)) {
                *slot = None;
            }
        });
    }

    fn with<R>(&self, hash: KeyHash, act: impl FnOnce(&mut Bucket) -> R) -> R {
        let buckets =
            self.buckets.get_or_init(|| (0..self.buckets_count).map(|_| Mutex::default()).collect());
        let bucket = &buckets[(hash.0 % self.buckets_count as u64) as usize];
        act(&mut bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Stamp, WriterId};

    fn ballot(stamp: u64) -> Version {
        Version { stamp: Stamp(stamp), writer: WriterId(1) }
    }

    #[test]
    fn the_lowest_makes_room_and_a_key_has_one() {
        let promises = Promises::new(BUCKET);
        assert_eq!(promises.of(KeyHash(1)), None);
        for key in 0..BUCKET as u64 {
            promises.give(KeyHash(key), ballot(10 + key));
            promises.give(KeyHash(key), ballot(20 + key));
        }
        assert!((0..BUCKET as u64).all(|key| promises.of(KeyHash(key)) == Some(ballot(20 + key))));
        promises.give(KeyHash(99), ballot(5));
        assert_eq!((promises.of(KeyHash(0)), promises.of(KeyHash(99))), (None, Some(ballot(5))));
        promises.redeem(KeyHash(3));
        promises.give(KeyHash(100), ballot(6));
        assert_eq!((promises.of(KeyHash(3)), promises.of(KeyHash(99))), (None, Some(ballot(5))));
    }
}
