//! Versions and races: every write is newer than what it replaced, and of a race there is one winner.

use std::sync::Barrier;
use std::thread;

use annulus::client::{Client, Conditional, Operations};
use annulus::types::Version;

use crate::harness::{Client as RespClient, Reply, node};

#[test]
fn versions_rise_whoever_writes() {
    let node = node(|_| {});
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(node.address()).unwrap()).collect();
    let mut resp = RespClient::connect(node.address());
    let mut last = Version::default();
    for round in 0..2_000 {
        let client = &mut clients[round % 4];
        let version = match round % 5 {
            0 | 1 => client.put(b"k", round.to_string().as_bytes()).unwrap(),
            2 => {
                assert_eq!(resp.call(&["SET", "k", "7"]), Reply::ok());
                client.get(b"k").unwrap().unwrap().version
            }
            3 => {
                client.increment(b"k", 1).unwrap();
                client.get(b"k").unwrap().unwrap().version
            }
            _ => match client.compare_and_set(b"k", last, b"0").unwrap() {
                Conditional::Written(version) => version,
                Conditional::NotWritten { current } => panic!("{last:?} was the last, not {current:?}"),
            },
        };
        assert!(version > last, "round {round}: {version:?} after {last:?}");
        last = version;
    }
}

#[test]
fn a_stale_version_is_refused_with_the_current_one() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address()).unwrap();
    let old = client.put(b"k", b"1").unwrap();
    let current = client.put(b"k", b"2").unwrap();
    let refused = client.compare_and_set(b"k", old, b"3").unwrap();
    assert_eq!(refused, Conditional::NotWritten { current: Some(current) });
    assert_eq!(client.get(b"k").unwrap().unwrap().value, b"2");
    assert!(client.remove(b"k").unwrap());
    let refused = client.compare_and_set(b"k", current, b"3").unwrap();
    assert_eq!(refused, Conditional::NotWritten { current: None });
}

#[test]
fn a_race_to_create_has_one_winner() {
    let node = node(|_| {});
    let (address, barrier) = (node.address(), Barrier::new(16));
    let winners: usize = thread::scope(|scope| {
        let racers = (0..16_u8).map(|racer| {
            let barrier = &barrier;
            scope.spawn(move || {
                let mut client = Client::connect(address).unwrap();
                let mut won = 0;
                for round in 0..100_u8 {
                    barrier.wait();
                    let outcome = client.put_if_absent(&[round], &[racer]).unwrap();
                    if matches!(outcome, Conditional::Written(_)) {
                        assert_eq!(client.get(&[round]).unwrap().unwrap().value, [racer]);
                        won += 1;
                    }
                }
                won
            })
        });
        let racers: Vec<_> = racers.collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    assert_eq!(winners, 100);
}

#[test]
fn increments_add_up() {
    let node = node(|_| {});
    let address = node.address();
    thread::scope(|scope| {
        for racer in 0..8_usize {
            scope.spawn(move || {
                let mut client = Client::connect(address).unwrap();
                for round in 0..50 {
                    let mut pipeline = client.pipeline();
                    for step in 0..100 {
                        let key = [(racer + round + step) as u8 % 3];
                        let request = annulus::message::Request::Increment { key: &key, delta: 1 };
                        pipeline.push(request).unwrap();
                    }
                    assert!(pipeline.run().unwrap().interruption().is_none());
                }
            });
        }
    });
    let mut client = Client::connect(address).unwrap();
    let sum: i64 = (0..3_u8).map(|key| client.increment(&[key], 0).unwrap()).sum();
    assert_eq!(sum, 8 * 50 * 100);
}

#[test]
fn compare_and_set_loses_no_update() {
    let node = node(|_| {});
    let address = node.address();
    Client::connect(address).unwrap().put(b"sum", b"0").unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                let mut client = Client::connect(address).unwrap();
                for _ in 0..200 {
                    loop {
                        let entry = client.get(b"sum").unwrap().unwrap();
                        let sum: u64 = String::from_utf8(entry.value).unwrap().parse().unwrap();
                        let next = (sum + 1).to_string();
                        let outcome = client.compare_and_set(b"sum", entry.version, next.as_bytes()).unwrap();
                        if matches!(outcome, Conditional::Written(_)) {
                            break;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(Client::connect(address).unwrap().get(b"sum").unwrap().unwrap().value, b"800");
}
