//! How keys move from the nodes that own them to those that are to own them.
//!
//! Invariants: one movement at a time, in two epochs: while it is under way every level is met among those who own a
//! key and among those who are to own it; when everybody who has yet to get something has it, the latter alone own it.
//! A movement to nodes that come may also end as if it had never begun, at any time: nothing was told that the former
//! owners do not have, and what those who came were handed is dropped. Any other goes on to its end: a node that is to
//! keep its keys may have been handed what it had promised to take no more, and only the end says up to when.

use std::collections::BTreeSet;

use crate::cluster::ring::gains;
use crate::config::REPLICAS_MAX;
use crate::message::topology::{Denial, Movement, Node, NodeState, Topology};
use crate::types::{Epoch, Incarnation, NodeNumber, WallTime};

impl Topology {
    /// What is to move, if nothing does: to those of `live` that own nothing yet; if there are none, according to the
    /// setting.
    #[must_use]
    pub fn wanted_move(&self, live: &BTreeSet<NodeNumber>) -> Option<(BTreeSet<NodeNumber>, u8)> {
        if self.movement.is_some() || !self.open {
            return None;
        }
        let comes = |(number, _): &(&NodeNumber, _)| live.contains(*number);
        let joined = self.nodes.iter().filter(|(_, node)| node.state == NodeState::Joined);
        let comes: BTreeSet<NodeNumber> = joined.filter(comes).map(|(&number, _)| number).collect();
        let copies = if comes.is_empty() { self.settings.replication_factor } else { self.copies };
        self.judge_move(&comes, copies).is_ok().then_some((comes, copies))
    }

    pub(super) fn judge_move(&self, comes: &BTreeSet<NodeNumber>, copies: u8) -> Result<(), Denial> {
        let joined = |node| self.nodes.get(node).is_some_and(|node| node.state == NodeState::Joined);
        // One thing at a time: other nodes, or another number of copies.
        let changes = comes.is_empty() != (copies == self.copies);
        let possible = comes.iter().all(joined) && self.open && changes;
        let bounded = (1..=REPLICAS_MAX).contains(&usize::from(copies));
        if self.movement.is_none() && possible && bounded { Ok(()) } else { Err(Denial::NothingToMove) }
    }

    pub(super) fn begin_move(&mut self, comes: &BTreeSet<NodeNumber>, copies: u8) {
        self.epoch.0 += 1;
        for node in comes {
            self.nodes.entry(*node).and_modify(|node| node.state = NodeState::Joining);
        }
        let since = self.epoch;
        self.movement = Some(Movement { since, copies, awaited: BTreeSet::new() });
        let nodes: Vec<NodeNumber> = self.nodes.keys().copied().collect();
        // One that recovers counts for nothing until it has everything.
        let counts = |node: &NodeNumber| self.nodes[node].state != NodeState::Recovering;
        let counting: Vec<NodeNumber> = nodes.into_iter().filter(counts).collect();
        counting.into_iter().for_each(|node| self.await_if_lacking(node));
        self.end_move_if_due();
    }

    /// The movement under way does not end before this node, which counts, has what the movement brings it.
    pub(super) fn await_if_lacking(&mut self, node: NodeNumber) {
        let Some(new) = self.next_ring() else { return };
        let lacks = gains(&self.ring(), &new).contains(&node);
        if let Some(movement) = self.movement.as_mut().filter(|_| lacks) {
            movement.awaited.insert(node);
        }
    }

    pub(super) fn judge_filled(
        &self,
        node: NodeNumber,
        incarnation: Incarnation,
        since: Epoch,
    ) -> Result<(), Denial> {
        match (&self.movement, self.nodes.get(&node)) {
            (Some(movement), Some(present)) if movement.since == since => {
                if present.incarnation == incarnation { Ok(()) } else { Err(Denial::LifeOver(node)) }
            }
            _ => Err(Denial::MovementOver(since)),
        }
    }

    pub(super) fn filled(&mut self, node: NodeNumber, heard: WallTime) {
        if self.movement.as_mut().is_some_and(|movement| movement.awaited.remove(&node)) {
            self.nodes.entry(node).and_modify(|node| node.heard_until = node.heard_until.max(heard));
            self.end_move_if_due();
        }
    }

    /// Who holds what others handed over, and up to when that may be: that it is there proves nothing about how many
    /// had it of themselves, or had promised to take no such thing any more.
    pub fn hearsay(&self) -> impl Iterator<Item = (NodeNumber, WallTime)> {
        let until = |(number, node): (&NodeNumber, &Node)| {
            let awaited = self.movement.as_ref().is_some_and(|movement| movement.awaited.contains(number));
            (*number, if awaited { WallTime(u64::MAX) } else { node.heard_until })
        };
        self.nodes.iter().map(until).filter(|(_, until)| until.0 > 0)
    }

    fn end_move_if_due(&mut self) {
        let Some(movement) = self.movement.take_if(|movement| movement.awaited.is_empty()) else { return };
        self.epoch.0 += 1;
        self.copies = movement.copies;
        for node in self.nodes.values_mut().filter(|node| node.state == NodeState::Joining) {
            node.state = NodeState::Active;
        }
    }

    /// Whether the movement under way is to nodes that come.
    #[must_use]
    pub fn may_be_called_off(&self) -> bool {
        self.movement.is_some() && self.nodes.values().any(|node| node.state == NodeState::Joining)
    }

    pub(super) fn call_off(&mut self) {
        self.movement = None;
        self.epoch.0 += 1;
        for node in self.nodes.values_mut().filter(|node| node.state == NodeState::Joining) {
            node.state = NodeState::Joined;
        }
    }

    /// A node's life is over: unless it keeps its data, what it got while keys move is lost. What it was yet to get, it
    /// is yet to get, or it counts for nothing.
    pub(super) fn lose_life(&mut self, node: NodeNumber, keeps_data: bool) {
        let joining = self.nodes.get(&node).is_some_and(|node| node.state == NodeState::Joining);
        let Some(movement) = &mut self.movement else { return };
        if joining {
            self.call_off();
        } else if !keeps_data {
            movement.awaited.remove(&node);
            self.end_move_if_due();
        }
    }

    pub(super) fn revoke(&mut self, nodes: &BTreeSet<NodeNumber>) {
        for number in nodes {
            let Some(node) = self.nodes.get_mut(number) else { continue };
            match node.state {
                NodeState::Active => {
                    node.state = NodeState::Recovering;
                    self.epoch.0 += 1;
                    if let Some(movement) = &mut self.movement {
                        movement.awaited.remove(number);
                    }
                }
                NodeState::Joining => self.call_off(),
                NodeState::Joined | NodeState::Recovering => {}
            }
        }
        self.end_move_if_due();
    }
}
