//! A choice among things of different weight, drawn in constant time for the few that there are.
//!
//! Invariant: what has weight is drawn in proportion to it, to one part in 2^32; what has none is never drawn. It does
//! not know what it chooses among.

use fastrand::Rng;

/// Things to choose among, each with its weight.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Weighted<T> {
    things: Vec<T>,
    /// For each thing the end of its part of the numbers below 2^32.
    ends: Vec<u64>,
    shares: Vec<f64>,
}

impl<T> Weighted<T> {
    /// `None` if a weight is negative or not finite, or if nothing has any.
    pub(crate) fn new(weighted: impl IntoIterator<Item = (T, f64)>) -> Option<Self> {
        let (things, weights): (Vec<T>, Vec<f64>) = weighted.into_iter().unzip();
        if !weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) {
            return None;
        }
        let total: f64 = weights.iter().sum();
        if !total.is_finite() || total <= 0.0 {
            return None;
        }
        let (things, shares): (Vec<T>, Vec<f64>) = things
            .into_iter()
            .zip(weights.into_iter().map(|weight| weight / total))
            .filter(|(_, share)| *share > 0.0)
            .unzip();
        let mut sum = 0.0;
        let mut ends: Vec<u64> = shares
            .iter()
            .map(|share| {
                sum += share;
                (sum * 2_f64.powi(32)).round() as u64
            })
            .collect();
        // Whatever rounding did, every number has its thing.
        *ends.last_mut().expect("something has weight") = 1 << 32;
        Some(Self { things, ends, shares })
    }

    /// The place of the next thing.
    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        if let [_] = self.ends[..] {
            return 0;
        }
        let number = u64::from(rng.u32(..));
        self.ends.iter().position(|end| number < *end).expect("the last end is beyond every number")
    }

    pub(crate) fn things(&self) -> &[T] {
        &self.things
    }

    /// Each thing with its share of all draws.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (&T, f64)> {
        self.things.iter().zip(self.shares.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        const COUNT: u32 = 100_000;
        let weighted = Weighted::new([("a", 80.0), ("b", 0.0), ("c", 15.0), ("d", 5.0)]).unwrap();
        assert_eq!(weighted.things(), ["a", "c", "d"]);
        for seed in 0..8 {
            let mut rng = Rng::with_seed(seed);
            let mut counts = [0_f64; 3];
            for _ in 0..COUNT {
                counts[weighted.draw(&mut rng)] += 1.0;
            }
            let expected = [0.8, 0.15, 0.05].map(|share| share * f64::from(COUNT));
            let chi_square: f64 = counts
                .iter()
                .zip(expected)
                .map(|(count, expected)| (count - expected).powi(2) / expected)
                .sum();
            // 2 degrees of freedom: above 18.4 lies one draw in ten thousand.
            assert!(chi_square < 18.4, "seed {seed}: {counts:?}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_from_is_refused() {
        for weights in [&[][..], &[0.0], &[0.0, 0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY]] {
            assert!(Weighted::new(weights.iter().map(|weight| ((), *weight))).is_none(), "{weights:?}");
        }
    }
}
