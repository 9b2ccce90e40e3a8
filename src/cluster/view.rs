//! What a node knows of its cluster at one moment: who owns what, and who can be reached.
//!
//! Invariant: a view never changes; what changes is which view is the current one. Ownership belongs to an epoch,
//! reachability does not: two views of one epoch have the same ring.

use std::sync::Arc;

use crate::cluster::ring::Ring;
use crate::types::{Epoch, NodeNumber};

/// The cluster as one node sees it.
#[derive(Clone, Debug)]
pub struct View {
    /// The state of ownership.
    pub epoch: Epoch,
    /// Who holds what in this epoch.
    pub ring: Arc<Ring>,
    /// The node whose view it is.
    pub own: NodeNumber,
    /// A bit for each node number that can be reached.
    reachable: Vec<u64>,
    /// Nodes that hold keys and do not count, because they came back without them.
    recovering: Vec<NodeNumber>,
}

impl View {
    /// A view in which `reachable` and the node itself can be reached.
    #[must_use]
    pub fn new(
        epoch: Epoch,
        ring: Arc<Ring>,
        own: NodeNumber,
        reachable: impl IntoIterator<Item = NodeNumber>,
    ) -> Self {
        let mut view = Self { epoch, ring, own, reachable: Vec::new(), recovering: Vec::new() };
        view.set_reachable(own, true);
        for node in reachable {
            view.set_reachable(node, true);
        }
        view
    }

    /// Whether there is any use in sending to `node`.
    #[inline]
    #[must_use]
    pub fn is_reachable(&self, node: NodeNumber) -> bool {
        let (word, bit) = place(node);
        self.reachable.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether what `node` says counts, as far as the topology goes.
    #[must_use]
    pub fn counts(&self, node: NodeNumber) -> bool {
        !self.recovering.contains(&node)
    }

    /// Notes which nodes do not count.
    pub fn set_recovering(&mut self, nodes: impl IntoIterator<Item = NodeNumber>) {
        self.recovering = nodes.into_iter().collect();
    }

    /// Notes whether `node` can be reached.
    pub fn set_reachable(&mut self, node: NodeNumber, reachable: bool) {
        let (word, bit) = place(node);
        if self.reachable.len() <= word {
            self.reachable.resize(word + 1, 0);
        }
        if reachable {
            self.reachable[word] |= bit;
        } else {
            self.reachable[word] &= !bit;
        }
    }
}

const fn place(node: NodeNumber) -> (usize, u64) {
    (node.0 as usize / 64, 1 << (node.0 % 64))
}
