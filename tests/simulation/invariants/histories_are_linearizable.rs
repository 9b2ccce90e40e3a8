//! Keys that are changed by agreement alone behave as if one operation came after the other, each at once; reads of
//! them at quorum too.

use annulus::history::Verdict;
use annulus::history::linearizability::{self, Budget};

use crate::clients::Clients;
use crate::world::World;

/// What is said of a history that was too long to judge.
pub(crate) const UNDECIDED: &str = "is undecided";

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    let judge = |key| linearizability::check(&world.history().key(key), &Budget::default());
    Clients::agreed().chain(Clients::agreed_and_fleeting()).find_map(|key| match judge(key) {
        Verdict::Holds => None,
        Verdict::Violation(violation) => Some(violation.to_string()),
        Verdict::Undecided(undecided) => Some(format!("{key:?} {UNDECIDED}: {undecided:?}")),
    })
}
