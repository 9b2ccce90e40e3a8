//! What a coordinator wants done, and what it asks whoever carries that out.
//!
//! Invariant: what an order borrows is good until the call that gave it returns.

use crate::cluster::coordinator::ClientTag;
use crate::cluster::deviation::Deviation;
use crate::message::peer::{Cell, Content, Inquiry, Kind, Proposal, Told, Verdict};
use crate::message::{Outcome, Reply};
use crate::types::{NodeNumber, Version, WallTime};

/// What the coordinator wants done. What it borrows is good until the call that gave it returns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order<'a> {
    /// Send this to a node, which may be the coordinator's own.
    Send {
        /// The node.
        to: NodeNumber,
        /// What to send.
        inquiry: Inquiry<'a>,
    },
    /// Send this to another node.
    Propose {
        /// The node.
        to: NodeNumber,
        /// What to send.
        proposal: Proposal<'a>,
    },
    /// Tell the client that its change was done.
    Told {
        /// Which.
        client: ClientTag,
        /// What was decided to be told.
        reply: &'a [u8],
    },
    /// Tell the client.
    Reply {
        /// Which.
        client: ClientTag,
        /// What became of its operation.
        outcome: Outcome<'a>,
    },
}

impl<'a> Order<'a> {
    /// Whom a reply is for, and what another node is told if it asked on its client's behalf.
    #[must_use]
    pub fn as_answer(&self) -> Option<(ClientTag, Verdict<'a>)> {
        let (client, outcome) = match self {
            Order::Send { .. } | Order::Propose { .. } => return None,
            Order::Told { client, reply } => return Some((*client, Verdict::Told(Told::Done(reply)))),
            Order::Reply { client, outcome } => (*client, outcome),
        };
        let verdict = match *outcome {
            Outcome::Done(Reply::Value { version, expires_at, value }) => {
                Verdict::Cell(Some(Cell { version, content: Content::Value { value, expires_at } }))
            }
            Outcome::Done(_) => Verdict::Cell(None),
            Outcome::Refused { reason, .. } => Verdict::Told(Told::Refused(reason)),
            Outcome::Unknown { .. } => Verdict::Told(Told::Unknown),
        };
        Some((client, verdict))
    }
}

/// Where a coordinator's orders go.
pub trait Orders {
    /// What the coordinator gets wrong on purpose: nothing, but in the simulator's own tests.
    const DEVIATION: Deviation = Deviation::None;

    /// Carries out an order, or keeps what it takes to do so later.
    fn order(&mut self, order: Order<'_>);

    /// Decides what a change makes of what a key holds, and what is told if it is done. It may be asked again, of
    /// another cell, and decides by what it is told alone.
    fn decide(&mut self, question: &Question<'_>, decision: &mut Decision) -> Decided {
        let _ = (question, decision);
        Decided::Keep
    }
}

/// A change, and what it finds.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The change, as it was asked for.
    pub change: &'a [u8],
    /// What the key holds; nothing if that has expired or was removed.
    pub current: Option<Cell<'a>>,
    /// The version of what it is to hold.
    pub version: Version,
    /// The time that it is judged by.
    pub wall: WallTime,
}

/// Where a decision is put.
#[derive(Default, Debug)]
pub struct Decision {
    /// What is told.
    pub reply: Vec<u8>,
    /// The new value, if there is one.
    pub value: Vec<u8>,
}

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decided {
    /// It holds what it holds.
    Keep,
    /// It holds this, with the decision's value.
    Store(Kind),
}

impl<F: FnMut(Order<'_>)> Orders for F {
    #[inline]
    fn order(&mut self, order: Order<'_>) {
        self(order);
    }
}
