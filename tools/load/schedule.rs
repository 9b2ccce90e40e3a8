//! When the requests of an open loop are due.
//!
//! Invariant: a schedule is a function of its rate, its kind and its seed; it knows nothing of what became of the
//! requests before, so a target that stalls meets all that would have come meanwhile. Being late is told, and never
//! shifts what follows.
//!
//! Why: a loop that waits for a stalled target leaves out just the requests that would have waited ("coordinated
//! omission", Gil Tene, "How NOT to Measure Latency", 2013).

use std::time::{Duration, Instant};

use clap::ValueEnum;
use fastrand::Rng;

/// A request sent later than this after it was due is counted as sent late: then the generator was the bottleneck.
pub(crate) const LATE: Duration = Duration::from_micros(100);

/// How requests are spaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Arrivals {
    /// At equal intervals.
    Fixed,
    /// As independent clients would: at exponentially distributed intervals of the same mean.
    Poisson,
}

impl Arrivals {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Poisson => "poisson",
        }
    }
}

/// The moments at which requests are due.
pub(crate) struct Schedule {
    arrivals: Arrivals,
    interval_s: f64,
    random: Rng,
    begin: Instant,
    /// Seconds from the beginning to the next request: exact over days, where a sum of rounded intervals is not.
    next_s: f64,
}

impl Schedule {
    pub(crate) fn new(rate_per_second: f64, arrivals: Arrivals, seed: u64, begin: Instant) -> Self {
        let random = Rng::with_seed(seed);
        Self { arrivals, interval_s: 1.0 / rate_per_second, random, begin, next_s: 0.0 }
    }

    /// Requests due until `at` from the next on; those after it at their mean interval.
    pub(crate) fn owed(&self, at: Instant) -> u64 {
        match at.checked_duration_since(self.due()) {
            Some(late) => 1 + (late.as_secs_f64() / self.interval_s) as u64,
            None => 0,
        }
    }

    /// When the next request is due.
    pub(crate) fn due(&self) -> Instant {
        self.begin + Duration::from_secs_f64(self.next_s)
    }

    /// Goes on to the request after that.
    pub(crate) fn advance(&mut self) {
        self.next_s += match self.arrivals {
            Arrivals::Fixed => self.interval_s,
            // Inverse of the distribution function; the argument of the logarithm lies in (0, 1].
            Arrivals::Poisson => -(1.0 - self.random.f64()).ln() * self.interval_s,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intervals(arrivals: Arrivals) -> Vec<f64> {
        let begin = Instant::now();
        let mut schedule = Schedule::new(10_000.0, arrivals, 7, begin);
        let mut before = schedule.due();
        (0..200_000)
            .map(|_| {
                schedule.advance();
                let interval = schedule.due() - before;
                before = schedule.due();
                interval.as_secs_f64() * 10_000.0
            })
            .collect()
    }

    #[test]
    fn fixed_arrivals_are_evenly_spaced_and_do_not_drift() {
        let intervals = intervals(Arrivals::Fixed);
        assert!(intervals.iter().all(|interval| (interval - 1.0).abs() < 1e-3));
        let total: f64 = intervals.iter().sum();
        assert!((total - 200_000.0).abs() < 0.01, "{total}");
    }

    #[test]
    fn what_is_owed_is_counted_from_the_next_request_on() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(1000.0, Arrivals::Fixed, 0, begin);
        schedule.advance();
        let owed =
            [500, 1000, 1999, 2001, 1_000_500].map(|us| schedule.owed(begin + Duration::from_micros(us)));
        assert_eq!(owed, [0, 1, 1, 2, 1000]);
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_variance_of_their_kind() {
        let intervals = intervals(Arrivals::Poisson);
        let count = intervals.len() as f64;
        let mean = intervals.iter().sum::<f64>() / count;
        let variance = intervals.iter().map(|interval| (interval - mean).powi(2)).sum::<f64>() / count;
        assert!((mean - 1.0).abs() < 0.01 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
