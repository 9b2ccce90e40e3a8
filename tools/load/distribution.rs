//! Which key comes next.
//!
//! Invariant: a connection's stream is a function of the seed and the connection's number alone, and no two
//! connections share one: connections that draw the same keys measure the processor's cache. Drawing allocates
//! nothing. It knows indexes, not the text of keys, nor what is done with them.

use std::str::FromStr;

use fastrand::Rng;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The skew of a zipfian distribution for which none is given, as in YCSB.
const THETA: f64 = 0.99;

/// The shape that `--distribution` names.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Shape {
    /// Each key as likely as any other.
    Uniform,
    /// The key of rank r as likely as r^-theta; ranks are strewn over the key space.
    Zipfian(f64),
    /// The key of rank r as likely as r^-theta, counted from the newest.
    Latest,
    /// One after another; each connection starts at its own place.
    Sequential,
}

/// The name of a distribution was not understood.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("expected uniform, sequential, latest, zipfian or zipfian:THETA with THETA above 0 and at most 10")]
pub(crate) struct UnknownShape;

impl FromStr for Shape {
    type Err = UnknownShape;

    fn from_str(text: &str) -> Result<Self, UnknownShape> {
        match text {
            "uniform" => Ok(Self::Uniform),
            "sequential" => Ok(Self::Sequential),
            "latest" => Ok(Self::Latest),
            "zipfian" => Ok(Self::Zipfian(THETA)),
            _ => {
                let theta = text.strip_prefix("zipfian:").ok_or(UnknownShape)?;
                let theta = theta.parse().map_err(|_| UnknownShape)?;
                if theta > 0.0 && theta <= 10.0 { Ok(Self::Zipfian(theta)) } else { Err(UnknownShape) }
            }
        }
    }
}

/// What all connections share: the key space and the constants of the shape, never a position.
pub(crate) struct Distribution {
    keys: u64,
    draw: Draw,
}

enum Draw {
    Uniform,
    Latest(Zipf),
    Zipfian { zipf: Zipf, stride: u64 },
    Sequential,
}

impl Distribution {
    /// Indexes below `keys` (at least 1) in `shape`; only the newest keys are drawn from what was inserted besides.
    pub(crate) fn new(shape: Shape, keys: u64) -> Self {
        assert!(keys > 0, "a key space has a key");
        let draw = match shape {
            Shape::Uniform => Draw::Uniform,
            Shape::Zipfian(theta) => Draw::Zipfian { zipf: Zipf::new(keys, theta), stride: stride(keys) },
            Shape::Latest => Draw::Latest(Zipf::new(keys, THETA)),
            Shape::Sequential => Draw::Sequential,
        };
        Self { keys, draw }
    }

    /// The stream of connection number `connection` of `connections`.
    pub(crate) fn stream(&self, seed: u64, connection: u64, connections: u64) -> Stream {
        let own_seed = xxh3_64_with_seed(&connection.to_le_bytes(), seed);
        let start = u128::from(self.keys) * u128::from(connection) / u128::from(connections.max(1));
        Stream { rng: Rng::with_seed(own_seed), position: start as u64 }
    }
}

/// One connection's draws.
pub(crate) struct Stream {
    /// Whatever else is drawn for the connection comes from here too.
    pub(crate) rng: Rng,
    /// The next index of a sequential stream.
    position: u64,
}

impl Stream {
    /// The next index, below `keys_now`, the number of keys that there are by now.
    #[inline]
    pub(crate) fn next_index(&mut self, distribution: &Distribution, keys_now: u64) -> u64 {
        match &distribution.draw {
            Draw::Uniform => self.rng.u64(0..distribution.keys),
            Draw::Zipfian { zipf, stride } => {
                let rank = zipf.rank(&mut self.rng);
                (u128::from(rank) * u128::from(*stride) % u128::from(distribution.keys)) as u64
            }
            Draw::Latest(zipf) => keys_now - 1 - zipf.rank(&mut self.rng),
            Draw::Sequential => {
                let index = self.position % distribution.keys;
                self.position = index + 1;
                index
            }
        }
    }
}

/// A number near the golden section of `keys` and coprime to it, so that multiples of it visit every key once and
/// popular keys are not neighbours.
fn stride(keys: u64) -> u64 {
    let mut stride = (keys as f64 * 0.618) as u64;
    while greatest_common_divisor(stride, keys) != 1 {
        stride += 1;
    }
    stride
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Draws ranks by a power law in constant time, for any exponent above 0.
///
/// Source: Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions"
/// (1996), section 4, with the stable forms near exponent 1 that Apache Commons RNG uses.
struct Zipf {
    keys: f64,
    exponent: f64,
    integral_at_first: f64,
    integral_at_last: f64,
    acceptance: f64,
}

impl Zipf {
    fn new(keys: u64, exponent: f64) -> Self {
        let mut zipf = Self {
            keys: keys as f64,
            exponent,
            integral_at_first: 0.0,
            integral_at_last: 0.0,
            acceptance: 0.0,
        };
        zipf.integral_at_first = zipf.integral(1.5) - 1.0;
        zipf.integral_at_last = zipf.integral(zipf.keys + 0.5);
        zipf.acceptance = 2.0 - zipf.inverse_of_integral(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    /// A rank from 0, the likeliest.
    fn rank(&self, rng: &mut Rng) -> u64 {
        loop {
            let u = self.integral_at_last + rng.f64() * (self.integral_at_first - self.integral_at_last);
            let x = self.inverse_of_integral(u);
            let rank = (x + 0.5).floor().clamp(1.0, self.keys);
            if rank - x <= self.acceptance || u >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u64 - 1;
            }
        }
    }

    /// x^-exponent.
    fn density(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// An integral of the density.
    fn integral(&self, x: f64) -> f64 {
        let ln = x.ln();
        let scaled = (1.0 - self.exponent) * ln;
        // (e^y - 1) / y, which tends to 1 as the exponent tends to 1.
        let quotient = if scaled.abs() > 1e-8 { scaled.exp_m1() / scaled } else { 1.0 + scaled / 2.0 };
        quotient * ln
    }

    fn inverse_of_integral(&self, y: f64) -> f64 {
        // Rounding may step below -1, where the logarithm has no value.
        let scaled = (y * (1.0 - self.exponent)).max(-1.0);
        let quotient = if scaled.abs() > 1e-8 { scaled.ln_1p() / scaled } else { 1.0 - scaled / 2.0 };
        (quotient * y).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(shape: Shape, keys: u64, seed: u64, connection: u64, count: usize) -> Vec<u64> {
        let distribution = Distribution::new(shape, keys);
        let mut stream = distribution.stream(seed, connection, 4);
        (0..count).map(|_| stream.next_index(&distribution, keys)).collect()
    }

    #[test]
    fn uniform_draws_pass_a_chi_square_test() {
        const KEYS: u64 = 100;
        const COUNT: usize = 100_000;
        for seed in 0..8 {
            let mut counts = [0_f64; KEYS as usize];
            for index in draws(Shape::Uniform, KEYS, seed, 0, COUNT) {
                counts[index as usize] += 1.0;
            }
            let expected = COUNT as f64 / KEYS as f64;
            let chi_square: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
            // 99 degrees of freedom: below 60 or above 150 lies less than one draw in a thousand.
            assert!((60.0..150.0).contains(&chi_square), "seed {seed}: {chi_square}");
        }
    }

    #[test]
    fn a_stream_is_a_function_of_seed_and_connection() {
        for shape in [Shape::Uniform, Shape::Zipfian(0.99), Shape::Latest, Shape::Sequential] {
            let one = draws(shape, 1_000_000, 7, 1, 1000);
            assert_eq!(one, draws(shape, 1_000_000, 7, 1, 1000));
            assert_ne!(one, draws(shape, 1_000_000, 7, 2, 1000), "two connections share their keys");
            if shape != Shape::Sequential {
                assert_ne!(one, draws(shape, 1_000_000, 8, 1, 1000), "the seed changes nothing");
            }
        }
    }

    #[test]
    fn connections_share_no_more_keys_than_chance_has_it() {
        let one: std::collections::HashSet<u64> =
            draws(Shape::Uniform, 1_000_000, 1, 0, 10_000).into_iter().collect();
        let shared =
            draws(Shape::Uniform, 1_000_000, 1, 1, 10_000).iter().filter(|key| one.contains(key)).count();
        // 100 are expected, with a standard deviation of 10.
        assert!((50..150).contains(&shared), "{shared} of 10000");
    }

    #[test]
    fn zipfian_ranks_follow_the_power_law() {
        const KEYS: u64 = 1000;
        const COUNT: usize = 400_000;
        for theta in [0.5, 0.99, 1.0, 1.2] {
            let zipf = Zipf::new(KEYS, theta);
            let mut rng = Rng::with_seed(1);
            let mut counts = vec![0_f64; KEYS as usize];
            for _ in 0..COUNT {
                counts[zipf.rank(&mut rng) as usize] += 1.0;
            }
            let weights: Vec<f64> = (1..=KEYS).map(|rank| (rank as f64).powf(-theta)).collect();
            let total: f64 = weights.iter().sum();
            for rank in [0, 1, 2, 9, 99] {
                let expected = COUNT as f64 * weights[rank] / total;
                let error = (counts[rank] - expected).abs();
                assert!(
                    error < 5.0 * expected.sqrt(),
                    "theta {theta}, rank {rank}: {} {expected}",
                    counts[rank]
                );
            }
        }
    }

    #[test]
    fn the_stride_visits_every_key_once() {
        for keys in [1, 2, 3, 10, 97, 1000, 1024] {
            let visited: std::collections::HashSet<u64> =
                (0..keys).map(|rank| rank * stride(keys) % keys).collect();
            assert_eq!(visited.len() as u64, keys);
        }
    }

    #[test]
    fn sequential_streams_wrap_and_start_apart() {
        assert_eq!(draws(Shape::Sequential, 8, 0, 3, 4), [6, 7, 0, 1]);
        assert_eq!(draws(Shape::Sequential, 8, 0, 1, 3), [2, 3, 4]);
    }

    #[test]
    fn the_newest_keys_are_drawn_most_and_none_beyond_them() {
        const KEYS: u64 = 1000;
        const KEYS_NOW: u64 = 1500;
        const COUNT: usize = 200_000;
        let distribution = Distribution::new(Shape::Latest, KEYS);
        let mut stream = distribution.stream(5, 0, 1);
        let mut counts = vec![0_f64; KEYS_NOW as usize];
        for _ in 0..COUNT {
            counts[stream.next_index(&distribution, KEYS_NOW) as usize] += 1.0;
        }
        let total: f64 = (1..=KEYS).map(|rank| (rank as f64).powf(-THETA)).sum();
        for rank in [1_usize, 2, 10, 100] {
            let expected = COUNT as f64 * (rank as f64).powf(-THETA) / total;
            let count = counts[KEYS_NOW as usize - rank];
            assert!((count - expected).abs() < 5.0 * expected.sqrt(), "rank {rank}: {count} {expected}");
        }
        let oldest = counts.iter().position(|count| *count > 0.0).unwrap();
        assert!(oldest as u64 >= KEYS_NOW - KEYS, "{oldest}");
    }

    #[test]
    fn names_of_shapes() {
        assert_eq!("uniform".parse(), Ok(Shape::Uniform));
        assert_eq!("latest".parse(), Ok(Shape::Latest));
        assert_eq!("zipfian".parse(), Ok(Shape::Zipfian(0.99)));
        assert_eq!("zipfian:1.2".parse(), Ok(Shape::Zipfian(1.2)));
        for text in ["", "zipf", "zipfian:", "zipfian:0", "zipfian:-1", "zipfian:NaN"] {
            assert_eq!(text.parse::<Shape>(), Err(UnknownShape));
        }
    }
}
