//! The replicas of one key, and sets of them.
//!
//! Invariant: a set is a bit for each place in the preference list, so that it is copied like a number.

use crate::cluster::coordinator::Orders;
use crate::cluster::deviation::Deviation;
use crate::cluster::view::View;
use crate::config::REPLICAS_MAX;
use crate::types::{Level, NodeNumber, Token, Version};

/// Replicas of a key at most: while it moves, those that hold it and those that are to.
pub(super) const PLACES_MAX: usize = 2 * REPLICAS_MAX;

/// The nodes that hold a key, the preferred one first; while it moves, those that are to hold it behind them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replicas {
    nodes: [NodeNumber; PLACES_MAX],
    count: u8,
    holding: u8,
    /// Those that are to hold it; none if they are those that do.
    next: Set,
}

/// Which sets of replicas make a level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quorum {
    /// Some that hold the key, and how many of them it takes.
    holding: (Set, u8),
    /// The same of those that are to hold it, if they are others.
    next: (Set, u8),
}

impl Quorum {
    /// Whether these are enough.
    #[inline]
    pub(super) const fn is_met(self, by: Set) -> bool {
        let ((holding, enough), (next, enough_next)) = (self.holding, self.next);
        // Counting bits is what this costs, and keys that do not move have no second set.
        by.common(holding).len() >= enough as usize
            && (enough_next == 0 || by.common(next).len() >= enough_next as usize)
    }

    /// Whether more than one replica has to answer.
    pub(super) const fn takes_several(self) -> bool {
        self.holding.1 > 1 || self.next.1 > 0
    }

    /// Of `from`, in that order, those who bring `have` nearer to being enough, until it is.
    pub(super) fn complete(
        self,
        mut have: Set,
        from: impl Iterator<Item = usize>,
    ) -> impl Iterator<Item = usize> {
        from.filter(move |&place| {
            let lacks = |(set, enough): (Set, u8)| {
                have.common(set).len() < usize::from(enough) && set.contains(place) && !have.contains(place)
            };
            let helps = lacks(self.holding) || lacks(self.next);
            if helps {
                have.insert(place);
            }
            helps
        })
    }
}

impl Replicas {
    /// Those of what lies at `token`.
    #[inline]
    pub(super) fn of(view: &View, token: Token) -> Self {
        let list = view.ring.preference_list(token);
        let mut nodes = [NodeNumber::default(); PLACES_MAX];
        nodes[..list.len()].copy_from_slice(list);
        let holding = list.len() as u8;
        let mut replicas = Self { nodes, count: holding, holding, next: Set::default() };
        if view.next_ring.is_some() {
            replicas.add_next(view.next_list(token));
        }
        replicas
    }

    #[cold]
    fn add_next(&mut self, list: &[NodeNumber]) {
        for &node in list {
            let place = self.place_of(node).unwrap_or_else(|| {
                self.nodes[usize::from(self.count)] = node;
                self.count += 1;
                usize::from(self.count) - 1
            });
            self.next.insert(place);
        }
        if self.next == Set::first(usize::from(self.holding)) {
            self.next = Set::default();
        }
    }

    pub(super) fn node(&self, place: usize) -> NodeNumber {
        self.nodes[place]
    }

    #[inline]
    pub(super) fn place_of(&self, node: NodeNumber) -> Option<usize> {
        self.nodes[..usize::from(self.count)].iter().position(|&present| present == node)
    }

    /// Which of them `level` takes: while the key moves, so many of either set; what cannot be met if there are none.
    #[inline]
    pub(super) fn quorum<O: Orders>(&self, level: Level) -> Quorum {
        let enough = |count: u8| match level {
            Level::One => 1,
            Level::Quorum | Level::Linearizable => count / 2 + 1,
            Level::All => count.max(1),
        };
        let next = self.next.len() as u8;
        let enough_next =
            if next == 0 || O::DEVIATION == Deviation::OldOwnersSuffice { 0 } else { enough(next) };
        let holding = Set::first(usize::from(self.holding));
        Quorum { holding: (holding, enough(self.holding)), next: (self.next, enough_next) }
    }

    /// Those that hold the key and are to hold it go first: fewer have to be asked.
    pub(super) fn by_use(&self, some: Set) -> impl Iterator<Item = usize> {
        let staying = some.common(self.next);
        staying.iter().chain(some.without(staying).iter())
    }

    /// The node that proposes changes of the key: the first that can be reached and counts.
    pub(super) fn proposer(&self, view: &View) -> Option<NodeNumber> {
        let nodes = &self.nodes[..usize::from(self.holding)];
        nodes.iter().copied().find(|&node| view.is_reachable(node) && view.counts(node))
    }

    /// Those of `holders` whose having a cell of this version proves that they took it, and were free to.
    #[inline]
    pub(super) fn vouching<O: Orders>(&self, holders: Set, version: Version, view: &View) -> Set {
        if !view.has_hearsay() || O::DEVIATION == Deviation::HearsayCounted {
            return holders;
        }
        self.those(|node| view.vouches(node, version)).common(holders)
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
pub(super) struct Set(u32);

const _: () = assert!(PLACES_MAX < u32::BITS as usize);

impl Set {
    /// So many, from the first on.
    #[inline]
    pub(super) const fn first(count: usize) -> Self {
        Self((1 << count) - 1)
    }

    #[inline]
    pub(super) const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[inline]
    pub(super) fn insert(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    #[inline]
    pub(super) const fn with(self, place: usize) -> Self {
        Self(self.0 | 1 << place)
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
