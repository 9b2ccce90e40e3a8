//! The account of the store's memory, and its hard limit.
//!
//! Invariant: what is charged never exceeds the limit; who would exceed it is refused before anything is
//! allocated. It counts cells (rounded to the allocator's size classes) and the tables' slots, nothing else: the
//! buffers of connections have limits of their own.

use std::sync::atomic::{AtomicI64, Ordering};

/// Bytes in use and the bytes that may be.
#[derive(Debug)]
pub(super) struct Memory {
    used: AtomicI64,
    max: AtomicI64,
}

fn signed(bytes_max: Option<u64>) -> i64 {
    bytes_max.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(i64::MAX)
}

/// The limit does not allow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the memory limit is reached: remove keys or raise --memory-max")]
pub struct OutOfMemory;

impl Memory {
    pub(super) fn new(bytes_max: Option<u64>) -> Self {
        Self { used: AtomicI64::new(0), max: AtomicI64::new(signed(bytes_max)) }
    }

    /// The limit; `None`: there is none.
    pub(super) fn bytes_max(&self) -> Option<u64> {
        let max = self.max.load(Ordering::Relaxed);
        if max == i64::MAX { None } else { u64::try_from(max).ok() }
    }

    /// Sets the limit. What is in use beyond it stays, and nothing is added.
    pub(super) fn set_bytes_max(&self, bytes_max: Option<u64>) {
        self.max.store(signed(bytes_max), Ordering::Relaxed);
    }

    /// Charges `bytes`, or refuses. What shrinks or stays is never refused, and what stays costs nothing.
    #[inline]
    pub(super) fn charge(&self, bytes: i64) -> Result<(), OutOfMemory> {
        if bytes <= 0 {
            self.release(-bytes);
            return Ok(());
        }
        let max = self.max.load(Ordering::Relaxed);
        if max == i64::MAX {
            self.release(-bytes);
            return Ok(());
        }
        // Not added and taken back: meanwhile it would be above the limit, and others be refused for no reason.
        let fits = |used: i64| used.checked_add(bytes).filter(|&after| after <= max);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(OutOfMemory),
        }
    }

    /// Gives `bytes` back.
    #[inline]
    pub(super) fn release(&self, bytes: i64) {
        if bytes != 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn used_bytes(&self) -> u64 {
        u64::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0)
    }
}
