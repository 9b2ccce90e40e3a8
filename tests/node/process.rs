//! The binary as a process that cannot start: it says why on standard error, and exits with the right code.

use std::process::{Command, Output};

use crate::harness::{Process, assert_serves};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_annulus")).arg("node").args(arguments).output().unwrap()
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, words: &[&str]) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    assert!(output.stdout.is_empty(), "it listens on nothing");
    for word in words {
        assert!(complaint.contains(word), "no {word:?} in: {complaint}");
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let process = Process::start(&[]);
    let address = process.address.to_string();
    for workers in ["1", "2"] {
        let output = run(&["--listen", &address, "--workers", workers]);
        assert_fails(&output, 1, &[&address, "in use", "--listen"]);
    }
    assert_serves(process.address);
    // A listener that is no node is in the way as well.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert_fails(&run(&["--listen", &address]), 1, &[&address]);
}

#[test]
fn wrong_options_are_told_apart_from_failures() {
    let cases: [(&[&str], &str); 9] = [
        (&["--no-such-option"], "--no-such-option"),
        (&["--listen", "nonsense"], "--listen"),
        (&["--listen", "0.0.0.0:0"], "--insecure"),
        (&["--workers", "0"], "from 1 to 1024"),
        (&["--workers", "many"], "from 1 to 1024"),
        (&["--shards", "3"], "power of two"),
        (&["--memory-max", "much"], "512MiB"),
        (&["--value-max", "0"], "a size up to"),
        (&["--connections-max", "x"], "--connections-max"),
    ];
    for (arguments, word) in cases {
        assert_fails(&run(arguments), 2, &[word]);
    }
}

#[test]
fn an_address_of_another_machine_cannot_be_listened_on() {
    let output = run(&["--listen", "192.0.2.1:7400", "--insecure"]);
    assert_fails(&output, 1, &["192.0.2.1:7400", "cannot listen"]);
}
