//! Limits that are reached and left again: connections, buffers, memory, descriptors; and who serves whom.

use std::process::{Command, Stdio};

use annulus::client::{Client as NativeClient, Error, Operations};
use annulus::config::{StoreConfig, WorkerCount};
use annulus::message::Refusal;

use crate::harness::{Client, Process, Reply, assert_serves, node, request, wait_until};

#[test]
fn the_last_connection_is_served_and_the_next_is_told_why_not() {
    let node = node(|config| config.limits.connections_max = 10);
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(node.address())).collect();
    for client in &mut clients {
        assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
    }
    for _ in 0..20 {
        let mut refused = Client::connect(node.address());
        assert_eq!(refused.reply().error(), "ERR max number of clients reached");
        assert_eq!(refused.next_reply(), None);
    }
    assert_eq!(clients[0].info("connected_clients"), 10);
    assert_eq!(clients[0].info("rejected_connections"), 20);
    clients.truncate(5);
    wait_until("there is room again", || clients[0].info("connected_clients") == 5);
    for _ in 0..5 {
        let mut client = Client::connect(node.address());
        assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
        clients.push(client);
    }
}

#[test]
fn fifty_connections_spread_evenly_over_two_workers() {
    let node = node(|_| {});
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(node.address());
        assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
        clients.push(client);
    }
    let loads = [clients[0].info("worker0_clients"), clients[0].info("worker1_clients")];
    assert_eq!(loads, [25, 25]);
    assert_eq!(clients[0].info("connected_clients"), 50);
    // Those who come all at once spread as well, but for those that two workers placed at the same moment.
    let burst: Vec<_> = (0..50).map(|_| Client::connect(node.address())).collect();
    wait_until("the burst is served", || clients[0].info("connected_clients") == 100);
    let loads = [clients[0].info("worker0_clients"), clients[0].info("worker1_clients")];
    assert!(loads[0].abs_diff(loads[1]) <= 4, "{loads:?}");
    drop(burst);
    // Handed over or not, each answers.
    for client in &mut clients {
        assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
    }
}

#[test]
fn buffers_of_all_together_are_bounded() {
    let node = node(|config| {
        config.workers = WorkerCount::new(1).unwrap();
        config.limits.buffered_bytes_max = 8 << 20;
    });
    let mut healthy = Client::connect(node.address());
    let mut half = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4000000\r\n".to_vec();
    half.extend(vec![b'v'; 1_000_000]);
    let mut clients: Vec<_> = (0..12).map(|_| Client::connect(node.address())).collect();
    for client in &mut clients {
        client.try_send(&half);
        assert_eq!(healthy.call(&["PING"]), Reply::Simple("PONG".into()));
    }
    wait_until("some were ended", || healthy.info("connected_clients") < 13);
    wait_until("all was read", || {
        let read = healthy.info("total_net_input_bytes");
        read >= 8_000_000
    });
    assert!(healthy.info("buffered_bytes") <= 8 << 20);
    assert!(healthy.info("connected_clients") >= 4, "only as many as need be are ended");
    drop(clients);
    wait_until("all are gone", || healthy.info("connected_clients") == 1);
    assert_eq!(healthy.info("buffered_bytes"), 0);
    assert_serves(node.address());
}

#[test]
fn whoever_is_ended_for_the_buffers_of_all_is_told() {
    let node = node(|config| config.limits.buffered_bytes_max = 1 << 20);
    let mut client = Client::connect(node.address());
    client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8000000\r\n");
    client.try_send(&vec![b'v'; 8_000_000]);
    let error = client.reply().error();
    assert!(error.starts_with("OVERLOADED"), "{error}");
    assert_eq!(client.next_reply(), None);
}

#[test]
fn at_the_memory_limit_writes_are_refused_and_reads_and_removes_go_on() {
    let limit = 8 << 20;
    let node = node(|config| {
        config.store = StoreConfig { memory_bytes_max: Some(limit), ..StoreConfig::default() };
    });
    let mut client = Client::connect(node.address());
    let mut native = NativeClient::connect(node.address()).unwrap();
    let value = "v".repeat(10_000);
    let mut stored = 0;
    let error = loop {
        match client.call(&["SET", &format!("key:{stored}"), &value]) {
            Reply::Error(text) => break text,
            _ => stored += 1,
        }
    };
    assert!(error.starts_with("OOM command not allowed"), "{error}");
    assert!((500..840).contains(&stored), "{stored} values of 10 kB in 8 MiB");
    assert!(client.info("used_memory") <= limit);
    for command in [&["SETNX", "new", &value][..], &["APPEND", "key:1", &value], &["MSET", "new", &value]] {
        assert!(client.call(command).error().starts_with("OOM "), "{command:?}");
    }
    for refused in [native.put(b"new", value.as_bytes()), native.put(b"key:0", &[b'v'; 20_000])] {
        assert!(matches!(refused, Err(Error::Refused { reason: Refusal::OutOfMemory, .. })), "{refused:?}");
    }
    assert!(matches!(native.append(b"key:0", value.as_bytes()), Err(Error::Refused { .. })));
    // What was there is there, unharmed, and can be read, shortened and removed.
    assert_eq!(client.call(&["STRLEN", "key:1"]), Reply::Integer(10_000));
    assert_eq!(native.get(b"key:0").unwrap().unwrap().value, value.as_bytes());
    assert_eq!(client.call(&["SET", "key:0", "short"]), Reply::ok());
    assert_eq!(client.call(&["DEL", "key:1", "key:2"]), Reply::Integer(2));
    assert_eq!(client.call(&["SET", "new", &value]), Reply::ok());
    assert!(native.remove(b"key:3").unwrap());
    native.put(b"new:2", value.as_bytes()).unwrap();
    assert_eq!(client.call(&["FLUSHALL"]), Reply::ok());
    assert_eq!(client.call(&["SET", "new", &value]), Reply::ok());
}

/// At the limit of open files connections wait; the log is not flooded, and they are served when others leave.
#[test]
fn out_of_descriptors_is_survived() {
    let folder = std::env::temp_dir().join(format!("annulus-descriptors-{}", std::process::id()));
    let log = std::fs::File::create(&folder).unwrap();
    let mut command = Command::new("sh");
    let start = "ulimit -n 60; exec \"$0\" node --listen 127.0.0.1:0 --workers 2";
    command.args(["-c", start, env!("CARGO_BIN_EXE_annulus")]).stderr(Stdio::from(log));
    let process = Process::spawn(&mut command);
    let mut first = Client::connect(process.address);
    assert_eq!(first.call(&["PING"]), Reply::Simple("PONG".into()));
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(process.address)).collect();
    let started = std::time::Instant::now();
    while started.elapsed().as_millis() < 300 {
        assert_eq!(first.call(&["PING"]), Reply::Simple("PONG".into()));
    }
    // One for each that came, and a few for each time that house was kept.
    let refused = std::fs::read_to_string(&folder).unwrap().matches("cannot accept").count();
    assert!((1..200).contains(&refused), "{refused} complaints in 300 ms");
    // Half of them leave; the others get their turn.
    let mut waiting = clients.split_off(50);
    drop(clients);
    waiting.truncate(20);
    for client in &mut waiting {
        client.send(&request(&["PING"]));
        assert_eq!(client.reply(), Reply::Simple("PONG".into()));
    }
    std::fs::remove_file(&folder).unwrap();
}
