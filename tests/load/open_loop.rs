//! The open loop: it keeps its schedule whatever becomes of the target, and says so when it cannot.

use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;

use crate::processes::{Floor, load, report};

/// Stops a process for so long that every request meanwhile waits, while `run` loads it.
fn with_a_stall(floor: &Floor, stall: Duration, run: impl FnOnce() -> Output) -> Output {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The stall lies well within the measured second; its length is what is measured.
            std::thread::sleep(Duration::from_millis(700));
            floor.signal(Signal::STOP);
            // The stall itself.
            std::thread::sleep(stall);
            floor.signal(Signal::CONT);
        });
        run()
    })
}

/// One request in ten meets a stall of 100 ms within a second, and waits up to as long. A closed loop of few
/// connections has one request of each wait, and leaves out all the others.
#[test]
fn an_open_loop_shows_a_stall_that_a_closed_loop_hides() {
    let stall = Duration::from_millis(100);
    let common = ["--connections", "4", "--keys", "1000", "--warm-up", "300ms", "--duration", "1s"];
    let p99_us = |arguments: &[&str]| {
        let floor = Floor::start();
        let arguments = [&common, arguments].concat();
        let output = with_a_stall(&floor, stall, || load(&floor.address, &arguments));
        let report = report(&output);
        let latency = &report["measured"]["latency_us"];
        (latency["p99"].as_f64().unwrap(), latency["max"].as_f64().unwrap(), report)
    };
    let (open_p99, open_max, report) = p99_us(&["--rate", "5000"]);
    let (closed_p99, closed_max, _) = p99_us(&[]);
    println!("p99 and max in us: open {open_p99} {open_max}, closed {closed_p99} {closed_max}");
    assert!(open_max > 95_000.0 && closed_max > 95_000.0, "both met it");
    assert!(open_p99 > 50_000.0, "one in ten was due while nobody answered");
    assert!(closed_p99 < 20_000.0, "and the closed loop knows of four");
    let slices = report["measured"]["series"].as_array().unwrap();
    assert!(slices.len() >= 8, "{} slices", slices.len());
}

#[test]
fn an_open_loop_keeps_its_rate_or_says_that_it_does_not() {
    let floor = Floor::start();
    for arrivals in ["fixed", "poisson"] {
        let output = load(
            &floor.address,
            &["--rate", "3000", "--arrivals", arrivals, "--duration", "1s", "--keys", "1000", "--seed", "5"],
        );
        assert!(output.status.success(), "{output:?}");
        let measured = &report(&output)["measured"];
        let due = measured["open_loop"]["due"].as_u64().unwrap();
        // Poisson arrivals of a second vary by their root.
        let tolerance = if arrivals == "fixed" { 30 } else { 250 };
        assert!(due.abs_diff(3000) <= tolerance, "{arrivals}: {due}");
        assert!(measured["operations"].as_u64().unwrap().abs_diff(due) < 30);
    }
    // Nobody does a hundred million a second over one connection.
    let output =
        load(&floor.address, &["--rate", "1e8", "--connections", "1", "--duration", "300ms", "--keys", "10"]);
    let behind = &report(&output)["measured"]["open_loop"];
    let (due, late) = (behind["due"].as_u64().unwrap(), behind["sent_late"].as_u64().unwrap());
    assert!(late > due / 2, "what could not be sent in time is counted: {late} of {due}");
    assert!(due > 29_000_000, "what could not be sent at all was due too: {due}");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_counted_open_loop_sends_so_many_and_no_more() {
    let floor = Floor::start();
    let output = load(&floor.address, &["--rate", "20000", "--requests", "1234", "--keys", "100"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(report(&output)["measured"]["operations"], 1234);
}
