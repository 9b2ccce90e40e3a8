//! The settings that CONFIG SET changes while the node runs.
//!
//! Invariant: each is one atomic that is read without a lock and without order: whoever reads one a moment after it was
//! changed may still see what it was. The memory limit is the store's own.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::{Limits, SLOW_LOG_ENTRIES_DEFAULT, SLOW_LOG_THRESHOLD_DEFAULT};

/// What can be changed, besides the memory limit.
pub(crate) struct Settings {
    connections_max: AtomicUsize,
    /// 0: never.
    idle_timeout_ms: AtomicU64,
    /// Negative: nothing is logged.
    slow_threshold_us: AtomicI64,
    slow_entries_max: AtomicUsize,
}

impl Settings {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections_max: AtomicUsize::new(limits.connections_max),
            idle_timeout_ms: AtomicU64::new(limits.idle_timeout.map_or(0, milliseconds)),
            slow_threshold_us: AtomicI64::new(SLOW_LOG_THRESHOLD_DEFAULT.as_micros() as i64),
            slow_entries_max: AtomicUsize::new(SLOW_LOG_ENTRIES_DEFAULT),
        }
    }

    pub(crate) fn connections_max(&self) -> usize {
        self.connections_max.load(Ordering::Relaxed)
    }

    pub(crate) fn set_connections_max(&self, connections: usize) {
        self.connections_max.store(connections, Ordering::Relaxed);
    }

    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        let timeout_ms = self.idle_timeout_ms.load(Ordering::Relaxed);
        (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms))
    }

    /// Zero: never.
    pub(crate) fn set_idle_timeout(&self, timeout: Duration) {
        self.idle_timeout_ms.store(milliseconds(timeout), Ordering::Relaxed);
    }

    /// Commands that take longer than this many microseconds are logged; negative: none is.
    pub(crate) fn slow_threshold_us(&self) -> i64 {
        self.slow_threshold_us.load(Ordering::Relaxed)
    }

    pub(crate) fn set_slow_threshold_us(&self, threshold_us: i64) {
        self.slow_threshold_us.store(threshold_us, Ordering::Relaxed);
    }

    /// Entries that each worker's log keeps.
    pub(crate) fn slow_entries_max(&self) -> usize {
        self.slow_entries_max.load(Ordering::Relaxed)
    }

    pub(crate) fn set_slow_entries_max(&self, entries: usize) {
        self.slow_entries_max.store(entries, Ordering::Relaxed);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
