//! What one worker counts and times; merged on demand.
//!
//! Invariant: a recorder belongs to one thread, so recording takes no lock and no atomic. Latencies are kept as
//! HDR histograms and merged as such; percentiles are computed last and never averaged. It names nothing: whoever
//! owns the operations knows what they are called.

mod latencies;
mod stages;

use crate::types::Level;

pub use latencies::Latencies;
pub use stages::{LeveledStages, Stage, Stages, Timing};

/// Why a request was answered with an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum ErrorKind {
    /// The bytes were no request.
    Protocol,
    /// No such command, or not with these arguments.
    Command,
    /// The key's state did not allow it.
    State,
    /// A key or value beyond its limit.
    TooLarge,
    /// The memory limit.
    OutOfMemory,
    /// Too many connections, or too much buffered for one or all of them.
    Overloaded,
    /// Too few replicas: surely nothing was changed.
    Unavailable,
    /// It is not known whether it took effect.
    Unknown,
}

impl ErrorKind {
    /// All kinds, in the order of their counters.
    pub const ALL: [Self; 8] = [
        Self::Protocol,
        Self::Command,
        Self::State,
        Self::TooLarge,
        Self::OutOfMemory,
        Self::Overloaded,
        Self::Unavailable,
        Self::Unknown,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Command => "command",
            Self::State => "state",
            Self::TooLarge => "too_large",
            Self::OutOfMemory => "out_of_memory",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
        }
    }
}

/// One operation's counts and latencies.
#[derive(Clone, Debug, Default)]
pub struct Operation {
    /// Requests answered.
    pub count: u64,
    /// Those answered with an error.
    pub errors: u64,
    /// From the turn in which a request was read to the answer's hand-over to the kernel.
    pub latencies: Latencies,
    /// Requests of the current turn, not yet among the latencies.
    pending: u32,
}

impl Operation {
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.latencies.merge(&other.latencies);
    }
}

/// Totals of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections turned away at the limit.
    pub connections_refused: u64,
    /// Connections that this worker accepted and another serves.
    pub connections_handed_over: u64,
    /// Connections closed at a deadline.
    pub connections_timed_out: u64,
    /// Bytes read from clients.
    pub bytes_read: u64,
    /// Bytes written to clients.
    pub bytes_written: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys removed because they expired.
    pub expired: u64,
    /// Turns of the event loop.
    pub turns: u64,
    /// Bytes that connections have buffered, both ways: a gauge.
    pub buffered_bytes: u64,
}

/// The counters and histograms of one worker, or of several merged.
#[derive(Debug)]
pub struct Recorder {
    operations: Vec<Operation>,
    errors: [u64; ErrorKind::ALL.len()],
    touched: Vec<u16>,
    /// The totals.
    pub totals: Totals,
    /// Where the time of replicated requests goes.
    pub stages: LeveledStages,
    /// What parts of a worker count by themselves: of all workers the same names in the same order.
    pub counters: Vec<(&'static str, u64)>,
}

impl Recorder {
    /// A recorder of `operations` operations, known by their numbers.
    #[must_use]
    pub fn new(operations: usize) -> Self {
        Self {
            operations: vec![Operation::default(); operations],
            errors: [0; ErrorKind::ALL.len()],
            touched: Vec::with_capacity(operations),
            totals: Totals::default(),
            stages: LeveledStages::new(operations),
            counters: Vec::new(),
        }
    }

    /// All of it, but for the stages if those are not wanted: they take much more room than all the rest.
    #[must_use]
    pub fn copy(&self, with_stages: bool) -> Self {
        let stages = if with_stages { self.stages.clone() } else { LeveledStages::new(0) };
        let Self { ref operations, errors, totals, ref counters, .. } = *self;
        let (operations, counters) = (operations.clone(), counters.clone());
        Self { operations, errors, touched: Vec::new(), totals, stages, counters }
    }

    /// Counts one request of the current turn; its latency is recorded when the turn ends.
    #[inline]
    pub fn count(&mut self, operation: u16) {
        let entry = &mut self.operations[usize::from(operation)];
        if entry.pending == 0 {
            self.touched.push(operation);
        }
        entry.pending += 1;
    }

    /// Counts an error of `kind`, and for `operation` if there is one.
    #[cold]
    pub fn error(&mut self, kind: ErrorKind, operation: Option<u16>) {
        self.errors[kind as usize] += 1;
        if let Some(operation) = operation {
            self.operations[usize::from(operation)].errors += 1;
        }
    }

    /// Ends a turn: all requests counted in it took `elapsed_ns` nanoseconds.
    #[inline]
    pub fn finish_turn(&mut self, elapsed_ns: u64) {
        for operation in self.touched.drain(..) {
            let entry = &mut self.operations[usize::from(operation)];
            let count = u64::from(std::mem::take(&mut entry.pending));
            entry.count += count;
            entry.latencies.record_many(elapsed_ns, count);
        }
    }

    /// Counts one request that took its time over several turns; its stages, if it has a level.
    pub fn record(&mut self, operation: u16, level: Option<Level>, timing: &Timing) {
        let entry = &mut self.operations[usize::from(operation)];
        entry.count += 1;
        entry.latencies.record(timing.queue_ns + timing.replicas_ns + timing.flush_ns);
        if let Some(level) = level {
            self.stages.record(operation, level, timing);
        }
    }

    /// Adds what another recorder counted.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.operations.iter_mut().zip(&other.operations) {
            ours.merge(theirs);
        }
        for (ours, theirs) in self.errors.iter_mut().zip(other.errors) {
            *ours += theirs;
        }
        let (ours, theirs) = (&mut self.totals, other.totals);
        ours.connections_accepted += theirs.connections_accepted;
        ours.connections_refused += theirs.connections_refused;
        ours.connections_handed_over += theirs.connections_handed_over;
        ours.connections_timed_out += theirs.connections_timed_out;
        ours.bytes_read += theirs.bytes_read;
        ours.bytes_written += theirs.bytes_written;
        ours.hits += theirs.hits;
        ours.misses += theirs.misses;
        ours.expired += theirs.expired;
        ours.turns += theirs.turns;
        ours.buffered_bytes += theirs.buffered_bytes;
        self.stages.merge(&other.stages);
        for ((_, ours), (_, theirs)) in self.counters.iter_mut().zip(&other.counters) {
            *ours += theirs;
        }
    }

    /// The operations, by number.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Errors of a kind.
    #[must_use]
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize]
    }

    /// Requests answered, of all operations.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.operations.iter().map(|operation| operation.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_stamps_all_its_requests() {
        let mut recorder = Recorder::new(3);
        recorder.count(1);
        recorder.count(1);
        recorder.count(2);
        assert_eq!(recorder.requests(), 0, "not before the turn ends");
        recorder.finish_turn(1_000);
        assert_eq!(recorder.operations()[1].count, 2);
        assert_eq!(recorder.operations()[0].latencies.at_quantile_ns(0.5), 0);
        let p50_ns = recorder.operations()[1].latencies.at_quantile_ns(0.5);
        assert!((990..=1_010).contains(&p50_ns), "{p50_ns}");
    }

    #[test]
    fn merging_merges_histograms_not_percentiles() {
        let (mut fast, mut slow) = (Recorder::new(1), Recorder::new(1));
        for _ in 0..98 {
            fast.count(0);
            fast.finish_turn(100);
        }
        for _ in 0..2 {
            slow.count(0);
            slow.finish_turn(1_000_000);
        }
        slow.error(ErrorKind::State, Some(0));
        fast.merge(&slow);
        let merged = &fast.operations()[0];
        assert_eq!((merged.count, merged.errors, fast.errors(ErrorKind::State)), (100, 1, 1));
        assert!(
            merged.latencies.at_quantile_ns(0.5) < 110 && merged.latencies.at_quantile_ns(0.99) > 990_000
        );
    }
}
