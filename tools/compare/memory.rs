//! The resident set of a process, and bytes per entry from several of them.
//!
//! Tables grow in steps, so that one count of entries flatters or slanders: bytes per entry are the mean over
//! several counts. Invariant: a resident set is taken only once it has stopped changing.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use serde::Serialize;

/// Between two looks at the resident set.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
/// Looks in a row that must agree, to within [`SETTLED_BYTES`].
const SETTLE_LOOKS: usize = 3;
/// Looks after which it is taken as it is.
const SETTLE_LOOKS_MAX: usize = 50;
/// Changes below this are noise.
const SETTLED_BYTES: u64 = 64 * 1024;

/// What a server holds at several counts of entries.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    /// Resident set before the first entry.
    pub(crate) empty_bytes: u64,
    /// Count of entries, and the resident set with them.
    pub(crate) loaded: Vec<Loaded>,
}

/// A resident set with entries.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Loaded {
    pub(crate) entries: u64,
    pub(crate) resident_bytes: u64,
}

impl Memory {
    /// The mean of bytes per entry over all counts.
    pub(crate) fn bytes_per_entry(&self) -> f64 {
        let each = self.loaded.iter().map(|loaded| {
            loaded.resident_bytes.saturating_sub(self.empty_bytes) as f64 / loaded.entries.max(1) as f64
        });
        each.sum::<f64>() / self.loaded.len().max(1) as f64
    }
}

/// The resident set of `pid` once it has settled, in bytes.
pub(crate) fn settled_resident_bytes(pid: u32) -> io::Result<u64> {
    let mut last = resident_bytes(pid)?;
    let mut agreed = 0;
    for _ in 0..SETTLE_LOOKS_MAX {
        // No event tells that an allocator or a table has come to rest: look again later.
        thread::sleep(SETTLE_PAUSE);
        let now = resident_bytes(pid)?;
        agreed = if now.abs_diff(last) < SETTLED_BYTES { agreed + 1 } else { 0 };
        last = now;
        if agreed == SETTLE_LOOKS {
            break;
        }
    }
    Ok(last)
}

fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_resident_bytes(&status).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The line `VmRSS:  1234 kB` of a `status` file.
fn parse_resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        assert_eq!(
            parse_resident_bytes("Name:\tx\nVmRSS:\t   13496 kB\nVmSwap:\t0 kB\n"),
            Some(13_496 * 1024)
        );
        assert_eq!(parse_resident_bytes("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn bytes_per_entry_are_a_mean_over_counts() {
        let memory = Memory {
            empty_bytes: 1000,
            loaded: vec![
                Loaded { entries: 10, resident_bytes: 2000 },
                Loaded { entries: 20, resident_bytes: 5000 },
            ],
        };
        assert!((memory.bytes_per_entry() - 150.0).abs() < 1e-9);
    }
}
