//! What is done without waiting: a node that stands still is known before anything is asked of it, a slow replica is
//! overtaken, and what is too much is refused.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faults::kill;
use crate::harness::{Client, Reply, request, wait_until};
use crate::nodes::Cluster;

/// An idle link is asked after half a second and given up after two more; the rest is for a busy machine.
const NOTICED_MAX: Duration = Duration::from_secs(5);

#[test]
fn a_node_that_stands_still_is_known_before_anything_is_asked_of_it() {
    let cluster = Cluster::start(3);
    let pid = cluster.nodes[2].child.id();
    kill(pid, Signal::STOP);
    let stopped = Instant::now();
    let mut client = cluster.resp(0);
    let links = |node| cluster.described(0, node).number("links");
    wait_until("its links are given up", || links(2) == 0);
    let noticed = stopped.elapsed();
    println!("noticed after {noticed:?}");
    assert!(noticed < NOTICED_MAX, "{noticed:?}");
    assert_eq!(links(1), 2, "who answers is not given up");
    let asked = Instant::now();
    let error = client.call(&["AT", "all", "SET", "key", "value"]).error();
    assert!(error.starts_with("UNAVAILABLE "), "surely not applied: {error}");
    // What waits is told after a second that the outcome is unknown.
    println!("refused after {:?}", asked.elapsed());
    kill(pid, Signal::CONT);
    wait_until("all are linked again", || cluster.links(0) == 4);
    assert_eq!(client.call(&["AT", "all", "SET", "key", "value"]), Reply::ok());
}

#[test]
fn a_read_overtakes_a_replica_that_is_slow() {
    const KEYS: usize = 60;
    let cluster = Cluster::start(3);
    let mut client = cluster.resp(0);
    let keys: Vec<String> = (0..KEYS).map(|key| format!("key:{key}")).collect();
    for key in &keys {
        assert_eq!(client.call(&["AT", "all", "SET", key, "value"]), Reply::ok());
    }
    kill(cluster.nodes[2].child.id(), Signal::STOP);
    let mut elapsed: Vec<Duration> = keys
        .iter()
        .map(|key| {
            let started = Instant::now();
            assert_eq!(client.call(&["GET", key]), Reply::bulk("value"));
            started.elapsed()
        })
        .collect();
    elapsed.sort_unstable();
    let overtaken = elapsed.iter().filter(|elapsed| **elapsed >= Duration::from_millis(9)).count();
    println!(
        "{overtaken} of {KEYS} overtook; median {:?}, longest {:?}",
        elapsed[KEYS / 2],
        elapsed[KEYS - 1]
    );
    assert!(overtaken > 0, "nothing was asked of the replica that stands still");
    // Without a second replica asked, it would be a second, and an error.
    assert!(elapsed[KEYS * 9 / 10] < Duration::from_millis(200), "{elapsed:?}");
}

#[test]
fn what_is_too_much_is_refused_as_overload() {
    /// More than a worker may have under way, which is 16 Ki.
    const CONNECTIONS: usize = 40;
    const REQUESTS: usize = 512;
    let cluster = Cluster::start_with_workers(3, 1);
    for node in [1, 2] {
        kill(cluster.nodes[node].child.id(), Signal::STOP);
    }
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| cluster.resp(0)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let set = |key: usize| request(&["SET", &format!("{number}:{key}"), "value"]);
        client.send(&(0..REQUESTS).flat_map(set).collect::<Vec<u8>>());
    }
    let (mut overloaded, mut others) = (0, 0);
    for client in &mut clients {
        for _ in 0..REQUESTS {
            match client.reply() {
                Reply::Error(error) if error.starts_with("OVERLOADED ") => overloaded += 1,
                Reply::Error(error) => {
                    assert!(error.starts_with("TIMEOUT ") || error.starts_with("UNAVAILABLE "), "{error}");
                    others += 1;
                }
                // A signal takes its time.
                done => {
                    assert_eq!(done, Reply::ok());
                    others += 1;
                }
            }
        }
    }
    println!("{overloaded} refused as overload, {others} begun");
    assert!(overloaded > 0, "{others} were begun");
    for node in [1, 2] {
        kill(cluster.nodes[node].child.id(), Signal::CONT);
    }
    cluster.serves_again(0);
}

#[test]
fn what_waited_longer_than_its_operation_is_not_done() {
    const KEYS: usize = 20;
    /// Longer than an operation may take, which is a second, and shorter than it takes for a link to be given up: what
    /// was sent is still there to be read.
    const STOPPED_FOR: Duration = Duration::from_millis(1600);
    let cluster = Cluster::start(3);
    let mut client = cluster.resp(0);
    let stopped = cluster.nodes[2].child.id();
    kill(stopped, Signal::STOP);
    let since = Instant::now();
    let keys: Vec<String> = (0..KEYS).map(|key| format!("key:{key}")).collect();
    for key in &keys {
        assert_eq!(client.call(&["SET", key, "value"]), Reply::ok(), "a majority has it");
    }
    wait_until("it was stopped for longer than they had", || since.elapsed() > STOPPED_FOR);
    kill(stopped, Signal::CONT);
    let mut there = cluster.resp(2);
    // It counts what its own replica holds; a read would ask others too.
    let noticed = Instant::now();
    wait_until("it has had the time to do it", || noticed.elapsed() > Duration::from_millis(100));
    assert_eq!(there.info("cells"), 0, "it was done late");
    for key in &keys {
        assert_eq!(there.call(&["GET", key]), Reply::bulk("value"));
    }
}
