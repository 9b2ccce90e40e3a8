//! The store: versioned cells in memory, read and changed one key at a time.
//!
//! Invariants: every cell carries a version, and a key's versions only rise; an operation takes one shard's lock (on
//! several keys together: those of their shards, in order) once and decides under it by a pure function
//! (`operation`); what is charged to memory never exceeds the limit; an expired cell is never shown. It opens no
//! socket, starts no thread and reads no clock: `now` is given.
//!
//! A batch goes through three steps, so that its cache misses overlap: [`Store::prefetch_slot`] for each key, then
//! [`Store::prefetch_cell`] for each, then the operations in order.

mod cell;
mod memory;
mod promises;
mod replica;
mod scan;
mod stream;
mod sweep;
mod table;
mod together;

use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use cell::SharedCell;
pub use memory::OutOfMemory;
pub use scan::Page;
pub use sweep::{Garbage, Sweeper};
pub use together::Together;

use crate::config::{PROMISES_MAX, StoreConfig};
use crate::hybrid_clock::HybridClock;
use crate::operation::{Current, Effect, NewValue};
use crate::types::{KeyHash, Stamp, Version, WallTime};
use cell::Cell;
use memory::Memory;
use promises::Promises;
use table::{Entry, Shard, Table};

/// A store of cells, shared by all workers.
pub struct Store {
    table: Table,
    memory: Arc<Memory>,
    promises: Promises,
    seed: u64,
    /// Cells that say that a key was removed or outlived.
    dead: AtomicUsize,
}

/// A live cell, lent under its shard's lock.
#[derive(Clone, Copy)]
pub struct View<'a>(&'a Cell);

impl<'a> View<'a> {
    /// Its version.
    #[inline]
    #[must_use]
    pub fn version(self) -> Version {
        self.0.version()
    }

    /// When it expires, if ever.
    #[inline]
    #[must_use]
    pub fn expires_at(self) -> Option<WallTime> {
        self.0.expires_at()
    }

    /// Its key.
    #[inline]
    #[must_use]
    pub fn key(self) -> &'a [u8] {
        self.0.key()
    }

    /// Its value.
    #[inline]
    #[must_use]
    pub fn value(self) -> &'a [u8] {
        self.0.value()
    }

    /// A handle on a value too long to copy under the lock; `None` if it should be copied.
    #[inline]
    #[must_use]
    pub fn share(self) -> Option<SharedCell> {
        self.0.share()
    }

    /// Bytes it takes, its slot in the table included.
    #[must_use]
    pub fn memory_bytes(self) -> usize {
        self.0.allocated_bytes() + table::SLOT_BYTES
    }

    /// What `operation` decides on.
    #[inline]
    #[must_use]
    pub fn current(self) -> Current<'a> {
        Current { version: self.version(), expires_at: self.expires_at(), value: self.value() }
    }
}

/// What an update left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Updated<R> {
    /// What the decision answered.
    pub answer: R,
    /// The version of the change, or of what was kept; none if the key was not there and still is not.
    pub version: Option<Version>,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(config: &StoreConfig) -> Self {
        Self {
            table: Table::new(config.shards.get(), config.hash_seed),
            memory: Arc::new(Memory::new(config.memory_bytes_max)),
            promises: Promises::new(PROMISES_MAX),
            seed: config.hash_seed,
            dead: AtomicUsize::new(0),
        }
    }

    /// The same, with room for another number of promised ballots.
    #[must_use]
    pub fn with_promises_max(self, promises_max: usize) -> Self {
        Self { promises: Promises::new(promises_max), ..self }
    }

    /// Takes no version up to `fence` from now on, of any key: it may have promised as much in a life before.
    pub fn raise_fence(&self, fence: Stamp) {
        self.promises.raise_fence(fence);
    }

    /// The hash under which `key` is kept.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash::of(key, self.seed)
    }

    /// The seed of its key hashes.
    #[inline]
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Asks for the cache lines of the key's slot; takes no lock.
    #[inline]
    pub fn prefetch_slot(&self, hash: KeyHash) {
        self.table.prefetch_slot(hash);
    }

    /// Asks for the cache lines of the key's cell; waits for those of its slot.
    #[inline]
    pub fn prefetch_cell(&self, hash: KeyHash) {
        self.table.prefetch_cell(hash);
    }

    /// Lends the key's live cell to `read`, under the shard's shared lock.
    #[inline]
    pub fn get<R>(
        &self,
        hash: KeyHash,
        key: &[u8],
        now: WallTime,
        read: impl FnOnce(Option<View<'_>>) -> R,
    ) -> R {
        self.table.read(hash, key, |cell| read(live(cell, now)))
    }

    /// Lets `decide` see the key's live cell and say what becomes of it, all under one exclusive lock.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the effect needs memory beyond the limit; then nothing was changed.
    #[inline]
    pub fn update<'v, R>(
        &self,
        hash: KeyHash,
        key: &[u8],
        clock: &mut HybridClock,
        decide: impl FnOnce(Option<View<'_>>) -> (Effect<'v>, R),
    ) -> Result<Updated<R>, OutOfMemory> {
        self.change(self.table.entry(hash, key), key, clock, decide)
    }

    #[inline]
    fn change<'v, R, G: DerefMut<Target = Shard>>(
        &self,
        entry: Entry<'_, G>,
        key: &[u8],
        clock: &mut HybridClock,
        decide: impl FnOnce(Option<View<'_>>) -> (Effect<'v>, R),
    ) -> Result<Updated<R>, OutOfMemory> {
        let (effect, answer) = decide(live(entry.cell(), clock.wall()));
        let version = match effect {
            Effect::Keep => live(entry.cell(), clock.wall()).map(View::version),
            Effect::Remove => {
                let version = clock.issue_above(entry.last_stamp());
                self.remove(entry, version.stamp);
                Some(version)
            }
            Effect::Store { value, expires_at } => {
                let version = clock.issue_above(entry.last_stamp());
                self.store(entry, key, version, expires_at, value)?;
                Some(version)
            }
        };
        Ok(Updated { answer, version })
    }

    /// The memory limit in bytes; `None`: there is none.
    #[must_use]
    pub fn memory_bytes_max(&self) -> Option<u64> {
        self.memory.bytes_max()
    }

    /// Sets the memory limit. What is kept beyond it stays, and nothing is added.
    pub fn set_memory_bytes_max(&self, bytes_max: Option<u64>) {
        self.memory.set_bytes_max(bytes_max);
    }

    /// Bytes charged: cells and tables.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.memory.used_bytes()
    }

    /// Cells kept, those that expired but were not swept yet among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Cells kept that hold values, those that expired and were not marked so yet among them.
    #[must_use]
    pub fn live_len(&self) -> usize {
        self.len().saturating_sub(self.dead.load(Ordering::Relaxed))
    }

    /// Whether no cell is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn remove<G: DerefMut<Target = Shard>>(&self, entry: Entry<'_, G>, stamp: Stamp) {
        let (cell, table_bytes) = entry.remove(stamp);
        let cell_bytes = cell.as_ref().map_or(0, charged);
        self.memory.release(cell_bytes - table_bytes);
    }

    #[inline]
    fn store<G: DerefMut<Target = Shard>>(
        &self,
        mut entry: Entry<'_, G>,
        key: &[u8],
        version: Version,
        expires_at: Option<WallTime>,
        value: NewValue<'_>,
    ) -> Result<(), OutOfMemory> {
        let mut digits = itoa::Buffer::new();
        let present_bytes = entry.cell().map_or(0, |cell| cell.value().len());
        let (kept_bytes, added) = match value {
            NewValue::Bytes(bytes) => (0, bytes),
            NewValue::Appended(suffix) => (present_bytes, suffix),
            NewValue::Unchanged => (present_bytes, &[][..]),
            NewValue::Integer(number) => (0, digits.format(number).as_bytes()),
        };
        if let Some(cell) = entry.cell_mut()
            && cell.change_in_place(version, expires_at, kept_bytes, added)
        {
            return Ok(());
        }
        let before = entry.cell().map_or(0, charged);
        let value_bytes = kept_bytes + added.len();
        let needed = cell::allocated_bytes(key.len(), value_bytes, expires_at.is_some()) as i64 - before;
        let growth = entry.growth_bytes();
        self.memory.charge(needed + growth)?;
        let kept = entry.cell().map_or(&[][..], |cell| &cell.value()[..kept_bytes]);
        let cell = Cell::new(version, expires_at, key, kept, added);
        let (replaced, grown) = entry.put(cell);
        self.memory.release(growth - grown);
        drop(replaced);
        Ok(())
    }
}

#[inline]
fn charged(cell: &Cell) -> i64 {
    cell.allocated_bytes() as i64
}

#[inline]
fn live(cell: Option<&Cell>, now: WallTime) -> Option<View<'_>> {
    cell.filter(|cell| is_live(cell, now)).map(View)
}

/// Whether it holds a value that has not expired.
#[inline]
fn is_live(cell: &Cell, now: WallTime) -> bool {
    cell.lives_for_ever() || (cell.death().is_none() && !expired(cell, now))
}

#[inline]
fn expired(cell: &Cell, now: WallTime) -> bool {
    cell.expires_at().is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests;
