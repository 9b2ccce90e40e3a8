//! The smallest part of a history that proves it not linearizable.
//!
//! Invariant: leaving an operation out of the proof never makes an order harder to find: a read is forgotten, a change
//! becomes one that may have happened in its time or not. So whatever is left without an order proves the violation by
//! itself, and a proof from which nothing more can be left out is minimal, though perhaps not the only one.

use crate::history::linearizability::Budget;
use crate::history::linearizability::problem::{Problem, Role};
use crate::history::linearizability::search;
use crate::history::operation::Operation;
use crate::history::record::KeyHistory;

/// Steps that each attempt may take, however few it took to refute the whole.
const ATTEMPT_STEPS_MIN: u64 = 1_000_000;

/// Places of the operations of a proof, and whether it is known to be minimal. `key` is known not to be linearizable,
/// after so many steps: each attempt may take about as many.
pub(super) fn proof(key: &KeyHistory<'_>, budget: &Budget, steps_taken: u64) -> (Vec<usize>, bool) {
    let mut judge = Judge {
        key,
        bytes_max: budget.bytes_max,
        attempt_steps_max: ATTEMPT_STEPS_MIN.saturating_add(steps_taken),
        steps_left: budget.steps_max,
        kept: vec![false; key.operations.len()],
    };
    let mut proof: Vec<usize> = (0..key.operations.len())
        .filter(|&place| Role::of(place, &key.operations[place]) == Role::Must)
        .collect();
    proof.sort_by_key(|&place| key.operations[place].returned_at);
    judge.cut(&mut proof);
    let is_minimal = judge.thin(&mut proof);
    (proof, is_minimal)
}

struct Judge<'k> {
    key: &'k KeyHistory<'k>,
    bytes_max: usize,
    attempt_steps_max: u64,
    steps_left: u64,
    /// Reused from attempt to attempt: which operations are in the proof.
    kept: Vec<bool>,
}

/// What an attempt showed of a part of a history.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Proof,
    NoProof,
    Nothing,
}

impl Judge<'_> {
    /// Leaves the shortest beginning, by time of return, that is still a proof.
    fn cut(&mut self, proof: &mut Vec<usize>) {
        let (mut too_short, mut long_enough) = (0, proof.len());
        while too_short + 1 < long_enough {
            let middle = usize::midpoint(too_short, long_enough);
            if self.attempt(&proof[..middle]) == Shown::Proof {
                long_enough = middle;
            } else {
                too_short = middle;
            }
        }
        proof.truncate(long_enough);
    }

    /// Leaves out what is not needed, in halves, quarters and so on, and then one by one until nothing more can go.
    fn thin(&mut self, proof: &mut Vec<usize>) -> bool {
        let mut chunk = proof.len().div_ceil(2).max(1);
        loop {
            let (mut removed, mut certain) = (false, true);
            let mut end = proof.len();
            while end > 0 {
                let start = end.saturating_sub(chunk);
                let rest = [&proof[..start], &proof[end..]].concat();
                let shown = self.attempt(&rest);
                if shown == Shown::Proof {
                    *proof = rest;
                    removed = true;
                }
                certain &= shown != Shown::Nothing;
                end = start;
            }
            if self.steps_left == 0 {
                return false;
            }
            if chunk == 1 && !removed {
                return certain;
            }
            chunk = if removed { chunk.min(proof.len()).max(1) } else { chunk.div_ceil(2) };
        }
    }

    fn attempt(&mut self, proof: &[usize]) -> Shown {
        let share = self.attempt_steps_max.min(self.steps_left);
        if share == 0 {
            return Shown::Nothing;
        }
        self.kept.fill(false);
        for &place in proof {
            self.kept[place] = true;
        }
        let role = |place: usize, operation: &Operation| match Role::of(place, operation) {
            Role::Must if !self.kept[place] => Role::perhaps(operation),
            role => role,
        };
        let problem = Problem::new(self.key, role);
        let mut share_left = share;
        let result = search::run(problem, self.bytes_max, &mut share_left);
        // Even a part that is refuted at sight costs something.
        self.steps_left = self.steps_left.saturating_sub((share - share_left).max(1));
        match result {
            Ok(false) => Shown::Proof,
            Ok(true) => Shown::NoProof,
            Err(_) => Shown::Nothing,
        }
    }
}
