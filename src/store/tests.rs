//! The store as its users see it: answers, versions, expiry, memory, scans, and threads at once.
//!
//! Everything here goes through `Store`'s own operations. What a random test did is printed by its seed.

mod expiry;
mod limit;
mod model;
mod replica;
mod scan;
mod shards;
mod threads;
mod together;
mod versions;

use super::{OutOfMemory, Store, Updated};
use crate::config::{ShardCount, StoreConfig};
use crate::hybrid_clock::HybridClock;
use crate::message::{Condition, ExpiryChange};
use crate::operation::{self, Current, Effect};
use crate::types::{Version, WallTime, WriterId};

/// Values in these tests may be this long.
const VALUE_BYTES_MAX: usize = 1 << 20;

fn store(shards: usize, memory_bytes_max: Option<u64>) -> Store {
    let shards = ShardCount::new(shards).unwrap();
    Store::new(&StoreConfig { shards, memory_bytes_max, ..StoreConfig::default() })
}

/// What a key holds, copied out.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    version: Version,
    expires_at: Option<WallTime>,
    value: Vec<u8>,
}

fn get(store: &Store, key: &[u8], now: WallTime) -> Option<Entry> {
    store.get(store.hash(key), key, now, |view| {
        view.map(|view| {
            assert_eq!(view.key(), key);
            let value = view.share().map_or_else(|| view.value().to_vec(), |shared| shared.value().to_vec());
            Entry { version: view.version(), expires_at: view.expires_at(), value }
        })
    })
}

/// One writer's clock at a store, with an operation a line.
struct Writer<'s> {
    store: &'s Store,
    clock: HybridClock,
}

impl<'s> Writer<'s> {
    fn new(store: &'s Store, number: u32) -> Self {
        Self { store, clock: HybridClock::new(WriterId(number)) }
    }

    fn now(&self) -> WallTime {
        self.clock.wall()
    }

    /// Decides by `decide`; a rejection keeps what is there.
    fn update<'v, R>(
        &mut self,
        key: &[u8],
        decide: impl FnOnce(Option<Current<'_>>, WallTime) -> (Effect<'v>, R),
    ) -> Result<Updated<R>, OutOfMemory> {
        let now = self.now();
        let hash = self.store.hash(key);
        self.store.update(hash, key, &mut self.clock, |view| decide(view.map(super::View::current), now))
    }

    fn put_expiring(
        &mut self,
        key: &[u8],
        value: &[u8],
        expiry: ExpiryChange,
    ) -> Result<Option<Version>, OutOfMemory> {
        let decided = |current: Option<Current<'_>>, now| {
            (operation::put(current, value, Condition::Always, expiry, now).unwrap(), ())
        };
        self.update(key, decided).map(|updated| updated.version)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Version, OutOfMemory> {
        let version = self.put_expiring(key, value, ExpiryChange::Clear)?;
        Ok(version.expect("what never expires is stored"))
    }

    fn append(&mut self, key: &[u8], suffix: &[u8]) -> Result<usize, OutOfMemory> {
        let decided = |current: Option<Current<'_>>, _| {
            operation::append(current, suffix, VALUE_BYTES_MAX).expect("bounded by the test")
        };
        self.update(key, decided).map(|updated| updated.answer)
    }

    fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, OutOfMemory> {
        let decided = |current: Option<Current<'_>>, _| operation::increment(current, delta).unwrap();
        self.update(key, decided).map(|updated| updated.answer)
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        let decided = |current: Option<Current<'_>>, _| {
            (operation::remove(current, Condition::Always).unwrap(), current.is_some())
        };
        self.update(key, decided).expect("removing takes no memory").answer
    }
}
