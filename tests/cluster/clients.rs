//! The client of a whole cluster: it asks who has the key, goes on when a node dies, and repeats only what is safe.

use std::time::Duration;

use annulus::client::{Client, ClusterClient, Operations, Options, Placement};
use annulus::types::{Level, NodeNumber};
use rustix::process::Signal;

use crate::harness::wait_until;
use crate::nodes::Cluster;

const KEY: &[u8] = b"routed";

/// Puts that the clients of a node have asked of it.
fn puts(cluster: &Cluster, node: usize) -> u64 {
    let mut client = Client::connect(cluster.nodes[node].address).unwrap();
    let stats = client.stats().unwrap();
    stats.operations.iter().find(|operation| operation.name == "native:put").map_or(0, |put| put.count)
}

/// The places of the nodes that hold a key, the preferred one first.
fn holders(cluster: &Cluster) -> Vec<usize> {
    let described = Client::connect(cluster.nodes[0].address).unwrap().cluster().unwrap().unwrap();
    let placement = Placement::of(&described).unwrap();
    let name = |number: &NodeNumber| {
        described.nodes.iter().find(|node| node.number == number.0).map(|node| node.name.clone()).unwrap()
    };
    let place = |number| name(number)[1..].parse::<usize>().unwrap() - 1;
    placement.ring.preference_list(placement.token(KEY)).iter().map(place).collect()
}

#[test]
fn a_key_is_asked_of_the_node_that_has_it_and_of_another_when_that_dies() {
    let mut cluster = Cluster::start(4);
    let list = holders(&cluster);
    assert_eq!(list.len(), 3, "three of four nodes hold a key");
    // It is told of one node that is not the preferred one, and of an address where nobody is.
    let known = cluster.nodes[(list[0] + 1) % 4].address;
    let nobody = "127.0.0.1:1".parse().unwrap();
    let options = Options { retry_for: Duration::from_secs(10), ..Options::default() };
    let mut client = ClusterClient::connect_with([nobody, known].as_slice(), options).unwrap();
    for round in 0..50 {
        client.put(KEY, format!("{round}").as_bytes()).unwrap();
    }
    for node in 0..4 {
        let expected = if node == list[0] { 50 } else { 0 };
        assert_eq!(puts(&cluster, node), expected, "node {node} of {list:?}");
    }
    cluster.nodes[list[0]].signal(Signal::KILL);
    cluster.nodes[list[0]].exit();
    // A read is safe to repeat; and a connection that is known to be closed was not written to.
    assert_eq!(client.get(KEY).unwrap().unwrap().value, b"49");
    for round in 50..60 {
        client.put(KEY, format!("{round}").as_bytes()).unwrap();
    }
    assert_eq!(client.get(KEY).unwrap().unwrap().value, b"59");
    assert_eq!(client.increment(b"counter", 5).unwrap(), 5);
    let listed: Vec<_> = client.scan().map(Result::unwrap).collect();
    assert_eq!(listed.len(), 2);
}

#[test]
fn what_may_have_been_applied_is_not_repeated() {
    let cluster = Cluster::start(3);
    let options = Options { read_timeout: Some(Duration::from_millis(300)), ..Options::default() };
    let mut client = ClusterClient::connect_with(cluster.nodes[0].address, options).unwrap();
    let first = holders(&cluster)[0];
    cluster.nodes[first].signal(Signal::STOP);
    // A signal takes its time; from then on it takes the request and says nothing.
    let mut done = 0;
    wait_until("somebody is told that it is not known", || match client.increment(KEY, 1) {
        Ok(sum) => {
            done = sum;
            false
        }
        Err(error) => error.may_have_applied(),
    });
    cluster.nodes[first].signal(Signal::CONT);
    client.set_level(Some(Level::Linearizable));
    let mut found = 0;
    wait_until("it serves again, with none or all of that done", || {
        let Ok(entry) = client.get(KEY) else { return false };
        found = entry.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap());
        true
    });
    assert!(found == done || found == done + 1, "{found} after {done} were done and one may have been");
}
