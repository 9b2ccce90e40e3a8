//! Several targets and threads: the load is spread, and a target that dies ends the run or is left out.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use crate::processes::{Floor, complaint, load, report, send, wait_until};

fn joined(floors: &[Floor]) -> String {
    floors.iter().map(|floor| floor.address.clone()).collect::<Vec<_>>().join(",")
}

/// A log that the generator writes, by which it is seen to have counted something. Removed with its owner.
struct Progress(PathBuf);

impl Progress {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("annulus-load-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    fn arguments(&self) -> [&str; 4] {
        ["--hdr-log", self.0.to_str().unwrap(), "--interval", "20ms"]
    }

    /// Waits until some intervals were counted.
    fn wait(&self) {
        wait_until("something is counted", || {
            std::fs::read_to_string(&self.0).is_ok_and(|log| log.matches("Tag=get").count() > 3)
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Loads some targets while `harm` is done to one of them, once the load is under way.
fn harmed(floors: &[Floor], arguments: &[&str], harm: impl FnOnce()) -> Output {
    let progress = Progress::new();
    std::thread::scope(|scope| {
        let targets = joined(floors);
        let arguments = [arguments, &progress.arguments()].concat();
        let loading = scope.spawn(move || load(&targets, &arguments));
        progress.wait();
        harm();
        loading.join().unwrap()
    })
}

fn operations(part: &Value) -> u64 {
    part["operations"].as_u64().unwrap()
}

#[test]
fn connections_are_spread_over_targets_and_threads() {
    let nodes: Vec<Floor> = (0..3).map(|_| Floor::node(&[])).collect();
    let arguments =
        ["--connections", "12", "--threads", "2", "--preload", "--keys", "1000", "--requests", "12000"];
    let output = load(&joined(&nodes), &[&arguments[..], &["--rate", "20000", "--probe", "100"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report(&output);
    assert_eq!(report["preload"]["stored"], 3000, "every target has every key");
    let measured = &report["measured"];
    assert_eq!((&measured["operations"], &measured["misses"]), (&12_000.into(), &0.into()));
    let targets = measured["by_target"].as_array().unwrap();
    assert_eq!(targets.len(), 3);
    for (target, node) in targets.iter().zip(&nodes) {
        assert_eq!(target["name"], *node.address);
        // Each thread begins and ends somewhere in its turns.
        assert!(operations(target).abs_diff(4000) < 10, "an open loop takes turns: {target}");
    }
    // The probe ends with the load.
    let expected = measured["duration_ms"].as_f64().unwrap() / 1e3 * 100.0;
    let probes = operations(&measured["probe"]) as f64;
    assert!((0.5 * expected..1.5 * expected).contains(&probes), "{probes} of {expected}");
}

#[test]
fn a_target_that_is_killed_ends_the_run_with_what_was_measured() {
    for loop_kind in [&[][..], &["--rate", "5000"]] {
        let floors: Vec<Floor> = (0..3).map(|_| Floor::start()).collect();
        let common = ["--duration", "60s", "--connections", "6", "--threads", "2", "--keys", "100"];
        let output = harmed(&floors, &[&common, loop_kind].concat(), || floors[2].signal(Signal::KILL));
        let address = &floors[2].address;
        assert_eq!(output.status.code(), Some(1));
        let line = complaint(&output);
        assert!(line.contains(address) && line.contains("operations into the phase"), "{line}");
        let report = report(&output);
        assert!(report["measured"]["operations"].as_u64().unwrap() > 100);
        let duration_ms = report["measured"]["duration_ms"].as_f64().unwrap();
        assert!(duration_ms < 30_000.0, "it ended when the target died: {duration_ms}");
        assert!(report["failure"].is_string());
    }
}

#[test]
fn a_run_that_keeps_going_leaves_the_dead_target_out() {
    for loop_kind in [&[][..], &["--rate", "5000"]] {
        let floors: Vec<Floor> = (0..3).map(|_| Floor::start()).collect();
        let common =
            ["--duration", "3s", "--connections", "6", "--threads", "2", "--keep-going", "--keys", "100"];
        let output = harmed(&floors, &[&common, loop_kind].concat(), || floors[1].signal(Signal::KILL));
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(complaint(&output).contains("went on without 2 connections"));
        let report = report(&output);
        let duration_ms = report["measured"]["duration_ms"].as_f64().unwrap();
        assert!(duration_ms >= 3000.0, "it went on to its end: {duration_ms}");
        assert_eq!(report["losses"][0]["target"], *floors[1].address);
        let targets = report["measured"]["by_target"].as_array().unwrap();
        assert!(
            operations(&targets[1]) > 0 && operations(&targets[1]) < operations(&targets[0]),
            "{targets:?}"
        );
        assert!(report["failure"].is_null());
    }
}

#[test]
fn a_target_that_falls_silent_is_noticed_beside_others_that_do_not() {
    let floors: Vec<Floor> = (0..2).map(|_| Floor::start()).collect();
    let common = ["--duration", "60s", "--connections", "4", "--reply-timeout", "300ms", "--keys", "100"];
    let output = harmed(&floors, &common, || floors[0].signal(Signal::STOP));
    floors[0].signal(Signal::CONT);
    let line = complaint(&output);
    assert!(line.contains(&floors[0].address) && line.contains("no reply for 300 ms"), "{line}");
    assert_eq!(output.status.code(), Some(1));
    assert!(operations(&report(&output)["measured"]) > 0);
}

#[test]
fn a_run_ends_when_its_last_target_has() {
    let floors = [Floor::start()];
    let output = harmed(&floors, &["--duration", "60s", "--keep-going", "--keys", "100"], || {
        floors[0].signal(Signal::KILL);
    });
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("every connection broke"), "{output:?}");
    assert!(operations(&report(&output)["measured"]) > 0);
}

#[test]
fn one_target_of_three_that_cannot_be_reached_is_named() {
    let floor = Floor::start();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = load(&format!("{},{free}", floor.address), &["--requests", "10"]);
    assert!(complaint(&output).contains(&format!("cannot connect to {free}")));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_interrupted_run_reports_what_it_has_and_says_so() {
    let floor = Floor::start();
    for arguments in [&["--rate", "2000"][..], &[], &["--find-max", "--p99", "1s"]] {
        let progress = Progress::new();
        let child = Command::new(env!("CARGO_BIN_EXE_annulus-load"))
            .args(["--target", &floor.address, "--json", "-", "--duration", "60s", "--keys", "100"])
            .args([arguments, &progress.arguments()].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        progress.wait();
        send(&child, Signal::INT);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert!(complaint(&output).contains("interrupted"));
        let report = report(&output);
        assert_eq!(report["interrupted"], true);
        let counted = if arguments.len() == 3 {
            operations_of_steps(&report)
        } else {
            report["measured"]["operations"].as_u64().unwrap() as f64
        };
        assert!(counted > 0.0, "{report}");
    }
}

fn operations_of_steps(report: &Value) -> f64 {
    assert_eq!(report["search"]["steps"][0]["verdict"], "unfinished");
    report["search"]["steps"][0]["operations_per_second"].as_f64().unwrap()
}

#[test]
fn threads_are_bound_to_cores_that_are_there() {
    let floor = Floor::start();
    let output = load(&floor.address, &["--pin", "0", "--threads", "2", "--requests", "100", "--keys", "10"]);
    assert!(output.status.success(), "{output:?}");
    let none = load(&floor.address, &["--pin", "1000", "--requests", "100", "--keys", "10"]);
    assert!(complaint(&none).contains("cannot bind a thread to core 1000"));
}
