//! Membership: what the machine orders, and what a cluster of them comes to under faults, in virtual time.
//!
//!     cargo test --test membership                                          what CI runs
//!     MEMBERSHIP_SEED=7 cargo test --test membership one -- --nocapture      one seed, everything that happens
//!     MEMBERSHIP_SEEDS=10000 cargo test --test membership many -- --nocapture
//!
//! A run is a function of its seed. `world` is the scheduler, `trouble` what goes wrong, `invariants` what is judged;
//! `orders` compares whole lists of one machine's orders.

mod count;
mod invariants;
#[path = "../simulation/network.rs"]
#[allow(dead_code)]
mod network;
mod orders;
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
const FIXED_SEEDS: u64 = 200;

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
    let (seeds, count) = hold("MEMBERSHIP", seeds, |seed| {
        let (world, broken) = run::<0>(seed, false, &Invariant::ALL);
        (world.count, broken)
    });
    println!(
        "{} seeds: {} messages ({} lost), {} suspicions, {} verdicts, {} renewals",
        seeds, count.traffic.messages, count.traffic.lost, count.suspected, count.dead, count.renewed
    );
    println!(
        "longest: a crash known to all after {:?} ms (unnoticed by links, noticed), all alive again {} ms after \
         healing; most kept: {}",
        count.crash_known_ms, count.healed_ms, count.backlog
    );
    let faults = Kind::ALL.map(|kind| format!("{kind:?} {}", count.faults[kind as usize]));
    println!("faults: {}", faults.join(", "));
    assert!(Kind::ALL.iter().all(|&kind| count.faults[kind as usize] > 0), "each kind of fault happens");
    assert!(count.suspected > 0 && count.dead > 0 && count.renewed > 0, "{count:?}");
}

#[test]
fn seeds_fixed_and_fresh_hold() {
    run_and_tell(fixed_and_fresh(FIXED_SEEDS));
}

#[test]
fn many_seeds_hold() {
    many("MEMBERSHIP").into_iter().for_each(run_and_tell);
}

#[test]
fn one_seed_is_the_same_run_each_time() {
    let seed = number_in_environment("MEMBERSHIP_SEED");
    let (shown, broken) = run::<0>(seed.unwrap_or(2), seed.is_some(), &Invariant::ALL);
    assert_eq!(broken, None);
    let digest = |seed| run::<0>(seed, false, &[]).0.digest();
    assert_eq!(digest(seed.unwrap_or(2)), shown.digest());
    assert_ne!(digest(seed.unwrap_or(2) + 1), shown.digest());
}
