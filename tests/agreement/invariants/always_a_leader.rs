//! When a majority of voters can talk to each other, one of them leads, at the latest after two seconds.

use annulus::cluster::topology::TopologyLog;
use annulus::message::consensus::Electorate;
use annulus::types::NodeNumber;

use crate::world::World;

/// How long an election may take.
pub(crate) const ELECTION_NS_MAX: u64 = 2_000_000_000;

/// Whether so many voters that they could elect a leader run and hear each other. While voters change, a majority of
/// those before and of those after is needed.
pub(crate) fn can_elect<const BUG: usize>(world: &World<BUG>, electorate: &Electorate) -> bool {
    let mut running: Vec<NodeNumber> =
        [&electorate.voters, &electorate.voters_outgoing].map(Clone::clone).concat();
    running.sort_unstable();
    running.dedup();
    running.retain(|&voter| world.place_of(voter).is_some_and(|place| world.processes[place].runs()));
    let talk = |one: NodeNumber, other: NodeNumber| one == other || talk(world, one, other);
    // Ten vote at most: all subsets are few.
    (0..1_u32 << running.len()).any(|subset| {
        let chosen: Vec<NodeNumber> =
            (0..running.len()).filter(|bit| subset >> bit & 1 == 1).map(|bit| running[bit]).collect();
        is_majority(electorate, &chosen)
            && chosen.iter().all(|&one| chosen.iter().all(|&other| talk(one, other)))
    })
}

/// Whether somebody leads whom a majority hears, and who hears them.
pub(crate) fn has_leader<const BUG: usize>(world: &World<BUG>, electorate: &Electorate) -> bool {
    world.processes.iter().any(|process| {
        let leads = process.runs() && process.machine.as_ref().is_some_and(TopologyLog::leads);
        let Some(leader) = process.number().filter(|_| leads) else { return false };
        let voters = electorate.voters.iter().chain(&electorate.voters_outgoing).copied();
        let heard: Vec<NodeNumber> =
            voters.filter(|&voter| voter == leader || talk(world, leader, voter)).collect();
        is_majority(electorate, &heard)
    })
}

fn is_majority(electorate: &Electorate, chosen: &[NodeNumber]) -> bool {
    [&electorate.voters, &electorate.voters_outgoing].into_iter().all(|voters| {
        let present = voters.iter().filter(|voter| chosen.contains(voter)).count();
        voters.is_empty() || present > voters.len() / 2
    })
}

/// Whether both run and hear each other.
fn talk<const BUG: usize>(world: &World<BUG>, one: NodeNumber, other: NodeNumber) -> bool {
    let (Some(one), Some(other)) = (world.place_of(one), world.place_of(other)) else { return false };
    world.processes[one].runs() && world.processes[other].runs() && world.network.is_whole(one, other)
}
