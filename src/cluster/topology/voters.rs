//! Who is to vote on the topology log, as the leader sees to it.
//!
//! Invariant: voters are 1, 3 or 5, and change from one such number to another in one step; a voter that is dead is
//! replaced as soon as there is a live learner that has caught up, never by nobody. Whoever votes now and lives goes on
//! voting, so that nothing changes without need. Every node learns before it votes.

use std::collections::BTreeMap;

use crate::config::topology::VOTERS_MAX;
use crate::message::consensus::{Electorate, Role};
use crate::types::NodeNumber;

/// What a leader knows of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    /// It is not thought dead.
    pub(super) alive: bool,
    /// It has all of the log, about.
    pub(super) caught_up: bool,
}

/// How many of so many nodes vote.
const fn voters_among(nodes: usize) -> usize {
    match nodes {
        0..=2 => 1,
        3..=4 => 3,
        _ => VOTERS_MAX,
    }
}

/// What is to change now, if anything; `leader` goes on voting.
pub(super) fn plan(
    nodes: &BTreeMap<NodeNumber, Standing>,
    electorate: &Electorate,
    leader: NodeNumber,
) -> Vec<(Role, NodeNumber)> {
    let votes = |node: &NodeNumber| electorate.voters.contains(node);
    let learns = |node: &NodeNumber| electorate.learners.contains(node);
    let mut changes: Vec<(Role, NodeNumber)> = nodes
        .keys()
        .filter(|node| !votes(node) && !learns(node))
        .map(|&node| (Role::Learner, node))
        .chain(
            electorate
                .learners
                .iter()
                .filter(|node| !nodes.contains_key(node))
                .map(|&node| (Role::Gone, node)),
        )
        .collect();
    let wanted = wanted(nodes, electorate, leader);
    if wanted.len() == voters_among(nodes.len()) {
        changes.extend(wanted.iter().filter(|node| !votes(node)).map(|&node| (Role::Voter, node)));
        let leaving = electorate.voters.iter().filter(|node| !wanted.contains(node));
        let role = |node| if nodes.contains_key(node) { Role::Learner } else { Role::Gone };
        changes.extend(leaving.map(|node| (role(node), *node)));
    }
    changes
}

/// Who is to vote, the surest first.
fn wanted(
    nodes: &BTreeMap<NodeNumber, Standing>,
    electorate: &Electorate,
    leader: NodeNumber,
) -> Vec<NodeNumber> {
    let rank = |(&node, standing): (&NodeNumber, &Standing)| {
        let votes = electorate.voters.contains(&node);
        let learned = electorate.learners.contains(&node) && standing.caught_up;
        match (node == leader, votes, standing.alive) {
            (true, ..) => Some((0, node)),
            (_, true, true) => Some((1, node)),
            (_, false, true) if learned => Some((2, node)),
            (_, true, false) => Some((3, node)),
            _ => None,
        }
    };
    let mut ranked: Vec<_> = nodes.iter().filter_map(rank).collect();
    ranked.sort_unstable();
    ranked.truncate(voters_among(nodes.len()));
    ranked.into_iter().map(|(_, node)| node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: NodeNumber = NodeNumber(1);
    const WELL: Standing = Standing { alive: true, caught_up: true };
    const DEAD: Standing = Standing { alive: false, caught_up: false };
    const BEHIND: Standing = Standing { alive: true, caught_up: false };

    fn numbers(numbers: &[u16]) -> Vec<NodeNumber> {
        numbers.iter().copied().map(NodeNumber).collect()
    }

    fn planned(nodes: &[(u16, Standing)], voters: &[u16], learners: &[u16]) -> Vec<(Role, u16)> {
        let nodes = nodes.iter().map(|&(node, standing)| (NodeNumber(node), standing)).collect();
        let electorate =
            Electorate { voters: numbers(voters), learners: numbers(learners), ..Electorate::default() };
        plan(&nodes, &electorate, LEADER).into_iter().map(|(role, node)| (role, node.0)).collect()
    }

    #[test]
    fn newcomers_learn_and_vote_three_at_once() {
        assert_eq!(planned(&[(1, WELL), (2, WELL)], &[1], &[]), [(Role::Learner, 2)]);
        assert_eq!(planned(&[(1, WELL), (2, WELL)], &[1], &[2]), []);
        assert_eq!(planned(&[(1, WELL), (2, WELL), (3, BEHIND)], &[1], &[2, 3]), [], "two do not vote");
        let three = [(1, WELL), (2, WELL), (3, WELL)];
        assert_eq!(planned(&three, &[1], &[2, 3]), [(Role::Voter, 2), (Role::Voter, 3)]);
        let five = [(1, WELL), (2, WELL), (3, WELL), (4, WELL), (5, WELL)];
        assert_eq!(planned(&five, &[1, 2, 3], &[4, 5]), [(Role::Voter, 4), (Role::Voter, 5)]);
        assert_eq!(planned(&five[..4], &[1, 2, 3], &[4]), [], "the fourth learns");
    }

    #[test]
    fn a_dead_voter_is_replaced_by_a_learner_and_never_by_nobody() {
        let dead = [(1, WELL), (2, DEAD), (3, WELL)];
        assert_eq!(planned(&dead, &[1, 2, 3], &[]), []);
        let spare = [(1, WELL), (2, DEAD), (3, WELL), (4, WELL)];
        assert_eq!(planned(&spare, &[1, 2, 3], &[4]), [(Role::Voter, 4), (Role::Learner, 2)]);
        let slow = [(1, WELL), (2, DEAD), (3, WELL), (4, BEHIND)];
        assert_eq!(planned(&slow, &[1, 2, 3], &[4]), []);
        let back = [(1, WELL), (2, WELL), (3, WELL), (4, WELL)];
        assert_eq!(planned(&back, &[1, 3, 4], &[2]), [], "whoever votes goes on");
    }

    #[test]
    fn who_has_left_votes_no_more() {
        let replaced = [(1, WELL), (3, WELL), (4, WELL)];
        assert_eq!(planned(&replaced, &[1, 2, 3], &[4]), [(Role::Voter, 4), (Role::Gone, 2)]);
        assert_eq!(planned(&[(1, WELL), (3, WELL)], &[1], &[2, 3]), [(Role::Gone, 2)]);
    }
}
