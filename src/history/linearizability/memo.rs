//! What the search has tried: sets of operations put in order, with the state they led to (Lowe, "Testing for
//! linearizability", 2017, after Wing and Gong 1993).
//!
//! Invariant: a situation is remembered by 128 bits that depend on it alone, not on the way there and not on chance.
//! That any two of the situations in a memory of a gigabyte share them by accident, which could hide an order and make
//! a false alarm, has a probability below 2^-80.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Fingerprint of a set of operations, or of a situation. That of a union is the XOR of those of the parts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    /// That of a part named by three numbers.
    pub(super) fn of(kind: u64, high: u64, low: u64) -> Self {
        let half = |seed: u64| mix(mix(mix(seed ^ kind) ^ high) ^ low);
        Self((u128::from(half(0x243F_6A88_85A3_08D3)) << 64) | u128::from(half(0x1319_8A2E_0370_7344)))
    }

    /// That of this and `other`, or of this without it.
    #[must_use]
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): a bijection that mixes all bits.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Fingerprints are mixed already.
#[derive(Default)]
struct Unchanged(u64);

impl Hasher for Unchanged {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a fingerprint is hashed as one number");
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}

/// The situations met so far.
#[derive(Default)]
pub(super) struct Memo(HashSet<Fingerprint, BuildHasherDefault<Unchanged>>);

impl Memo {
    /// What one situation costs at worst: 17 bytes a slot, at least 7/16 of them in use; while the table doubles, half
    /// as much again.
    const BYTES_EACH: usize = 64;

    /// Whether `situation` is new; it is not any more.
    pub(super) fn is_new(&mut self, situation: Fingerprint) -> bool {
        self.0.insert(situation)
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len() * Self::BYTES_EACH
    }
}
