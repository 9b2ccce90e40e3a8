//! Log lines about who was refused at the port for nodes.
//!
//! Invariant: whatever strangers do, so many lines a second are logged at most; what was left out is counted, and told
//! with the next line, whenever that comes.

use std::fmt::Display;

use crate::config::link::COMPLAINTS_A_SECOND_MAX;
use crate::types::Timestamp;

/// The complaints of one thread.
#[derive(Default)]
pub(crate) struct Complaints {
    second: u64,
    told: u32,
    left_out: u64,
}

impl Complaints {
    /// Logs that a link of `whom` was closed, and why.
    #[cold]
    pub(crate) fn tell(&mut self, now: Timestamp, whom: &str, why: &dyn Display) {
        let Some(left_out) = self.admit(now) else { return };
        match left_out {
            0 => tracing::warn!("closed a link of {whom}: {why}"),
            _ => tracing::warn!("closed a link of {whom}: {why}; and {left_out} more that were not logged"),
        }
    }

    /// How many were left out before this one; `None` if this one is as well.
    fn admit(&mut self, now: Timestamp) -> Option<u64> {
        let second = now.0 / 1_000_000_000;
        if second != self.second {
            (self.second, self.told) = (second, 0);
        }
        if self.told >= COMPLAINTS_A_SECOND_MAX {
            self.left_out += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_are_told_and_the_others_counted() {
        let mut complaints = Complaints::default();
        let at = |ms: u64| Timestamp(ms * 1_000_000);
        let told = (0..100).filter(|_| complaints.admit(at(500)).is_some()).count();
        assert_eq!(told, COMPLAINTS_A_SECOND_MAX as usize);
        assert_eq!(complaints.admit(at(999)), None);
        assert_eq!(complaints.admit(at(1_000)), Some(101 - u64::from(COMPLAINTS_A_SECOND_MAX)));
        assert_eq!(complaints.admit(at(1_000)), Some(0));
    }
}
