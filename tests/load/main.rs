//! The floor and the load generator as processes: what they print, what they count, how they fail.
//!
//! Each test starts its own floor on a port of the kernel's choice and ends it by its id.

// The functions that tests share are tests too, which the lint cannot know.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod failures;
mod open_loop;
mod processes;
mod results;
mod search;
mod targets;
mod work;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use processes::{Floor, load, report};

#[test]
fn a_counted_run_counts_exactly() {
    let floor = Floor::start();
    let pid = floor.child.id().to_string();
    let output = load(
        &floor.address,
        &[
            "--requests",
            "10007",
            "-P",
            "16",
            "--connections",
            "7",
            "--preload",
            "--keys",
            "1003",
            "--server-pid",
            &pid,
            "--warm-up",
            "50ms",
        ],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report(&output);
    assert_eq!(report["preload"]["operations"], 1003);
    assert_eq!(report["preload"]["stored"], 1003);
    let measured = &report["measured"];
    assert_eq!(measured["operations"], 10007);
    assert_eq!(measured["errors"], 0);
    assert_eq!(measured["misses"], 0);
    let (hits, stored) = (measured["hits"].as_u64().unwrap(), measured["stored"].as_u64().unwrap());
    assert_eq!(hits + stored, 10007);
    // 9 of 10 are reads: 9006, with a standard deviation of 30.
    assert!((8850..9160).contains(&hits), "{hits}");
    let latency = &measured["latency_us"];
    assert!(latency["p50"].as_f64().unwrap() > 0.0);
    assert!(latency["p50"].as_f64() <= latency["p99_9"].as_f64());
    assert!(latency["p99_9"].as_f64() <= latency["max"].as_f64());
    assert!(measured["server_cpu_us_per_operation"].as_f64().unwrap() > 0.0);
    assert!(measured["generator_cpu_us_per_operation"].as_f64().unwrap() > 0.0);
    assert!(report["failure"].is_null());
}

#[test]
fn a_window_counts_exactly_and_comes_in_parts() {
    let floor = Floor::start();
    let arguments = ["--requests", "10007", "-P", "64", "--connections", "3", "--send", "window"];
    let output = load(&floor.address, &[&arguments[..], &["--preload", "--keys", "1003"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report(&output);
    assert_eq!(report["load"]["send"], "window");
    assert_eq!(report["preload"]["stored"], 1003);
    let measured = &report["measured"];
    assert_eq!(measured["operations"], 10007);
    // Statuses of sets are shorter than values, so that a quarter of the pipeline's bytes may hold a few more replies.
    let replies_per_read = measured["replies_per_read"].as_f64().unwrap();
    assert!((1.0..32.0).contains(&replies_per_read), "{replies_per_read}");
}

#[test]
fn the_native_protocol_finds_what_it_stored() {
    let node = Floor::node(&[]);
    for send in ["batch", "window"] {
        let arguments = ["--protocol", "native", "--preload", "--keys", "1003", "--requests", "10007"];
        let output = load(&node.address, &[&arguments[..], &["-P", "16", "--send", send]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report = report(&output);
        assert_eq!(report["preload"]["stored"], 1003);
        let measured = &report["measured"];
        assert_eq!(measured["operations"], 10007);
        assert_eq!((&measured["misses"], &measured["errors"]), (&0.into(), &0.into()));
    }
}

#[test]
fn a_timed_run_takes_its_time_behind_its_warm_up() {
    let floor = Floor::start();
    let output =
        load(&floor.address, &["--duration", "200ms", "--warm-up", "50ms", "--distribution", "zipfian"]);
    assert!(output.status.success());
    let report = report(&output);
    let duration_ms = report["measured"]["duration_ms"].as_f64().unwrap();
    assert!(duration_ms >= 200.0, "{duration_ms}");
    assert!(report["measured"]["operations"].as_u64().unwrap() > 0);
    assert!(report["preload"].is_null());
}

#[test]
fn a_comparison_measures_every_cell_of_every_round() {
    let output = Command::new(env!("CARGO_BIN_EXE_annulus-compare"))
        .args(["--servers", "echo", "--skip-memory", "--rounds", "2", "--pipelines", "1,16", "--json", "-"])
        .args(["--cell-ms", "250", "--warm-up-ms", "10", "--keys", "1000", "--connections", "5"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = report(&output);
    let cells = results["cells"].as_array().unwrap();
    let places: Vec<_> = cells
        .iter()
        .map(|cell| (cell["round"].as_u64().unwrap(), cell["pipeline"].as_u64().unwrap()))
        .collect();
    assert_eq!(places, [(0, 1), (0, 16), (1, 1), (1, 16)]);
    assert!(cells.iter().all(|cell| cell["phase"]["operations"].as_u64().unwrap() > 0));
    // Without redis-server there is nothing to be a share of.
    assert!(results["rows"][0]["figures"][0]["share_of_redis_excess"].is_null());
    assert!(results["failure"].is_null());
}

#[test]
fn a_check_without_annulus_is_not_passed() {
    let output = Command::new(env!("CARGO_BIN_EXE_annulus-compare"))
        .args(["--servers", "echo", "--skip-memory", "--rounds", "1", "--pipelines", "1", "--check"])
        .args(["--cell-ms", "20", "--warm-up-ms", "0", "--keys", "1000", "--connections", "2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn the_floor_answers_a_client_that_closes_its_half_and_closes_on_nonsense() {
    let floor = Floor::start();
    let mut socket = TcpStream::connect(&floor.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n").unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut replies = Vec::new();
    socket.read_to_end(&mut replies).unwrap();
    let expected = [&b"$64\r\n"[..], &[b'x'; 64], b"\r\n+OK\r\n"].concat();
    assert_eq!(replies, expected);

    let mut socket = TcpStream::connect(&floor.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut nothing = Vec::new();
    // Bytes that were never read may turn the close into a reset.
    let _ = socket.read_to_end(&mut nothing);
    assert!(nothing.is_empty());
}

#[test]
fn a_pipeline_beyond_every_buffer_is_answered_in_full() {
    const REQUESTS: usize = 50_000;
    let floor = Floor::start();
    let mut socket = TcpStream::connect(&floor.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut writer = socket.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        writer.write_all(&b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".repeat(REQUESTS)).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    // The replies are left unread until the requests stop fitting: the floor must then stop reading, and go on.
    std::thread::yield_now();
    let mut replies = Vec::new();
    socket.read_to_end(&mut replies).unwrap();
    sender.join().unwrap();
    assert_eq!(replies.len(), REQUESTS * 71);
}
