//! What happened, for people, for comparing runs, and for counting.
//!
//! Invariant: the digest covers everything that happens, in its order, whether it is printed or not: two runs with one
//! digest are the same run.

use std::fmt::Display;
use xxhash_rust::xxh3::Xxh3;

use crate::faults::Kind;
use crate::network::Traffic;
use crate::seeds::Total;

/// How often things happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    pub(crate) traffic: Traffic,
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    /// How often a node went on under another epoch.
    pub(crate) epochs: u64,
    /// How often a node came back without its data.
    pub(crate) memories_lost: u64,
    /// Pages that nodes that recovered were handed.
    pub(crate) pages: u64,
    /// How often a node saw a movement end.
    pub(crate) moves: u64,
    /// Walks round the ring that came to their end.
    pub(crate) walks: u64,
    /// Terms in which somebody led.
    pub(crate) elected: u64,
    /// Faults that were injected, by kind.
    pub(crate) faults: [u64; Kind::ALL.len()],
}

impl Total for Count {
    fn add(&mut self, other: &Self) {
        self.traffic.add(&other.traffic);
        self.done += other.done;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.epochs += other.epochs;
        self.elected += other.elected;
        self.pages += other.pages;
        self.moves += other.moves;
        self.walks += other.walks;
        self.memories_lost += other.memories_lost;
        for (ours, theirs) in self.faults.iter_mut().zip(other.faults) {
            *ours += theirs;
        }
    }
}

impl Count {
    pub(crate) fn operations(&self) -> u64 {
        self.done + self.refused + self.unknown
    }
}

/// A run's story.
pub(crate) struct Trace {
    digest: Xxh3,
    prints: bool,
}

impl Trace {
    pub(crate) fn new(prints: bool) -> Self {
        Self { digest: Xxh3::new(), prints }
    }

    /// Notes what happens: numbers for the digest, and a line, made only if it is printed.
    pub(crate) fn note<L: Display>(&mut self, now_ns: u64, numbers: &[u64], line: impl FnOnce() -> L) {
        self.digest.update(&now_ns.to_le_bytes());
        for number in numbers {
            self.digest.update(&number.to_le_bytes());
        }
        if self.prints {
            println!("{:>12.3} ms  {}", now_ns as f64 / 1e6, line());
        }
    }

    pub(crate) fn note_bytes(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.digest()
    }
}
