//! Time, as people who wait for other processes have it.
//!
//! Invariant: nothing else of the command line reads a clock or sleeps. What other processes have come to can only be
//! asked for, again and again.
#![expect(
    clippy::disallowed_methods,
    reason = "a person waits here, for other processes: there is nothing to simulate"
)]

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long to pause before asking again.
const PAUSE: Duration = Duration::from_millis(20);

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

/// Asks until there is an answer, for so long; at least once.
pub(super) fn ask<T>(within: Duration, mut asked: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = now() + within;
    loop {
        let answer = asked();
        if answer.is_some() || now() >= deadline {
            return answer;
        }
        pause(PAUSE);
    }
}
