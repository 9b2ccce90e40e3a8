//! What the control thread hands to the other threads when something has changed.
//!
//! Invariant: every worker is handed the latest outlook in the end, also one whose mailbox was full; no worker is
//! handed a ring before the log has this node's present life, so that nothing is served in a life that is not agreed
//! on.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::Token;

use super::{Control, LINKS};
use crate::cluster::replica::Standing;
use crate::cluster::ring::Ring;
use crate::message::topology::{Movement, Node, NodeState};
use crate::server::link::Link;
use crate::server::roster::{Known, Outlook};
use crate::server::worker;
use crate::types::{NodeNumber, Timestamp};

impl Control {
    /// Tells all threads of what has changed.
    pub(super) fn publish(&mut self, now: Timestamp) -> io::Result<()> {
        if std::mem::take(&mut self.changed) {
            self.renew();
            self.tell_members(now)?;
        }
        let Some((outlook, handed)) = &mut self.outlook else { return Ok(()) };
        for (mailbox, handed) in self.shared.mailboxes.iter().zip(handed.iter_mut()) {
            if !*handed {
                *handed = mailbox.send(worker::Message::Adopt(Arc::clone(outlook))).is_ok();
            }
        }
        if handed.iter().all(|handed| *handed) {
            self.outlook = None;
        }
        Ok(())
    }

    fn renew(&mut self) {
        let topology = self.log.topology().clone();
        let own = self.metadata.number;
        let addresses: BTreeMap<_, _> = topology
            .nodes
            .iter()
            .filter(|(number, _)| **number != own)
            .map(|(&number, node)| (number, node.peer_address))
            .collect();
        self.links.retain(|node, link| addresses.get(node) == Some(&link.address));
        for (&node, &address) in &addresses {
            let token = Token(LINKS + usize::from(node.0));
            self.links.entry(node).or_insert_with(|| Link::new(address, token, false));
        }
        // What changed may be that somebody is back.
        self.links.values_mut().for_each(Link::try_now);
        self.doubted.retain(|node, _| addresses.contains_key(node));
        let node = topology.nodes.get(&own).filter(|node| node.run == self.roster.own.run);
        self.entered = node.is_some();
        let serves = topology.open && node.is_some();
        let ring = match &self.ring {
            _ if !serves => Arc::new(nobody()),
            Some((epoch, ring)) if *epoch == topology.epoch => Arc::clone(ring),
            _ => Arc::new(topology.ring()),
        };
        self.ring = serves.then(|| (topology.epoch, Arc::clone(&ring)));
        let next_ring = topology.next_ring().filter(|_| serves).map(Arc::new);
        let lacks = |movement: &&Movement| movement.awaited.contains(&own);
        let filling = topology.movement.as_ref().filter(lacks).map(|movement| movement.since);
        let recovers =
            |(&number, node): (&NodeNumber, &Node)| (node.state == NodeState::Recovering).then_some(number);
        let recovering = topology.nodes.iter().filter_map(recovers).collect();
        let counts = node.is_some_and(|node| node.state == NodeState::Active);
        let milliseconds = |ms: u32| Duration::from_millis(u64::from(ms));
        let outlook = Outlook {
            epoch: topology.epoch,
            ring,
            next_ring,
            filling,
            incarnation: node.map(|node| node.incarnation),
            standing: match node.map(|node| node.state) {
                Some(NodeState::Active | NodeState::Joining) if serves => Standing::Active,
                Some(NodeState::Recovering) if serves => Standing::Recovering,
                _ => Standing::Absent,
            },
            addresses,
            dead: self.dead(),
            recovering,
            hearsay: topology.hearsay().collect(),
            fence: Some(self.fence).filter(|fence| fence.0 > 0 && counts),
            drift_max: milliseconds(topology.settings.drift_max_ms),
            operation_timeout: milliseconds(topology.settings.operation_timeout_ms),
        };
        self.outlook = Some((Arc::new(outlook), vec![false; self.shared.mailboxes.len()]));
        self.roster.set_known(Known {
            topology,
            leadership: self.log.leadership(),
            electorate: self.log.electorate().clone(),
            doubted: self.doubted.clone(),
            entered: self.entered,
        });
    }
}

/// A ring that nobody has a place on.
fn nobody() -> Ring {
    Ring::new(&[], std::num::NonZeroUsize::MIN, 0)
}
