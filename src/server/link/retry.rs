//! How long a link that failed is left alone.
//!
//! Invariant: each pause is about twice the one before, up to a bound, and no two links keep step: each takes between
//! half of its pause and all of it ("equal jitter" in Brooker, "Exponential Backoff and Jitter", AWS Architecture
//! Blog, 2015).

use std::time::Duration;

use crate::config::link::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};

/// The failures of one link since it was up.
pub(super) struct Retry {
    /// The next pause, at most.
    next: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { next: RETRY_PAUSE_MIN }
    }
}

impl Retry {
    /// The pause after one more failure.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(RETRY_PAUSE_MAX);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Begins anew.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew() {
        let mut retry = Retry::default();
        let mut expected = RETRY_PAUSE_MIN;
        for _ in 0..10 {
            let pause = retry.pause();
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} of {expected:?}");
            expected = (expected * 2).min(RETRY_PAUSE_MAX);
        }
        assert_eq!(expected, RETRY_PAUSE_MAX);
        retry.forget();
        assert!(retry.pause() <= RETRY_PAUSE_MIN);
    }
}
