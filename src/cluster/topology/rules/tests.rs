//! What each command does to a topology, and what is denied. Nothing here knows of logs or leaders.

use super::*;
use crate::types::RunId;
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
    let owner = Command::Remove { node: NodeNumber(1) };
    assert_eq!(topology.apply(&owner), Err(Denial::OwnsRanges(NodeNumber(1))));
    enter(&mut topology, &entrance("one-more", 1000)).unwrap();
    assert!(topology.nodes.contains_key(&NodeNumber(NODES_MAX + 1)), "numbers are not given again");
}
