//! What the node has counted, as texts and numbers: INFO, LATENCY HISTOGRAM.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::message::description::Node;
use crate::metrics::{ErrorKind, Recorder, Stage};
use crate::protocol::resp::RespVersion;
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::{CommandError, Context, Question};
use crate::server::description::describe;
use crate::server::engine::{Engine, operation_name};

/// The Redis version whose string commands are answered; clients decide by it what they may ask.
const COMPATIBLE_VERSION: &str = "7.2.0";

pub(super) fn ask(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let sections = arguments.iter_from(1, 1).take(32);
    let sections = sections.map(|name| String::from_utf8_lossy(name).to_lowercase()).collect();
    context.question = Some(Question::Info { sections });
    Ok(())
}

type Section = fn(&mut String, &Engine, &Recorder);

/// Sections by name; those that are shown when none is asked for come with `true`.
const SECTIONS: [(&str, bool, Section); 11] = [
    ("server", true, server),
    ("clients", true, clients),
    ("memory", true, memory),
    ("stats", true, stats),
    ("commandstats", false, command_stats),
    ("errorstats", true, error_stats),
    ("latencystats", false, latency_stats),
    ("levelstats", false, level_stats),
    ("replication", true, replication),
    ("cluster", true, cluster),
    ("keyspace", true, keyspace),
];

/// Whether what is told of these sections takes the stages of replicated requests.
pub(crate) fn shows_stages(sections: &[String]) -> bool {
    sections.iter().any(|name| ["levelstats", "all", "everything"].contains(&name.as_str()))
}

/// The text of INFO, when the counters of all workers have been merged.
pub(crate) fn info(engine: &Engine, merged: &Recorder, sections: &[String]) -> String {
    let all = sections.iter().any(|name| name == "all" || name == "everything");
    let defaults = sections.is_empty() || sections.iter().any(|name| name == "default");
    let mut text = String::with_capacity(4096);
    for (name, shown, write) in SECTIONS {
        if all || (defaults && shown) || sections.iter().any(|wanted| wanted == name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let (first, rest) = name.split_at(1);
            let _ = write!(text, "# {}{rest}\r\n", first.to_uppercase());
            write(&mut text, engine, merged);
        }
    }
    text
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{name}:{value}\r\n");
}

fn server(text: &mut String, engine: &Engine, _merged: &Recorder) {
    line(text, "redis_version", COMPATIBLE_VERSION);
    line(text, "redis_mode", if engine.shared.roster.is_some() { "cluster" } else { "standalone" });
    line(text, "annulus_version", env!("CARGO_PKG_VERSION"));
    line(text, "os", std::env::consts::OS);
    line(text, "arch_bits", usize::BITS);
    line(text, "process_id", std::process::id());
    line(text, "tcp_port", engine.shared.address.port());
    line(text, "uptime_in_seconds", engine.now.0 / 1_000_000_000);
    line(text, "workers", engine.shared.mailboxes.len());
}

fn clients(text: &mut String, engine: &Engine, merged: &Recorder) {
    line(text, "connected_clients", engine.shared.connections());
    line(text, "maxclients", engine.shared.settings.connections_max());
    line(text, "buffered_bytes", merged.totals.buffered_bytes);
    for (worker, load) in engine.shared.loads.iter().enumerate() {
        line(text, &format!("worker{worker}_clients"), load.load(Ordering::Relaxed));
    }
}

fn memory(text: &mut String, engine: &Engine, _merged: &Recorder) {
    line(text, "used_memory", engine.shared.store.used_bytes());
    line(text, "maxmemory", engine.shared.store.memory_bytes_max().unwrap_or(0));
    line(text, "maxmemory_policy", "noeviction");
}

/// The counters that INFO and the native `Stats` share, with the names of the latter.
pub(crate) fn stats_counters(engine: &Engine, merged: &Recorder) -> Vec<(&'static str, u64)> {
    let totals = merged.totals;
    let mut counters = vec![
        ("uptime_seconds", engine.now.0 / 1_000_000_000),
        ("connections", engine.shared.connections() as u64),
        ("connections_accepted", totals.connections_accepted),
        ("connections_refused", totals.connections_refused),
        ("connections_handed_over", totals.connections_handed_over),
        ("connections_timed_out", totals.connections_timed_out),
        ("requests", merged.requests()),
        ("read_bytes", totals.bytes_read),
        ("written_bytes", totals.bytes_written),
        ("hits", totals.hits),
        ("misses", totals.misses),
        ("expired", totals.expired),
        ("turns", totals.turns),
        ("buffered_bytes", totals.buffered_bytes),
        ("keys", engine.shared.store.live_len() as u64),
        ("dead_cells", engine.shared.store.len().saturating_sub(engine.shared.store.live_len()) as u64),
        ("memory_used_bytes", engine.shared.store.used_bytes()),
    ];
    counters.extend(ErrorKind::ALL.map(|kind| (error_counter(kind), merged.errors(kind))));
    counters.extend(&merged.counters);
    counters.extend(engine.shared.roster.iter().flat_map(|roster| roster.happened.named()));
    counters
}

const fn error_counter(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Protocol => "errors_protocol",
        ErrorKind::Command => "errors_command",
        ErrorKind::State => "errors_state",
        ErrorKind::TooLarge => "errors_too_large",
        ErrorKind::OutOfMemory => "errors_out_of_memory",
        ErrorKind::Overloaded => "errors_overloaded",
        ErrorKind::Unavailable => "errors_unavailable",
        ErrorKind::Unknown => "errors_unknown",
    }
}

fn stats(text: &mut String, _engine: &Engine, merged: &Recorder) {
    let totals = merged.totals;
    line(text, "total_connections_received", totals.connections_accepted);
    line(text, "rejected_connections", totals.connections_refused);
    line(text, "handed_over_connections", totals.connections_handed_over);
    line(text, "timed_out_connections", totals.connections_timed_out);
    line(text, "total_commands_processed", merged.requests());
    line(text, "total_net_input_bytes", totals.bytes_read);
    line(text, "total_net_output_bytes", totals.bytes_written);
    line(text, "keyspace_hits", totals.hits);
    line(text, "keyspace_misses", totals.misses);
    line(text, "expired_keys", totals.expired);
    line(text, "event_loop_turns", totals.turns);
    line(text, "total_error_replies", ErrorKind::ALL.map(|kind| merged.errors(kind)).iter().sum::<u64>());
}

fn command_stats(text: &mut String, _engine: &Engine, merged: &Recorder) {
    for (number, operation) in merged.operations().iter().enumerate() {
        if operation.count > 0 {
            let name = operation_name(number);
            let (count, errors) = (operation.count, operation.errors);
            let _ = write!(text, "cmdstat_{name}:calls={count},failed_calls={errors}\r\n");
        }
    }
}

fn latency_stats(text: &mut String, _engine: &Engine, merged: &Recorder) {
    for (number, operation) in merged.operations().iter().enumerate() {
        if operation.count > 0 {
            let us = |quantile| operation.latencies.at_quantile_ns(quantile) as f64 / 1000.0;
            let (p50, p99, p999) = (us(0.5), us(0.99), us(0.999));
            let name = operation_name(number);
            let _ =
                write!(text, "latency_percentiles_usec_{name}:p50={p50:.3},p99={p99:.3},p99.9={p999:.3}\r\n");
        }
    }
}

/// Of each operation at each level, what its stages took.
fn level_stats(text: &mut String, _engine: &Engine, merged: &Recorder) {
    for (number, level, stages) in merged.stages.iter() {
        let (name, level, calls) = (operation_name(number), level.name(), stages.of(Stage::Flush).count());
        let _ = write!(text, "levelstat_{name}_{level}:calls={calls}");
        for stage in Stage::ALL.into_iter().filter(|stage| stages.of(*stage).count() > 0) {
            let us = |quantile| stages.of(stage).at_quantile_ns(quantile) as f64 / 1000.0;
            let (stage, p50, p99, p999) = (stage.name(), us(0.5), us(0.99), us(0.999));
            let _ = write!(
                text,
                ",{stage}_p50_usec={p50:.3},{stage}_p99_usec={p99:.3},{stage}_p99.9_usec={p999:.3}"
            );
        }
        text.push_str("\r\n");
    }
}

fn error_stats(text: &mut String, _engine: &Engine, merged: &Recorder) {
    for kind in ErrorKind::ALL {
        let count = merged.errors(kind);
        if count > 0 {
            let _ = write!(text, "errorstat_{}:count={count}\r\n", kind.name());
        }
    }
}

fn replication(text: &mut String, engine: &Engine, merged: &Recorder) {
    // For clients of Redis: every node takes writes, and none follows another.
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
    let Some(cluster) = describe(engine) else { return };
    line(text, "replicas_of_each_key", cluster.copies.min(cluster.nodes.len() as u8));
    line(text, "movement_awaits", cluster.movement.map_or(0, |movement| movement.awaited.len()));
    merged.counters.iter().for_each(|(name, count)| line(text, name, count));
}

fn cluster(text: &mut String, engine: &Engine, _merged: &Recorder) {
    // For clients of Redis Cluster; none of them is ever told to go elsewhere.
    line(text, "cluster_enabled", u8::from(engine.shared.roster.is_some()));
    let (Some(cluster), Some(replication)) = (describe(engine), &engine.replication) else {
        return;
    };
    let own = cluster.nodes.iter().find(|node| node.name == cluster.told_by);
    line(text, "cluster_id", &cluster.id);
    line(text, "node", own.map_or(0, |node| node.number));
    line(text, "node_name", &cluster.told_by);
    line(text, "node_state", engine.shared.roster.as_ref().map_or("", |roster| roster.state()));
    line(text, "leader", cluster.leader.as_deref().unwrap_or(""));
    line(text, "term", cluster.term);
    line(text, "leader_known_for_ms", cluster.leader_known_for_ms);
    line(text, "epoch", cluster.epoch);
    line(text, "open", u8::from(cluster.open));
    line(text, "voters_changing", u8::from(cluster.voters_changing));
    line(text, "losses", cluster.losses);
    line(text, "replication_factor", cluster.settings.replication_factor);
    line(text, "drift_max_ms", cluster.settings.drift_max_ms);
    line(text, "operation_timeout_ms", cluster.settings.operation_timeout_ms);
    line(text, "nodes", cluster.nodes.len());
    for node in &cluster.nodes {
        let Node { number, state, liveness, votes, incarnation, peers, clients, links, .. } = node;
        let votes = u8::from(*votes);
        let described = format!(
            "number={number},state={state},liveness={liveness},votes={votes},incarnation={incarnation},\
             peers={peers},clients={clients},links={links}"
        );
        line(text, &format!("node_{}", node.name), described);
    }
    line(text, "worker_operations_under_way", replication.under_way());
    let happened = engine.shared.roster.iter().flat_map(|roster| roster.happened.named());
    happened.for_each(|(name, count)| line(text, name, count));
}

fn keyspace(text: &mut String, engine: &Engine, _merged: &Recorder) {
    let store = &engine.shared.store;
    let keys = store.live_len();
    if keys > 0 {
        let _ = write!(text, "db0:keys={keys}\r\n");
    }
    // What says that a key was removed or outlived.
    line(text, "dead_cells", store.len().saturating_sub(keys));
    line(text, "cells", store.len());
}

/// Answers LATENCY HISTOGRAM: of each operation that ran, how many took at most so many microseconds, doubling.
pub(crate) fn latencies(merged: &Recorder, wanted: &[usize], out: &mut Vec<u8>, version: RespVersion) {
    let chosen = |number: &usize| wanted.is_empty() || wanted.contains(number);
    let ran: Vec<usize> = (0..merged.operations().len())
        .filter(|number| chosen(number) && merged.operations()[*number].count > 0)
        .collect();
    reply::map_head(out, version, ran.len());
    for number in ran {
        let operation = &merged.operations()[number];
        reply::bulk(out, operation_name(number).as_bytes());
        reply::map_head(out, version, 2);
        reply::bulk(out, b"calls");
        reply::integer(out, operation.count as i64);
        reply::bulk(out, b"histogram_usec");
        let buckets = operation.latencies.doubling_buckets();
        reply::map_head(out, version, buckets.len());
        for (up_to_us, count) in buckets {
            reply::integer(out, up_to_us as i64);
            reply::integer(out, count as i64);
        }
    }
}
