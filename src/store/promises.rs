//! Promised ballots: a key's replica that has promised one takes no lower version, from anybody.
//!
//! Invariants: a promise is looked at and given under the lock of its key's shard, so that nothing slips in between;
//! there is room for a fixed number. The lowest of a bucket makes room for the next, and binds every key of the bucket
//! from then on: what was promised once is never undercut, or a change that only a minority has accepted could outrank
//! one that was agreed on later. Kept by hash: two keys of one hash share a promise, and take turns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::types::{KeyHash, Stamp, Version, WriterId};

/// Promises that share a lock, and compete for room.
const BUCKET: usize = 8;

#[derive(Default)]
struct Bucket {
    promises: [Option<(KeyHash, Version)>; BUCKET],
    /// What all its keys are bound by.
    floor: Option<Version>,
}

/// All of a node's.
pub(super) struct Promises {
    /// Whether any was ever given: most nodes never do.
    any: AtomicBool,
    buckets: OnceLock<Box<[Mutex<Bucket>]>>,
    buckets_count: usize,
    /// The stamp that all keys are bound by.
    fence: AtomicU64,
}

impl Promises {
    /// Room for about so many.
    pub(super) fn new(count_max: usize) -> Self {
        let buckets_count = (count_max / BUCKET).max(1);
        Self {
            any: AtomicBool::new(false),
            buckets: OnceLock::new(),
            buckets_count,
            fence: AtomicU64::new(0),
        }
    }

    /// Binds all keys: none takes a version up to this stamp from now on.
    pub(super) fn raise_fence(&self, fence: Stamp) {
        self.fence.fetch_max(fence.0, Ordering::Relaxed);
        self.any.store(true, Ordering::Relaxed);
    }

    /// What keys of this hash are bound by.
    #[inline]
    pub(super) fn binding(&self, hash: KeyHash) -> Option<Version> {
        // Whoever gave one held the shard's lock, which the caller holds now.
        if self.any.load(Ordering::Relaxed) { self.find(hash) } else { None }
    }

    #[cold]
    fn find(&self, hash: KeyHash) -> Option<Version> {
        let fence = Stamp(self.fence.load(Ordering::Relaxed));
        let fence = (fence.0 > 0).then_some(Version { stamp: fence, writer: WriterId(u32::MAX) });
        self.with(hash, |bucket| bucket.promised(hash).max(bucket.floor)).max(fence)
    }

    /// Whether this very ballot is promised, and known to be.
    pub(super) fn is_promised(&self, hash: KeyHash, ballot: Version) -> bool {
        self.with(hash, |bucket| bucket.promised(hash) == Some(ballot))
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
            let slot = bucket.promises.iter_mut().min_by_key(|slot| rank(slot)).expect("a bucket has slots");
            let forgotten = slot.filter(|(other, _)| *other != hash).map(|(_, promised)| promised);
            *slot = Some((hash, ballot));
            bucket.floor = bucket.floor.max(forgotten);
        });
    }

    /// Takes back what was promised: a cell of that version binds as much.
    pub(super) fn redeem(&self, hash: KeyHash) {
        self.with(hash, |bucket| {
            for slot in bucket.promises.iter_mut().filter(|slot| slot.is_some_and(|(other, _)| other == hash))
            {
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

impl Bucket {
    fn promised(&self, hash: KeyHash) -> Option<Version> {
        self.promises.iter().flatten().find(|(other, _)| *other == hash).map(|found| found.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballot(stamp: u64) -> Version {
        Version { stamp: Stamp(stamp), writer: WriterId(1) }
    }

    #[test]
    fn the_lowest_makes_room_and_binds_the_others_from_then_on() {
        let promises = Promises::new(BUCKET);
        let holds = |key: u64, stamp| promises.is_promised(KeyHash(key), ballot(stamp));
        assert_eq!(promises.binding(KeyHash(1)), None);
        for key in 0..BUCKET as u64 {
            promises.give(KeyHash(key), ballot(10 + key));
            promises.give(KeyHash(key), ballot(20 + key));
        }
        assert!((0..BUCKET as u64).all(|key| holds(key, 20 + key)));
        promises.give(KeyHash(99), ballot(50));
        assert!(!holds(0, 20) && holds(99, 50) && holds(1, 21));
        assert_eq!(promises.binding(KeyHash(0)), Some(ballot(20)), "it is bound by what was forgotten");
        assert_eq!(promises.binding(KeyHash(1)), Some(ballot(21)));
        promises.redeem(KeyHash(3));
        assert_eq!(promises.binding(KeyHash(3)), Some(ballot(20)));
        promises.raise_fence(Stamp(40));
        assert!(
            promises.binding(KeyHash(3)) > Some(ballot(40))
                && promises.binding(KeyHash(3)) < Some(ballot(41))
        );
        assert!(promises.binding(KeyHash(99)) == Some(ballot(50)) && holds(99, 50));
    }
}
