//! What a ring promises: distinct nodes, distinct zones first, even loads, and a join that moves only its own.

use std::collections::BTreeMap;

use super::*;

const SEED: u64 = 0x5eed;

fn members(nodes: u16, zones: u16) -> Vec<Member> {
    (0..nodes)
        .map(|node| Member {
            node: NodeNumber(node),
            seat: NodeNumber(node),
            zone: Zone(node % zones),
            virtual_nodes: 256,
        })
        .collect()
}

fn ring(members: &[Member], replication_factor: usize) -> Ring {
    Ring::new(members, NonZeroUsize::new(replication_factor).unwrap(), SEED)
}

/// Tokens at, before and behind every place, and at both ends of the numbers.
fn tokens_of_interest(ring: &Ring) -> Vec<Token> {
    let near = ring.tokens.iter().flat_map(|&token| [token.wrapping_sub(1), token, token.wrapping_add(1)]);
    near.chain([0, u64::MAX]).map(Token).collect()
}

/// What lies at `token` by the definition: the walk from the first place at or behind it.
fn by_definition(ring: &Ring, token: Token) -> Vec<NodeNumber> {
    ring.explain(token).preference_list
}

#[test]
fn a_lookup_is_the_walk_from_the_first_place_at_or_behind_the_token() {
    for nodes in [1, 2, 3, 7] {
        let ring = ring(&members(nodes, 3), 3);
        for token in tokens_of_interest(&ring) {
            let start = ring.tokens.iter().position(|&place| place >= token.0).unwrap_or(0);
            assert_eq!(ring.place_of(token), start);
            assert_eq!(ring.preference_list(token), by_definition(&ring, token));
        }
    }
}

#[test]
fn a_list_names_distinct_nodes_and_as_many_zones_as_it_can() {
    for (nodes, zones) in [(1, 1), (2, 1), (5, 2), (9, 3), (9, 9)] {
        let members = members(nodes, zones);
        let ring = ring(&members, 3);
        for (_, list) in ring.arcs() {
            let nodes_there: std::collections::BTreeSet<_> = list.iter().collect();
            let zones_there: std::collections::BTreeSet<_> = list.iter().map(|node| node.0 % zones).collect();
            assert_eq!(nodes_there.len(), usize::from(nodes.min(3)));
            assert_eq!(zones_there.len(), usize::from(zones.min(3)), "{list:?}");
        }
    }
}

#[test]
fn arcs_cover_every_token_once_and_in_order() {
    for nodes in [1, 4] {
        let ring = ring(&members(nodes, 1), 3);
        let mut next = Some(0);
        for (arc, list) in ring.arcs() {
            assert_eq!(next, Some(*arc.start()));
            assert_eq!(list, ring.preference_list(Token(*arc.start())));
            assert_eq!(list, ring.preference_list(Token(*arc.end())));
            next = arc.end().checked_add(1);
        }
        assert_eq!(next, None, "to the last token");
    }
}

#[test]
fn a_ring_without_members_names_nobody() {
    let idle = Member { node: NodeNumber(1), seat: NodeNumber(1), zone: Zone(0), virtual_nodes: 0 };
    for members in [&[][..], &[idle]] {
        let ring = ring(members, 3);
        assert_eq!(ring.preference_list(Token(7)), []);
        assert_eq!(ring.arcs().count(), 0);
    }
}

#[test]
fn the_order_of_the_members_does_not_matter() {
    let forwards = members(9, 2);
    let backwards: Vec<Member> = forwards.iter().rev().copied().collect();
    assert_eq!(ring(&forwards, 3), ring(&backwards, 3));
}

/// The share of replicas that each node holds, as a multiple of the mean.
fn loads(ring: &Ring) -> BTreeMap<NodeNumber, f64> {
    let mut loads: BTreeMap<NodeNumber, f64> = BTreeMap::new();
    for (arc, list) in ring.arcs() {
        let width = (arc.end() - arc.start()) as f64;
        for &node in list {
            *loads.entry(node).or_default() += width;
        }
    }
    let mean = loads.values().sum::<f64>() / loads.len() as f64;
    loads.values_mut().for_each(|load| *load /= mean);
    loads
}

#[test]
fn a_hundred_nodes_are_loaded_evenly_whatever_the_seed() {
    let members = members(100, 1);
    for seed in 0..20 {
        let ring = Ring::new(&members, NonZeroUsize::new(3).unwrap(), seed);
        let most = loads(&ring).into_values().fold(0.0, f64::max);
        println!("seed {seed}: the most loaded of 100 nodes holds {most:.3} x the mean");
        assert!(most <= 1.15, "seed {seed}: {most}");
    }
}

#[test]
fn weight_is_the_share_of_what_a_node_holds() {
    let mut members = members(20, 1);
    members[7].virtual_nodes = 512;
    let ring = ring(&members, 1);
    let loads = loads(&ring);
    let ratio = loads[&NodeNumber(7)] / loads[&NodeNumber(8)];
    assert!((1.6..2.4).contains(&ratio), "{ratio}");
}

/// Walks two rings at once: every piece on which neither changes its list.
fn compare(before: &Ring, after: &Ring, mut each: impl FnMut(&[NodeNumber], &[NodeNumber])) {
    let ends = |ring: &Ring| ring.arcs().map(|(arc, _)| *arc.end()).collect::<Vec<_>>();
    let mut all = [ends(before), ends(after)].concat();
    all.sort_unstable();
    for end in all {
        each(before.preference_list(Token(end)), after.preference_list(Token(end)));
    }
}

#[test]
fn a_join_moves_exactly_what_the_newcomer_then_holds() {
    for (nodes, zones) in [(1, 1), (2, 2), (3, 1), (12, 2), (12, 4), (12, 1)] {
        let members = members(nodes + 1, zones);
        let (before, after) = (ring(&members[..usize::from(nodes)], 3), ring(&members, 3));
        let newcomer = NodeNumber(nodes);
        compare(&before, &after, |old, new| {
            let gained: Vec<_> = new.iter().filter(|node| !old.contains(node)).collect();
            let lost = old.iter().filter(|node| !new.contains(node)).count();
            assert!(gained.iter().all(|&&node| node == newcomer), "only the newcomer gains: {old:?} {new:?}");
            assert_eq!(lost, old.len() + gained.len() - new.len(), "{old:?} {new:?}");
        });
    }
}

#[test]
fn an_explanation_names_every_place_it_met() {
    let ring = ring(&members(4, 2), 3);
    let explanation = ring.explain(Token(SEED));
    let taken = |reason| explanation.steps.iter().filter(move |step| step.reason == reason);
    assert_eq!(taken(Reason::NewZone).count(), 2);
    let spare = taken(Reason::SameZone).next().unwrap();
    assert_eq!(explanation.preference_list[2], spare.node);
    assert!(explanation.steps.is_sorted_by_key(|step| step.token.0.wrapping_sub(SEED)));
}
