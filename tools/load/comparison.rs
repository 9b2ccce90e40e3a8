//! `compare`: results side by side, as ratios to the first with what repetitions differ by.
//!
//! Invariant: results of one label are repetitions, and a figure of theirs is the median with its range; a difference
//! is only called one if the ranges do not touch. Results of different loads are refused unless that is asked for.
//! Nothing is measured here.

use std::fmt::Write;
use std::fs;
use std::io;

use thiserror::Error;

use crate::page;
use crate::report::{LoadSettings, Phase, Report};

/// Why there is nothing to compare. The caller's fault.
#[derive(Debug, Error)]
pub(crate) enum Incomparable {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} is no result of annulus-load --json: {source}")]
    NoResult { path: String, source: serde_json::Error },
    #[error("{path} holds no measured phase: {failure}")]
    Unmeasured { path: String, failure: String },
    #[error("{path} is of another load than {first}: its {what} differs; --force compares all the same")]
    OtherLoad { path: String, first: String, what: &'static str },
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: io::Error },
}

/// Compares the results in `paths`, prints a table, and writes a page if `html` names one.
pub(crate) fn compare(
    paths: &[String],
    floor: Option<&str>,
    html: Option<&str>,
    force: bool,
) -> Result<(), Incomparable> {
    let results = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    if !force {
        for (path, result) in paths.iter().zip(&results) {
            if let Some(what) = difference(&results[0].load, &result.load) {
                return Err(Incomparable::OtherLoad { path: path.clone(), first: paths[0].clone(), what });
            }
        }
    }
    let floor = floor.map(read).transpose()?;
    print!("{}", table(&results));
    if let Some(path) = html {
        let floor_us = floor.as_ref().and_then(|floor| floor.measured.as_ref()?.server_cpu_us_per_operation);
        fs::write(path, page::page(&results, floor_us))
            .map_err(|source| Incomparable::Write { path: path.to_owned(), source })?;
    }
    Ok(())
}

fn read(path: &str) -> Result<Report, Incomparable> {
    let text =
        fs::read_to_string(path).map_err(|source| Incomparable::Read { path: path.to_owned(), source })?;
    let result: Report = serde_json::from_str(&text)
        .map_err(|source| Incomparable::NoResult { path: path.to_owned(), source })?;
    if result.measured.is_none() {
        let failure = result.failure.unwrap_or_else(|| "only keys were set".to_owned());
        return Err(Incomparable::Unmeasured { path: path.to_owned(), failure });
    }
    Ok(result)
}

/// What differs between two loads that matters.
fn difference(one: &LoadSettings, other: &LoadSettings) -> Option<&'static str> {
    let checks = [
        (one.connections == other.connections, "number of connections"),
        (targets(one) == targets(other), "number of targets"),
        (one.pipeline == other.pipeline && one.send == other.send, "pipeline"),
        (one.rate_per_second == other.rate_per_second, "rate"),
        (one.arrivals == other.arrivals, "spacing of arrivals"),
        (one.keys == other.keys && one.key_bytes == other.key_bytes, "key space"),
        (one.distribution == other.distribution, "distribution of keys"),
        (one.value_bytes == other.value_bytes, "length of values"),
        (one.mix == other.mix, "mix of operations"),
    ];
    checks.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
}

fn targets(load: &LoadSettings) -> usize {
    load.target.split(',').count()
}

/// A figure of a phase, if it has it.
type Figure = fn(&Phase) -> Option<f64>;

const FIGURES: &[(&str, Figure)] = &[
    ("server CPU us/op", |phase| phase.server_cpu_us_per_operation),
    ("operations/s", |phase| Some(phase.operations_per_second)),
    ("latency p50 us", |phase| Some(phase.latency_us.p50)),
    ("latency p99 us", |phase| Some(phase.latency_us.p99)),
    ("latency p99.9 us", |phase| Some(phase.latency_us.p99_9)),
    ("latency max us", |phase| Some(phase.latency_us.max)),
];

/// The median of some repetitions, and their range.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
    count: usize,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, least, most, count: values.len() })
    }

    /// Whether another differs by more than repetitions do.
    fn verdict(self, other: Self) -> &'static str {
        if self.count < 2 || other.count < 2 {
            "spread unknown: repeat each"
        } else if other.least > self.most || other.most < self.least {
            "differs"
        } else {
            "undecided"
        }
    }
}

/// Labels in the order in which they first come.
pub(crate) fn labels(results: &[Report]) -> Vec<&str> {
    let mut labels: Vec<&str> = Vec::new();
    for result in results {
        if !labels.contains(&result.label.as_str()) {
            labels.push(&result.label);
        }
    }
    labels
}

fn spread(results: &[Report], label: &str, figure: Figure) -> Option<Spread> {
    let phases =
        results.iter().filter(|result| result.label == label).filter_map(|result| result.measured.as_ref());
    Spread::of(phases.filter_map(figure).collect())
}

fn table(results: &[Report]) -> String {
    let labels = labels(results);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:<18} {:<24} {:>12} {:>25} {:>8}  verdict",
        "", "label", "median", "least..greatest", "ratio"
    );
    for &(name, figure) in FIGURES {
        let Some(first) = spread(results, labels[0], figure) else { continue };
        for label in &labels {
            let Some(own) = spread(results, label, figure) else { continue };
            let range = format!("{:.3}..{:.3}", own.least, own.most);
            let verdict = if *label == labels[0] { "-" } else { first.verdict(own) };
            let ratio = own.median / first.median;
            let _ = writeln!(
                text,
                "{name:<18} {label:<24} {:>12.3} {range:>25} {ratio:>8.3}  {verdict}",
                own.median
            );
        }
    }
    for result in results {
        for mark in page::marks(result) {
            let _ = writeln!(text, "MARKED {}: {mark}", result.label);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_one_when_the_ranges_do_not_touch() {
        let spread = |values: &[f64]| Spread::of(values.to_vec()).unwrap();
        let first = spread(&[1.0, 1.1, 1.2]);
        assert_eq!(first, Spread { median: 1.1, least: 1.0, most: 1.2, count: 3 });
        assert_eq!(first.verdict(spread(&[1.3, 1.4])), "differs");
        assert_eq!(first.verdict(spread(&[0.8, 0.9])), "differs");
        assert_eq!(first.verdict(spread(&[1.15, 1.4])), "undecided");
        assert_eq!(first.verdict(spread(&[2.0])), "spread unknown: repeat each");
    }
}
