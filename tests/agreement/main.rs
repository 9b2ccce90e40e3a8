//! The topology log in a simulated world: elections, joins, restarts and replacements under faults, in virtual time.
//!
//!     cargo test --test agreement                                         what CI runs
//!     AGREEMENT_SEED=7 cargo test --test agreement one -- --nocapture     one seed, everything that happens
//!     AGREEMENT_SEEDS=10000 cargo test --test agreement many -- --nocapture
//!
//! A run is a function of its seed. `world` is the scheduler, `process` what runs in it, `operators` who asks for
//! something, `trouble` what goes wrong, `elections` how long the cluster is without a leader, `nonsense`
//! what no node would say, `invariants` what is
//! judged.

mod elections;
mod invariants;
#[path = "../simulation/network.rs"]
mod network;
mod nonsense;
mod operators;
mod process;
mod seeded_bugs;
#[path = "../simulation/seeds.rs"]
mod seeds;
mod trouble;
mod world;

use invariants::Invariant;
use seeds::{fixed_and_fresh, hold, many, number_in_environment};
use trouble::Kind;
use world::World;

/// Seeds that are run every time, and as many again that are new each time.
const FIXED_SEEDS: u64 = 500;

/// Runs a seed; what of `invariants` did not hold.
fn run<const BUG: usize>(seed: u64, prints: bool, invariants: &[Invariant]) -> (World<BUG>, Option<String>) {
    let mut world = World::<BUG>::new(seed, prints);
    world.run();
    let broken = invariants
        .iter()
        .find_map(|invariant| Some(format!("{invariant:?}: {}", world.broken.get(invariant)?)));
    (world, broken)
}

/// Runs seeds, tells what happened, and fails if anything broke or a kind of fault never happened.
fn run_and_tell(seeds: impl Iterator<Item = u64> + Send) {
    let (seeds, count) = hold("AGREEMENT", seeds, |seed| {
        let (world, broken) = run::<0>(seed, false, &Invariant::ALL);
        (world.count, broken)
    });
    println!(
        "{seeds} seeds: {} leaders elected, {} commands carried out, {} nodes let in, {} messages ({} lost)",
        count.elected, count.carried_out, count.let_in, count.traffic.messages, count.traffic.lost
    );
    let faults = Kind::ALL.map(|kind| format!("{kind:?} {}", count.faults[kind as usize]));
    println!("faults: {}", faults.join(", "));
    assert!(Kind::ALL.iter().all(|&kind| count.faults[kind as usize] > 0), "each kind of fault happens");
    assert!(count.elected > seeds && count.carried_out > seeds && count.traffic.lost > 0, "{count:?}");
}

#[test]
fn seeds_fixed_and_fresh_hold() {
    run_and_tell(fixed_and_fresh(FIXED_SEEDS));
}

#[test]
fn many_seeds_hold() {
    many("AGREEMENT").into_iter().for_each(run_and_tell);
}

#[test]
fn one_seed_is_the_same_run_each_time() {
    let seed = number_in_environment("AGREEMENT_SEED");
    let (shown, broken) = run::<0>(seed.unwrap_or(1), seed.is_some(), &Invariant::ALL);
    assert_eq!(broken, None);
    let digest = |seed| run::<0>(seed, false, &[]).0.digest();
    assert_eq!(digest(seed.unwrap_or(1)), shown.digest());
    assert_ne!(digest(seed.unwrap_or(1) + 1), shown.digest());
}
