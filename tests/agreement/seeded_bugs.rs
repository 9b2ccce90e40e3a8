//! Known bugs, put in on purpose: each must be found, by the invariants that are meant to find it, and by no others.

use crate::invariants::Invariant::{self, EpochsAgree, NothingAgreedIsLost, OneLeaderATerm, OneNumberALife};
use crate::process::DEVIATIONS;
use crate::run;

/// Seeds in which each must be found.
const SEEDS_MAX: u64 = 10_000;

fn is_found_by<const BUG: usize>(finders: &[Invariant]) {
    let hunted = (0..SEEDS_MAX).find_map(|seed| Some((seed + 1, run::<BUG>(seed, false, finders).1?)));
    let (seeds, why) = hunted.expect("it must be found");
    println!("{:?}: found in {seeds} seeds by {why}", DEVIATIONS[BUG]);
    let others: Vec<Invariant> =
        Invariant::ALL.into_iter().filter(|invariant| !finders.contains(invariant)).collect();
    let lost =
        (0..seeds.clamp(20, 200)).chain([seeds - 1]).all(|seed| run::<BUG>(seed, false, &others).1.is_none());
    assert!(lost, "{others:?} find it too");
}

#[test]
fn a_vote_that_is_not_persisted() {
    is_found_by::<1>(&[OneLeaderATerm, EpochsAgree, NothingAgreedIsLost, OneNumberALife]);
}

#[test]
fn an_answer_before_it_is_persisted() {
    is_found_by::<2>(&[OneLeaderATerm, EpochsAgree, NothingAgreedIsLost, OneNumberALife]);
}
