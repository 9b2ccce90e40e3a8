//! What nodes say to each other outside of any client's request: gossip, the topology log, and requests to change it.
//!
//! Invariant: a request can be repeated without harm, and the answer to one says what is so, not what was done because
//! of it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::message::consensus;
use crate::message::topology::{Command, Denial, Topology};
use crate::types::WallTime;

/// A message on a control link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// Who lives: bytes that the membership machine reads.
    Gossip(Vec<u8>),
    /// A message of the topology log.
    Consensus(Box<consensus::Message>),
    /// Somebody wants a command carried out.
    Ask(Box<Command>),
    /// What became of it.
    Told(Box<Told>),
    /// What the sender's clock says: asked with what the asker's said, answered with both.
    Time(TimeTold),
}

/// What somebody who asked is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Told {
    /// It is so, in this topology.
    Done(Topology),
    /// It is under way, or nobody leads: ask again.
    Later,
    /// This node leads: ask there.
    Elsewhere(SocketAddr),
    /// It cannot be.
    Denied(Denial),
}

/// Two clocks compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimeTold {
    /// What the asker's said when it asked.
    pub asked_at: WallTime,
    /// What the other's said; `None` in the question.
    pub answered_at: Option<WallTime>,
}
