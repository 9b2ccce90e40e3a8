//! What is counted and timed in an interval, by target and operation; and what a stage's sum of them says.
//!
//! Invariant: latencies are kept as histograms until the end, and percentiles computed last, never averaged; a reply is
//! recorded in one histogram, and all others are sums of those. It neither sends nor receives, and is told the time.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::connection::Times;
use crate::dialect::Outcome;
use crate::report::{Latency, Part};

/// The longest latency that is told apart from longer ones.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Significant decimal digits of a recorded latency.
const LATENCY_DIGITS: u8 = 3;

/// The replies to one operation from one target.
#[derive(Clone)]
pub(crate) struct Replies {
    /// By [`Outcome`], in its order.
    outcomes: [u64; 4],
    pub(crate) latency_ns: Histogram<u64>,
}

impl Replies {
    fn none() -> Self {
        Self { outcomes: [0; 4], latency_ns: histogram() }
    }

    fn add(&mut self, other: &Self) {
        for (own, others) in self.outcomes.iter_mut().zip(other.outcomes) {
            *own += others;
        }
        add(&mut self.latency_ns, &other.latency_ns);
    }

    pub(crate) fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    pub(crate) fn count(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// As a part of a phase of so long.
    pub(crate) fn part(&self, name: &str, duration: Duration) -> Part {
        Part {
            name: name.to_owned(),
            operations: self.count(),
            hits: self.of(Outcome::Hit),
            misses: self.of(Outcome::Miss),
            stored: self.of(Outcome::Stored),
            errors: self.of(Outcome::Error),
            operations_per_second: self.count() as f64 / duration.as_secs_f64().max(1e-9),
            latency_us: latency_us(&self.latency_ns),
        }
    }
}

/// How many of each there are to tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub(crate) targets: usize,
    /// Places in the mix.
    pub(crate) operations: usize,
    /// Whether there is a schedule to be late for.
    pub(crate) open: bool,
}

/// What one thread counts in one interval, or all of them in a stage.
pub(crate) struct Tally {
    shape: Shape,
    /// By target and then operation.
    replies: Vec<Replies>,
    /// From the send, where that is not when the operation was due.
    pub(crate) service_ns: Option<Histogram<u64>>,
    /// Requests that were due, those that were sent late or not at all, and by how much at most.
    pub(crate) due: u64,
    pub(crate) sent_late: u64,
    pub(crate) late_max: Duration,
    /// Reads that brought replies.
    pub(crate) reads: u64,
    /// The target of the first error reply, and what it said.
    pub(crate) first_error: Option<(usize, String)>,
}

impl Tally {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            shape,
            replies: vec![Replies::none(); shape.targets * shape.operations],
            service_ns: shape.open.then(histogram),
            due: 0,
            sent_late: 0,
            late_max: Duration::ZERO,
            reads: 0,
            first_error: None,
        }
    }

    /// Records a reply that came `now` from `target` to the operation in `place`.
    #[inline]
    pub(crate) fn record(
        &mut self,
        target: usize,
        place: usize,
        outcome: Outcome,
        times: Times,
        now: Instant,
    ) {
        let nanos = |since: Instant| u64::try_from((now - since).as_nanos()).unwrap_or(u64::MAX);
        let replies = &mut self.replies[target * self.shape.operations + place];
        replies.outcomes[outcome as usize] += 1;
        replies.latency_ns.saturating_record(nanos(times.due));
        if let Some(service_ns) = &mut self.service_ns {
            service_ns.saturating_record(nanos(times.sent));
        }
    }

    /// Notes a request that was due and is sent so late.
    pub(crate) fn sent(&mut self, late: Duration, is_late: bool) {
        self.due += 1;
        self.sent_late += u64::from(is_late);
        self.late_max = self.late_max.max(late);
    }

    /// Notes requests that were due and were not sent at all, the first of them so late.
    pub(crate) fn owe(&mut self, owed: u64, late: Duration) {
        self.due += owed;
        self.sent_late += owed;
        if owed > 0 {
            self.late_max = self.late_max.max(late);
        }
    }

    /// Adds what another of the same shape has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        assert_eq!(self.shape, other.shape, "tallies of one stage are alike");
        for (own, others) in self.replies.iter_mut().zip(&other.replies) {
            own.add(others);
        }
        if let Some((own, others)) = self.service_ns.as_mut().zip(other.service_ns.as_ref()) {
            add(own, others);
        }
        self.due += other.due;
        self.sent_late += other.sent_late;
        self.late_max = self.late_max.max(other.late_max);
        self.reads += other.reads;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
    }

    /// Forgets everything, and keeps the room.
    pub(crate) fn clear(&mut self) {
        for replies in self.replies.iter_mut().filter(|replies| replies.count() > 0) {
            replies.outcomes = [0; 4];
            replies.latency_ns.reset();
        }
        if let Some(service_ns) = &mut self.service_ns {
            service_ns.reset();
        }
        (self.due, self.sent_late, self.late_max, self.reads) = (0, 0, Duration::ZERO, 0);
        self.first_error = None;
    }

    /// All replies.
    pub(crate) fn all(&self) -> Replies {
        sum(&self.replies)
    }

    /// The replies to the operation in `place`.
    pub(crate) fn of_operation(&self, place: usize) -> Replies {
        sum(self.replies.iter().skip(place).step_by(self.shape.operations))
    }

    /// The replies of `target`.
    pub(crate) fn of_target(&self, target: usize) -> Replies {
        sum(self.replies.chunks(self.shape.operations).nth(target).unwrap_or_default())
    }

    pub(crate) fn answered(&self) -> u64 {
        self.replies.iter().map(Replies::count).sum()
    }
}

fn sum<'a>(parts: impl IntoIterator<Item = &'a Replies>) -> Replies {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().cloned().unwrap_or_else(Replies::none);
    parts.for_each(|part| sum.add(part));
    sum
}

fn add(own: &mut Histogram<u64>, others: &Histogram<u64>) {
    // Most intervals of most operations are short, and many empty.
    if !others.is_empty() {
        own.add(others).expect("histograms of the same bounds can be added");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_operations_are_told_apart_and_summed() {
        let shape = Shape { targets: 2, operations: 3, open: true };
        let (mut one, mut other) = (Tally::new(shape), Tally::new(shape));
        let due = Instant::now();
        let at = |us| due + Duration::from_micros(us);
        let times = Times { due, sent: at(1) };
        one.record(0, 0, Outcome::Hit, times, at(100));
        one.record(1, 2, Outcome::Stored, times, at(200));
        other.record(1, 0, Outcome::Miss, times, at(300));
        other.first_error = Some((1, "no".to_owned()));
        one.add(&other);
        assert_eq!((one.answered(), one.all().count()), (3, 3));
        assert_eq!([0, 1, 2].map(|place| one.of_operation(place).count()), [2, 0, 1]);
        assert_eq!([0, 1].map(|target| one.of_target(target).count()), [1, 2]);
        assert_eq!((one.all().of(Outcome::Miss), one.of_target(0).of(Outcome::Miss)), (1, 0));
        let service_ns = one.service_ns.as_ref().unwrap();
        assert_eq!((service_ns.len(), service_ns.max() / 1000), (3, 299));
        assert_eq!(one.of_target(1).latency_ns.max() / 1000, 300);
        one.clear();
        assert_eq!((one.answered(), one.all().latency_ns.len(), one.first_error), (0, 0, None));
    }
}
