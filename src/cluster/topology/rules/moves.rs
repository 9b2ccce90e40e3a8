//! How keys move from the nodes that own them to those that are to own them.
//!
//! Invariants: one movement at a time, in two epochs: while it is under way every level is met among those who own a
//! key and among those who are to own it; when everybody who has yet to get something has it, the latter alone own it.
//! It ends in no other way but one: as if it had never begun, which is possible at any time, because nothing was told
//! that the former do not have. Where the same nodes own a key before and after, nothing is different.

use std::collections::BTreeSet;

use crate::cluster::ring::gains;
use crate::config::REPLICAS_MAX;
use crate::message::topology::{Denial, Movement, NodeState, Topology};
use crate::types::{Epoch, Incarnation, NodeNumber};

impl Topology {
    /// What is to move, if nothing does: to those of `live` that own nothing yet, from those that are to leave, and
    /// according to the setting.
    #[must_use]
    pub fn wanted_move(
        &self,
        live: &BTreeSet<NodeNumber>,
    ) -> Option<(BTreeSet<NodeNumber>, BTreeSet<NodeNumber>, u8)> {
        if self.movement.is_some() || !self.open {
            return None;
        }
        let comes = |(number, _): &(&NodeNumber, _)| live.contains(*number);
        let joined = self.nodes.iter().filter(|(_, node)| node.state == NodeState::Joined && !node.leaves);
        let comes: BTreeSet<NodeNumber> = joined.filter(comes).map(|(&number, _)| number).collect();
        let owners = self.nodes.iter().filter(|(_, node)| node.state != NodeState::Joined);
        let mut goes: BTreeSet<NodeNumber> =
            owners.filter(|(_, node)| node.leaves).map(|(&number, _)| number).collect();
        if goes.len() == self.owners().count() && comes.is_empty() {
            goes.clear();
        }
        let copies = self.settings.replication_factor;
        let wanted = (comes, goes, copies);
        self.judge_move(&wanted.0, &wanted.1, wanted.2).is_ok().then_some(wanted)
    }

    fn owners(&self) -> impl Iterator<Item = NodeNumber> {
        let owns = |state| !matches!(state, NodeState::Joined | NodeState::Joining);
        self.nodes.iter().filter(move |(_, node)| owns(node.state)).map(|(&number, _)| number)
    }

    pub(super) fn judge_move(
        &self,
        comes: &BTreeSet<NodeNumber>,
        goes: &BTreeSet<NodeNumber>,
        copies: u8,
    ) -> Result<(), Denial> {
        let joined = |node| self.nodes.get(node).is_some_and(|node| node.state == NodeState::Joined);
        let owns = |node: &NodeNumber| self.owners().any(|owner| owner == *node);
        let changes = !comes.is_empty() || !goes.is_empty() || copies != self.copies;
        let possible = comes.iter().all(joined) && goes.iter().all(owns) && self.open && changes;
        let some_stay = comes.len() + self.owners().count() > goes.len();
        let bounded = (1..=REPLICAS_MAX).contains(&usize::from(copies));
        if self.movement.is_none() && possible && some_stay && bounded {
            Ok(())
        } else {
            Err(Denial::NothingToMove)
        }
    }

    pub(super) fn begin_move(
        &mut self,
        comes: &BTreeSet<NodeNumber>,
        goes: &BTreeSet<NodeNumber>,
        copies: u8,
    ) {
        self.epoch.0 += 1;
        for node in comes {
            self.nodes.entry(*node).and_modify(|node| node.state = NodeState::Joining);
        }
        let since = self.epoch;
        self.movement = Some(Movement { since, copies, goes: goes.clone(), awaited: BTreeSet::new() });
        let (old, new) = (self.ring(), self.next_ring().expect("it has just begun"));
        // One that recovers counts for nothing until it has everything.
        let counts = |node: &NodeNumber| self.nodes[node].state != NodeState::Recovering;
        let awaited = gains(&old, &new).into_iter().filter(counts).collect();
        if let Some(movement) = &mut self.movement {
            movement.awaited = awaited;
        }
        self.end_move_if_due();
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

    pub(super) fn filled(&mut self, node: NodeNumber) {
        if self.movement.as_mut().is_some_and(|movement| movement.awaited.remove(&node)) {
            self.end_move_if_due();
        }
    }

    fn end_move_if_due(&mut self) {
        let Some(movement) = self.movement.take_if(|movement| movement.awaited.is_empty()) else { return };
        self.epoch.0 += 1;
        self.copies = movement.copies;
        for node in self.nodes.values_mut().filter(|node| node.state == NodeState::Joining) {
            node.state = NodeState::Active;
        }
        self.nodes.retain(|number, _| !movement.goes.contains(number));
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
        if joining || movement.goes.contains(&node) {
            // Whoever replaces it has another number: what was to become of it is asked for anew.
            self.call_off();
        } else if !keeps_data {
            movement.awaited.remove(&node);
            self.end_move_if_due();
        }
    }

    pub(super) fn judge_removal(&self, node: NodeNumber) -> Result<(), Denial> {
        let stays = |other: &&NodeNumber| **other != node && !self.nodes[*other].leaves;
        let owns = self.owners().any(|owner| owner == node);
        if owns && !self.nodes.keys().any(|other| stays(&other)) {
            return Err(Denial::LastOwner(node));
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, node: NodeNumber) {
        match self.nodes.get_mut(&node) {
            Some(present) if present.state == NodeState::Joined => {
                self.nodes.remove(&node);
            }
            Some(present) => present.leaves = true,
            None => {}
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
