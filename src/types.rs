//! The small types that everything else speaks in: hashes, tokens, stamps, versions, levels.
//!
//! Invariant: each is a newtype with one meaning and one unit, so that a token is never taken for a hash nor
//! milliseconds for nanoseconds. Nothing here does I/O, reads a clock or allocates.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The hash of a key, computed once per request: XXH3, 64 bits, seeded with the cluster's seed.
///
/// The table reads its low bits (bucket) and top 7 bits (tag); the shard is chosen by the bits below the top 7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// Hashes `key` with the cluster's `seed`.
    #[inline]
    #[must_use]
    pub fn of(key: &[u8], seed: u64) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64_with_seed(key, seed))
    }

    /// The key's place on the ring: the hash rotated so that the shard's bits come first.
    #[inline]
    #[must_use]
    pub const fn token(self) -> Token {
        Token(self.0.rotate_left(TAG_BITS))
    }
}

/// Bits of a hash that the table keeps as a tag, at the top.
pub const TAG_BITS: u32 = 7;

/// A place on the ring, 0 to 2^64 - 1, clockwise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

impl Token {
    /// The hash that has this token.
    #[inline]
    #[must_use]
    pub const fn hash(self) -> KeyHash {
        KeyHash(self.0.rotate_right(TAG_BITS))
    }
}

/// Monotonic time in nanoseconds since the process started. Never compared between nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time `later` after this one; saturates.
    #[inline]
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Nanoseconds since `earlier`; 0 if `earlier` is later.
    #[inline]
    #[must_use]
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Wall-clock time in milliseconds since 1970-01-01 UTC; what expiry is expressed in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct WallTime(pub u64);

/// Who issued a version: the incarnation of a node (22 bits) and one of its workers (10 bits).
///
/// Workers do not share a writer number, so that no version is ever issued twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WriterId(pub u32);

/// Workers that one incarnation can tell apart.
pub const WORKERS_MAX: u32 = 1 << 10;

/// Incarnations that a cluster can issue in its life.
pub const INCARNATIONS_MAX: u32 = 1 << 22;

impl WriterId {
    /// The writer that is `worker` of the node's `incarnation`; `None` beyond either bound.
    #[must_use]
    pub const fn new(incarnation: u32, worker: u32) -> Option<Self> {
        if incarnation >= INCARNATIONS_MAX || worker >= WORKERS_MAX {
            return None;
        }
        Some(Self(incarnation * WORKERS_MAX + worker))
    }
}

/// A hybrid logical clock reading: 48 bits of wall milliseconds, then a 16-bit counter.
///
/// Source: Kulkarni et al., "Logical Physical Clocks and Consistent Snapshots" (2014), section 3; with the
/// counter in the low bits of one integer, so that comparing integers compares stamps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stamp(pub u64);

/// Bits of a stamp that count within one millisecond.
pub const STAMP_COUNTER_BITS: u32 = 16;

impl Stamp {
    /// The first stamp of a wall-clock millisecond.
    #[inline]
    #[must_use]
    pub const fn at(wall: WallTime) -> Self {
        Self(wall.0 << STAMP_COUNTER_BITS)
    }

    /// The last stamp of a wall-clock millisecond.
    #[must_use]
    pub const fn last_of(wall: WallTime) -> Self {
        Self(wall.0 << STAMP_COUNTER_BITS | ((1 << STAMP_COUNTER_BITS) - 1))
    }

    /// The wall-clock millisecond that this stamp lies in.
    #[must_use]
    pub const fn wall(self) -> WallTime {
        WallTime(self.0 >> STAMP_COUNTER_BITS)
    }
}

/// The version of a cell: a stamp, and the writer that issued it to break ties. Totally ordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Version {
    /// When, by the issuer's hybrid logical clock.
    pub stamp: Stamp,
    /// Who issued it.
    pub writer: WriterId,
}

impl std::fmt::Display for Version {
    /// Stamp and writer, with a dash between them.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}", self.stamp.0, self.writer.0)
    }
}

/// A text is no version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a version is needed as it is shown, such as 116508372345061376-1024")]
pub struct NotAVersion;

impl std::str::FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let (stamp, writer) = text.split_once('-').ok_or(NotAVersion)?;
        let (Ok(stamp), Ok(writer)) = (stamp.parse(), writer.parse()) else { return Err(NotAVersion) };
        Ok(Self { stamp: Stamp(stamp), writer: WriterId(writer) })
    }
}

/// Bytes of a version on the wire: stamp (8), writer (4).
pub const VERSION_BYTES: usize = 12;

/// How many replicas an operation waits for. A node that is alone meets every level with itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Level {
    /// One natural replica.
    One,
    /// A majority of the natural replicas.
    #[default]
    Quorum,
    /// Every natural replica.
    All,
    /// Per-key consensus.
    Linearizable,
}

impl Level {
    /// All of them, the weakest first.
    pub const ALL: [Self; 4] = [Self::One, Self::Quorum, Self::All, Self::Linearizable];

    /// What clients call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
            Self::Linearizable => "linearizable",
        }
    }

    /// The level of this name, in any case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The number of a node, assigned by the topology log and never given to another node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct NodeNumber(pub u16);

/// The number of a node's life: assigned by the topology log to each of its processes, never to two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Incarnation(pub u32);

/// A part of the installation that fails as one: a rack, a room, a provider's zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Zone(pub u16);

/// The number of a state of ownership: it rises with every change of who owns what and with every incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// Which cluster: links between nodes of two clusters are refused, so that they never merge.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct ClusterId(pub u64);

/// One life of a node's process: drawn at random when it starts, never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RunId(pub NonZeroU64);
