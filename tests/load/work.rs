//! What is sent: mixes, YCSB's workloads, lengths of values, and the password before all of it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use crate::processes::{Floor, complaint, load, report};

/// The count of each operation of a run, and all of them.
fn counts(report: &Value) -> (Vec<(String, u64)>, u64) {
    let measured = &report["measured"];
    let parts = measured["by_operation"].as_array().unwrap();
    let part = |part: &Value| {
        assert!(part["latency_us"]["p50"].as_f64().unwrap() > 0.0, "{part}");
        (part["name"].as_str().unwrap().to_owned(), part["operations"].as_u64().unwrap())
    };
    let counts: Vec<(String, u64)> = parts.iter().map(part).collect();
    let all = measured["operations"].as_u64().unwrap();
    assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), all);
    assert_eq!((&measured["misses"], &measured["errors"]), (&0.into(), &0.into()));
    (counts, all)
}

#[test]
fn workloads_send_their_operations_in_proportion_and_find_every_key() {
    let node = Floor::node(&[]);
    for (workload, expected) in [
        ("a", &[("get", 0.5), ("set", 0.5)][..]),
        ("b", &[("get", 0.95), ("set", 0.05)]),
        ("c", &[("get", 1.0)]),
        ("d", &[("get", 0.95), ("insert", 0.05)]),
        ("f", &[("get", 0.5), ("rmw", 0.5)]),
    ] {
        for (protocol, sending) in [
            ("resp", &["-P", "16"][..]),
            ("native", &["-P", "16", "--send", "window"]),
            ("resp", &["--rate", "20000"]),
        ] {
            let arguments = ["--workload", workload, "--protocol", protocol, "--preload", "--keys", "5000"];
            let more = ["--requests", "20000", "--threads", "2", "--connections", "6"];
            let output = load(&node.address, &[&arguments[..], &more, sending].concat());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let report = report(&output);
            assert_eq!(report["load"]["value_bytes"], "1000");
            let (counts, all) = counts(&report);
            assert_eq!(all, 20_000, "a read-modify-write is one operation");
            assert_eq!(counts.len(), expected.len());
            for ((name, count), (expected_name, share)) in counts.iter().zip(expected) {
                assert_eq!(name, expected_name);
                // The standard deviation is 71 at most.
                let error = (*count as f64 - share * 20_000.0).abs();
                assert!(error < 400.0, "{workload} {protocol}: {count} of {name}");
            }
        }
    }
}

#[test]
fn a_read_modify_write_writes_what_it_read() {
    let node = Floor::node(&[]);
    let arguments =
        ["--mix", "rmw=1", "--keys", "1", "--requests", "100", "--value-bytes", "7", "--connections", "1"];
    // Nothing is there to read at first; the write comes all the same.
    let output = load(&node.address, &[&arguments[..], &["-P", "4"]].concat());
    assert!(output.status.success(), "{output:?}");
    let measured = &report(&output)["measured"];
    assert_eq!(
        (&measured["operations"], &measured["stored"], &measured["hits"]),
        (&100.into(), &100.into(), &0.into())
    );
    let read =
        load(&node.address, &["--mix", "get=1", "--keys", "1", "--requests", "10", "--connections", "1"]);
    assert_eq!(report(&read)["measured"]["hits"], 10, "it was written");
}

/// A target that takes its time for reads, and none for writes.
fn slow_reader(delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        while let Ok(read @ 1..) = socket.read(&mut request) {
            let gets = request[..read].windows(3).any(|part| part == b"GET");
            if gets {
                // The delay that is to be measured.
                std::thread::sleep(delay);
            }
            socket.write_all(if gets { b"$-1\r\n" } else { b"+OK\r\n" }).unwrap();
        }
    });
    address
}

#[test]
fn a_read_modify_write_is_timed_from_its_read() {
    for sending in [&[][..], &["--rate", "20"]] {
        let target = slow_reader(Duration::from_millis(10));
        let arguments = ["--mix", "rmw=1", "--connections", "1", "--requests", "5"];
        let output = load(&target, &[&arguments[..], sending].concat());
        assert!(output.status.success(), "{output:?}");
        let p50_us = report(&output)["measured"]["latency_us"]["p50"].as_f64().unwrap();
        assert!(p50_us >= 10_000.0, "{p50_us}");
    }
}

#[test]
fn a_free_mix_has_counters_and_removes() {
    let node = Floor::node(&[]);
    for protocol in ["resp", "native"] {
        let output = load(
            &node.address,
            &[
                "--mix",
                "get=40,set=40,del=10,incr=10",
                "--keys",
                "100",
                "--requests",
                "5000",
                "--protocol",
                protocol,
            ],
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report = report(&output);
        assert_eq!(report["load"]["mix"], "get=40,set=40,del=10,incr=10");
        let parts = report["measured"]["by_operation"].as_array().unwrap();
        let sum: u64 = parts.iter().map(|part| part["operations"].as_u64().unwrap()).sum();
        assert_eq!(sum, 5000);
        let gets = parts.iter().find(|part| part["name"] == "get").unwrap();
        assert!(gets["misses"].as_u64().unwrap() > 0, "some keys were removed");
    }
}

#[test]
fn values_have_the_lengths_that_were_asked_for() {
    let node = Floor::node(&[]);
    for lengths in ["16..1024", "64:80,1024:15,65536:5"] {
        let output = load(
            &node.address,
            &["--value-bytes", lengths, "--keys", "500", "--preload", "--requests", "3000", "-P", "4"],
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(report(&output)["measured"]["misses"], 0);
        assert_eq!(report(&output)["load"]["value_bytes"], lengths);
    }
}

#[test]
fn the_password_comes_first_and_a_wrong_one_is_one_clear_line() {
    let path = std::env::temp_dir().join(format!("annulus-load-password-{}", std::process::id()));
    let path = path.to_str().unwrap();
    std::fs::write(path, "secret\n").unwrap();
    let node = Floor::node(&["--password-file", path]);
    for protocol in ["resp", "native"] {
        let arguments = ["--requests", "1000", "--keys", "10", "--preload", "--protocol", protocol];
        let given = [&arguments[..], &["--password-file", path]].concat();
        std::fs::write(path, "secret\n").unwrap();
        let output = load(&node.address, &given);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(report(&output)["measured"]["operations"], 1000);
        std::fs::write(path, "guess").unwrap();
        let wrong = load(&node.address, &given);
        let line = complaint(&wrong);
        assert!(line.contains("refused the greeting") && line.contains("password"), "{line}");
        assert_eq!(wrong.status.code(), Some(1));
        let line = complaint(&load(&node.address, &arguments));
        assert!(line.contains("NOAUTH") || line.contains("a password is required"), "{line}");
    }
    std::fs::remove_file(path).unwrap();
}
