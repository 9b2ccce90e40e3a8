//! Whether one key's operations are linearizable (Herlihy and Wing, "Linearizability: A Correctness Condition for
//! Concurrent Objects", 1990, section 2).
//!
//! Linearizability is local (theorem 1 there, section 3.1): a history is linearizable if each key's is, so keys are
//! judged one by one. An operation of unknown outcome takes effect once, at any time after it was asked, or never; so
//! does a write at level one, since it may surface later; a read at level one binds nobody, and a refused operation
//! never was. Versions, where told, must rise with every change, and may rise without one: settling a round gives a
//! cell a new ballot. Hence a comparison of versions may fail though nothing was written between; this is not held
//! against the store. Expiry is not modelled: judge keys that do not expire.

mod links;
mod memo;
mod model;
mod problem;
mod search;
mod smallest;

use crate::history::record::KeyHistory;
use crate::history::verdict::{Promise, Undecided, Verdict, Violation};
use problem::{Problem, Role};

/// What a verdict may cost. Beyond it, there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Bytes for remembering what was tried.
    pub bytes_max: usize,
    /// Attempts to put an operation next. A core makes tens of millions a second.
    pub steps_max: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes_max: 256 << 20, steps_max: 100_000_000 }
    }
}

/// Judges one key. A violation is found within `budget`, and made small within as much again.
#[must_use]
pub fn check(key: &KeyHistory<'_>, budget: &Budget) -> Verdict {
    let problem = Problem::new(key, Role::of);
    let mut steps_left = budget.steps_max;
    match search::run(problem, budget.bytes_max, &mut steps_left) {
        Ok(true) => Verdict::Holds,
        Ok(false) => {
            let (places, is_minimal) = smallest::proof(key, budget, budget.steps_max - steps_left);
            Verdict::Violation(Box::new(Violation::new(Promise::Linearizable, key, places, is_minimal)))
        }
        Err(search::OutOf::Memory) => Verdict::Undecided(Undecided::Memory { bytes_max: budget.bytes_max }),
        Err(search::OutOf::Steps) => Verdict::Undecided(Undecided::Steps { steps_max: budget.steps_max }),
    }
}
