//! What is about all keys of the cluster, through any node, while nodes come and go.

use std::collections::BTreeSet;

use annulus::client::{Client as NativeClient, Operations};
use rustix::process::Signal;

use crate::harness::{Client, Reply, wait_until};
use crate::nodes::Cluster;

const KEYS: usize = 3_000;

fn fill(client: &mut Client) -> BTreeSet<String> {
    let names: BTreeSet<String> = (0..KEYS).map(|key| format!("walked:{key}")).collect();
    for name in &names {
        assert_eq!(client.call(&["SET", name, "v"]), Reply::ok());
    }
    names
}

/// A page of SCAN: where to go on, and the keys.
fn page(client: &mut Client, cursor: &str) -> (String, Vec<String>) {
    let reply = client.call(&["SCAN", cursor, "COUNT", "100"]);
    let Reply::List(parts) = &reply else { panic!("{reply:?}") };
    let [Reply::Bulk(next), Reply::List(keys)] = parts.as_slice() else { panic!("{reply:?}") };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let keys = keys.iter().map(|key| match key {
        Reply::Bulk(key) => text(key),
        other => panic!("{other:?}"),
    });
    (text(next), keys.collect())
}

#[test]
fn keys_that_stay_are_all_seen_though_a_node_dies_on_the_way() {
    let mut cluster = Cluster::start(3);
    let names = fill(&mut cluster.resp(0));
    assert_eq!(cluster.resp(2).call(&["DBSIZE"]), Reply::Integer(KEYS as i64));
    let mut client = cluster.resp(0);
    let (mut cursor, mut seen, mut pages) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let (next, keys) = page(&mut client, &cursor);
        seen.extend(keys);
        pages += 1;
        if pages == 5 {
            cluster.nodes[1].signal(Signal::KILL);
            cluster.nodes[1].exit();
        }
        if pages == 10 {
            // Any node goes on from any other's cursor.
            client = cluster.resp(2);
        }
        if next == "0" {
            break;
        }
        cursor = next;
    }
    assert_eq!(seen, names);
    assert!(pages > 15, "{pages} pages of about a hundred");
    let mut native = NativeClient::connect(cluster.nodes[0].address).unwrap();
    let listed: BTreeSet<Vec<u8>> = native.scan().map(Result::unwrap).collect();
    assert_eq!(listed.len(), KEYS, "over the native protocol too");
    let keys = cluster.resp(0).call(&["KEYS", "walked:12*"]);
    assert!(matches!(&keys, Reply::List(keys) if keys.len() == 111), "{keys:?}");
    let random = cluster.resp(2).call(&["RANDOMKEY"]);
    assert!(matches!(&random, Reply::Bulk(key) if key.starts_with(b"walked:")), "{random:?}");
    assert_eq!(cluster.resp(2).call(&["DBSIZE"]), Reply::Integer(KEYS as i64));
}

#[test]
fn what_is_flushed_is_gone_everywhere_and_what_was_removed_is_not_listed() {
    let cluster = Cluster::start(3);
    let names = fill(&mut cluster.resp(1));
    let removed: Vec<&str> = names.iter().take(500).map(String::as_str).collect();
    let mut client = cluster.resp(0);
    assert_eq!(client.call(&[&["DEL"], removed.as_slice()].concat()), Reply::Integer(500));
    assert_eq!(client.call(&["SET", "soon", "gone", "PX", "1"]), Reply::ok());
    wait_until("it has expired", || client.call(&["EXISTS", "soon"]) == Reply::Integer(0));
    wait_until("removals have reached all", || {
        cluster.resp(2).call(&["DBSIZE"]) == Reply::Integer(KEYS as i64 - 500)
    });
    let keys = cluster.resp(1).call(&["KEYS", "*"]);
    assert!(matches!(&keys, Reply::List(keys) if keys.len() == KEYS - 500));
    assert_eq!(client.call(&["FLUSHALL", "ASYNC"]), Reply::ok());
    for node in 0..3 {
        let mut client = cluster.resp(node);
        assert_eq!(client.call(&["KEYS", "*"]), Reply::List(vec![]));
        assert_eq!(client.call(&["GET", "walked:1"]), Reply::Null);
        assert_eq!(client.call(&["RANDOMKEY"]), Reply::Null);
    }
    // Through the same connections everything else goes on.
    assert_eq!(client.call(&["SET", "walked:1", "again"]), Reply::ok());
    assert_eq!(client.call(&["DBSIZE"]), Reply::Integer(1));
}

#[test]
fn without_a_majority_walks_are_refused() {
    let cluster = Cluster::start(3);
    for node in [1, 2] {
        cluster.nodes[node].signal(Signal::STOP);
    }
    let mut client = cluster.resp(0);
    for command in [&["SCAN", "0"][..], &["DBSIZE"], &["KEYS", "*"], &["FLUSHALL"], &["RANDOMKEY"]] {
        let error = client.call(command).error();
        assert!(error.starts_with("UNAVAILABLE "), "{command:?}: {error}");
    }
    for node in [1, 2] {
        cluster.nodes[node].signal(Signal::CONT);
    }
    wait_until("it serves again", || client.call(&["DBSIZE"]) == Reply::Integer(0));
}

#[test]
fn every_command_with_any_number_of_words_is_answered() {
    let cluster = Cluster::start(3);
    let mut client = cluster.resp(0);
    let Reply::List(commands) = client.call(&["COMMAND", "LIST"]) else { panic!("a list") };
    let mut asked = 0;
    for command in &commands {
        let Reply::Bulk(name) = command else { panic!("{command:?}") };
        let name = std::str::from_utf8(name).unwrap();
        if ["quit", "shutdown", "client", "auth", "hello", "reset"].contains(&name) {
            continue;
        }
        for words in 0..6 {
            for word in ["1", "*", "k", ""] {
                let request = [vec![name], vec![word; words]].concat();
                client.call(&request);
                client.call(&[&["AT", "quorum"], request.as_slice()].concat());
                asked += 2;
            }
        }
    }
    assert!(asked > 1_000, "{asked}");
    assert_eq!(cluster.resp(0).call(&["PING"]), Reply::Simple("PONG".into()));
}
