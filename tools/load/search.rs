//! The search for the highest rate that meets an objective.
//!
//! Invariant: every step halves, on a scale of ratios, what is not known, so a search ends after as many steps as the
//! logarithm of the range needs. A rate counts as missed when it was missed twice, and the lowest that was missed is
//! tried once more at the end: hiccups of the machine decide nothing. It runs nothing: it is told what became of a
//! rate, and says which is next.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The highest rate that is tried.
const RATE_MAX: f64 = 1e8;

/// What latencies are to stay within.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objective {
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    pub(crate) p99_9: Option<Duration>,
}

impl Objective {
    /// Each share of the operations that is bounded, its name, and its bound.
    pub(crate) fn bounds(&self) -> impl Iterator<Item = (f64, &'static str, Duration)> {
        [(0.5, "p50", self.p50), (0.99, "p99", self.p99), (0.999, "p99.9", self.p99_9)]
            .into_iter()
            .filter_map(|(quantile, name, bound)| Some((quantile, name, bound?)))
    }

    /// The lowest rate that can be judged in a step of so long: one in which a request may be beyond each percentile.
    pub(crate) fn least_rate(&self, length: Duration) -> f64 {
        let rate = |quantile: f64| 1.0 / ((1.0 - quantile) * length.as_secs_f64().max(1e-3));
        self.bounds().map(|(quantile, ..)| rate(quantile)).fold(0.0, f64::max)
    }

    /// Whether latencies stay within it.
    pub(crate) fn is_met(&self, latency_ns: &Histogram<u64>) -> bool {
        self.bounds().all(|(quantile, _, bound)| {
            u128::from(latency_ns.value_at_quantile(quantile)) <= bound.as_nanos()
        })
    }

    /// Whether it cannot be met any more in a step that has `expected` operations, whatever comes.
    pub(crate) fn is_lost(&self, latency_ns: &Histogram<u64>, expected: f64) -> bool {
        self.bounds().any(|(quantile, _, bound)| {
            let bound_ns = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
            // Latencies that share the bound's bucket count as within it.
            let within = latency_ns.count_between(0, bound_ns);
            (latency_ns.len() - within) as f64 > (1.0 - quantile) * expected
        })
    }
}

/// A search that is under way.
pub(crate) struct Search {
    /// No rate below it is tried.
    least: f64,
    precision: f64,
    kept: Option<f64>,
    missed: Option<f64>,
    /// The rate to try; `None` once nothing is left to find out.
    next: Option<f64>,
    /// Whether that rate was missed before.
    missed_before: bool,
    /// Whether it is tried to make sure that it is missed.
    confirming: bool,
}

impl Search {
    /// Begins with `start`, or `least` if that is higher; the result is to be known to a share of `precision`.
    pub(crate) fn new(start: f64, least: f64, precision: f64) -> Self {
        let least = least.min(RATE_MAX);
        let next = Some(start.clamp(least, RATE_MAX));
        Self { least, precision, kept: None, missed: None, next, missed_before: false, confirming: false }
    }

    /// The rate to try next.
    pub(crate) fn next(&self) -> Option<f64> {
        self.next
    }

    /// The rate to try met the objective, or missed it.
    pub(crate) fn tell(&mut self, is_met: bool) {
        let Some(rate) = self.next else { return };
        if self.confirming {
            // Met after all: what was missed there was by chance, and what is above is not known.
            (self.confirming, self.missed) = (false, None);
            if !is_met {
                self.next = None;
                return;
            }
        } else if !is_met && !self.missed_before {
            self.missed_before = true;
            return;
        }
        self.missed_before = false;
        let side = if is_met { &mut self.kept } else { &mut self.missed };
        *side = Some(rate);
        self.next = match (self.kept, self.missed) {
            (Some(kept), None) => (kept < RATE_MAX).then_some((kept * 2.0).min(RATE_MAX)),
            (None, Some(missed)) => (missed > self.least).then_some((missed / 2.0).max(self.least)),
            (Some(kept), Some(missed)) if missed > kept * (1.0 + self.precision) => {
                Some((kept * missed).sqrt())
            }
            (Some(_), Some(missed)) => {
                self.confirming = true;
                Some(missed)
            }
            (None, None) => None,
        };
    }

    /// The highest rate that met the objective, if any has so far.
    pub(crate) fn found(&self) -> Option<f64> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    /// What a server of one queue and random arrivals would show: latencies are distributed exponentially, with a mean
    /// that grows without bound as the rate nears the capacity.
    fn p99_s(rate: f64, capacity: f64) -> f64 {
        if rate >= capacity { f64::INFINITY } else { 100_f64.ln() / (capacity - rate) }
    }

    /// The rate found, and the steps it took.
    fn found(start: f64, precision: f64, mut meets: impl FnMut(f64) -> bool) -> (Option<f64>, usize) {
        let mut search = Search::new(start, 1.0, precision);
        let mut steps = 0;
        while let Some(rate) = search.next() {
            search.tell(meets(rate));
            steps += 1;
            assert!(steps < 100, "it does not end");
        }
        (search.found(), steps)
    }

    #[test]
    fn it_ends_within_its_precision_below_the_highest_rate_from_any_start() {
        for capacity in [37.0, 9_000.0, 123_456.0, 4e6] {
            // The rate whose 99th percentile is a hundred mean service times.
            let highest = capacity * (1.0 - 100_f64.ln() / 100.0);
            for start in [1.0, 1_000.0, 250_000.0] {
                for precision in [0.2, 0.05, 0.01] {
                    let meets = |rate| p99_s(rate, capacity) <= 100.0 / capacity;
                    let (found, steps) = found(start, precision, meets);
                    let found = found.unwrap();
                    let within = found <= highest && highest <= found * (1.0 + precision);
                    assert!(within, "{found} of {highest} from {start}");
                    assert!(steps < 50, "{steps} steps from {start} to {highest}");
                }
            }
        }
    }

    #[test]
    fn one_miss_in_ten_by_chance_costs_little() {
        let mut misled = 0;
        for seed in 0..100 {
            let mut rng = Rng::with_seed(seed);
            let (found, _) = found(1000.0, 0.05, |rate| rate <= 50_000.0 && rng.f64() > 0.1);
            let found = found.unwrap_or(0.0);
            assert!(found <= 50_000.0, "seed {seed}: {found}");
            misled += usize::from(found < 50_000.0 / 1.05);
        }
        // It takes three misses of one rate by chance: one in a thousand, in each of some fifteen steps.
        assert!(misled <= 5, "{misled} of 100 searches");
    }

    #[test]
    fn what_nothing_meets_and_what_everything_meets_ends_too() {
        assert_eq!(found(1000.0, 0.05, |_| false).0, None);
        assert_eq!(found(1000.0, 0.05, |_| true).0, Some(RATE_MAX));
    }

    #[test]
    fn no_rate_is_tried_that_cannot_be_judged() {
        let objective =
            Objective { p50: Some(Duration::from_secs(1)), p99: None, p99_9: Some(Duration::from_secs(1)) };
        let least = objective.least_rate(Duration::from_secs(2));
        assert!((least - 500.0).abs() < 1e-6, "a thousand requests a step: {least}");
        let mut search = Search::new(3.0, least, 0.1);
        assert_eq!(search.next(), Some(least));
        search.tell(false);
        search.tell(false);
        assert_eq!((search.next(), search.found()), (None, None));
    }

    #[test]
    fn an_objective_is_met_or_lost_by_its_quantiles() {
        let objective = Objective {
            p50: None,
            p99: Some(Duration::from_micros(100)),
            p99_9: Some(Duration::from_millis(1)),
        };
        let mut latency_ns = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        latency_ns.record_n(50_000, 990).unwrap();
        assert!(objective.is_met(&latency_ns) && !objective.is_lost(&latency_ns, 1000.0));
        latency_ns.record_n(500_000, 10).unwrap();
        assert!(objective.is_met(&latency_ns) && !objective.is_lost(&latency_ns, 1000.0));
        latency_ns.record_n(500_000, 10).unwrap();
        assert!(!objective.is_met(&latency_ns));
        assert!(objective.is_lost(&latency_ns, 1000.0) && !objective.is_lost(&latency_ns, 3000.0));
        latency_ns.record_n(50_000_000, 4).unwrap();
        assert!(objective.is_lost(&latency_ns, 3000.0), "by the 99.9th percentile");
    }
}
