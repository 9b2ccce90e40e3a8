//! The only place that reads clocks.
//!
//! Invariant: monotonic time never goes back; wall time may, and whoever uses it expects that. Everything else is
//! given the time as an argument.
#![allow(clippy::disallowed_methods)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::types::{Timestamp, WallTime};

/// The clocks of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// Monotonic time counts from here.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Monotonic time since the start.
    #[inline]
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Wall-clock time; a clock set before 1970 reads as 1970.
    #[inline]
    pub(crate) fn wall(&self) -> WallTime {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Waits, on a thread that has nothing else to do.
pub(crate) fn pause(duration: std::time::Duration) {
    // Whoever joins a cluster has nothing to do until it is time to ask again.
    std::thread::sleep(duration);
}
