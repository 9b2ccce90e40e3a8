//! What one worker counts and times; merged on demand.
//!
//! Invariant: a recorder belongs to one thread, so recording takes no lock and no atomic. Latencies are kept as
//! HDR histograms and merged as such; percentiles are computed last and never averaged. It names nothing: whoever
//! owns the operations knows what they are called.

use hdrhistogram::Histogram;

/// Latencies are told apart to this many significant digits.
const SIGNIFICANT_DIGITS: u8 = 2;

/// Longer latencies are recorded as this many nanoseconds: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

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
    /// Nanoseconds from the turn in which a request was read to the answer's hand-over to the kernel.
    latencies: Option<Box<Histogram<u64>>>,
    /// Requests of the current turn, not yet in the histogram.
    pending: u32,
}

impl Operation {
    /// The latency in nanoseconds that the share `quantile` (0 to 1) of the requests did not exceed.
    #[must_use]
    pub fn latency_ns(&self, quantile: f64) -> u64 {
        self.latencies.as_ref().map_or(0, |latencies| latencies.value_at_quantile(quantile))
    }

    /// The longest latency, in nanoseconds.
    #[must_use]
    pub fn latency_max_ns(&self) -> u64 {
        self.latencies.as_ref().map_or(0, |latencies| latencies.max())
    }

    /// How many took at most 1, 2, 4 … microseconds: from the first power of two that any stayed below to the first
    /// that all did.
    #[must_use]
    pub fn doubling_buckets(&self) -> Vec<(u64, u64)> {
        let Some(latencies) = &self.latencies else { return Vec::new() };
        let mut buckets = Vec::new();
        let (mut up_to_us, total) = (1_u64, latencies.len());
        loop {
            let count = latencies.count_between(0, up_to_us * 1000);
            if count > 0 {
                buckets.push((up_to_us, count));
            }
            if count >= total {
                return buckets;
            }
            up_to_us *= 2;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        match (&mut self.latencies, &other.latencies) {
            (Some(ours), Some(theirs)) => ours.add(theirs.as_ref()).expect("both have the same bounds"),
            (ours @ None, theirs) => ours.clone_from(theirs),
            (Some(_), None) => {}
        }
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
#[derive(Clone, Debug)]
pub struct Recorder {
    operations: Vec<Operation>,
    errors: [u64; ErrorKind::ALL.len()],
    touched: Vec<u16>,
    /// The totals.
    pub totals: Totals,
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
        }
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
        let elapsed_ns = elapsed_ns.clamp(1, LATENCY_NS_MAX);
        for operation in self.touched.drain(..) {
            let entry = &mut self.operations[usize::from(operation)];
            let count = u64::from(std::mem::take(&mut entry.pending));
            entry.count += count;
            entry.latencies.get_or_insert_with(new_histogram).saturating_record_n(elapsed_ns, count);
        }
    }

    /// Counts one request that took `elapsed_ns` nanoseconds, over however many turns.
    pub fn record(&mut self, operation: u16, elapsed_ns: u64) {
        let entry = &mut self.operations[usize::from(operation)];
        entry.count += 1;
        let elapsed_ns = elapsed_ns.clamp(1, LATENCY_NS_MAX);
        entry.latencies.get_or_insert_with(new_histogram).saturating_record(elapsed_ns);
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

#[cold]
fn new_histogram() -> Box<Histogram<u64>> {
    let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, SIGNIFICANT_DIGITS);
    Box::new(histogram.expect("the bounds are constants that fit together"))
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
        assert_eq!(recorder.operations()[0].latency_ns(0.5), 0);
        let p50_ns = recorder.operations()[1].latency_ns(0.5);
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
        assert!(merged.latency_ns(0.5) < 110 && merged.latency_ns(0.99) > 990_000);
    }
}
