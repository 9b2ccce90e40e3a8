//! What quorum reads and writes of one key promise: each promise in a file of its own.
//!
//! Quorum reads and writes are not linearizable. A write that was refused by some replicas and tried again with a
//! higher version may be seen, overwritten and seen again; one of unknown outcome, or at level one, may be seen at any
//! later time. What holds nevertheless is judged here, by versions where they were told, else by values (Lamport, "On
//! Interprocess Communication", 1986, calls it regularity; that reads never go back is what write-back adds, after
//! Attiya, Bar-Noy and Dolev, "Sharing Memory Robustly in Message-Passing Systems", 1995).
//!
//! Without versions a checker is blind to much: whatever a write that was not acknowledged wrote may be seen at any
//! time, so is never a fault; values that several operations write, or that an increment or append leaves without
//! telling, say little or nothing. [`Coverage`] counts what could be judged. Level one promises only what
//! [`reads_were_written`] and [`one_value_a_version`] say. Expiry is not modelled: a key that expired looks like a
//! lost write, so judge keys that do not expire.

pub mod acknowledged_writes_stay;
pub mod one_value_a_version;
pub mod reads_never_go_back;
pub mod reads_were_written;
pub mod removed_stays_removed;
mod sighting;
mod sources;
mod supersession;

use crate::history::record::KeyHistory;
use crate::history::verdict::Verdict;
use sighting::{Kind, sightings};
use sources::Sources;

/// One promise's check. There is no budget: it takes little more than sorting.
pub type Check = fn(&KeyHistory<'_>) -> Verdict;

/// Every promise, the cheapest to understand first.
pub const CHECKS: [Check; 5] = [
    reads_were_written::check,
    one_value_a_version::check,
    acknowledged_writes_stay::check,
    removed_stays_removed::check,
    reads_never_go_back::check,
];

/// Judges one key by every promise; what is told is the first that is broken.
#[must_use]
pub fn check(key: &KeyHistory<'_>) -> Verdict {
    let verdicts = CHECKS.iter().map(|check| check(key));
    verdicts.into_iter().find(|verdict| *verdict != Verdict::Holds).unwrap_or(Verdict::Holds)
}

/// How much of what was read at level quorum or above the checks could judge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    /// Reads, and conditions that did not hold.
    pub reads: usize,
    /// Those that told a version: judged against every other version told.
    pub by_version: usize,
    /// Those whose value only acknowledged operations can have left, so that it can be known to be outdated.
    pub by_value: usize,
    /// Those of which neither is true: only that somebody wrote the value is judged.
    pub unjudged: usize,
}

impl Coverage {
    /// The coverage of one key.
    #[must_use]
    pub fn of(key: &KeyHistory<'_>) -> Self {
        let sources = Sources::of(key);
        let mut coverage = Self::default();
        for read in sightings(key).iter().filter(|sighting| sighting.kind == Kind::Read) {
            let by_version = read.version.is_some();
            let by_value = read.content.is_some_and(|content| sources.are_all_acknowledged(content));
            coverage.reads += 1;
            coverage.by_version += usize::from(by_version);
            coverage.by_value += usize::from(by_value);
            coverage.unjudged += usize::from(!by_version && !by_value);
        }
        coverage
    }
}
