//! Who is alive: the membership machine on real links.
//!
//! Invariant: the machine speaks once the log has this node's present life, because others know it by that; it is told
//! of every change of the topology and of every link, and what it finds goes to the log, the workers and whoever asks.

use std::io;

use super::{Control, Said, Source};
use crate::cluster::membership::{Input, Liveness, Membership, Output};
use crate::config::MembershipConfig;
use crate::message::gossip::Peer;
use crate::protocol::gossip::GossipCodec;
use crate::server::happened::Happening;
use crate::server::link::Change;
use crate::types::{NodeNumber, Timestamp};

impl Control {
    /// Those who are thought dead.
    pub(super) fn dead(&self) -> Vec<NodeNumber> {
        let dead = self.doubted.iter().filter(|(_, liveness)| **liveness == Liveness::Dead);
        dead.map(|(&node, _)| node).collect()
    }

    /// Who says something there.
    pub(super) fn speaker(&self, source: Source) -> Option<NodeNumber> {
        match source {
            Source::Link(node) => Some(node),
            Source::Guest(slot) => self.guests.node(slot),
        }
    }

    /// Tells the machine what is so, when the topology has changed.
    pub(super) fn tell_members(&mut self, now: Timestamp) -> io::Result<()> {
        let own = self.metadata.number;
        let nodes = &self.log.topology().nodes;
        let peers: Vec<Peer> =
            nodes.iter().map(|(&number, node)| Peer::new(number, node.incarnation)).collect();
        if self.membership.is_none()
            && let Some(node) = nodes.get(&own).filter(|node| node.run == self.roster.own.run)
        {
            let peer = Peer::new(own, node.incarnation);
            let (settings, seed) = (MembershipConfig::default(), fastrand::u64(..));
            self.membership = Some(Membership::new(peer, settings, GossipCodec, seed, now));
        }
        self.gossip(now, Input::Members(&peers))
    }

    /// Lets the machine have its turn.
    pub(super) fn attend_membership(&mut self, now: Timestamp) -> io::Result<()> {
        for (node, change) in std::mem::take(&mut self.link_changes) {
            match change {
                Change::Up => self.gossip(now, Input::LinkUp(node))?,
                Change::Lost => {
                    self.roster.happened.note(Happening::LinkLost);
                    self.gossip(now, Input::LinkLost(node))?;
                }
                Change::None => {}
            }
        }
        let due = self.membership.as_ref().and_then(Membership::next_timeout).is_some_and(|due| now >= due);
        if due && let Some(membership) = &mut self.membership {
            let mut orders = Vec::new();
            membership.handle_timeout(now, &mut orders);
            self.carry_out(now, orders)?;
        }
        Ok(())
    }

    /// Shows the machine something.
    pub(super) fn gossip(&mut self, now: Timestamp, input: Input<'_>) -> io::Result<()> {
        let Some(membership) = &mut self.membership else { return Ok(()) };
        let mut orders = Vec::new();
        membership.handle(now, input, &mut orders);
        self.carry_out(now, orders)
    }

    fn carry_out(&mut self, now: Timestamp, orders: Vec<Output>) -> io::Result<()> {
        for order in orders {
            match order {
                Output::Send { to, bytes } => self.say_to(to, &Said::Gossip(bytes)),
                Output::Changed { node, liveness } => self.note_liveness(now, node, liveness)?,
                Output::Renewed(peer) => {
                    self.roster.happened.note(Happening::Renewed);
                    tracing::warn!(
                        "this node was thought dead, and says that it is not for the {}. time",
                        peer.renewal
                    );
                }
                Output::CloseLink(node) => tracing::warn!("node {} says what is no gossip", node.0),
            }
        }
        Ok(())
    }

    fn note_liveness(&mut self, now: Timestamp, node: NodeNumber, liveness: Liveness) -> io::Result<()> {
        let before = match liveness {
            Liveness::Alive => self.doubted.remove(&node),
            Liveness::Suspected | Liveness::Dead => self.doubted.insert(node, liveness),
        };
        match liveness {
            Liveness::Alive => {}
            Liveness::Suspected => self.roster.happened.note(Happening::Suspected),
            Liveness::Dead => self.roster.happened.note(Happening::Dead),
        }
        let was_dead = before == Some(Liveness::Dead);
        let dead = liveness == Liveness::Dead;
        self.changed |= before != self.doubted.get(&node).copied();
        if dead != was_dead {
            let name = self.log.topology().nodes.get(&node).map_or("a node", |node| node.name.text());
            tracing::info!("{name} is {}", if dead { "dead, by all that is known" } else { "alive" });
            self.act(|log, out| log.set_alive(now, node, !dead, out))?;
        }
        Ok(())
    }
}
