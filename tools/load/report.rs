//! What a run found out: as JSON for programs, as a table for people.
//!
//! Invariant: units are in the names, and a report of a run that failed half-way says so in `failure` and keeps what
//! was counted until then. Nothing is measured here.

use std::fmt::{self, Display, Formatter};

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
    /// Why the run ended early or cannot be trusted; absent if it did not and can.
    pub(crate) failure: Option<String>,
}

/// What a run was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LoadSettings {
    /// The server's address.
    pub(crate) target: String,
    /// How it is spoken to.
    pub(crate) protocol: String,
    /// Connections at once.
    pub(crate) connections: usize,
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
    /// Bytes of each value written.
    pub(crate) value_bytes: usize,
    /// Share of requests that read.
    pub(crate) read_ratio: f64,
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
}

/// A phase of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Phase {
    /// Replies that arrived, errors included.
    pub(crate) operations: u64,
    /// Gets that found a value.
    pub(crate) hits: u64,
    /// Gets that found none.
    pub(crate) misses: u64,
    /// Sets that were accepted.
    pub(crate) stored: u64,
    /// Replies that were errors.
    pub(crate) errors: u64,
    /// How long the phase took.
    pub(crate) duration_ms: f64,
    /// Operations over that time.
    pub(crate) operations_per_second: f64,
    /// Replies that a read brought, which is how requests arrive too: a mean.
    pub(crate) replies_per_read: f64,
    /// From a request's send to its reply's arrival; in an open loop from the moment it was due.
    pub(crate) latency_us: Latency,
    /// What there is to say of an open loop besides.
    #[serde(default)]
    pub(crate) open_loop: Option<OpenLoop>,
    /// How latencies are distributed: share of the operations, and the microseconds that it did not exceed.
    #[serde(default)]
    pub(crate) percentiles_us: Vec<(f64, f64)>,
    /// The phase in slices of time.
    #[serde(default)]
    pub(crate) series: Vec<Slice>,
    /// Processor time of the server over operations; absent without `--server-pid`.
    pub(crate) server_cpu_us_per_operation: Option<f64>,
    /// Processor time of the generator over operations.
    pub(crate) generator_cpu_us_per_operation: f64,
}

/// How an open loop kept its schedule.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct OpenLoop {
    /// Requests that were due within the phase.
    pub(crate) due: u64,
    /// Those that were sent late by over 100 us: the generator's fault, or its machine's.
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

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let load = &self.load;
        writeln!(formatter, "target                    {} ({})", load.target, load.protocol)?;
        match load.rate_per_second {
            Some(rate) => writeln!(
                formatter,
                "load                      {} connections, open loop, {rate} a second, {}",
                load.connections,
                load.arrivals.as_deref().unwrap_or_default()
            )?,
            None => writeln!(
                formatter,
                "load                      {} connections x {} of {}, closed loop",
                load.connections, load.send, load.pipeline
            )?,
        }
        writeln!(
            formatter,
            "keys                      {} of {} bytes from {}, {}, seed {}; values of {} bytes; {} reads",
            load.keys,
            load.key_bytes,
            load.first_key,
            load.distribution,
            load.seed,
            load.value_bytes,
            load.read_ratio
        )?;
        if let Some(preload) = &self.preload {
            writeln!(
                formatter,
                "preload                   {} sets, {} errors, {:.0} a second",
                preload.operations, preload.errors, preload.operations_per_second
            )?;
        }
        if let Some(measured) = &self.measured {
            measured.fmt(formatter)?;
        }
        Ok(())
    }
}

impl Display for Phase {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "count                     {}", self.operations)?;
        writeln!(formatter, "errors                    {}", self.errors)?;
        writeln!(formatter, "misses                    {}", self.misses)?;
        writeln!(formatter, "duration ms               {:.1}", self.duration_ms)?;
        writeln!(formatter, "operations/s              {:.0}", self.operations_per_second)?;
        writeln!(formatter, "replies per read          {:.1}", self.replies_per_read)?;
        let latency = &self.latency_us;
        for (name, value_us) in [
            ("mean", latency.mean),
            ("p50", latency.p50),
            ("p90", latency.p90),
            ("p99", latency.p99),
            ("p99.9", latency.p99_9),
            ("p99.99", latency.p99_99),
            ("max", latency.max),
        ] {
            writeln!(formatter, "latency {name:<6} us         {value_us:.1}")?;
        }
        if let Some(open) = &self.open_loop {
            let service = &open.service_us;
            writeln!(formatter, "service p99, max us       {:.1}, {:.1}", service.p99, service.max)?;
            writeln!(formatter, "due                       {}", open.due)?;
            writeln!(
                formatter,
                "sent late                 {} (the latest by {:.1} us)",
                open.sent_late, open.late_us_max
            )?;
            if open.short_of_rate {
                writeln!(formatter, "SHORT OF ITS RATE         answered less than 99% of what was due")?;
            }
        }
        match self.server_cpu_us_per_operation {
            Some(cpu_us) => writeln!(formatter, "server CPU us/operation   {cpu_us:.3}")?,
            None => writeln!(formatter, "server CPU us/operation   unknown without --server-pid")?,
        }
        writeln!(formatter, "own CPU us/operation      {:.3}", self.generator_cpu_us_per_operation)
    }
}
