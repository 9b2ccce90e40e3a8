//! Time, as people who wait for other processes have it.
//!
//! Invariant: nothing else of the command line reads a clock or sleeps.
#![expect(
    clippy::disallowed_methods,
    reason = "a person waits here, for other processes: there is nothing to simulate"
)]

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time of day in UTC: hours, minutes, seconds, milliseconds.
pub(super) fn time_of_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (now.as_secs() % 86_400, now.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

pub(super) fn now() -> Instant {
    Instant::now()
}

/// Does nothing for so long.
pub(super) fn pause(time: Duration) {
    thread::sleep(time); // What is waited for happens in other processes.
}
