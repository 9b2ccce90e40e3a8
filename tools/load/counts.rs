//! What is counted and timed in a phase, as a whole and in slices of time.
//!
//! Invariant: latencies are kept as histograms until the end, and percentiles computed last, never averaged. It neither
//! sends nor receives, and is told the time.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::connection::Times;
use crate::dialect::Outcome;
use crate::process::{ProcessTime, Unreadable};
use crate::report::{Latency, Slice};

/// A slice of the series is no shorter than this.
const SLICE_MIN: Duration = Duration::from_millis(100);
/// Slices that a phase is divided into, about.
const SLICES: u32 = 120;
/// The longest latency that is told apart from longer ones.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant decimal digits of a recorded latency.
const LATENCY_DIGITS: u8 = 3;

/// What a phase counts.
pub(crate) struct Counts {
    /// By [`Outcome`], in its order.
    pub(crate) outcomes: [u64; 4],
    pub(crate) latency_ns: Histogram<u64>,
    /// From the send, where that is not when the request was due.
    pub(crate) service_ns: Option<Histogram<u64>>,
    /// Requests that were due, those that were sent late, and by how much at most.
    pub(crate) due: u64,
    pub(crate) sent_late: u64,
    pub(crate) late_max: Duration,
    pub(crate) slices: Slices,
    /// Reads that brought replies.
    pub(crate) reads: u64,
    pub(crate) first_error: Option<String>,
}

impl Counts {
    /// Counts of a phase of so long, if it is that which ends it.
    pub(crate) fn new(open: bool, length: Option<Duration>) -> Self {
        let interval = length.map_or(SLICE_MIN, |length| SLICE_MIN.max(length / SLICES));
        Self {
            outcomes: [0; 4],
            latency_ns: histogram(),
            service_ns: open.then(histogram),
            due: 0,
            sent_late: 0,
            late_max: Duration::ZERO,
            slices: Slices::new(interval),
            reads: 0,
            first_error: None,
        }
    }

    /// Records replies that came `now`.
    pub(crate) fn record(&mut self, times: Times, now: Instant, requests: usize) {
        let nanos = |since: Instant| u64::try_from((now - since).as_nanos()).unwrap_or(u64::MAX);
        self.latency_ns.saturating_record_n(nanos(times.due), requests as u64);
        self.slices.record(nanos(times.due), requests as u64);
        if let Some(service_ns) = &mut self.service_ns {
            service_ns.saturating_record_n(nanos(times.sent), requests as u64);
        }
    }

    pub(crate) fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    pub(crate) fn answered(&self) -> u64 {
        self.outcomes.iter().sum()
    }
}

/// The series of a phase, slice after slice.
pub(crate) struct Slices {
    interval: Duration,
    begin: Instant,
    /// When the slice that is filled began, and what the server's time was.
    since: Instant,
    server: Option<ProcessTime>,
    latency_ns: Histogram<u64>,
    pub(crate) done: Vec<Slice>,
}

impl Slices {
    fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self { interval, begin: now, since: now, server: None, latency_ns: histogram(), done: Vec::new() }
    }

    pub(crate) fn begin(&mut self, now: Instant, server: Option<ProcessTime>) {
        (self.begin, self.since, self.server) = (now, now, server);
    }

    fn record(&mut self, latency_ns: u64, requests: u64) {
        self.latency_ns.saturating_record_n(latency_ns, requests);
    }

    /// Ends the slice if it is time to.
    pub(crate) fn turn(&mut self, now: Instant, server_pid: Option<u32>) -> Result<(), Unreadable> {
        let length = now - self.since;
        if length < self.interval {
            return Ok(());
        }
        let server = server_pid.map(ProcessTime::of).transpose()?;
        let operations = self.latency_ns.len();
        let cpu_ns = server.as_ref().zip(self.server.as_ref()).map(|(now, then)| now.nanos_since(then));
        let latency = latency_us(&self.latency_ns);
        self.done.push(Slice {
            at_ms: (now - self.begin).as_secs_f64() * 1e3,
            operations_per_second: operations as f64 / length.as_secs_f64(),
            p50_us: latency.p50,
            p99_us: latency.p99,
            max_us: latency.max,
            server_cpu_us_per_operation: cpu_ns.map(|nanos| nanos as f64 / 1e3 / operations.max(1) as f64),
        });
        self.latency_ns.reset();
        (self.since, self.server) = (now, server);
        Ok(())
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS)
        .expect("the bounds and the digits are constants that fit each other")
}

/// The curve of percentiles, denser the nearer they are to 1.
pub(crate) fn percentiles_us(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let mut curve = Vec::new();
    let (mut rest, least) = (1.0_f64, 1.0 / histogram.len() as f64);
    while rest >= least {
        let quantile = 1.0 - rest;
        curve.push((quantile, histogram.value_at_quantile(quantile) as f64 / 1e3));
        rest *= 0.8;
    }
    curve.push((1.0 - least, histogram.max() as f64 / 1e3));
    curve
}

pub(crate) fn latency_us(histogram: &Histogram<u64>) -> Latency {
    let us = |nanos: u64| nanos as f64 / 1e3;
    let quantile_us = |quantile| us(histogram.value_at_quantile(quantile));
    Latency {
        mean: histogram.mean() / 1e3,
        p50: quantile_us(0.5),
        p90: quantile_us(0.9),
        p99: quantile_us(0.99),
        p99_9: quantile_us(0.999),
        p99_99: quantile_us(0.9999),
        max: us(histogram.max()),
    }
}
