//! What is written: the lengths of values, and their bytes.
//!
//! Invariant: no value is longer than the longest that was asked for, and drawing one allocates nothing. Which key a
//! value goes to is not known here.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use fastrand::Rng;
use thiserror::Error;

use crate::weighted::Weighted;

/// The longest value.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// How long values are, as `--value-bytes` says.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Lengths {
    /// All of one length.
    Fixed(usize),
    /// Each length from the first to the second as likely as any other.
    Uniform(usize, usize),
    /// Some lengths, each by its weight.
    Histogram(Weighted<usize>),
}

/// The text names no lengths.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "expected bytes up to {VALUE_BYTES_MAX} as in 64, a range as in 16..1024, or lengths with their weights as in \
     64:80,1024:15,65536:5"
)]
pub(crate) struct NoLengths;

impl FromStr for Lengths {
    type Err = NoLengths;

    fn from_str(text: &str) -> Result<Self, NoLengths> {
        if let Some((least, most)) = text.split_once("..") {
            let (least, most) = (bytes(least)?, bytes(most)?);
            return if least <= most { Ok(Self::Uniform(least, most)) } else { Err(NoLengths) };
        }
        if !text.contains(':') {
            return bytes(text).map(Self::Fixed);
        }
        let weighted = text.split(',').map(|part| {
            let (length, weight) = part.split_once(':').ok_or(NoLengths)?;
            Ok((bytes(length)?, weight.parse().map_err(|_| NoLengths)?))
        });
        let weighted = weighted.collect::<Result<Vec<(usize, f64)>, NoLengths>>()?;
        Weighted::new(weighted).map(Self::Histogram).ok_or(NoLengths)
    }
}

fn bytes(text: &str) -> Result<usize, NoLengths> {
    text.parse().ok().filter(|length| *length <= VALUE_BYTES_MAX).ok_or(NoLengths)
}

impl Display for Lengths {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(length) => write!(formatter, "{length}"),
            Self::Uniform(least, most) => write!(formatter, "{least}..{most}"),
            Self::Histogram(weighted) => {
                for (place, (length, share)) in weighted.shares().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(formatter, "{comma}{length}:{}", (share * 1e6).round() / 1e4)?;
                }
                Ok(())
            }
        }
    }
}

impl Lengths {
    /// The longest.
    pub(crate) fn most(&self) -> usize {
        match self {
            Self::Fixed(length) => *length,
            Self::Uniform(_, most) => *most,
            Self::Histogram(weighted) => weighted.things().iter().copied().max().unwrap_or(0),
        }
    }

    /// The length that values have on average.
    pub(crate) fn mean(&self) -> f64 {
        match self {
            Self::Fixed(length) => *length as f64,
            Self::Uniform(least, most) => (least + most) as f64 / 2.0,
            Self::Histogram(weighted) => {
                weighted.shares().map(|(length, share)| *length as f64 * share).sum()
            }
        }
    }

    #[inline]
    fn draw(&self, rng: &mut Rng) -> usize {
        match self {
            Self::Fixed(length) => *length,
            Self::Uniform(least, most) => rng.usize(*least..=*most),
            Self::Histogram(weighted) => weighted.things()[weighted.draw(rng)],
        }
    }
}

/// Values to write.
pub(crate) struct Values {
    pub(crate) lengths: Lengths,
    /// The longest value; shorter ones are its beginning.
    text: Vec<u8>,
}

impl Values {
    /// Values of such lengths: printable, and not of one byte repeated.
    pub(crate) fn new(lengths: Lengths) -> Self {
        let text = (b'a'..=b'z').cycle().take(lengths.most()).collect();
        Self { lengths, text }
    }

    /// The next value.
    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> &[u8] {
        &self.text[..self.lengths.draw(rng)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, count: usize) -> Vec<usize> {
        let values = Values::new(text.parse().unwrap());
        let mut rng = Rng::with_seed(11);
        (0..count).map(|_| values.draw(&mut rng).len()).collect()
    }

    #[test]
    fn lengths_are_read_and_written() {
        for text in ["64", "0", "16..1024", "64:80,1024:15,65536:5", "7:100"] {
            assert_eq!(text.parse::<Lengths>().unwrap().to_string(), text);
        }
        assert_eq!("8:1,9:3".parse::<Lengths>().unwrap().to_string(), "8:25,9:75");
        for text in ["", "x", "-1", "1048577", "9..8", "1..", "64:", "64:0", "64:x", "64:1,", "1:1,2"] {
            assert_eq!(text.parse::<Lengths>(), Err(NoLengths), "{text}");
        }
    }

    #[test]
    fn a_range_is_uniform_with_both_its_ends() {
        const COUNT: usize = 100_000;
        let lengths = drawn("16..25", COUNT);
        let mut counts = [0_f64; 10];
        for length in lengths {
            counts[length - 16] += 1.0;
        }
        let expected = COUNT as f64 / 10.0;
        let chi_square: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        // 9 degrees of freedom: above 33.7 lies one draw in ten thousand.
        assert!(chi_square < 33.7, "{counts:?}");
    }

    #[test]
    fn a_histogram_gives_its_lengths_by_weight() {
        let lengths = drawn("64:80,1024:15,65536:5", 100_000);
        let count = |length| lengths.iter().filter(|drawn| **drawn == length).count();
        let counts = [64, 1024, 65536].map(count);
        assert_eq!(counts.iter().sum::<usize>(), 100_000);
        // Standard deviations are 126, 113 and 69.
        for (count, expected) in counts.into_iter().zip([80_000_usize, 15_000, 5_000]) {
            assert!(count.abs_diff(expected) < 600, "{counts:?}");
        }
        let histogram: Lengths = "64:80,1024:15,65536:5".parse().unwrap();
        assert_eq!(histogram.most(), 65536);
        assert!((histogram.mean() - 3481.6).abs() < 1e-6, "{}", histogram.mean());
    }
}
