//! Stopping under load: what was acknowledged was applied, replies are whole to the last, and the end comes in time.

use std::io::Write;
use std::time::Duration;

use annulus::client::Operations;
use annulus::config::{Config, turn};
use annulus::server::Node;
use rustix::process::Signal;

use crate::harness::{Client, Process, Reply, node, request, wait_until};

/// Sends pipelines until the node ends the connection, and returns how many replies came, all of them whole.
fn load_until_the_end(mut client: Client) -> usize {
    // Whoever was not accepted yet when the node stops gets no reply, and rightly so.
    assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
    let mut writer = client.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let chunk = [request(&["INCR", "sum"]), request(&["GET", "long"])].concat().repeat(200);
            while writer.write_all(&chunk).is_ok() {}
        });
        let (mut replies, mut last) = (0, 0);
        while let Some(reply) = client.next_reply() {
            match reply {
                Reply::Integer(sum) if replies % 2 == 0 && sum > last => last = sum,
                Reply::Bulk(long) if replies % 2 == 1 && long.len() == 3_000 => {}
                other => panic!("reply {replies}: {other:?}"),
            }
            replies += 1;
        }
        let _ = client.stream.shutdown(std::net::Shutdown::Both);
        replies
    })
}

fn assert_stops_cleanly(signal: Signal) {
    let mut process = Process::start(&[]);
    let address = process.address;
    let mut observer = Client::connect(address);
    assert_eq!(observer.call(&["SET", "long", &"v".repeat(3_000)]), Reply::ok());
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..8).map(|_| scope.spawn(move || load_until_the_end(Client::connect(address)))).collect();
        wait_until("all are connected", || observer.info("connected_clients") == 9);
        wait_until("the load is on", || observer.info("total_commands_processed") > 20_000);
        process.signal(signal);
        let (code, took) = process.exit();
        assert_eq!(code, Some(0));
        assert!(took < turn::STOP_TIMEOUT + Duration::from_secs(1), "stopping took {took:?}");
        for client in clients {
            client.join().unwrap();
        }
    });
    assert_eq!(observer.next_reply(), None, "the idle one is ended too");
}

#[test]
fn sigterm_under_load() {
    assert_stops_cleanly(Signal::TERM);
}

#[test]
fn sigint_under_load() {
    assert_stops_cleanly(Signal::INT);
}

#[test]
fn an_idle_node_stops_at_once() {
    let mut process = Process::start(&[]);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(process.address)).collect();
    for client in &mut clients {
        assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
    }
    process.signal(Signal::TERM);
    let (code, took) = process.exit();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(1), "stopping took {took:?}");
    for client in &mut clients {
        assert_eq!(client.next_reply(), None);
    }
}

/// Clients of every worker, so that one worker's end is seen not to give the next one its time again.
#[test]
fn clients_that_do_not_read_delay_the_stop_no_longer_than_promised() {
    let mut process = Process::start(&[]);
    let mut observer = Client::connect(process.address);
    assert_eq!(observer.call(&["SET", "k", &"v".repeat(1 << 20)]), Reply::ok());
    let mut deaf: Vec<_> = (0..8).map(|_| Client::narrow(process.address)).collect();
    for client in &mut deaf {
        client.send(&request(&["GET", "k"]).repeat(30));
    }
    wait_until("they are being answered", || observer.info("keyspace_hits") >= 8);
    process.signal(Signal::TERM);
    let (code, took) = process.exit();
    assert_eq!(code, Some(0));
    assert!(took < turn::STOP_TIMEOUT + Duration::from_secs(1), "stopping took {took:?}");
}

/// What a client was told is done was done before the node stopped, and by one writer in its order.
#[test]
fn every_acknowledged_write_was_applied() {
    let node = node(|_| {});
    let address = node.address();
    let mut observer = Client::connect(address);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || {
                    let mut client = annulus::client::Client::connect(address).unwrap();
                    let mut last = 0;
                    while let Ok(sum) = client.increment(b"sum", 1) {
                        assert!(sum > last, "{sum} after {last}");
                        last = sum;
                    }
                    last
                })
            })
            .collect();
        wait_until("the load is on", || observer.info("total_commands_processed") > 2_000);
        node.stop().unwrap();
        let highest: Vec<i64> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        assert!(highest.iter().all(|last| *last > 0), "{highest:?}");
    });
}

#[test]
fn a_stopped_node_leaves_its_port() {
    // An address that no other test connects from, or its sockets might take the port meanwhile.
    let first = node(|config| config.listen = "127.0.0.9:0".parse().unwrap());
    let address = first.address();
    first.stop().unwrap();
    let config = Config { listen: address, ..Config::default() };
    for _ in 0..3 {
        let mut again = None;
        // A process that another test is just starting holds copies of all descriptors for a moment.
        wait_until("the port is free", || {
            again = Node::start(&config).ok();
            again.is_some()
        });
        crate::harness::assert_serves(address);
        again.unwrap().stop().unwrap();
    }
}
