//! Values of options, as the command line and the configuration file write them.
//!
//! Invariant: a value that exists is within its bounds; an error says what would be.

use std::fmt;
use std::str::FromStr;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::config::ShardCount;

/// What is wrong with a value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OutOfBounds(String);

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Whole<const MIN: i64, const MAX: i64>(i64);

impl<const MIN: i64, const MAX: i64> Whole<MIN, MAX> {
    /// The number as another type has it, all of whose values from `MIN` to `MAX` it must have.
    pub(crate) fn get<T: TryFrom<i64>>(self) -> T {
        T::try_from(self.0).unwrap_or_else(|_| unreachable!("{MIN} to {MAX} fit"))
    }

    fn out_of_bounds() -> OutOfBounds {
        OutOfBounds(format!("a number from {MIN} to {MAX} is needed"))
    }
}

impl<const MIN: i64, const MAX: i64> TryFrom<i64> for Whole<MIN, MAX> {
    type Error = OutOfBounds;

    fn try_from(number: i64) -> Result<Self, OutOfBounds> {
        if (MIN..=MAX).contains(&number) { Ok(Self(number)) } else { Err(Self::out_of_bounds()) }
    }
}

impl<const MIN: i64, const MAX: i64> From<Whole<MIN, MAX>> for i64 {
    fn from(number: Whole<MIN, MAX>) -> Self {
        number.0
    }
}

impl<const MIN: i64, const MAX: i64> FromStr for Whole<MIN, MAX> {
    type Err = OutOfBounds;

    fn from_str(text: &str) -> Result<Self, OutOfBounds> {
        text.parse::<i64>().map_err(|_| Self::out_of_bounds())?.try_into()
    }
}

/// A number of shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Shards(pub(crate) ShardCount);

impl TryFrom<i64> for Shards {
    type Error = OutOfBounds;

    fn try_from(number: i64) -> Result<Self, OutOfBounds> {
        let count = usize::try_from(number).ok().and_then(ShardCount::new).map(Self);
        count.ok_or_else(|| OutOfBounds("a power of two from 2 to 65536 is needed, such as 4096".into()))
    }
}

impl From<Shards> for i64 {
    fn from(shards: Shards) -> Self {
        shards.0.get() as Self
    }
}

impl FromStr for Shards {
    type Err = OutOfBounds;

    fn from_str(text: &str) -> Result<Self, OutOfBounds> {
        text.parse().unwrap_or(0).try_into()
    }
}

/// Bytes, `MIN` to `MAX` of them: a number with a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    /// So many bytes, which are within the bounds.
    pub(crate) fn of(bytes: u64) -> Self {
        Self(bytes.clamp(MIN, MAX))
    }

    /// How many.
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> FromStr for Size<MIN, MAX> {
    type Err = OutOfBounds;

    fn from_str(text: &str) -> Result<Self, OutOfBounds> {
        let bytes: Option<ByteSize> = text.parse().ok();
        match bytes {
            Some(ByteSize(bytes)) if (MIN..=MAX).contains(&bytes) => Ok(Self(bytes)),
            Some(_) if MAX < u64::MAX => {
                Err(OutOfBounds(format!("a size up to {} is needed", ByteSize(MAX).display().iec())))
            }
            _ => Err(OutOfBounds("a size is needed, such as 512MiB or 4GiB".into())),
        }
    }
}

impl<const MIN: u64, const MAX: u64> TryFrom<String> for Size<MIN, MAX> {
    type Error = OutOfBounds;

    fn try_from(text: String) -> Result<Self, OutOfBounds> {
        text.parse()
    }
}

impl<const MIN: u64, const MAX: u64> From<Size<MIN, MAX>> for String {
    fn from(size: Size<MIN, MAX>) -> Self {
        size.to_string()
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Display for Size<MIN, MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As it is read back: without rounding.
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = units.iter().find(|(shift, _)| self.0 > 0 && self.0.is_multiple_of(1 << shift));
        match whole {
            Some((shift, unit)) => write!(formatter, "{}{unit}", self.0 >> shift),
            None => write!(formatter, "{}B", self.0),
        }
    }
}
