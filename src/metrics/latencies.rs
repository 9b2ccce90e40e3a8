//! Latencies of one kind, as an HDR histogram.
//!
//! Invariant: histograms are merged as such, and percentiles computed last; what never happened takes no memory.

use hdrhistogram::Histogram;

/// Latencies are told apart to this many significant digits.
const SIGNIFICANT_DIGITS: u8 = 2;

/// Longer latencies are recorded as this many nanoseconds: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Latencies, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    histogram: Option<Box<Histogram<u64>>>,
}

impl Latencies {
    /// Adds one.
    #[inline]
    pub(super) fn record(&mut self, elapsed_ns: u64) {
        self.record_many(elapsed_ns, 1);
    }

    /// Adds `count` of the same length.
    #[inline]
    pub(super) fn record_many(&mut self, elapsed_ns: u64, count: u64) {
        let histogram = self.histogram.get_or_insert_with(new_histogram);
        histogram.saturating_record_n(elapsed_ns.clamp(1, LATENCY_NS_MAX), count);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match (&mut self.histogram, &other.histogram) {
            (Some(ours), Some(theirs)) => ours.add(theirs.as_ref()).expect("both have the same bounds"),
            (ours @ None, theirs) => ours.clone_from(theirs),
            (Some(_), None) => {}
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.len())
    }

    /// The latency in nanoseconds that the share `quantile` (0 to 1) of them did not exceed.
    #[must_use]
    pub fn at_quantile_ns(&self, quantile: f64) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.value_at_quantile(quantile))
    }

    /// The longest, in nanoseconds.
    #[must_use]
    pub fn max_ns(&self) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.max())
    }

    /// How many took at most 1, 2, 4 … microseconds: from the first power of two that any stayed below to the first
    /// that all did.
    #[must_use]
    pub fn doubling_buckets(&self) -> Vec<(u64, u64)> {
        let Some(histogram) = &self.histogram else { return Vec::new() };
        let mut buckets = Vec::new();
        let (mut up_to_us, total) = (1_u64, histogram.len());
        loop {
            let count = histogram.count_between(0, up_to_us * 1000);
            if count > 0 {
                buckets.push((up_to_us, count));
            }
            if count >= total {
                return buckets;
            }
            up_to_us *= 2;
        }
    }
}

#[cold]
fn new_histogram() -> Box<Histogram<u64>> {
    let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, SIGNIFICANT_DIGITS);
    Box::new(histogram.expect("the bounds are constants that fit together"))
}
