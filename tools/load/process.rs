//! The processor time of processes: others' from `/proc`, our own from the kernel's clock.
//!
//! The scheduler's nanoseconds of each thread where the kernel keeps them and the same threads are there at both ends;
//! the whole process's user and system ticks (10 ms as a rule) where not. Invariant: a difference is never negative.
//! It does not sample by itself and does not say what the time was spent on.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

/// Nanoseconds of a tick: the kernel reports `USER_HZ`, 100 on every Linux platform that Rust knows.
const TICK_NS: u64 = 10_000_000;

/// The process's time could not be read. The caller's fault: no such process, or not ours to see.
#[derive(Debug, Error)]
#[error("cannot read the processor time of process {pid}: {source}")]
pub(crate) struct Unreadable {
    pid: u32,
    source: io::Error,
}

/// A reading of a process's processor time.
#[derive(Debug, PartialEq, Eq)]
struct ProcessTime {
    /// User and system time of the process, in ticks.
    ticks: u64,
    /// Thread and nanoseconds on a processor, by thread; empty where the kernel does not keep them.
    threads: Vec<(u32, u64)>,
}

impl ProcessTime {
    /// Reads it now.
    fn of(pid: u32) -> Result<Self, Unreadable> {
        Self::read(pid).map_err(|source| Unreadable { pid, source })
    }

    fn read(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let ticks = ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            let thread = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A thread may end while we look: it is then missing, and the ticks serve instead.
            let schedstat = fs::read_to_string(entry.path().join("schedstat")).ok();
            if let Some((thread, spent_ns)) = thread.zip(schedstat.as_deref().and_then(on_processor_ns)) {
                threads.push((thread, spent_ns));
            }
        }
        Ok(Self { ticks, threads })
    }

    /// Nanoseconds of processor time from `earlier` to this reading.
    fn nanos_since(&self, earlier: &Self) -> u64 {
        self.thread_nanos_since(earlier).unwrap_or(self.ticks.saturating_sub(earlier.ticks) * TICK_NS)
    }

    /// The same from the threads' own sums; `None` if a thread has gone or the kernel keeps none.
    fn thread_nanos_since(&self, earlier: &Self) -> Option<u64> {
        if earlier.threads.is_empty() || self.threads.iter().all(|&(_, spent_ns)| spent_ns == 0) {
            return None;
        }
        let spent_ns = |threads: &[(u32, u64)]| threads.iter().map(|&(_, spent_ns)| spent_ns).sum::<u64>();
        let all_there = earlier.threads.iter().all(|&(thread, before_ns)| {
            self.threads.iter().any(|&(id, now_ns)| id == thread && now_ns >= before_ns)
        });
        all_there.then(|| spent_ns(&self.threads) - spent_ns(&earlier.threads))
    }
}

/// A moment between which and another processor times are measured.
pub(crate) struct Moment {
    pub(crate) at: Instant,
    /// Those of the servers, as far as they were asked for.
    servers: Vec<ProcessTime>,
    own: Duration,
}

impl Moment {
    /// Reads the times of the processes `server_pids`, and our own.
    pub(crate) fn now(server_pids: &[u32]) -> Result<Self, Unreadable> {
        let servers = server_pids.iter().map(|pid| ProcessTime::of(*pid)).collect::<Result<_, _>>()?;
        let own = clock_gettime(ClockId::ProcessCPUTime);
        let own = Duration::new(own.tv_sec.unsigned_abs(), u32::try_from(own.tv_nsec).unwrap_or(0));
        Ok(Self { at: Instant::now(), servers, own })
    }

    /// Nanoseconds that all servers spent since `earlier`; `None` if they were not read at both.
    pub(crate) fn server_nanos_since(&self, earlier: &Self) -> Option<u64> {
        let known = !self.servers.is_empty() && self.servers.len() == earlier.servers.len();
        let each = self.servers.iter().zip(&earlier.servers).map(|(now, then)| now.nanos_since(then));
        known.then(|| each.sum())
    }

    /// Nanoseconds that we spent ourselves since `earlier`, threads that have ended included.
    pub(crate) fn own_nanos_since(&self, earlier: &Self) -> u64 {
        u64::try_from(self.own.saturating_sub(earlier.own).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// User and system ticks from a `stat` line: fields 14 and 15, counted behind the name, which may contain anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Nanoseconds on a processor: the first number of a `schedstat` line.
fn on_processor_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "5141 (a ) (b) R 5137 5137 3912 0 -1 4194304 2845 6491 0 0 297 2 3 5 20 0 1 0 79325 16961536";

    #[test]
    fn ticks_are_found_behind_any_name() {
        assert_eq!(ticks(STAT), Some(299));
        assert_eq!(ticks("1 (x) R 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn schedstat_lines() {
        assert_eq!(on_processor_ns("2994911379 2322059 29\n"), Some(2_994_911_379));
        assert_eq!(on_processor_ns(""), None);
    }

    #[test]
    fn threads_are_summed_and_new_ones_count_from_zero() {
        let before = ProcessTime { ticks: 0, threads: vec![(1, 100), (2, 200)] };
        let after = ProcessTime { ticks: 9, threads: vec![(1, 150), (2, 200), (3, 7)] };
        assert_eq!(after.nanos_since(&before), 57);
    }

    #[test]
    fn ticks_serve_when_a_thread_has_gone_or_none_is_counted() {
        let before = ProcessTime { ticks: 1, threads: vec![(1, 100), (2, 200)] };
        let after = ProcessTime { ticks: 9, threads: vec![(1, 150)] };
        assert_eq!(after.nanos_since(&before), 8 * TICK_NS);
        let uncounted = ProcessTime { ticks: 9, threads: vec![(1, 0)] };
        assert_eq!(uncounted.nanos_since(&ProcessTime { ticks: 8, threads: vec![(1, 0)] }), TICK_NS);
    }

    #[test]
    fn our_own_time_is_the_same_either_way() {
        let pid = [std::process::id()];
        let before = Moment::now(&pid).unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        let after = Moment::now(&pid).unwrap();
        let own_ns = after.own_nanos_since(&before);
        assert!((1_000_000..60_000_000_000).contains(&own_ns), "{own_ns}");
        assert!(after.server_nanos_since(&before).is_some());
        assert!(Moment::now(&[]).unwrap().server_nanos_since(&before).is_none());
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = ProcessTime::of(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("4294967295"), "{error}");
    }
}
