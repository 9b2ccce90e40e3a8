//! What each command does to a topology, and what is denied. Nothing here knows of logs or leaders.

use super::*;
use crate::types::RunId;
use std::collections::BTreeSet;
use std::num::NonZeroU64;

fn topology(opens_with: u16) -> Topology {
    let settings =
        Settings { replication_factor: 3, opens_with, drift_max_ms: 500, operation_timeout_ms: 1000 };
    Topology::new(ClusterId(7), 11, settings)
}

fn entrance(name: &str, run: u64) -> Entrance {
    let address = "127.0.0.1:7500".parse().unwrap();
    Entrance {
        name: name.parse().unwrap(),
        run: RunId(NonZeroU64::new(run).unwrap()),
        was: None,
        keeps_data: false,
        replaces: false,
        peer_address: address,
        client_address: address,
        zone: "east".parse().unwrap(),
        virtual_nodes: 16,
    }
}

fn enter(topology: &mut Topology, entrance: &Entrance) -> Result<(), Denial> {
    let command = Command::Enter(entrance.clone());
    assert!(!topology.has(&command));
    topology.apply(&command)?;
    assert!(topology.has(&command));
    let once = topology.clone();
    topology.apply(&command).unwrap();
    assert_eq!(*topology, once, "the same command again changes nothing");
    Ok(())
}

/// A cluster of three that is open.
fn open() -> Topology {
    let mut topology = topology(3);
    for (name, run) in [("a", 1), ("b", 2), ("c", 3)] {
        enter(&mut topology, &entrance(name, run)).unwrap();
    }
    topology
}

fn node(topology: &Topology, number: u16) -> &Node {
    &topology.nodes[&NodeNumber(number)]
}

#[test]
fn a_cluster_opens_with_the_nodes_that_it_was_made_for() {
    let mut topology = topology(2);
    enter(&mut topology, &entrance("a", 1)).unwrap();
    assert!(!topology.open && topology.ring().replicas() == 0);
    enter(&mut topology, &entrance("b", 2)).unwrap();
    assert!(topology.open);
    assert_eq!((topology.epoch, topology.ring().replicas()), (Epoch(2), 2));
    enter(&mut topology, &entrance("c", 3)).unwrap();
    assert_eq!(node(&topology, 3).state, NodeState::Joined, "who comes later owns nothing");
    assert_eq!((topology.epoch, topology.ring().replicas()), (Epoch(2), 2));
}

#[test]
fn a_restart_is_another_life_of_the_same_node_and_another_epoch() {
    let mut topology = open();
    let ring = topology.ring();
    let again = Entrance { was: Some(NodeNumber(2)), zone: "west".parse().unwrap(), ..entrance("b", 20) };
    enter(&mut topology, &again).unwrap();
    assert_eq!((topology.epoch, node(&topology, 2).state), (Epoch(3), NodeState::Recovering));
    assert_eq!(node(&topology, 2).incarnation, Incarnation(4));
    assert_eq!(topology.ring(), ring, "what belongs to its places stays, whatever it says now");
    let stranger = Entrance { was: Some(NodeNumber(1)), ..entrance("b", 21) };
    assert!(matches!(topology.apply(&Command::Enter(stranger)), Err(Denial::NotThatNode(_))));
}

#[test]
fn a_name_is_taken_until_its_holder_is_replaced_in_its_places() {
    let mut topology = open();
    let before = topology.clone();
    let second = Command::Enter(entrance("c", 30));
    assert!(matches!(topology.apply(&second), Err(Denial::NameTaken(_))));
    let nobody = Command::Enter(Entrance { replaces: true, ..entrance("d", 4) });
    assert!(matches!(topology.apply(&nobody), Err(Denial::NobodyToReplace(_))));
    assert_eq!(topology, before, "what is denied changes nothing");
    enter(&mut topology, &Entrance { replaces: true, ..entrance("c", 30) }).unwrap();
    assert!(!topology.nodes.contains_key(&NodeNumber(3)));
    let new = node(&topology, 4);
    assert_eq!((new.seat, new.state), (NodeNumber(3), NodeState::Recovering));
    let moved = |number: NodeNumber| if number == NodeNumber(4) { NodeNumber(3) } else { number };
    for ((_, old), (_, new)) in before.ring().arcs().zip(topology.ring().arcs()) {
        assert_eq!(old, new.iter().copied().map(moved).collect::<Vec<_>>(), "it owns what the other did");
    }
}

#[test]
fn who_comes_back_with_its_data_counts_as_it_did() {
    let mut topology = open();
    let returns = |name, run, number, keeps_data| {
        let was = Some(NodeNumber(number));
        Entrance { was, keeps_data, ..entrance(name, run) }
    };
    let before = topology.epoch;
    enter(&mut topology, &returns("a", 11, 1, true)).unwrap();
    assert_eq!((node(&topology, 1).state, topology.epoch), (NodeState::Active, Epoch(before.0 + 1)));
    enter(&mut topology, &returns("b", 12, 2, false)).unwrap();
    enter(&mut topology, &returns("b", 13, 2, true)).unwrap();
    assert_eq!(node(&topology, 2).state, NodeState::Recovering, "what it had was not whole");
    let replaces = Entrance { keeps_data: true, replaces: true, ..entrance("c", 14) };
    enter(&mut topology, &replaces).unwrap();
    assert_eq!(node(&topology, 4).state, NodeState::Recovering, "it has nothing of the other's");
}

#[test]
fn who_has_recovered_counts_again_and_what_was_lost_is_counted() {
    let mut topology = open();
    for (name, number) in [("a", 1), ("b", 2)] {
        let again = Entrance { was: Some(NodeNumber(number)), ..entrance(name, 10 + u64::from(number)) };
        enter(&mut topology, &again).unwrap();
    }
    enter(&mut topology, &Entrance { was: Some(NodeNumber(3)), ..entrance("c", 13) }).unwrap();
    assert!(topology.nodes.values().all(|node| node.state == NodeState::Recovering));
    let recovered = |topology: &Topology, number: u16| Command::Recovered {
        node: NodeNumber(number),
        incarnation: node(topology, number).incarnation,
        heard: WallTime(9),
    };
    for (number, losses) in [(1, 1), (2, 2), (3, 2)] {
        let (command, before) = (recovered(&topology, number), topology.epoch);
        assert!(!topology.has(&command));
        topology.apply(&command).unwrap();
        assert!(topology.has(&command));
        assert_eq!((topology.losses, topology.epoch), (losses, Epoch(before.0 + 1)));
        let once = topology.clone();
        topology.apply(&command).unwrap();
        assert_eq!(topology, once, "the same command again changes nothing");
    }
    enter(&mut topology, &entrance("late", 50)).unwrap();
    let before = topology.clone();
    let joined = recovered(&topology, 4);
    assert_eq!(topology.apply(&joined), Err(Denial::NothingToRecover(NodeNumber(4))));
    assert_eq!(topology, before, "what is denied changes nothing");
    let over = recovered(&topology, 2);
    enter(&mut topology, &Entrance { was: Some(NodeNumber(2)), ..entrance("b", 22) }).unwrap();
    assert_eq!(topology.apply(&over), Err(Denial::LifeOver(NodeNumber(2))));
    assert_eq!(node(&topology, 2).state, NodeState::Recovering);
}

#[test]
fn what_is_out_of_bounds_is_denied() {
    let mut topology = open();
    for (setting, fits) in [
        (Setting::DriftMaxMs(0), false),
        (Setting::DriftMaxMs(800), true),
        (Setting::OperationTimeoutMs(9), false),
        (Setting::OperationTimeoutMs(60_001), false),
        (Setting::OperationTimeoutMs(60_000), true),
    ] {
        let command = Command::Set(setting);
        assert_eq!(topology.apply(&command).is_ok(), fits, "{setting:?}");
        assert_eq!(topology.has(&command), fits);
    }
    for virtual_nodes in [0, VIRTUAL_NODES_MAX + 1] {
        let command = Command::Enter(Entrance { virtual_nodes, ..entrance("d", 4) });
        assert!(matches!(topology.apply(&command), Err(Denial::OutOfBounds(_))));
    }
    for number in 4..=NODES_MAX {
        enter(&mut topology, &entrance(&format!("n{number}"), u64::from(number))).unwrap();
    }
    let command = Command::Enter(entrance("one-more", 1000));
    assert!(matches!(topology.apply(&command), Err(Denial::TooManyNodes(_))));
    topology.apply(&Command::Remove { node: NodeNumber(9) }).unwrap();
    topology.apply(&Command::Remove { node: NodeNumber(9) }).unwrap();
    enter(&mut topology, &entrance("one-more", 1000)).unwrap();
    assert!(topology.nodes.contains_key(&NodeNumber(NODES_MAX + 1)), "numbers are not given again");
}

fn numbers(numbers: &[u16]) -> BTreeSet<NodeNumber> {
    numbers.iter().copied().map(NodeNumber).collect()
}

fn filled(topology: &Topology, number: u16) -> Command {
    let (node, incarnation) = (NodeNumber(number), node(topology, number).incarnation);
    let since = topology.movement.as_ref().unwrap().since;
    Command::Filled { node, incarnation, since, heard: WallTime(7) }
}

/// Begins whatever is to move, if these live.
fn move_to(topology: &mut Topology, live: &[u16]) {
    let (comes, copies) = topology.wanted_move(&numbers(live)).unwrap();
    topology.apply(&Command::Move { comes, copies }).unwrap();
}

#[test]
fn keys_move_to_who_joins_when_it_has_them() {
    let mut topology = topology(1);
    enter(&mut topology, &entrance("a", 1)).unwrap();
    enter(&mut topology, &entrance("b", 2)).unwrap();
    assert_eq!(topology.wanted_move(&numbers(&[1])), None, "who is not heard gets nothing");
    move_to(&mut topology, &[1, 2]);
    assert_eq!((node(&topology, 2).state, topology.epoch), (NodeState::Joining, Epoch(3)));
    assert_eq!((topology.ring().replicas(), topology.next_ring().unwrap().replicas()), (1, 2));
    assert_eq!(topology.movement.as_ref().unwrap().awaited, numbers(&[2]));
    let command = filled(&topology, 2);
    assert!(!topology.has(&command));
    topology.apply(&command).unwrap();
    assert!(topology.has(&command) && topology.movement.is_none());
    assert_eq!((node(&topology, 2).state, topology.epoch), (NodeState::Active, Epoch(4)));
    assert_eq!(topology.ring().replicas(), 2);
    assert_eq!(topology.wanted_move(&numbers(&[1, 2])), None);
}

#[test]
fn a_movement_is_called_off_when_who_joins_begins_another_life() {
    let mut topology = open();
    enter(&mut topology, &entrance("d", 4)).unwrap();
    let ring = topology.ring();
    move_to(&mut topology, &[4]);
    assert_eq!(topology.movement.as_ref().unwrap().awaited, numbers(&[4]), "the others hold enough");
    let before = filled(&topology, 4);
    enter(&mut topology, &Entrance { was: Some(NodeNumber(4)), ..entrance("d", 40) }).unwrap();
    assert_eq!((node(&topology, 4).state, topology.movement.is_none()), (NodeState::Joined, true));
    assert_eq!(topology.ring(), ring);
    assert!(topology.apply(&before).is_err());
    move_to(&mut topology, &[4]);
    let since = topology.movement.as_ref().unwrap().since;
    topology.apply(&Command::CallOff { since: Epoch(since.0 - 1) }).unwrap();
    assert!(topology.movement.is_some(), "it was another");
    let restarted = Entrance { was: Some(NodeNumber(2)), ..entrance("b", 20) };
    enter(&mut topology, &restarted).unwrap();
    assert!(topology.movement.is_some(), "what it held is held by enough others");
    topology.apply(&Command::CallOff { since }).unwrap();
    assert_eq!((topology.ring(), topology.movement), (ring, None));
}

#[test]
fn copies_become_fewer_when_those_that_stay_have_everything() {
    let mut topology = open();
    assert!(topology.apply(&Command::Set(Setting::ReplicationFactor(0))).is_err());
    topology.apply(&Command::Set(Setting::ReplicationFactor(2))).unwrap();
    move_to(&mut topology, &[]);
    for number in [1, 2, 3] {
        assert_eq!(topology.ring().replicas(), 3);
        topology.apply(&filled(&topology, number)).unwrap();
    }
    assert_eq!((topology.copies, topology.ring().replicas()), (2, 2));
    let removal = Command::Remove { node: NodeNumber(1) };
    assert_eq!(topology.apply(&removal), Err(Denial::OwnsRanges(NodeNumber(1))));
}

#[test]
fn a_movement_to_those_who_are_there_is_not_called_off() {
    let mut topology = open();
    topology.apply(&Command::Set(Setting::ReplicationFactor(2))).unwrap();
    enter(&mut topology, &entrance("d", 4)).unwrap();
    move_to(&mut topology, &[]);
    let since = topology.movement.as_ref().unwrap().since;
    let call_off = Command::CallOff { since };
    assert!(topology.has(&call_off), "who stays may have been handed what it had promised not to take");
    topology.apply(&call_off).unwrap();
    let both = Command::Move { comes: numbers(&[4]), copies: 1 };
    assert_eq!(topology.apply(&both), Err(Denial::NothingToMove));
    assert_eq!(
        topology.hearsay().collect::<Vec<_>>(),
        [1, 2, 3].map(|node| (NodeNumber(node), WallTime(u64::MAX)))
    );
    let again = Entrance { was: Some(NodeNumber(2)), ..entrance("b", 20) };
    enter(&mut topology, &again).unwrap();
    assert_eq!(topology.movement.as_ref().unwrap().awaited, numbers(&[1, 3]), "it has lost its data");
    topology.apply(&filled(&topology, 1)).unwrap();
    let (node, incarnation, heard) = (NodeNumber(2), node(&topology, 2).incarnation, WallTime(9));
    topology.apply(&Command::Recovered { node, incarnation, heard }).unwrap();
    assert_eq!(topology.movement.as_ref().unwrap().awaited, numbers(&[2, 3]), "what it got is what it had");
    for number in [2, 3] {
        topology.apply(&filled(&topology, number)).unwrap();
    }
    let hearsay: Vec<_> = topology.hearsay().collect();
    assert_eq!(hearsay, [(1, 7), (2, 9), (3, 7)].map(|(node, until)| (NodeNumber(node), WallTime(until))));
}

#[test]
fn who_is_revoked_counts_for_nothing_until_it_has_recovered() {
    let mut topology = open();
    let command = Command::Revoke { nodes: numbers(&[3]) };
    assert!(!topology.has(&command));
    topology.apply(&command).unwrap();
    assert!(topology.has(&command));
    assert_eq!((node(&topology, 3).state, topology.epoch), (NodeState::Recovering, Epoch(3)));
}
