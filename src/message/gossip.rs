//! Who a node is to the others when they speak of who is alive.
//!
//! Invariant: identities of one node are ordered, and the higher is the newer: first by incarnation, which the topology
//! log issues, then by renewal, which the node raises itself when it was declared dead and is not. So it returns
//! without asking anybody, and nothing that was said of an older identity is ever held against it.

use foca::Identity;

use crate::types::{Incarnation, NodeNumber};

/// An identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer {
    /// Which node.
    pub node: NodeNumber,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// How often it was declared dead in this life and was not.
    pub renewal: u16,
}

impl Peer {
    /// The identity that a node begins a life with.
    #[must_use]
    pub const fn new(node: NodeNumber, incarnation: Incarnation) -> Self {
        Self { node, incarnation, renewal: 0 }
    }

    /// Whether it is a newer identity than `other`, of the same node.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.incarnation, self.renewal) > (other.incarnation, other.renewal)
    }
}

impl Identity for Peer {
    type Addr = NodeNumber;

    /// `None` after 65,535 times: such a node is better restarted.
    fn renew(&self) -> Option<Self> {
        self.renewal.checked_add(1).map(|renewal| Self { renewal, ..*self })
    }

    fn addr(&self) -> NodeNumber {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.is_newer_than(adversary)
    }
}
