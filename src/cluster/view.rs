//! What a node knows of its cluster at one moment: who owns what, and who can be reached.
//!
//! Invariant: a view never changes; what changes is which view is the current one. Ownership belongs to an epoch,
//! reachability does not: two views of one epoch have the same ring.

use std::sync::Arc;

use crate::cluster::ring::{Ring, lacks, pairs};
use crate::types::{Epoch, NodeNumber, Token, Version, WallTime};

/// The cluster as one node sees it.
#[derive(Clone, Debug)]
pub struct View {
    /// The state of ownership.
    pub epoch: Epoch,
    /// Who holds what in this epoch.
    pub ring: Arc<Ring>,
    /// Who is to hold what when the movement under way ends, if one is.
    pub next_ring: Option<Arc<Ring>>,
    /// The node whose view it is.
    pub own: NodeNumber,
    /// A bit for each node number that can be reached.
    reachable: Vec<u64>,
    /// Nodes that hold keys and do not count, because they came back without them.
    recovering: Vec<NodeNumber>,
    /// Nodes that hold what others handed over to them, and up to when that may be so.
    hearsay: Vec<(NodeNumber, WallTime)>,
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
        let mut view = Self {
            epoch,
            ring,
            next_ring: None,
            own,
            reachable: Vec::new(),
            recovering: Vec::new(),
            hearsay: Vec::new(),
        };
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

    /// Whether it proves anything that `node` holds a cell of this version: it took it itself, from whoever wrote or
    /// repaired it, bound by what it had promised. Else another node that did may have promised a higher ballot since,
    /// of which it knows nothing: what most hold that way may still be outranked by what was accepted under that.
    #[must_use]
    pub fn vouches(&self, node: NodeNumber, version: Version) -> bool {
        self.hearsay.iter().all(|(other, until)| *other != node || version.stamp.wall() > *until)
    }

    /// Whether anybody holds what others handed over.
    #[inline]
    #[must_use]
    pub fn has_hearsay(&self) -> bool {
        !self.hearsay.is_empty()
    }

    /// Notes who holds what others handed over, and up to when that may be so.
    pub fn set_hearsay(&mut self, nodes: impl IntoIterator<Item = (NodeNumber, WallTime)>) {
        self.hearsay = nodes.into_iter().collect();
    }

    /// Who is to hold what lies at `token`, while keys move.
    #[inline]
    #[must_use]
    pub fn next_list(&self, token: Token) -> &[NodeNumber] {
        self.next_ring.as_ref().map_or(&[], |ring| ring.preference_list(token))
    }

    /// Whether `node` holds what lies at `token`, or is to.
    #[must_use]
    pub fn holds(&self, node: NodeNumber, token: Token) -> bool {
        self.ring.preference_list(token).contains(&node) || self.next_list(token).contains(&node)
    }

    /// Those who hold what the own node lacks, part by part of the ring: what it lost or what is new to it.
    pub fn holders_of_what_is_lacking(&self) -> Vec<&[NodeNumber]> {
        let next = self.next_ring.as_ref().unwrap_or(&self.ring);
        let recovers = !self.counts(self.own);
        let lacking = |(old, new): &(&[NodeNumber], &[NodeNumber])| {
            let holds = old.contains(&self.own) || new.contains(&self.own);
            if recovers { holds } else { lacks(self.own, old, new) }
        };
        pairs(&self.ring, next).filter(lacking).map(|(old, _)| old).collect()
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
