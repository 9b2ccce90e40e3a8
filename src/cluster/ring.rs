//! The consistent-hash ring: which nodes hold a key, and in what order they are preferred.
//!
//! Invariants: a ring is computed once for an epoch and never changes; every preference list has the same length, the
//! lesser of the replication factor and the number of nodes, and no node twice; the list of a token depends on the
//! members alone, not on the order in which they are given. A lookup allocates nothing. Who is alive is not known here.
//!
//! Sources: Karger et al., "Consistent Hashing and Random Trees" (1997); virtual nodes and preference lists over
//! distinct nodes: DeCandia et al., "Dynamo" (2007), sections 4.2 and 4.3.

mod explain;
mod gains;

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::types::{NodeNumber, Token, Zone};

pub use explain::{Explanation, Reason, Step};
pub use gains::{gains, lacks, pairs};

/// A node's place in the ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Member {
    /// Which node.
    pub node: NodeNumber,
    /// Whose places it has: its own number, or that of the node that it replaced.
    pub seat: NodeNumber,
    /// What fails together with it.
    pub zone: Zone,
    /// How many places it takes: its weight.
    pub virtual_nodes: u16,
}

/// One place on the ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    token: Token,
    member: Member,
}

/// Who holds what, precomputed.
///
/// A place owns the tokens from behind the place before it up to its own, its own included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ring {
    places: Box<[Place]>,
    /// The tokens of `places`, packed for the search.
    tokens: Box<[u64]>,
    /// The preference lists of `places`, one after the other.
    lists: Box<[NodeNumber]>,
    /// For each range of tokens that share their top bits: the first place at or behind its beginning.
    starts: Box<[u32]>,
    /// How far to shift a token right to find its range in `starts`.
    shift: u32,
    replicas: usize,
}

impl Ring {
    /// The ring of `members`, each key held by `replication_factor` of them or by all if they are fewer.
    ///
    /// A member given twice counts once, as it stands first; one without virtual nodes holds nothing.
    #[must_use]
    pub fn new(members: &[Member], replication_factor: NonZeroUsize, seed: u64) -> Self {
        let mut members: Vec<Member> = members.iter().copied().filter(|one| one.virtual_nodes > 0).collect();
        members.sort_by_key(|member| member.node);
        members.dedup_by_key(|member| member.node);
        let places = places(&members, seed);
        let replicas = replication_factor.get().min(members.len());
        let walk = Walk { places: &places, replicas, zones: zones(&members) };
        let mut lists = Vec::with_capacity(places.len() * replicas);
        let mut list = Vec::with_capacity(replicas);
        for start in 0..places.len() {
            walk.from(start, &mut list, |_, _| {});
            lists.extend_from_slice(&list);
        }
        let tokens: Box<[u64]> = places.iter().map(|place| place.token.0).collect();
        let (starts, shift) = index(&tokens);
        Self { places: places.into(), tokens, lists: lists.into(), starts, shift, replicas }
    }

    /// How many nodes hold each key; 0 if there is no member.
    #[inline]
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// Of how many of a key's other replicas one that lost its data must have everything: so many that one of them has
    /// applied whatever a majority has acknowledged. N-W+1 of N replicas with majorities of W.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.replicas - self.replicas / 2
    }

    /// The nodes that hold what lies at `token`, the preferred one first; empty if there is no member.
    #[inline]
    #[must_use]
    pub fn preference_list(&self, token: Token) -> &[NodeNumber] {
        let first = self.place_of(token) * self.replicas;
        &self.lists[first..first + self.replicas]
    }

    /// The place that owns `token`; 0 if there is none.
    #[inline]
    fn place_of(&self, token: Token) -> usize {
        let mut place = self.starts[(token.0 >> self.shift) as usize] as usize;
        while place < self.tokens.len() && self.tokens[place] < token.0 {
            place += 1;
        }
        // Behind the last place the ring begins again.
        if place < self.tokens.len() { place } else { 0 }
    }

    /// The arcs that make up the ring, in the order of their tokens, each with its preference list.
    ///
    /// The first place's arc crosses the end of the numbers, and comes in two parts: first and last.
    pub fn arcs(&self) -> impl Iterator<Item = (RangeInclusive<u64>, &[NodeNumber])> {
        let behind_last = self.tokens.last().and_then(|last| last.checked_add(1));
        let starts = self.tokens.iter().scan(Some(0), |next, &token| {
            let start = *next;
            *next = token.checked_add(1);
            Some(start.map(|start| start..=token))
        });
        let lists = self.lists.chunks_exact(self.replicas.max(1));
        let wrapped = behind_last.map(|start| (start..=u64::MAX, &self.lists[..self.replicas]));
        starts.zip(lists).filter_map(|(arc, list)| Some((arc?, list))).chain(wrapped)
    }

    /// Why `token` is held by the nodes that hold it.
    #[must_use]
    pub fn explain(&self, token: Token) -> Explanation {
        let members: Vec<Member> = self.places.iter().map(|place| place.member).collect();
        let walk = Walk { places: &self.places, replicas: self.replicas, zones: zones(&members) };
        explain::explain(&walk, token, self.place_of(token))
    }
}

/// All places of `members`, in the order of their tokens.
///
/// A token is a hash of the seat's number and the place's, so that a node's places stay whoever else joins. Two places
/// that hash alike are ordered by node; the second then owns nothing.
fn places(members: &[Member], seed: u64) -> Vec<Place> {
    let mut places: Vec<Place> = members
        .iter()
        .flat_map(|&member| {
            (0..member.virtual_nodes).map(move |number| {
                let [high, low] = number.to_be_bytes();
                let [seat_high, seat_low] = member.seat.0.to_be_bytes();
                let token = Token(xxh3_64_with_seed(&[seat_high, seat_low, high, low], seed));
                Place { token, member }
            })
        })
        .collect();
    places.sort_unstable();
    places
}

fn zones(members: &[Member]) -> usize {
    let mut zones: Vec<Zone> = members.iter().map(|member| member.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    zones.len()
}

/// The ranges of tokens by their top bits, at least as many as tokens, and how far to shift for them.
fn index(tokens: &[u64]) -> (Box<[u32]>, u32) {
    let bits = (2 * tokens.len()).next_power_of_two().trailing_zeros().max(1);
    let shift = u64::BITS - bits;
    let start = |range: u64| tokens.partition_point(|&token| token < range << shift);
    let starts = (0..1u64 << bits)
        .map(|range| u32::try_from(start(range)).expect("65,536 nodes of 65,535 places stay below 2^32"))
        .collect();
    (starts, shift)
}

/// The walk round the ring that collects a preference list: distinct nodes, distinct zones before anything else.
struct Walk<'a> {
    places: &'a [Place],
    replicas: usize,
    /// Distinct zones in the whole ring: no use walking on for another.
    zones: usize,
}

impl Walk<'_> {
    /// Fills `list` with the nodes that hold what the place `start` owns, and tells `seen` of every place passed.
    ///
    /// First the first node of each zone in the order of the walk; then, if the zones do not suffice, the nearest
    /// of the nodes passed over.
    fn from(&self, start: usize, list: &mut Vec<NodeNumber>, mut seen: impl FnMut(&Place, Reason)) {
        let zones_wanted = self.replicas.min(self.zones);
        let mut zones: Vec<Zone> = Vec::with_capacity(zones_wanted);
        let mut passed_over: Vec<NodeNumber> = Vec::new();
        list.clear();
        for step in 0..self.places.len() {
            if zones.len() == zones_wanted && list.len() + passed_over.len() >= self.replicas {
                break;
            }
            let place = &self.places[(start + step) % self.places.len()];
            let node = place.member.node;
            let reason = if list.contains(&node) || passed_over.contains(&node) {
                Reason::SameNode
            } else if zones.contains(&place.member.zone) {
                passed_over.push(node);
                Reason::SameZone
            } else {
                zones.push(place.member.zone);
                list.push(node);
                Reason::NewZone
            };
            seen(place, reason);
        }
        let missing = self.replicas - list.len();
        list.extend(passed_over.into_iter().take(missing));
    }
}

#[cfg(test)]
mod tests;
