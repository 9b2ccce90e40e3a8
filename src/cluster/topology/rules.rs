//! By which rules a command changes the topology: a function of both and nothing else.
//!
//! Invariants: the same command again changes nothing; numbers and incarnations are never given twice; the epoch rises
//! with every change of ownership and with every life of a node that owns something; what is denied changes nothing.
//! Who is alive is not known here: whoever leads judges that before it proposes.

mod moves;

use crate::cluster::ring::{Member, Ring};
use crate::config::REPLICAS_MAX;
use crate::config::topology::{DRIFT_MS_BOUNDS, NODES_MAX, OPERATION_TIMEOUT_MS_BOUNDS, VIRTUAL_NODES_MAX};
use crate::message::topology::{
    Command, Denial, Entrance, Name, Node, NodeState, Setting, Settings, Topology,
};
use crate::types::{ClusterId, Epoch, INCARNATIONS_MAX, Incarnation, NodeNumber, WallTime, Zone};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

impl Topology {
    /// A cluster without nodes.
    #[must_use]
    pub fn new(cluster: ClusterId, hash_seed: u64, settings: Settings) -> Self {
        Self {
            cluster,
            hash_seed,
            epoch: Epoch(1),
            open: false,
            losses: 0,
            copies: settings.replication_factor,
            movement: None,
            settings,
            nodes: BTreeMap::new(),
            zones: Vec::new(),
            next_node: NodeNumber(1),
            next_incarnation: Incarnation(1),
        }
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// [`Denial`]; nothing was changed.
    pub fn apply(&mut self, command: &Command) -> Result<(), Denial> {
        self.judge(command)?;
        match command {
            Command::Enter(entrance) => self.enter(entrance),
            Command::Set(Setting::DriftMaxMs(ms)) => self.settings.drift_max_ms = *ms,
            Command::Set(Setting::OperationTimeoutMs(ms)) => self.settings.operation_timeout_ms = *ms,
            Command::Recovered { node, heard, .. } if !self.has(command) => self.recovered(*node, *heard),
            Command::Recovered { .. } => {}
            Command::Set(Setting::ReplicationFactor(copies)) => self.settings.replication_factor = *copies,
            Command::Remove { node } => _ = self.nodes.remove(node),
            Command::Move { comes, copies } => self.begin_move(comes, *copies),
            Command::Filled { node, heard, .. } => self.filled(*node, *heard),
            Command::CallOff { .. } if self.has(command) => {}
            Command::CallOff { .. } => self.call_off(),
            Command::Revoke { nodes } => self.revoke(nodes),
        }
        Ok(())
    }

    /// Whether a command may be carried out.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn judge(&self, command: &Command) -> Result<(), Denial> {
        let within = |what: &str, value: u32, bounds: std::ops::RangeInclusive<u32>| {
            let text = || format!("{what} is {} to {} milliseconds", bounds.start(), bounds.end());
            if bounds.contains(&value) { Ok(()) } else { Err(Denial::OutOfBounds(text())) }
        };
        match command {
            Command::Enter(entrance) => self.judge_entrance(entrance),
            Command::Set(Setting::DriftMaxMs(ms)) => within("the drift allowed", *ms, DRIFT_MS_BOUNDS),
            Command::Set(Setting::OperationTimeoutMs(ms)) => {
                within("an operation's time", *ms, OPERATION_TIMEOUT_MS_BOUNDS)
            }
            Command::Set(Setting::ReplicationFactor(copies)) => {
                let text = || format!("the replication factor is 1 to {REPLICAS_MAX}");
                let fits = (1..=REPLICAS_MAX).contains(&usize::from(*copies));
                if fits { Ok(()) } else { Err(Denial::OutOfBounds(text())) }
            }
            Command::Recovered { node, incarnation, .. } => match self.nodes.get(node) {
                Some(present) if present.incarnation != *incarnation => Err(Denial::LifeOver(*node)),
                Some(Node { state: NodeState::Active | NodeState::Recovering, .. }) => Ok(()),
                Some(_) | None => Err(Denial::NothingToRecover(*node)),
            },
            Command::Remove { node } => match self.nodes.get(node) {
                Some(present) if present.state != NodeState::Joined => Err(Denial::OwnsRanges(*node)),
                _ => Ok(()),
            },
            Command::Move { comes, copies } => self.judge_move(comes, *copies),
            Command::Filled { node, incarnation, since, .. } => {
                self.judge_filled(*node, *incarnation, *since)
            }
            Command::CallOff { .. } | Command::Revoke { .. } => Ok(()),
        }
    }

    /// Whether a command is carried out already.
    #[must_use]
    pub fn has(&self, command: &Command) -> bool {
        match command {
            Command::Enter(entrance) => {
                self.node_named(&entrance.name).is_some_and(|(_, node)| node.run == entrance.run)
            }
            Command::Set(Setting::DriftMaxMs(ms)) => self.settings.drift_max_ms == *ms,
            Command::Set(Setting::OperationTimeoutMs(ms)) => self.settings.operation_timeout_ms == *ms,
            Command::Recovered { node, incarnation, .. } => self.nodes.get(node).is_some_and(|present| {
                present.incarnation == *incarnation && present.state == NodeState::Active
            }),
            Command::Set(Setting::ReplicationFactor(copies)) => self.settings.replication_factor == *copies,
            Command::Remove { node } => !self.nodes.contains_key(node),
            Command::Move { .. } => false,
            Command::Filled { node, since, .. } => {
                let moves = self.movement.as_ref().filter(|movement| movement.since == *since);
                moves.is_none_or(|movement| !movement.awaited.contains(node))
            }
            Command::CallOff { since } => {
                self.movement.as_ref().is_none_or(|it| it.since != *since) || !self.may_be_called_off()
            }
            Command::Revoke { nodes } => {
                let counts = |node: &NodeNumber| {
                    self.nodes.get(node).is_some_and(|node| node.state == NodeState::Active)
                };
                !nodes.iter().any(counts)
            }
        }
    }

    fn judge_entrance(&self, entrance: &Entrance) -> Result<(), Denial> {
        let name = || entrance.name.clone();
        if !(1..=VIRTUAL_NODES_MAX).contains(&entrance.virtual_nodes) {
            return Err(Denial::OutOfBounds(format!("virtual nodes are 1 to {VIRTUAL_NODES_MAX}")));
        }
        if self.next_incarnation.0 >= INCARNATIONS_MAX || self.next_node.0 == u16::MAX {
            return Err(Denial::NumbersSpent);
        }
        let holder = self.node_named(&entrance.name);
        if holder.is_some_and(|(_, node)| node.run == entrance.run) {
            return Ok(());
        }
        match (entrance.was, holder) {
            (Some(was), Some((number, _))) if number == was => Ok(()),
            (Some(_), _) => Err(Denial::NotThatNode(name())),
            (None, Some(_)) if entrance.replaces => Ok(()),
            (None, Some(_)) => Err(Denial::NameTaken(name())),
            (None, None) if entrance.replaces => Err(Denial::NobodyToReplace(name())),
            (None, None) if self.nodes.len() >= usize::from(NODES_MAX) => {
                Err(Denial::TooManyNodes(NODES_MAX))
            }
            (None, None) => Ok(()),
        }
    }

    /// The node of that name, and its number.
    #[must_use]
    pub fn node_named(&self, name: &Name) -> Option<(NodeNumber, &Node)> {
        self.nodes.iter().find(|(_, node)| node.name == *name).map(|(&number, node)| (number, node))
    }

    fn enter(&mut self, entrance: &Entrance) {
        let holder = self.node_named(&entrance.name).map(|(number, node)| (number, node.clone()));
        if holder.as_ref().is_some_and(|(_, node)| node.run == entrance.run) {
            return;
        }
        let zone = self.zone(&entrance.zone);
        let incarnation = self.next_incarnation;
        self.next_incarnation.0 += 1;
        let mut node = Node {
            name: entrance.name.clone(),
            incarnation,
            run: entrance.run,
            peer_address: entrance.peer_address,
            client_address: entrance.client_address,
            zone,
            virtual_nodes: entrance.virtual_nodes,
            seat: self.next_node,
            state: NodeState::Joined,
            heard_until: WallTime(0),
        };
        let number = match holder {
            // What belongs to its places stays: to change it is to move ranges.
            Some((number, before)) => {
                let keeps = entrance.was.is_some() && entrance.keeps_data;
                self.lose_life(number, keeps && before.state == NodeState::Active);
                node.heard_until = if keeps { before.heard_until } else { WallTime(0) };
                (node.seat, node.zone, node.virtual_nodes) = (before.seat, before.zone, before.virtual_nodes);
                node.state = match before.state {
                    NodeState::Joined | NodeState::Joining => NodeState::Joined,
                    NodeState::Active if keeps => NodeState::Active,
                    NodeState::Active | NodeState::Recovering => NodeState::Recovering,
                };
                if node.state != NodeState::Joined {
                    self.epoch.0 += 1;
                }
                if entrance.was.is_some() {
                    number
                } else {
                    self.nodes.remove(&number);
                    self.number()
                }
            }
            None => self.number(),
        };
        self.nodes.insert(number, node);
        self.open_if_due();
    }

    fn number(&mut self) -> NodeNumber {
        let number = self.next_node;
        self.next_node.0 += 1;
        number
    }

    fn zone(&mut self, name: &Name) -> Zone {
        let place = self.zones.iter().position(|zone| zone == name).unwrap_or_else(|| {
            self.zones.push(name.clone());
            self.zones.len() - 1
        });
        Zone(u16::try_from(place).expect("each node brings one zone at most, and nodes have 16-bit numbers"))
    }

    /// Opens the cluster when enough nodes have come.
    fn open_if_due(&mut self) {
        if !self.open && self.nodes.len() >= usize::from(self.settings.opens_with) {
            self.open = true;
            self.epoch.0 += 1;
            self.copies = self.settings.replication_factor;
            self.nodes.values_mut().for_each(|node| node.state = NodeState::Active);
        }
    }

    /// Lets a node count again that has got back what it can.
    fn recovered(&mut self, node: NodeNumber, heard: WallTime) {
        let ring = self.ring();
        let enough = ring.sources();
        let active = |other: &&NodeNumber| self.nodes[*other].state == NodeState::Active;
        let mut own = ring.arcs().filter(|(_, list)| list.contains(&node));
        let lossy = own.any(|(_, list)| list.iter().filter(active).count() < enough);
        self.losses += u32::from(lossy);
        self.epoch.0 += 1;
        if let Some(node) = self.nodes.get_mut(&node) {
            node.state = NodeState::Active;
            node.heard_until = heard;
        }
        self.await_if_lacking(node);
    }

    /// Who holds what in this epoch; while keys move, who held it before.
    #[must_use]
    pub fn ring(&self) -> Ring {
        let owns = |_, state| !matches!(state, NodeState::Joined | NodeState::Joining);
        self.ring_of(owns, self.copies)
    }

    /// Who is to hold what, while keys move.
    #[must_use]
    pub fn next_ring(&self) -> Option<Ring> {
        let movement = self.movement.as_ref()?;
        let owns = |_, state| state != NodeState::Joined;
        Some(self.ring_of(owns, movement.copies))
    }

    fn ring_of(&self, owns: impl Fn(NodeNumber, NodeState) -> bool, copies: u8) -> Ring {
        let owners = self.nodes.iter().filter(|(number, node)| owns(**number, node.state));
        let members: Vec<Member> = owners
            .map(|(&number, node)| Member {
                node: number,
                seat: node.seat,
                zone: node.zone,
                virtual_nodes: node.virtual_nodes,
            })
            .collect();
        let copies = NonZeroUsize::new(usize::from(copies)).unwrap_or(NonZeroUsize::MIN);
        Ring::new(&members, copies, self.hash_seed)
    }
}

#[cfg(test)]
mod tests;
