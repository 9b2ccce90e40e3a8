//! What is asked of a target, and how often: operations, free mixes of them, and the core workloads of YCSB.
//!
//! Invariant: an operation has one place in its mix, and is counted and timed there. Which key it is about, and when
//! it is sent, is not decided here.
//!
//! Source of the workloads: Cooper et al., "Benchmarking Cloud Serving Systems with YCSB" (2010), section 4.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use clap::ValueEnum;
use fastrand::Rng;
use thiserror::Error;

use crate::weighted::Weighted;

/// What is asked of a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    /// Reads a key.
    Get,
    /// Writes a key of the key space.
    Set,
    /// Writes a key beyond all that were written.
    Insert,
    /// Reads a key, and writes it once it is read: one operation.
    ReadModifyWrite,
    /// Removes a key.
    Delete,
    /// Adds 1 to a counter. Counters are keys of their own.
    Increment,
}

impl Operation {
    const ALL: [Self; 6] =
        [Self::Get, Self::Set, Self::Insert, Self::ReadModifyWrite, Self::Delete, Self::Increment];

    /// Its name in mixes and reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Insert => "insert",
            Self::ReadModifyWrite => "rmw",
            Self::Delete => "del",
            Self::Increment => "incr",
        }
    }
}

/// Operations, and how often each is drawn.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Mix(Weighted<Operation>);

impl Mix {
    /// Nothing but gets.
    pub(crate) fn gets() -> Self {
        Self::reads(1.0)
    }

    /// Gets to a share of `ratio`, 0 to 1, and sets.
    pub(crate) fn reads(ratio: f64) -> Self {
        let weighted = Weighted::new([(Operation::Get, ratio), (Operation::Set, 1.0 - ratio)]);
        Self(weighted.expect("one of two shares of 1 is above 0"))
    }

    /// The place of the next operation among [`operations`](Self::operations).
    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        self.0.draw(rng)
    }

    pub(crate) fn operations(&self) -> &[Operation] {
        self.0.things()
    }

    pub(crate) fn has(&self, operation: Operation) -> bool {
        self.operations().contains(&operation)
    }
}

impl Display for Mix {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (place, (operation, share)) in self.0.shares().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            // A ten-thousandth of a percent is told apart; digits that say nothing are not shown.
            let percent = (share * 1e6).round() / 1e4;
            write!(formatter, "{comma}{}={percent}", operation.name())?;
        }
        Ok(())
    }
}

/// The text is no mix.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "expected operations with their weights, as in get=80,set=15,del=5; operations are get, set, insert, rmw, del \
     and incr, each at most once"
)]
pub(crate) struct NoMix;

impl FromStr for Mix {
    type Err = NoMix;

    fn from_str(text: &str) -> Result<Self, NoMix> {
        let mut weighted: Vec<(Operation, f64)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or(NoMix)?;
            let operation =
                Operation::ALL.into_iter().find(|operation| operation.name() == name).ok_or(NoMix)?;
            if weighted.iter().any(|(earlier, _)| *earlier == operation) {
                return Err(NoMix);
            }
            weighted.push((operation, weight.parse().map_err(|_| NoMix)?));
        }
        Weighted::new(weighted).map(Self).ok_or(NoMix)
    }
}

/// The core workloads of YCSB. E is missing: it scans, which few of the targets can.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Workload {
    /// Half reads, half updates; zipfian.
    A,
    /// 95% reads, 5% updates; zipfian.
    B,
    /// Reads alone; zipfian.
    C,
    /// 95% reads of the newest keys, 5% inserts.
    D,
    /// Half reads, half read-modify-writes; zipfian.
    F,
}

impl Workload {
    /// Bytes of a record: ten fields of 100.
    pub(crate) const VALUE_BYTES: &'static str = "1000";

    /// Its operations, as [`Mix`] reads them.
    pub(crate) const fn mix(self) -> &'static str {
        match self {
            Self::A => "get=50,set=50",
            Self::B => "get=95,set=5",
            Self::C => "get=100",
            Self::D => "get=95,insert=5",
            Self::F => "get=50,rmw=50",
        }
    }

    /// How its keys are drawn.
    pub(crate) const fn distribution(self) -> &'static str {
        match self {
            Self::A | Self::B | Self::C | Self::F => "zipfian",
            Self::D => "latest",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_are_read_and_written() {
        let mix: Mix = "get=8,set=1.5,del=0,incr=0.5".parse().unwrap();
        assert_eq!(mix.operations(), [Operation::Get, Operation::Set, Operation::Increment]);
        assert_eq!(mix.to_string(), "get=80,set=15,incr=5");
        assert_eq!(mix.to_string().parse(), Ok(mix));
        assert_eq!(Mix::reads(0.9).to_string(), "get=90,set=10");
        assert_eq!(Mix::gets().operations(), [Operation::Get]);
        for text in ["", "get", "get=", "get=x", "get=-1,set=2", "get=0", "get=1,get=2", "fetch=1", "get=1,"]
        {
            assert_eq!(text.parse::<Mix>(), Err(NoMix), "{text}");
        }
    }

    #[test]
    fn workloads_are_mixes() {
        for workload in Workload::value_variants() {
            let mix: Mix = workload.mix().parse().unwrap();
            assert_eq!(mix.to_string(), workload.mix());
            assert!(workload.distribution().parse::<crate::distribution::Shape>().is_ok());
        }
    }

    #[test]
    fn operations_come_in_their_proportion() {
        let mix: Mix = Workload::D.mix().parse().unwrap();
        let mut rng = Rng::with_seed(3);
        let inserts =
            (0..100_000).filter(|_| mix.operations()[mix.draw(&mut rng)] == Operation::Insert).count();
        // 5000 are expected, with a standard deviation of 69.
        assert!((4700..5300).contains(&inserts), "{inserts}");
    }
}
