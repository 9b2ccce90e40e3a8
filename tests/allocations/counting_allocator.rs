//! The system's allocator, counting: what each thread takes, and what all threads but exempted ones take.
//!
//! Invariant: counting allocates nothing. A reallocation counts as an allocation: it may be one. It counts through
//! the system's allocator, the binary serves through mimalloc; how often it is asked is the same.
#![allow(unsafe_code, reason = "to count allocations is to be an allocator; all else is forwarded")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) struct Counting;

thread_local! {
    static ALLOCATED_BYTES: Cell<usize> = const { Cell::new(0) };
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

/// Sizes, in bytes, that are told apart; longer allocations count as the last.
pub(crate) const SIZES: usize = 1 << 14;

/// Allocations of the threads that are not exempt, by size, of alignment 8 at most.
static NARROW: [AtomicU64; SIZES] = [const { AtomicU64::new(0) }; SIZES];
/// The same of alignment 16 and more, which is what tables ask for.
static ALIGNED: [AtomicU64; SIZES] = [const { AtomicU64::new(0) }; SIZES];

/// How many allocations there were, by size.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) narrow: Vec<u64>,
    pub(crate) aligned: Vec<u64>,
}

impl Counts {
    /// What was counted so far.
    pub(crate) fn now() -> Self {
        let read = |counts: &[AtomicU64]| counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        Self { narrow: read(&NARROW), aligned: read(&ALIGNED) }
    }

    /// What was counted since.
    pub(crate) fn since(&self) -> Self {
        let less = |now: Vec<u64>, then: &[u64]| now.iter().zip(then).map(|(now, then)| now - then).collect();
        let now = Self::now();
        Self { narrow: less(now.narrow, &self.narrow), aligned: less(now.aligned, &self.aligned) }
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.narrow.iter().chain(&self.aligned).sum()
    }

    /// Sizes and counts, for a report.
    pub(crate) fn describe(&self) -> String {
        let list = |counts: &[u64]| {
            let some = counts.iter().enumerate().filter(|&(_, &count)| count > 0);
            some.map(|(bytes, count)| format!("{count} of {bytes} bytes")).collect::<Vec<_>>().join(", ")
        };
        format!("aligned to 8: [{}]; to 16: [{}]", list(&self.narrow), list(&self.aligned))
    }
}

/// What this thread allocates is its own business from now on.
pub(crate) fn exempt_this_thread() {
    EXEMPT.set(true);
}

/// Bytes that this thread allocates in `work`.
pub(crate) fn allocated_bytes(work: impl FnOnce()) -> usize {
    let before = ALLOCATED_BYTES.get();
    work();
    ALLOCATED_BYTES.get() - before
}

fn count(layout: Layout) {
    ALLOCATED_BYTES.set(ALLOCATED_BYTES.get() + layout.size());
    if !EXEMPT.get() {
        let counts = if layout.align() > 8 { &ALIGNED } else { &NARROW };
        counts[layout.size().min(SIZES - 1)].fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: every call is forwarded as it is; the counters are plain cells and atomics that allocate nothing. Zeroed
// memory and reallocation are the trait's own, which call `alloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}
