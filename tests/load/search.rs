//! The search for the highest rate, against a real process.

use crate::processes::{Floor, load, report};

#[test]
fn a_search_finds_a_rate_between_what_was_met_and_what_was_missed() {
    let floor = Floor::start();
    let path = std::env::temp_dir().join(format!("annulus-load-search-{}", std::process::id()));
    // A floor on a busy machine answers half of its requests within 5 ms up to some rate, and not beyond.
    let output = load(
        &floor.address,
        &[
            "--find-max",
            "--p50",
            "5ms",
            "--duration",
            "150ms",
            "--warm-up",
            "30ms",
            "--precision",
            "0.5",
            "--start-rate",
            "2000",
            "--connections",
            "4",
            "--keys",
            "100",
            "--html",
            path.to_str().unwrap(),
        ],
    );
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    let search = &report["search"];
    let found = search["found_per_second"].as_f64().unwrap();
    let rates = |verdict: &'static str| {
        let steps = search["steps"].as_array().unwrap().iter().filter(move |step| step["verdict"] == verdict);
        steps.map(|step| step["rate_per_second"].as_f64().unwrap())
    };
    assert!(found >= 2000.0, "{search}");
    assert!((rates("met").fold(0.0, f64::max) - found).abs() < 1e-6, "{search}");
    let missed = rates("missed").filter(|rate| *rate > found).fold(f64::INFINITY, f64::min);
    assert!(missed <= found * 1.5, "{search}");
    let answered = report["measured"]["operations_per_second"].as_f64().unwrap();
    // Requests that were due in the warm-up may be answered behind it, too.
    assert!(answered > found * 0.95, "what is measured is the step at the rate found: {answered} of {found}");
    assert!(std::fs::read_to_string(&path).unwrap().contains("Search for the highest rate"));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn an_objective_that_nothing_meets_says_so() {
    let floor = Floor::start();
    let output = load(
        &floor.address,
        &[
            "--find-max",
            "--p50",
            "1us",
            "--duration",
            "30ms",
            "--warm-up",
            "0s",
            "--start-rate",
            "5000",
            "--keys",
            "10",
        ],
    );
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let report = report(&output);
    assert!(report["search"]["found_per_second"].is_null() && report["measured"].is_null());
    assert!(
        report["search"]["steps"].as_array().unwrap().len() >= 14,
        "down to two requests a step, each twice"
    );
}
