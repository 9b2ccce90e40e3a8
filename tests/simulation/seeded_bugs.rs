//! Known bugs, put in on purpose: each must be found, by the invariants that are meant to find it, and by no others.

use crate::faults::Kind;
use crate::invariants::Invariant::{self, *};
use crate::invariants::UNDECIDED;
use crate::run_leaning;
use crate::world::Lean;

/// Seeds in which each must be found.
const SEEDS_MAX: u64 = 8000;

/// What is judged by values and versions alone.
const VALUES: [Invariant; 6] = [
    HistoriesAreLinearizable,
    ReadsWereWritten,
    AcknowledgedWritesStay,
    ReadsNeverGoBack,
    RemovedStaysRemoved,
    OutlivedStaysOutlived,
];

/// Where what is agreed on is at stake among clocks that differ.
const CLOCKS: Lean = Lean { agreed_of_ten: Some(7), surely: Some(Kind::ClockJump), walks: false };

/// Where that is at stake while keys move.
const AGREEMENT_MOVES: Lean = Lean { agreed_of_ten: Some(10), surely: Some(Kind::OtherFactor), walks: false };

/// Where what was written plainly is at stake while keys move.
const MOVES: Lean = Lean { agreed_of_ten: Some(1), surely: Some(Kind::Loss), walks: false };

/// Where conditions are judged, of many keys, while messages are lost.
const CONDITIONS: Lean = Lean { agreed_of_ten: Some(7), surely: Some(Kind::Loss), walks: false };

/// Where some walk round the ring.
const WALKS: Lean = Lean { agreed_of_ten: None, surely: None, walks: true };

/// Runs seeds until one breaks; returns how many it took, and what was broken.
fn hunt<const BUG: usize>(lean: Lean, first: u64, invariants: &[Invariant]) -> Option<(u64, Invariant)> {
    // What nobody could decide is nothing found.
    let run = |seed| {
        run_leaning::<BUG>(lean, seed, false, invariants).broken.filter(|it| !it.1.contains(UNDECIDED))
    };
    (first..first + SEEDS_MAX).find_map(|seed| Some((seed + 1, run(seed)?.0)))
}

/// A bug is found, and lost again without the invariants in `finders`.
fn is_found_by<const BUG: usize>(finders: &[Invariant]) {
    is_found_where::<BUG>(Lean::default(), 0, finders);
}

/// The same in worlds that lean towards it, from the seed `first` on: those before show nothing, and take minutes.
fn is_found_where<const BUG: usize>(lean: Lean, first: u64, finders: &[Invariant]) {
    let (seeds, invariant) = hunt::<BUG>(lean, first, &Invariant::ALL).expect("it must be found");
    println!("{:?}: found by {invariant:?} in {seeds} seeds", crate::node::DEVIATIONS[BUG]);
    assert!(finders.contains(&invariant), "{invariant:?}");
    let others: Vec<Invariant> =
        Invariant::ALL.into_iter().filter(|other| !finders.contains(other)).collect();
    // The seed that shows it is among them.
    let found = (first..(seeds - first).clamp(20, 200) + first)
        .chain([seeds - 1])
        .find_map(|seed| run_leaning::<BUG>(lean, seed, false, &others).broken);
    assert!(found.is_none(), "{found:?} finds it too");
}

#[test]
fn a_write_back_that_is_skipped() {
    is_found_by::<1>(&[&VALUES[..], &[ReplicasAreEqual]].concat());
}

#[test]
fn a_superseded_write_that_is_acknowledged() {
    is_found_by::<2>(&[AcknowledgedWritesStay, ReadsNeverGoBack, RemovedStaysRemoved]);
}

#[test]
fn an_unknown_outcome_that_is_reported_as_refused() {
    is_found_by::<3>(&[ReadsWereWritten, AcknowledgedWritesStay, ReadsNeverGoBack]);
}

#[test]
fn answers_of_an_old_round_that_are_counted() {
    // What an answer to something else does to an operation, nobody can foretell: everything but versions breaks.
    let finders = Invariant::ALL.into_iter().filter(|invariant| *invariant != OneValueAVersion);
    is_found_by::<4>(&finders.collect::<Vec<_>>());
}

#[test]
fn a_read_that_asks_one_replica() {
    let finders = [&VALUES[..], &[ReplicasAreEqual]].concat();
    is_found_by::<5>(&finders);
}

#[test]
fn an_answer_of_another_epoch_that_is_counted() {
    is_found_by::<6>(&[AcknowledgedWritesStay, ReadsNeverGoBack, RemovedStaysRemoved]);
}

#[test]
fn a_clock_that_is_reused_after_a_restart() {
    is_found_by::<7>(&[&VALUES[..], &[OneValueAVersion, ReplicasAreEqual]].concat());
}

#[test]
fn a_copy_of_a_write_that_is_forgotten() {
    is_found_by::<8>(&[ReadsWereWritten]);
}

#[test]
fn a_ceiling_that_is_ignored() {
    is_found_by::<9>(&[NothingBeyondTheCeiling]);
}

#[test]
fn a_deadline_that_is_ignored() {
    is_found_by::<10>(&[NothingAfterItsTime]);
}

#[test]
fn a_lost_round_that_is_forgotten() {
    is_found_by::<11>(&VALUES);
}

#[test]
fn own_versions_that_are_forgotten_but_for_the_last() {
    is_found_by::<12>(&[HistoriesAreLinearizable]);
}

#[test]
fn a_condition_that_is_reported_before_it_is_settled() {
    is_found_where::<13>(CONDITIONS, 0, &[HistoriesAreLinearizable]);
}

#[test]
fn a_promise_in_the_way_that_counts_as_a_repair() {
    is_found_by::<14>(&[&VALUES[..], &[ReplicasAreEqual]].concat());
}

#[test]
fn a_change_that_is_asked_of_another_node_again() {
    is_found_by::<15>(&VALUES);
}

#[test]
fn something_newer_that_counts_as_a_repair() {
    is_found_by::<16>(&VALUES);
}

#[test]
fn a_node_without_its_data_that_counts() {
    is_found_by::<17>(&VALUES);
}

#[test]
fn a_recovery_from_one_source() {
    is_found_by::<18>(&VALUES);
}

#[test]
fn old_owners_that_suffice_while_keys_move() {
    is_found_where::<19>(AGREEMENT_MOVES, 0, &VALUES);
}

#[test]
fn a_movement_that_brings_what_one_has() {
    is_found_where::<20>(MOVES, 52_000, &VALUES);
}

#[test]
fn a_movement_that_ends_too_early() {
    is_found_by::<21>(&VALUES);
}

#[test]
fn a_promise_that_keeps_out_what_is_handed_over() {
    is_found_where::<22>(AGREEMENT_MOVES, 0, &VALUES);
}

#[test]
fn an_expiry_that_only_one_clock_knows_of() {
    is_found_by::<23>(&[&VALUES[..], &[ReplicasAreEqual]].concat());
}

#[test]
fn a_condition_that_is_judged_by_what_another_clock_finds_there() {
    is_found_where::<24>(CLOCKS, 0, &[HistoriesAreLinearizable]);
}

#[test]
fn a_walk_that_hears_one_node() {
    is_found_where::<25>(WALKS, 0, &[WalksSeeWhatIsThere]);
}

#[test]
fn a_walk_that_goes_on_where_the_last_node_stopped() {
    is_found_where::<26>(WALKS, 0, &[WalksSeeWhatIsThere]);
}

#[test]
fn a_refusal_of_one_replica_that_is_taken_for_all() {
    is_found_by::<27>(&VALUES);
}
