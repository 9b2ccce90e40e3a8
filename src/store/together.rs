//! Several keys at once: while their places are held together, nobody sees one of them changed and another not yet.
//!
//! Invariant: the shards are locked in their order and all at once, so that two callers never wait for each other; who
//! holds places takes no other lock of the store.

use crate::operation::{Effect, NewValue};
use crate::store::table::Locked;
use crate::store::{HybridClock, OutOfMemory, Store, Updated, View, live};
use crate::types::{KeyHash, WallTime};

/// The places of several keys, locked.
pub struct Together<'s> {
    store: &'s Store,
    locked: Locked<'s>,
}

impl Store {
    /// Locks the places of the keys of these hashes.
    pub fn together(&self, hashes: impl Iterator<Item = KeyHash>) -> Together<'_> {
        Together { store: self, locked: self.table.lock_all(hashes) }
    }
}

impl Together<'_> {
    /// Lends the key's live cell to `read`.
    ///
    /// # Panics
    /// If the key's hash was not among those locked, here and below.
    pub fn get<R>(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        now: WallTime,
        read: impl FnOnce(Option<View<'_>>) -> R,
    ) -> R {
        read(live(self.locked.entry(hash, key).cell(), now))
    }

    /// Changes a key as [`Store::update`] does.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the effect needs memory beyond the limit; then nothing was changed.
    pub fn update<'v, R>(
        &mut self,
        hash: KeyHash,
        key: &[u8],
        clock: &mut HybridClock,
        decide: impl FnOnce(Option<View<'_>>) -> (Effect<'v>, R),
    ) -> Result<Updated<R>, OutOfMemory> {
        self.store.change(self.locked.entry(hash, key), key, clock, decide)
    }

    /// Gives every key its value if none of them is there; says whether it did. Of a key that comes twice the last
    /// value stays.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the limit does not allow it all; then nothing was changed.
    pub fn put_all_if_none<'v>(
        &mut self,
        pairs: impl Iterator<Item = (KeyHash, &'v [u8], &'v [u8])> + Clone,
        clock: &mut HybridClock,
    ) -> Result<bool, OutOfMemory> {
        let now = clock.wall();
        for (hash, key, _) in pairs.clone() {
            if self.get(hash, key, now, |view| view.is_some()) {
                return Ok(false);
            }
        }
        for (done, (hash, key, value)) in pairs.clone().enumerate() {
            let effect = Effect::Store { value: NewValue::Bytes(value), expires_at: None };
            if let Err(out_of_memory) = self.update(hash, key, clock, |_| (effect, ())) {
                // The locks are still held: nobody has seen the keys that were put.
                for (hash, key, _) in pairs.take(done) {
                    self.update(hash, key, clock, |_| (Effect::Remove, ()))?;
                }
                return Err(out_of_memory);
            }
        }
        Ok(true)
    }
}
