//! What the native `Stats` tells: all counters, and the latencies of each operation and of its stages.
//!
//! Invariant: names are those of `INFO`; a stage is told as an operation of its own, so that who reads statistics needs
//! to know no more than a name.

use crate::message::{Counter, OperationStats, Outcome, Reply, RequestId, Stats};
use crate::metrics::{Latencies, Recorder, Stage};
use crate::protocol::client::encode_response;
use crate::server::commands::stats_counters;
use crate::server::engine::{Engine, operation_name};

/// Answers `Stats`, when the counters of all workers have been merged.
pub(crate) fn answer(engine: &Engine, merged: &Recorder, id: RequestId, out: &mut Vec<u8>) {
    let counters = stats_counters(engine, merged);
    let row = |name, count, errors, latencies: &Latencies| OperationStats {
        name,
        count,
        errors,
        p50_ns: latencies.at_quantile_ns(0.5),
        p90_ns: latencies.at_quantile_ns(0.9),
        p99_ns: latencies.at_quantile_ns(0.99),
        p999_ns: latencies.at_quantile_ns(0.999),
        max_ns: latencies.max_ns(),
    };
    let operations = merged.operations().iter().enumerate().filter(|(_, operation)| operation.count > 0);
    let operations = operations.map(|(number, operation)| {
        row(operation_name(number), operation.count, operation.errors, &operation.latencies)
    });
    // Where the time goes at each level, as operations of their own.
    let stages = merged.stages.iter().flat_map(|(number, level, stages)| {
        let name =
            move |stage: Stage| format!("{}@{}:{}", operation_name(number), level.name(), stage.name());
        Stage::ALL.map(|stage| (name(stage), stages.of(stage)))
    });
    let stages: Vec<(String, &Latencies)> = stages.filter(|(_, latencies)| latencies.count() > 0).collect();
    let stages = stages.iter().map(|(name, latencies)| row(name.as_str(), latencies.count(), 0, latencies));
    let stats = Stats {
        counters: counters.into_iter().map(|(name, value)| Counter { name, value }).collect(),
        operations: operations.chain(stages).collect(),
    };
    encode_response(id, &Outcome::Done(Reply::Stats(stats)), out);
}
