//! What depends on what a key holds: agreed on by its replicas, from any node, by any protocol.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annulus::client::Operations;
use annulus::types::Level;
use rustix::process::Signal;

use crate::faults::kill;
use crate::harness::{Client, Reply, request};
use crate::nodes::Cluster;

#[test]
fn every_command_about_one_key_is_done_through_every_node() {
    let cluster = Cluster::start(3);
    let mut clients: Vec<_> = (0..3).map(|node| cluster.resp(node)).collect();
    for round in 1..=30 {
        let client = &mut clients[round as usize % 3];
        assert_eq!(client.call(&["INCR", "counter"]), Reply::Integer(round));
    }
    let [one, other, third] = &mut clients[..] else { unreachable!() };
    assert_eq!(one.call(&["SET", "lock", "me", "NX"]), Reply::ok());
    assert_eq!(other.call(&["SET", "lock", "you", "NX"]), Reply::Null);
    assert_eq!(third.call(&["GETDEL", "lock"]), Reply::bulk("me"));
    assert_eq!(one.call(&["EXISTS", "lock"]), Reply::Integer(0));
    assert_eq!(other.call(&["APPEND", "text", "ab"]), Reply::Integer(2));
    assert_eq!(third.call(&["APPEND", "text", "cd"]), Reply::Integer(4));
    assert_eq!(one.call(&["SETRANGE", "text", "1", "XY"]), Reply::Integer(4));
    assert_eq!(other.call(&["GETRANGE", "text", "0", "-1"]), Reply::bulk("aXYd"));
    assert_eq!(third.call(&["EXPIRE", "text", "100"]), Reply::Integer(1));
    assert_eq!(one.call(&["TTL", "text"]), Reply::Integer(100));
    assert_eq!(other.call(&["SETBIT", "bits", "7", "1"]), Reply::Integer(0));
    assert_eq!(third.call(&["BITCOUNT", "bits"]), Reply::Integer(1));
    assert_eq!(one.call(&["DEL", "bits", "text", "nothing"]), Reply::Integer(2));
    let error = other.call(&["INCR", "counter", "by", "much"]).error();
    assert!(error.contains("wrong number of arguments"), "{error}");
    assert_eq!(third.call(&["SET", "word", "x"]), Reply::ok());
    assert!(one.call(&["INCR", "word"]).error().contains("not an integer"));
    let error = other.call(&["RENAME", "word", "other"]).error();
    assert!(error.starts_with("UNAVAILABLE ") && error.contains("several keys"), "{error}");
    assert_eq!(third.call(&["CONSISTENCY", "linearizable"]), Reply::ok());
    assert_eq!(third.call(&["SET", "word", "y"]), Reply::ok());
    assert_eq!(third.call(&["GET", "word"]), Reply::bulk("y"));
    assert_eq!(third.call(&["MSET", "a", "1", "b", "2"]), Reply::ok());
    assert_eq!(third.call(&["AT", "quorum", "DEL", "a", "b"]), Reply::Integer(2));
}

#[test]
fn increments_of_many_connections_are_counted_once_each() {
    const CONNECTIONS: usize = 30;
    const EACH: i64 = 100;
    const KEYS: usize = 5;
    let cluster = Cluster::start(3);
    let started = Instant::now();
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let mut client = cluster.resp(connection % 3);
            scope.spawn(move || {
                for round in 0..EACH {
                    let key = format!("counter:{}", (connection + round as usize) % KEYS);
                    let reply = client.call(&["INCR", &key]);
                    assert!(matches!(reply, Reply::Integer(_)), "{reply:?}");
                }
            });
        }
    });
    println!("{} increments in {:?}", CONNECTIONS as i64 * EACH, started.elapsed());
    let mut client = cluster.native(1, Level::Linearizable);
    let mut number = |key: usize| {
        let value = client.get(format!("counter:{key}").as_bytes()).unwrap().expect("it is there").value;
        String::from_utf8(value).unwrap().parse::<i64>().unwrap()
    };
    assert_eq!((0..KEYS).map(&mut number).sum::<i64>(), CONNECTIONS as i64 * EACH);
}

/// How long clients count before and after a node is killed.
const PHASE: Duration = Duration::from_millis(700);

/// What a client was told of its increments.
#[derive(Clone, Copy, Default)]
struct Told {
    done: i64,
    unknown: i64,
    refused: i64,
}

#[test]
fn increments_are_accounted_for_while_nodes_are_killed() {
    const CONNECTIONS: usize = 50;
    const KEYS: usize = 5;
    let mut cluster = Cluster::start(3);
    let stop = AtomicBool::new(false);
    let (cluster_then, stop_then) = (&mut cluster, &stop);
    let told = thread::scope(|scope| {
        let crowd: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                // Two of three are clients of the nodes that stay.
                let mut client = cluster_then.resp(connection % 3);
                let refuge = cluster_then.nodes[connection % 2].address;
                scope.spawn(move || {
                    let mut told = [Told::default(); KEYS];
                    let mut round = connection;
                    while !stop_then.load(Ordering::Relaxed) {
                        round += 1;
                        let (key, told) = (format!("counter:{}", round % KEYS), &mut told[round % KEYS]);
                        match client
                            .try_send(&request(&["INCR", &key]))
                            .then(|| client.next_reply())
                            .flatten()
                        {
                            Some(Reply::Integer(_)) => told.done += 1,
                            Some(Reply::Error(error)) if error.starts_with("UNAVAILABLE ") => {
                                told.refused += 1;
                            }
                            Some(Reply::Error(error)) if error.starts_with("TIMEOUT ") => told.unknown += 1,
                            Some(other) => panic!("{other:?}"),
                            None => {
                                // Its node is gone: whether this was done, nobody tells.
                                told.unknown += 1;
                                client = Client::connect(refuge);
                            }
                        }
                    }
                    told
                })
            })
            .collect();
        // The load goes on meanwhile: this is how long it is counted.
        thread::sleep(PHASE);
        kill(cluster_then.nodes[2].child.id(), Signal::KILL);
        // And this is how long it is counted without the node.
        thread::sleep(PHASE);
        stop.store(true, Ordering::Relaxed);
        crowd.into_iter().map(|client| client.join().expect("it counts")).collect::<Vec<_>>()
    });
    let mut client = cluster.native(0, Level::Linearizable);
    for key in 0..KEYS {
        let sum = |of: fn(&Told) -> i64| told.iter().map(|told| of(&told[key])).sum::<i64>();
        let (done, unknown, refused) =
            (sum(|told| told.done), sum(|told| told.unknown), sum(|told| told.refused));
        let value = client.get(format!("counter:{key}").as_bytes()).unwrap().expect("it is there").value;
        let value: i64 = String::from_utf8(value).unwrap().parse().unwrap();
        println!("counter {key}: {value}, {done} done, {unknown} unknown, {refused} refused");
        assert!((done..=done + unknown).contains(&value), "{value} of {done} and {unknown}");
        assert!(done > 100, "{done}");
    }
}

#[test]
fn a_change_that_finds_a_plain_write_is_no_doubt() {
    let cluster = Cluster::start(3);
    let mut client = cluster.resp(0);
    let mut unknown = 0;
    for round in 0..300 {
        let key = format!("key:{}", round % 5);
        assert_eq!(client.call(&["SET", &key, "7"]), Reply::ok());
        match client.call(&["INCR", &key]) {
            Reply::Integer(8) => {}
            // Where a replica takes its time there is doubt, as there must be.
            Reply::Error(error) if error.starts_with("TIMEOUT ") => unknown += 1,
            other => panic!("{other:?}"),
        }
    }
    println!("{unknown} of 300 unknown");
    assert!(unknown < 15, "{unknown} of 300");
}
