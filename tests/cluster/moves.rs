//! Keys that move: to nodes that come, to more and to fewer replicas, while nodes are killed; and what is given up.

use std::process::Command;

use rustix::process::Signal;

use crate::faults::kill;
use crate::harness::{Client, Reply, request, wait_until};
use crate::load::{judge, work_beside};
use crate::nodes::{Cluster, name};

const KEYS: usize = 400;

/// Writes so many keys, with values of so many bytes.
fn fill(client: &mut Client, keys: usize, bytes: usize) {
    let value = "v".repeat(bytes);
    for first in (0..keys).step_by(100) {
        let keys = first..keys.min(first + 100);
        for key in keys.clone() {
            client.send(&request(&["SET", &format!("key:{key}"), &value]));
        }
        keys.for_each(|_| assert_eq!(client.reply(), Reply::ok()));
    }
}

/// Whether all of them are there, by what a node says.
fn assert_full(client: &mut Client, keys: usize, bytes: usize) {
    let value = "v".repeat(bytes);
    for key in 0..keys {
        assert_eq!(client.call(&["GET", &format!("key:{key}")]), Reply::bulk(&value), "key:{key}");
    }
}

/// Cells that a node has.
fn held(cluster: &Cluster, node: usize) -> i64 {
    cluster.resp(node).info("cells").cast_signed()
}

/// Says that losses are accepted; returns whether that was done, and what was said.
fn operate(target: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annulus"));
    let output =
        command.args(["cluster", "recover", "--accept-loss", "--target", target]).output().expect("it runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn copies(cluster: &Cluster) -> i64 {
    (0..cluster.nodes.len()).map(|node| held(cluster, node)).sum()
}

#[test]
fn keys_move_to_a_node_that_comes_late() {
    let mut cluster = Cluster::start(3);
    fill(&mut cluster.resp(0), KEYS, 5);
    cluster.add(3, &[]);
    wait_until("it owns keys", || cluster.state(3) == "active");
    assert!(held(&cluster, 3) > 200, "three of four nodes hold each key: {}", held(&cluster, 3));
    wait_until("what is not theirs is dropped", || copies(&cluster) == 3 * KEYS as i64);
    (0..4).for_each(|node| assert_full(&mut cluster.resp(node), KEYS, 5));
    wait_until("all know it", || (0..3).all(|node| cluster.described(node, 3).get("state") == "active"));
    assert_eq!(cluster.described(0, 3).get("votes"), "0", "four nodes have three voters");
    cluster.serves_again(3);
}

#[test]
fn replicas_become_more_as_nodes_come_and_fewer_or_more_as_is_said() {
    let mut cluster = Cluster::found();
    fill(&mut cluster.resp(0), KEYS, 5);
    for count in 2..=3 {
        cluster.add(count - 1, &[]);
        wait_until("it owns keys", || cluster.state(count - 1) == "active");
        assert_eq!(copies(&cluster), (count * KEYS) as i64, "each node holds each key");
    }
    kill(cluster.nodes[0].child.id(), Signal::KILL);
    cluster.nodes[0].exit();
    assert_full(&mut cluster.resp(1), KEYS, 5);
    cluster.restart(0);
    wait_until("it is whole again", || cluster.state(0) == "active");
    for factor in [2, 1, 3] {
        let mut client = cluster.resp(factor % 3);
        let told = ["CONFIG", "SET", "cluster-replication-factor", &factor.to_string()];
        assert_eq!(client.call(&told), Reply::ok());
        wait_until("each key has so many replicas", || copies(&cluster) == (factor * KEYS) as i64);
        (0..3).for_each(|node| assert_full(&mut cluster.resp(node), KEYS, 5));
    }
    let error = cluster.resp(0).call(&["CONFIG", "SET", "cluster-replication-factor", "10"]).error();
    assert!(error.contains("out of bounds"), "{error}");
}

#[test]
fn a_node_joins_though_it_and_the_leader_are_killed_meanwhile() {
    const MANY: usize = 8000;
    const BYTES: usize = 8 << 10;
    let cluster = Cluster::start(3);
    fill(&mut cluster.resp(0), MANY, BYTES);
    let leader = cluster.leader(0).expect("somebody leads");
    let (stays, seed) = ((leader + 1) % 3, cluster.peer(leader).to_string());
    let state = || cluster.described(stays, 3).get("state").to_string();
    let mut processes = Vec::new();
    let served = work_beside(&cluster, &[stays], || {
        processes.push(cluster.start_node(3, 0, &["--join", &seed]));
        wait_until("keys begin to move to it", || state() == "joining");
        kill(processes[0].child.id(), Signal::KILL);
        processes[0].exit();
        wait_until("nothing moves to it", || state() == "joined");
        processes.push(cluster.start_node(3, 0, &[]));
        wait_until("keys begin to move to it again", || state() == "joining");
        kill(processes[1].child.id(), Signal::STOP);
        wait_until("nothing moves to it", || state() == "joined");
        kill(processes[1].child.id(), Signal::CONT);
        wait_until("keys begin to move to it once more", || state() == "joining");
        kill(cluster.nodes[leader].child.id(), Signal::KILL);
        wait_until("it owns keys", || state() == "active");
        processes.push(cluster.start_node(leader, 0, &[]));
        let back = || cluster.described(stays, leader).get("state") == "active";
        wait_until("who led is whole again", back);
    });
    println!("{} done meanwhile, longest gap {:?}", served.done, served.longest_gap);
    assert!(served.done > 100);
    judge(&served.history);
    assert_full(&mut Client::connect(processes[1].address), MANY, BYTES);
}

#[test]
fn what_only_a_dead_node_has_is_given_up_when_somebody_says_so() {
    let mut cluster = Cluster::start(3);
    fill(&mut cluster.resp(0), KEYS, 5);
    let (done, said) = operate(&cluster.nodes[0].address.to_string());
    assert!(!done && said.contains("no node is dead"), "{said}");
    let (done, said) = operate("127.0.0.1:1");
    assert!(!done && said.contains("is a node running there?"), "{said}");
    for node in 0..3 {
        kill(cluster.nodes[node].child.id(), Signal::KILL);
        cluster.nodes[node].exit();
    }
    (0..2).for_each(|node| cluster.restart(node));
    for node in 0..2 {
        wait_until("it is let in", || cluster.state(node) == "recovering");
        wait_until("the third is dead", || cluster.described(node, 2).get("liveness") == "dead");
    }
    assert!(cluster.resp(0).call(&["GET", "key:1"]).error().starts_with("UNAVAILABLE "));
    assert_eq!(cluster.state(0), "recovering", "it waits for the third");
    let (done, said) = operate(&cluster.nodes[0].address.to_string());
    assert!(done, "{said}");
    for node in 0..2 {
        wait_until("it goes on without", || cluster.state(node) == "active");
    }
    cluster.serves_again(0);
    let mut client = cluster.resp(1);
    assert_eq!(client.call(&["GET", "key:1"]), Reply::Null);
    assert!(client.info("losses") > 0);
    assert_eq!(cluster.described(1, 2).get("state"), "recovering", "{}", name(2));
    cluster.restart(2);
    wait_until("it is back", || cluster.state(2) == "active");
}
