//! The replicas of one key, and sets of them.
//!
//! Invariant: a set is a bit for each place in the preference list, so that it is copied like a number.

use crate::cluster::view::View;
use crate::config::REPLICAS_MAX;
use crate::types::{Level, NodeNumber};

/// The nodes that hold a key, the preferred one first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replicas {
    nodes: [NodeNumber; REPLICAS_MAX],
    count: u8,
}

impl Replicas {
    pub(super) fn new(list: &[NodeNumber]) -> Self {
        let mut nodes = [NodeNumber::default(); REPLICAS_MAX];
        nodes[..list.len()].copy_from_slice(list);
        Self { nodes, count: list.len() as u8 }
    }

    pub(super) fn node(&self, place: usize) -> NodeNumber {
        self.nodes[place]
    }

    #[inline]
    pub(super) fn place_of(&self, node: NodeNumber) -> Option<usize> {
        self.nodes[..usize::from(self.count)].iter().position(|&present| present == node)
    }

    /// How many of them `level` takes; more than there are if there are none.
    pub(super) fn needed(&self, level: Level) -> usize {
        let count = usize::from(self.count);
        match level {
            Level::One => 1,
            Level::Quorum | Level::Linearizable => count / 2 + 1,
            Level::All => count.max(1),
        }
    }

    /// The node that proposes changes of the key: the first that can be reached and counts.
    pub(super) fn proposer(&self, view: &View) -> Option<NodeNumber> {
        let nodes = &self.nodes[..usize::from(self.count)];
        nodes.iter().copied().find(|&node| view.is_reachable(node) && view.counts(node))
    }

    /// Those that can be reached and count.
    pub(super) fn reachable(&self, view: &View) -> Set {
        self.those(|node| view.is_reachable(node) && view.counts(node))
    }

    /// Those that can be reached and are to be told what is written, and do not count.
    pub(super) fn recovering(&self, view: &View) -> Set {
        self.those(|node| view.is_reachable(node) && !view.counts(node))
    }

    fn those(&self, fits: impl Fn(NodeNumber) -> bool) -> Set {
        let fits = |&place: &usize| fits(self.nodes[place]);
        (0..usize::from(self.count)).filter(fits).fold(Set::default(), |mut set, place| {
            set.insert(place);
            set
        })
    }
}

/// Some of a key's replicas, by their place in the preference list.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Set(u16);

const _: () = assert!(REPLICAS_MAX <= u16::BITS as usize);

impl Set {
    #[inline]
    pub(super) fn insert(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    /// Whether it was in.
    #[inline]
    pub(super) fn remove(&mut self, place: usize) -> bool {
        let before = self.0;
        self.0 &= !(1 << place);
        self.0 != before
    }

    #[inline]
    pub(super) const fn contains(self, place: usize) -> bool {
        self.0 & 1 << place != 0
    }

    #[inline]
    pub(super) const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    #[inline]
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The places in it, the preferred first.
    #[inline]
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let place = rest.trailing_zeros() as usize;
            (rest != 0).then(|| {
                rest &= rest - 1;
                place
            })
        })
    }
}
