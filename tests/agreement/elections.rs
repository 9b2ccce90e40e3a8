//! How long a cluster is without a leader when voters are gone: any one of three, any two of five.

use crate::world::{MS, World};

/// Seeds for each choice of voters.
const SEEDS: u64 = 100;

/// How long it takes from the moment that voters are gone until another leads, in nanoseconds; 0 if the leader stayed.
fn leaderless_ns(processes: usize, gone: &[usize], seed: u64) -> u64 {
    let mut world = World::<0>::peaceful(processes, fastrand::Rng::with_seed(seed), false);
    world.run_until(5_000 * MS + seed * 7 * MS);
    assert!(world.broken.is_empty(), "seed {seed}: {:?}", world.broken);
    let leader = |world: &World<0>| {
        let leads = |process: &&crate::process::Process| {
            process.machine.as_ref().is_some_and(annulus::cluster::topology::TopologyLog::leads)
        };
        world
            .processes
            .iter()
            .filter(leads)
            .max_by_key(|process| process.machine.as_ref().map(|machine| machine.leadership().term))
            .map(|process| process.name.clone())
    };
    assert!(leader(&world).is_some(), "seed {seed}: somebody leads in peace");
    let voters =
        |world: &World<0>| world.processes[0].machine.as_ref().map(|one| one.electorate().voters.len());
    assert_eq!(voters(&world), Some(processes), "seed {seed}: all vote");
    gone.iter().for_each(|&place| world.crash(place, false));
    let from_ns = world.now_ns;
    while leader(&world).is_none() {
        assert!(world.now_ns - from_ns < 10_000 * MS, "seed {seed}: nobody leads any more");
        world.run_until(world.now_ns + MS);
    }
    assert!(world.broken.is_empty(), "seed {seed}: {:?}", world.broken);
    world.now_ns - from_ns
}

fn longest(processes: usize, choices: &[Vec<usize>]) {
    let mut taken_ms: Vec<u64> = choices
        .iter()
        .flat_map(|gone| (0..SEEDS).map(move |seed| leaderless_ns(processes, gone, seed) / MS))
        .filter(|&ms| ms > 0)
        .collect();
    taken_ms.sort_unstable();
    let (median, last) = (taken_ms[taken_ms.len() / 2], taken_ms[taken_ms.len() - 1]);
    println!(
        "{processes} voters, {} gone: {} elections, median {median} ms, longest {last} ms",
        choices[0].len(),
        taken_ms.len()
    );
    assert!(taken_ms.len() as u64 >= SEEDS, "the leader is among those gone often enough");
    assert!(last <= 2_000, "an election took {last} ms");
}

#[test]
fn with_any_one_of_three_voters_gone_another_leads_within_two_seconds() {
    longest(3, &[vec![0], vec![1], vec![2]]);
}

#[test]
fn with_any_two_of_five_voters_gone_another_leads_within_two_seconds() {
    let pairs = (0..5).flat_map(|one| (one + 1..5).map(move |other| vec![one, other]));
    longest(5, &pairs.collect::<Vec<_>>());
}
