//! What goes wrong: one clear line, partial results, and an exit code that says so.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::processes::{Floor, complaint, load, report};

#[test]
fn a_target_that_is_not_there_is_one_clear_line() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = load(&free, &["--requests", "1"]);
    assert!(complaint(&output).contains(&format!("cannot connect to {free}")));
    assert!(report(&output)["measured"].is_null());
}

/// A target that answers `whole` replies and then closes, or says nothing more if `silent`.
fn failing_target(whole: usize, silent: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 1 << 16];
        for _ in 0..whole {
            if socket.read(&mut request).unwrap() > 0 {
                socket.write_all(b"$-1\r\n").unwrap();
            }
        }
        if silent {
            // Until the other side gives up.
            while socket.read(&mut request).is_ok_and(|read| read > 0) {}
        }
    });
    address
}

#[test]
fn a_target_that_dies_half_way_leaves_partial_results() {
    let target = failing_target(3, false);
    let output = load(&target, &["--connections", "1", "--requests", "10", "--read-ratio", "1"]);
    let line = complaint(&output);
    assert!(line.contains(&target) && line.contains("3 operations into the phase"), "{line}");
    let report = report(&output);
    assert_eq!(report["measured"]["operations"], 3);
    assert_eq!(report["measured"]["misses"], 3);
    assert!(report["failure"].is_string());
}

#[test]
fn a_target_that_falls_silent_is_given_up() {
    let target = failing_target(2, true);
    let arguments =
        ["--connections", "1", "--requests", "10", "--read-ratio", "1", "--reply-timeout", "100ms"];
    let output = load(&target, &arguments);
    assert!(complaint(&output).contains("no reply for 100 ms"));
    assert_eq!(report(&output)["measured"]["operations"], 2);
}

#[test]
fn error_replies_are_counted_and_fail_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 1 << 16];
        while socket.read(&mut request).is_ok_and(|read| read > 0) {
            if socket.write_all(b"-OOM no room\r\n").is_err() {
                break;
            }
        }
    });
    let output = load(&target, &["--connections", "1", "--requests", "5"]);
    assert!(complaint(&output).contains("5 error replies, the first: -OOM no room"));
    assert_eq!(report(&output)["measured"]["errors"], 5);
}

#[test]
fn a_target_of_another_protocol_is_one_clear_line() {
    let floor = Floor::start();
    let silent = load(&floor.address, &["--protocol", "native", "--requests", "10"]);
    assert!(complaint(&silent).contains("did not answer the greeting"), "{silent:?}");
    let node = Floor::node(&[]);
    let line =
        complaint(&load(&node.address, &["--protocol", "memcached", "--requests", "10", "--keys", "10"]));
    assert!(line.contains(&node.address), "{line}");
}
