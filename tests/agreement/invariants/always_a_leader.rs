//! When a majority of voters can talk to each other, one of them leads, at the latest after two seconds.

use annulus::types::NodeNumber;

use crate::world::World;

/// How long an election may take.
pub(crate) const ELECTION_NS_MAX: u64 = 2_000_000_000;

/// Whether so many of `voters` that they could elect a leader run and hear each other.
pub(crate) fn can_elect<const BUG: usize>(world: &World<BUG>, voters: &[NodeNumber]) -> bool {
    let places: Vec<usize> = voters.iter().filter_map(|&voter| world.place_of(voter)).collect();
    let majority = voters.len() / 2 + 1;
    let talk = |one: usize, other: usize| one == other || world.network.is_whole(one, other);
    let runs = |&&place: &&usize| world.processes[place].runs();
    // Any majority is within what some voter hears, and at most five vote: all subsets are few.
    let running: Vec<usize> = places.iter().filter(runs).copied().collect();
    (0..1_u32 << running.len()).any(|subset| {
        let chosen: Vec<usize> =
            (0..running.len()).filter(|bit| subset >> bit & 1 == 1).map(|bit| running[bit]).collect();
        chosen.len() >= majority && chosen.iter().all(|&one| chosen.iter().all(|&other| talk(one, other)))
    })
}

/// Whether somebody leads whom a majority of `voters` hears, and who hears them.
pub(crate) fn has_leader<const BUG: usize>(world: &World<BUG>, voters: &[NodeNumber]) -> bool {
    let places: Vec<usize> = voters.iter().filter_map(|&voter| world.place_of(voter)).collect();
    world.processes.iter().enumerate().any(|(place, process)| {
        let leads = process.runs() && process.machine.as_ref().is_some_and(|machine| machine.leads());
        let heard = |&&other: &&usize| {
            other == place || (world.processes[other].runs() && world.network.is_whole(place, other))
        };
        leads && places.iter().filter(heard).count() > voters.len() / 2
    })
}
