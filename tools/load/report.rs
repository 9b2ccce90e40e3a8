//! What a run found out, as JSON has it.
//!
//! Invariant: units are in the names, and a report of a run that failed half-way says so in `failure` and keeps what
//! was counted until then. Nothing is measured here, and nothing written.

use serde::{Deserialize, Serialize};

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// What the result is called where several are compared.
    #[serde(default)]
    pub(crate) label: String,
    /// What was asked for.
    pub(crate) load: LoadSettings,
    /// The phase that set every key once, if there was one.
    pub(crate) preload: Option<Phase>,
    /// The measured phase; absent after `--preload-only` or if the run failed before it.
    pub(crate) measured: Option<Phase>,
    /// The search for the highest rate, if there was one; `measured` is then the step at the rate that it found.
    #[serde(default)]
    pub(crate) search: Option<SearchReport>,
    /// Connections that broke, in a run that went on without them.
    #[serde(default)]
    pub(crate) losses: Vec<TargetLoss>,
    /// Whether a signal ended the run early.
    #[serde(default)]
    pub(crate) interrupted: bool,
    /// Why the run ended early or cannot be trusted; absent if it did not and can.
    pub(crate) failure: Option<String>,
}

/// What a run was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LoadSettings {
    /// The server's address; several with commas between them.
    pub(crate) target: String,
    /// How it is spoken to.
    pub(crate) protocol: String,
    /// Connections at once.
    pub(crate) connections: usize,
    /// Threads that they are spread over.
    #[serde(default)]
    pub(crate) threads: usize,
    /// Requests under way on a connection at most.
    pub(crate) pipeline: usize,
    /// When a connection sends: `batch` or `window`.
    pub(crate) send: String,
    /// The key space, from `first_key`.
    pub(crate) keys: u64,
    /// The first index of the key space.
    pub(crate) first_key: u64,
    /// Bytes of each key.
    pub(crate) key_bytes: usize,
    /// Bytes of the values written, as `--value-bytes` says it.
    pub(crate) value_bytes: String,
    /// Operations and their shares in percent.
    pub(crate) mix: String,
    /// The shape keys are drawn in.
    pub(crate) distribution: String,
    /// What each connection's own seed is derived from.
    pub(crate) seed: u64,
    /// Requests a second of an open loop; absent for a closed one.
    #[serde(default)]
    pub(crate) rate_per_second: Option<f64>,
    /// How they are spaced.
    #[serde(default)]
    pub(crate) arrivals: Option<String>,
    /// Gets a second of the probe; absent without one.
    #[serde(default)]
    pub(crate) probes_per_second: Option<f64>,
}

/// A phase of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Phase {
    /// Operations that were answered, errors included.
    pub(crate) operations: u64,
    /// Gets that found a value.
    pub(crate) hits: u64,
    /// Gets that found none; with memcached removes and increments, too.
    pub(crate) misses: u64,
    /// Writes that were accepted.
    pub(crate) stored: u64,
    /// Operations that ended in an error.
    pub(crate) errors: u64,
    /// How long the phase took.
    pub(crate) duration_ms: f64,
    /// Operations over that time.
    pub(crate) operations_per_second: f64,
    /// Replies that a read brought, which is how requests arrive too: a mean.
    pub(crate) replies_per_read: f64,
    /// From a request's send to its reply's arrival; in an open loop from the moment it was due.
    pub(crate) latency_us: Latency,
    /// The same by operation.
    #[serde(default)]
    pub(crate) by_operation: Vec<Part>,
    /// The same by target; empty if there is one.
    #[serde(default)]
    pub(crate) by_target: Vec<Part>,
    /// What the probe measured beside the load.
    #[serde(default)]
    pub(crate) probe: Option<Probe>,
    /// What there is to say of an open loop besides.
    #[serde(default)]
    pub(crate) open_loop: Option<OpenLoop>,
    /// How latencies are distributed: share of the operations, and the microseconds that it did not exceed.
    #[serde(default)]
    pub(crate) percentiles_us: Vec<(f64, f64)>,
    /// The phase in slices of time.
    #[serde(default)]
    pub(crate) series: Vec<Slice>,
    /// The longest time in which no connection had a success.
    #[serde(default)]
    pub(crate) longest_gap_ms: f64,
    /// Processor time of the servers over operations; absent without `--server-pid`.
    pub(crate) server_cpu_us_per_operation: Option<f64>,
    /// Processor time of the generator over operations.
    pub(crate) generator_cpu_us_per_operation: f64,
}

/// The operations of one kind, or of one target.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The operation, or the target.
    pub(crate) name: String,
    pub(crate) operations: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) stored: u64,
    pub(crate) errors: u64,
    pub(crate) operations_per_second: f64,
    pub(crate) latency_us: Latency,
}

/// What a probe measured: gets over one connection of its own, one at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) operations: u64,
    pub(crate) errors: u64,
    /// From the moment a get was due.
    pub(crate) latency_us: Latency,
    /// From its send.
    pub(crate) service_us: Latency,
}

/// What a target lost, in a run that went on without it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TargetLoss {
    pub(crate) target: String,
    /// Connections that broke.
    pub(crate) connections: usize,
    /// Requests whose replies never came.
    pub(crate) requests: usize,
    /// Why the first broke.
    pub(crate) reason: String,
}

/// A search for the highest rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SearchReport {
    /// What latencies had to stay within.
    pub(crate) bounds: Vec<Bound>,
    /// To which share of it the rate was to be known.
    pub(crate) precision: f64,
    /// What was tried, in that order.
    pub(crate) steps: Vec<Step>,
    /// The highest rate that met the objective; absent if none did.
    pub(crate) found_per_second: Option<f64>,
}

/// A bound that latencies had to stay within.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// Its name, as in p99.
    pub(crate) percentile: String,
    pub(crate) latency_us: f64,
}

/// A rate that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) rate_per_second: f64,
    pub(crate) verdict: Verdict,
    pub(crate) operations_per_second: f64,
    pub(crate) latency_us: Latency,
    /// Share of the requests that the generator itself sent late.
    pub(crate) sent_late: f64,
    /// Whether the step was ended as soon as its outcome was certain.
    pub(crate) cut_short: bool,
}

/// What a step of a search came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Latencies stayed within the objective, and what was due was answered.
    Met,
    /// They did not, or it was not.
    Missed,
    /// The run ended before that could be told.
    Unfinished,
}

/// How an open loop kept its schedule.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct OpenLoop {
    /// Requests that were due within the phase.
    pub(crate) due: u64,
    /// Those that were sent late by over 100 us, or not at all: the generator's fault, or its machine's.
    pub(crate) sent_late: u64,
    /// The latest of them.
    pub(crate) late_us_max: f64,
    /// From a request's send to its reply's arrival: what a closed loop would have told.
    pub(crate) service_us: Latency,
    /// Whether the target answered less than 99% of what was due.
    pub(crate) short_of_rate: bool,
}

/// A slice of a phase.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Slice {
    /// When it ended, since the beginning of the phase.
    pub(crate) at_ms: f64,
    pub(crate) operations_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// Processor time of the server over operations.
    pub(crate) server_cpu_us_per_operation: Option<f64>,
}

/// Percentiles of latency in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    #[serde(default)]
    pub(crate) p99_99: f64,
    pub(crate) max: f64,
}
