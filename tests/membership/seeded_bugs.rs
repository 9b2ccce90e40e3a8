//! Known bugs, put in on purpose: each must be found, by the invariants that are meant to find it, and by no others.

use crate::invariants::Invariant::{
    self, CalmSuspectsNobody, EveryoneIsAliveOnceHealed, FalselyDeadReturn, OnlyThePresentAreSpokenTo,
    SleepersJudgeNobody, TheCrashedAreDead,
};
use crate::run;
use crate::world::DEVIATIONS;

/// Seeds in which each must be found.
const SEEDS_MAX: u64 = 1_000;

fn is_found_by<const BUG: usize>(finders: &[Invariant]) {
    let hunted = (0..SEEDS_MAX).find_map(|seed| Some((seed + 1, run::<BUG>(seed, false, finders).1?)));
    let (seeds, why) = hunted.expect("it must be found");
    println!("{:?}: found in {seeds} seeds by {why}", DEVIATIONS[BUG]);
    let others: Vec<Invariant> =
        Invariant::ALL.into_iter().filter(|invariant| !finders.contains(invariant)).collect();
    let found =
        (0..seeds.clamp(20, 60)).chain([seeds - 1]).find_map(|seed| run::<BUG>(seed, false, &others).1);
    assert_eq!(found, None, "others find it too");
}

#[test]
fn a_renewal_that_is_skipped() {
    // Whoever stays dead goes on taking part, and those who hear it declare others dead.
    is_found_by::<1>(&[
        FalselyDeadReturn,
        EveryoneIsAliveOnceHealed,
        SleepersJudgeNobody,
        CalmSuspectsNobody,
    ]);
}

#[test]
fn a_slow_observer_that_does_not_doubt_itself() {
    is_found_by::<2>(&[SleepersJudgeNobody]);
}

#[test]
fn strangers_that_are_believed() {
    is_found_by::<3>(&[OnlyThePresentAreSpokenTo]);
}

#[test]
fn verdicts_that_are_never_given() {
    is_found_by::<4>(&[TheCrashedAreDead]);
}

#[test]
fn dead_nodes_that_nobody_looks_for() {
    is_found_by::<5>(&[FalselyDeadReturn, EveryoneIsAliveOnceHealed, CalmSuspectsNobody]);
}
