//! `annulus-check`: three short runs with faults of every kind, and a check of a cluster that somebody else runs.

use std::path::PathBuf;
use std::process::{Command, Output};

use annulus::local::{Nodes, Place, Plan, free_addresses};

fn check(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_annulus-check")).args(arguments).output().expect("the binary runs")
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("annulus-{name}-{}", std::process::id()))
}

#[test]
fn three_runs_with_faults_break_no_promise() {
    let results = scratch("results");
    let file = results.to_str().expect("a path of words");
    let arguments =
        ["faults", "--seconds", "15", "--program", env!("CARGO_BIN_EXE_annulus"), "--results", file];
    // The third run goes on where the first two ended.
    for runs in ["2", "3"] {
        let output = check(&[&arguments[..], &["--runs", runs]].concat());
        let told = told(&output);
        println!("{told}");
        assert!(output.status.success(), "{told}");
    }
    let lines = std::fs::read_to_string(&results).expect("there are results");
    std::fs::remove_file(&results).expect("it is there");
    assert_eq!(lines.lines().count(), 3, "{lines}");
}

#[test]
fn a_cluster_of_somebody_else_is_checked_and_left_as_it_was() {
    let addresses = free_addresses(6).expect("there are free addresses");
    let place = |pair: &[_]| Place { clients: pair[0], peers: pair[1], advertised: pair[1] };
    let plan = Plan {
        program: env!("CARGO_BIN_EXE_annulus").into(),
        places: addresses.chunks_exact(2).map(place).collect(),
        prefix: "n",
        replication_factor: 3,
        workers: 1,
        directory: None,
    };
    let mut nodes = Nodes::new(plan).expect("there is room");
    for node in 0..3 {
        nodes.start(node).expect("it starts");
    }
    nodes.wait_until_whole().expect("it opens");
    let targets: Vec<String> = (0..3).map(|node| nodes.address(node).to_string()).collect();
    let output = check(&["cluster", "--target", &targets.join(","), "--seconds", "3"]);
    let told = told(&output);
    assert!(output.status.success() && told.contains("every promise was kept"), "{told}");
    assert!(!told.contains("could not be removed"), "{told}");
    let wrong = check(&["cluster", "--target", "127.0.0.1:1", "--seconds", "1"]);
    assert_eq!(wrong.status.code(), Some(1));
}
