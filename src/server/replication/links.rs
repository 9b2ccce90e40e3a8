//! The links that this worker has to other nodes: what comes on them, and what is sent.
//!
//! Invariant: what a node says is understood whole or its link is closed; whoever waits for a node hears that its link
//! was lost.

use std::sync::Arc;

use mio::Registry;

use crate::protocol::handshake::{Handshake, LinkRefusal};
use crate::protocol::peer::{Heartbeat, PeerMessage, decode_peer};
use crate::server::link::{Change, LinkError};
use crate::server::replication::{Replication, walks};
use crate::store::Store;
use crate::types::{NodeNumber, Timestamp, WallTime};

impl Replication {
    pub(super) fn attend_links(
        &mut self,
        now: Timestamp,
        registry: &Registry,
        store: &Store,
        wall: WallTime,
    ) {
        let mut pages = 0;
        for number in 0..self.links.len() {
            let node = NodeNumber(number as u16);
            let Some(link) = &mut self.links[number] else { continue };
            let expects = |theirs: &Handshake| {
                if theirs.node == node { self.roster.accept(theirs) } else { Err(LinkRefusal::Node) }
            };
            let change = link.attend(now, registry, &self.roster.own, expects);
            let understood = match link.wire() {
                None => Ok(()),
                Some(wire) => {
                    let (coordinator, outbox) = (&mut self.coordinator, &mut self.outbox);
                    let (recovering, roster, walks) = (&mut self.recovery, &self.roster, &mut self.walks);
                    wire.frames(&self.limits, |frame, _| match decode_peer(frame, &self.limits)? {
                        PeerMessage::Answer(answer) if answer.operation.slot & walks::SLOT != 0 => {
                            walks.refused(node, answer.operation);
                            Ok(())
                        }
                        PeerMessage::Listing(listing) => {
                            walks.hear(node, &listing, store);
                            Ok(())
                        }
                        PeerMessage::Answer(answer) => {
                            coordinator.answer(node, &answer, outbox);
                            Ok(())
                        }
                        PeerMessage::Acknowledgement(many) => {
                            many.answers().for_each(|answer| coordinator.answer(node, &answer, outbox));
                            Ok(())
                        }
                        // That it came is all that it says.
                        PeerMessage::Heartbeat(Heartbeat::Response) => Ok(()),
                        PeerMessage::Page(page) => {
                            pages += 1;
                            if let Some(recovering) = recovering.as_mut() {
                                recovering.take(now, node, &page, roster, store, wall);
                            }
                            Ok(())
                        }
                        PeerMessage::Inquiry(_)
                        | PeerMessage::Fetch(_)
                        | PeerMessage::List(_)
                        | PeerMessage::Proposal(_)
                        | PeerMessage::Heartbeat(Heartbeat::Call) => Err(LinkError::Misplaced),
                    })
                }
            };
            self.note_change(node, change);
            if let (Err(error), Some(link)) = (understood, &mut self.links[number]) {
                let change = link.lose(now, &error);
                self.note_change(node, change);
            }
        }
        if pages > 0 {
            self.go_on_recovering(now);
        }
    }

    pub(super) fn send(&mut self, now: Timestamp) {
        for number in 0..self.links.len() {
            if let Some(link) = &mut self.links[number] {
                let change = link.send(&mut self.outbox.staged[number], now);
                self.note_change(NodeNumber(number as u16), change);
            }
        }
    }

    /// Goes on with a link that came up, or without one that was lost.
    pub(super) fn note_change(&mut self, node: NodeNumber, change: Change) {
        if change == Change::None {
            return;
        }
        let up = change == Change::Up;
        self.view.set_reachable(node, up);
        self.roster.note_link(node, up);
        let outbox = &mut self.outbox;
        self.coordinator.adopt(Arc::new(self.view.clone()), outbox);
        if let Some(recovering) = self.recovery.as_mut().filter(|_| !up) {
            recovering.machine.link_lost(node);
        }
        if !up {
            self.outbox.staged[usize::from(node.0)].clear();
            let outbox = &mut self.outbox;
            self.coordinator.link_lost(node, outbox);
            self.walks.link_lost(node);
        }
    }
}
