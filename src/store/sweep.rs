//! Taking out what is no longer wanted, in bounded steps: expired cells, and whole contents.
//!
//! Invariant: a step looks at about the slots it is told, one shard at a time and each whole, under that shard's lock;
//! a sweeper comes back to every shard of its share. Nothing here is needed for correctness: an expired cell is never
//! shown anyway.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::store::memory::Memory;
use crate::store::table::Taken;
use crate::store::{Store, expired};
use crate::types::WallTime;

/// One worker's walk over its share of the shards.
#[derive(Debug)]
pub struct Sweeper {
    next: usize,
    first: usize,
    stride: usize,
}

impl Sweeper {
    /// Sweeper number `index` of `sweepers` that share the shards.
    #[must_use]
    pub fn new(index: usize, sweepers: usize) -> Self {
        Self { next: index, first: index, stride: sweepers.max(1) }
    }
}

/// Content that was cleared from a store; its memory goes free as it is dropped.
pub struct Garbage {
    taken: Vec<Taken>,
    memory: Arc<Memory>,
}

impl Garbage {
    /// Cells in it.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.taken.iter().map(Taken::cells).sum()
    }
}

impl Drop for Garbage {
    fn drop(&mut self) {
        for taken in self.taken.drain(..) {
            self.memory.release(taken.bytes());
        }
    }
}

impl Store {
    /// Removes expired cells until `slots_max` slots have been looked at or the whole share has been; returns the
    /// cells removed. A shard is swept whole, so the last one may exceed the bound by its size.
    pub fn sweep(&self, sweeper: &mut Sweeper, now: WallTime, slots_max: usize) -> u64 {
        let (mut slots, mut cells) = (0, 0);
        for _ in 0..self.table.shards().div_ceil(sweeper.stride) {
            if slots >= slots_max {
                break;
            }
            let swept = self.table.sweep(sweeper.next, |cell| expired(cell, now));
            self.memory.release(-swept.bytes);
            slots += swept.slots;
            cells += u64::from(swept.cells);
            sweeper.next += sweeper.stride;
            if sweeper.next >= self.table.shards() {
                sweeper.next = sweeper.first;
            }
        }
        cells
    }

    /// Takes everything out. What is dropped later is large: let a thread do it that serves nobody.
    pub fn clear(&self) -> Garbage {
        let taken = (0..self.table.shards()).map(|shard| self.table.take(shard)).collect();
        self.dead.store(0, Ordering::Relaxed);
        Garbage { taken, memory: Arc::clone(&self.memory) }
    }
}
