//! Walking round the ring for a client: a page of the keys of the whole cluster, put together from what nodes have.
//!
//! Invariant: of every part of the ring that a page covers, so many of those who hold it were heard that whatever a
//! quorum acknowledged before is among what they said; of what they say about a key the newest counts. So a key that is
//! there from the first page to the last is on one of them, whichever nodes come and go meanwhile. A page ends where
//! the first of the nodes that were heard stopped; behind that it promises nothing.

use std::collections::BTreeMap;

use crate::cluster::coordinator::Orders;
use crate::cluster::deviation::Deviation;
use crate::cluster::ring::Ring;
use crate::cluster::view::View;
use crate::message::peer::{Kind, Rank};
use crate::types::{Epoch, NodeNumber, Token, WallTime};

/// Bits of a token that a cursor leaves out, so that it is exact in clients whose numbers are doubles (53 bits).
pub const CURSOR_SHIFT: u32 = 11;

/// What a node says of a key.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Where the key lies.
    pub token: Token,
    /// The key.
    pub key: Box<[u8]>,
    /// How new what it has of it is.
    pub rank: Rank,
    /// What that is.
    pub kind: Kind,
}

/// A key, in the order of the ring.
type Place = (Token, Box<[u8]>);

/// What a node has said.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The cursor to go on with; 0: it has no more.
    pub next: u64,
    /// How many keys it has in all that hold a value.
    pub keys: u64,
    /// What it has, from the cursor on that it was asked with.
    pub sightings: Vec<Sighting>,
}

/// A page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The cursor to go on with; 0: the ring has been walked.
    pub next: u64,
    /// The keys that hold a value, in the order of their places.
    pub keys: Vec<Box<[u8]>>,
    /// How many keys there are in all: exact when replicas agree and all that hold a part of the ring were heard.
    pub total: u64,
}

/// A page that is being put together.
#[derive(Debug)]
pub struct Walk {
    epoch: Epoch,
    cursor: u64,
    asked: Vec<NodeNumber>,
    heard: BTreeMap<NodeNumber, Heard>,
}

/// Too few of those who hold a part of the ring can be heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooFew;

impl Walk {
    /// Begins a page at `cursor`; [`asked`](Self::asked) says whom to ask.
    #[must_use]
    pub fn begin(view: &View, cursor: u64) -> Self {
        let mut asked: Vec<NodeNumber> =
            rings(view).flat_map(Ring::arcs).flat_map(|(_, list)| list).copied().collect();
        asked.sort_unstable();
        asked.dedup();
        asked.retain(|&node| view.counts(node) && view.is_reachable(node));
        Self { epoch: view.epoch, cursor, asked, heard: BTreeMap::new() }
    }

    /// Where it begins.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Those who are to be asked.
    #[must_use]
    pub fn asked(&self) -> &[NodeNumber] {
        &self.asked
    }

    /// Takes note of what a node has said.
    pub fn hear(&mut self, node: NodeNumber, heard: Heard) {
        if self.asked.contains(&node) {
            self.heard.insert(node, heard);
        }
    }

    /// Takes note that a node will say nothing.
    pub fn give_up(&mut self, node: NodeNumber) {
        self.asked.retain(|&asked| asked != node);
    }

    /// Whether it was begun under another state of ownership, and so is to be begun anew.
    #[must_use]
    pub fn is_outdated(&self, view: &View) -> bool {
        self.epoch != view.epoch
    }

    /// The page, as soon as everybody has said something; sooner if `impatient` and those who have are enough.
    pub fn conclude<O: Orders>(
        &mut self,
        view: &View,
        impatient: bool,
        now: WallTime,
    ) -> Option<Result<Page, TooFew>> {
        let impatient = impatient || (O::DEVIATION == Deviation::WalkOfOneNode && !self.heard.is_empty());
        let all = self.asked.iter().all(|node| self.heard.contains_key(node));
        if !all && !impatient {
            return None;
        }
        let ends = self.heard.values().map(|heard| if heard.next == 0 { u64::MAX } else { heard.next });
        let end = match O::DEVIATION {
            Deviation::WalkToTheLast => ends.max(),
            _ => ends.min(),
        };
        let end = end.unwrap_or(u64::MAX);
        if !self.is_covered(view, end) && O::DEVIATION != Deviation::WalkOfOneNode {
            return all.then_some(Err(TooFew));
        }
        let total = self.total(view);
        let mut newest: BTreeMap<Place, (Rank, Kind)> = BTreeMap::new();
        for sighting in std::mem::take(&mut self.heard).into_values().flat_map(|heard| heard.sightings) {
            if sighting.token.0 >> CURSOR_SHIFT >= end {
                continue;
            }
            let known =
                newest.entry((sighting.token, sighting.key)).or_insert((sighting.rank, sighting.kind));
            if known.0 < sighting.rank {
                *known = (sighting.rank, sighting.kind);
            }
        }
        let lives = |kind: Kind| match kind {
            Kind::Value { expires_at } => expires_at.is_none_or(|at| at > now),
            Kind::Expired | Kind::Tombstone => false,
        };
        let alive = newest.into_iter().filter(|(_, (_, kind))| lives(*kind));
        let keys = alive.map(|((_, key), _)| key).collect();
        Some(Ok(Page { next: if end == u64::MAX { 0 } else { end }, keys, total }))
    }

    /// Whether of each part of the ring from the cursor to `end` a majority of those who hold it was heard.
    fn is_covered(&self, view: &View, end: u64) -> bool {
        let heard = |list: &[NodeNumber]| list.iter().filter(|node| self.heard.contains_key(node)).count();
        let mut arcs = rings(view)
            .flat_map(Ring::arcs)
            .filter(|(arc, _)| arc.end() >> CURSOR_SHIFT >= self.cursor && arc.start() >> CURSOR_SHIFT < end);
        !self.heard.is_empty() && arcs.all(|(_, list)| heard(list) > list.len() / 2)
    }

    /// Keys in all: those of the nodes that were heard, by how much of the ring they hold together.
    fn total(&self, view: &View) -> u64 {
        let held =
            |list: &[NodeNumber]| list.iter().filter(|node| self.heard.contains_key(node)).count() as f64;
        let share = |(arc, list): (std::ops::RangeInclusive<u64>, &[NodeNumber])| {
            held(list) * ((arc.end() - arc.start()) as f64 + 1.0) / 2f64.powi(64)
        };
        let shares: f64 = view.ring.arcs().map(share).sum();
        let keys: u64 = self.heard.values().map(|heard| heard.keys).sum();
        (keys as f64 / shares.max(f64::MIN_POSITIVE)).round() as u64
    }
}

/// The ring, and the one that is to be next while keys move.
fn rings(view: &View) -> impl Iterator<Item = &Ring> {
    [Some(&*view.ring), view.next_ring.as_deref()].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::Arc;

    use super::*;
    use crate::cluster::coordinator::Order;
    use crate::cluster::ring::Member;
    use crate::types::{Stamp, Version, WriterId, Zone};

    const NOW: WallTime = WallTime(1_000);

    /// Walks order nothing.
    struct Nothing;

    impl Orders for Nothing {
        fn order(&mut self, order: Order<'_>) {
            unreachable!("{order:?}");
        }
    }

    fn view(nodes: u16) -> View {
        let members: Vec<Member> = (1..=nodes)
            .map(|node| Member {
                node: NodeNumber(node),
                seat: NodeNumber(node),
                zone: Zone(0),
                virtual_nodes: 16,
            })
            .collect();
        let ring = Arc::new(Ring::new(&members, NonZeroUsize::new(3).unwrap(), 7));
        View::new(Epoch(1), ring, NodeNumber(1), (1..=nodes).map(NodeNumber))
    }

    fn sighting(place: u64, stamp: u64, kind: Kind) -> Sighting {
        let version = Version { stamp: Stamp(stamp), writer: WriterId(1) };
        let key = format!("key {place}").into_bytes().into();
        let rank = Rank { version, expired: kind == Kind::Expired };
        Sighting { token: Token(place << CURSOR_SHIFT), key, rank, kind }
    }

    const VALUE: Kind = Kind::Value { expires_at: None };

    fn heard(next: u64, sightings: &[(u64, u64, Kind)]) -> Heard {
        let sightings: Vec<Sighting> =
            sightings.iter().map(|&(place, stamp, kind)| sighting(place, stamp, kind)).collect();
        Heard { next, keys: sightings.len() as u64, sightings }
    }

    fn names(page: &Page) -> Vec<String> {
        page.keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    #[test]
    fn the_newest_of_each_key_counts() {
        let view = view(3);
        let mut walk = Walk::begin(&view, 0);
        assert_eq!(walk.asked().len(), 3);
        walk.hear(NodeNumber(1), heard(0, &[(5, 1, VALUE), (7, 3, VALUE), (9, 1, VALUE)]));
        walk.hear(NodeNumber(2), heard(0, &[(5, 2, Kind::Tombstone), (7, 2, Kind::Tombstone)]));
        let late = Kind::Value { expires_at: Some(WallTime(999)) };
        walk.hear(NodeNumber(3), heard(0, &[(9, 2, late), (11, 1, VALUE)]));
        let page = walk.conclude::<Nothing>(&view, false, NOW).unwrap().unwrap();
        assert_eq!((page.next, names(&page)), (0, vec!["key 7".to_owned(), "key 11".to_owned()]));
        assert_eq!(page.total, 2, "seven of three nodes that hold all of it");
    }

    #[test]
    fn a_page_ends_where_the_first_node_stopped() {
        let view = view(3);
        let mut walk = Walk::begin(&view, 0);
        walk.hear(NodeNumber(1), heard(8, &[(5, 1, VALUE), (7, 1, VALUE)]));
        walk.hear(NodeNumber(2), heard(6, &[(5, 1, VALUE)]));
        assert!(walk.conclude::<Nothing>(&view, false, NOW).is_none(), "the third has said nothing");
        let page = walk.conclude::<Nothing>(&view, true, NOW).unwrap().unwrap();
        assert_eq!((page.next, names(&page)), (6, vec!["key 5".to_owned()]));
    }

    #[test]
    fn a_minority_is_not_enough() {
        let mut view = view(3);
        let mut walk = Walk::begin(&view, 0);
        walk.hear(NodeNumber(2), heard(0, &[(5, 1, VALUE)]));
        assert!(walk.conclude::<Nothing>(&view, true, NOW).is_none(), "the others may yet say something");
        walk.give_up(NodeNumber(1));
        walk.give_up(NodeNumber(3));
        assert_eq!(walk.conclude::<Nothing>(&view, true, NOW), Some(Err(TooFew)));
        let mut walk = Walk::begin(&view, 0);
        walk.hear(NodeNumber(2), heard(0, &[]));
        walk.give_up(NodeNumber(2));
        walk.hear(NodeNumber(1), heard(0, &[]));
        assert!(
            walk.conclude::<Nothing>(&view, false, NOW).is_none(),
            "the third has not been heard, though two of two have"
        );
        view.set_recovering([NodeNumber(2)]);
        assert_eq!(Walk::begin(&view, 0).asked(), [NodeNumber(1), NodeNumber(3)]);
    }

    #[test]
    fn with_more_nodes_than_copies_each_part_needs_its_own_majority() {
        let view = view(5);
        let mut walk = Walk::begin(&view, 0);
        for node in [1, 2, 3, 4] {
            walk.hear(NodeNumber(node), heard(0, &[]));
        }
        assert!(
            walk.conclude::<Nothing>(&view, true, NOW).unwrap().is_ok(),
            "one of five missing is one of three at most"
        );
        let mut walk = Walk::begin(&view, 0);
        for node in [1, 2, 3] {
            walk.hear(NodeNumber(node), heard(0, &[]));
        }
        assert!(
            walk.conclude::<Nothing>(&view, true, NOW).is_none(),
            "two of five missing are two of three somewhere"
        );
    }
}
