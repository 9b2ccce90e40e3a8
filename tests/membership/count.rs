//! How often what happened in a run, or in many.
//!
//! Invariant: of many runs, amounts are added up, and of what took longest the longest is kept.

use crate::network::Traffic;
use crate::seeds::Total;
use crate::trouble::Kind;

/// How often what happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    pub(crate) traffic: Traffic,
    pub(crate) suspected: u64,
    pub(crate) dead: u64,
    pub(crate) renewed: u64,
    pub(crate) faults: [u64; Kind::ALL.len()],
    /// The most that a machine kept.
    pub(crate) backlog: usize,
    /// The longest that it took until all knew of a crash, unnoticed by links and noticed.
    pub(crate) crash_known_ms: [u64; 2],
    /// The longest that it took after healing.
    pub(crate) healed_ms: u64,
}

impl Total for Count {
    fn add(&mut self, other: &Self) {
        self.traffic.add(&other.traffic);
        self.suspected += other.suspected;
        self.dead += other.dead;
        self.renewed += other.renewed;
        self.backlog = self.backlog.max(other.backlog);
        self.healed_ms = self.healed_ms.max(other.healed_ms);
        for (ours, theirs) in self.crash_known_ms.iter_mut().zip(other.crash_known_ms) {
            *ours = theirs.max(*ours);
        }
        for (ours, theirs) in self.faults.iter_mut().zip(other.faults) {
            *ours += theirs;
        }
    }
}
