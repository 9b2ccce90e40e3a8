//! The command line of the generator.
//!
//! Invariant: what is said here is read once, into [`Settings`](crate::settings::Settings). Defaults that do not depend
//! on other options stand here. What options mean together is not decided here.

use std::time::Duration;

use annulus::types::Level;
use clap::{ArgGroup, Args, Parser};

use crate::mix::{Mix, Workload};
use crate::protocol::Protocol;
use crate::schedule::Arrivals;
use crate::sending::Sending;
use crate::values::Lengths;

/// Loads a key-value server and measures what its clients would feel.
///
/// With --rate the loop is open: requests are sent when they are due, whatever became of those before, and a latency
/// counts from the moment a request was due. Without it the loop is closed: each connection keeps at most a pipeline of
/// requests under way, and a server that stalls is spared the load that it would have met. --find-max looks for the
/// highest rate at which latencies stay within an objective.
///
/// Exit codes: 0; 1 if the run failed or ended early (what was measured is still reported); 2 for a wrong command line;
/// 3 if an open loop fell short of its rate by more than 1%, or no rate met the objective; 4 if connections broke and
/// --keep-going went on without them; 130 if it was interrupted (what was measured is still reported).
#[derive(Parser)]
#[command(name = "annulus-load", version, args_conflicts_with_subcommands = true, max_term_width = 110)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Subcommand>,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

/// What else there is to do than to run a load.
#[derive(clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Compares results that --json wrote: ratios to the first, and whether they are larger than what repetitions of
    /// one label differ by.
    Compare {
        /// The results; those of one label are repetitions.
        #[arg(required = true, num_args = 1..)]
        results: Vec<String>,
        /// Write a page with plots, which needs nothing else, to this file.
        #[arg(long, value_name = "FILE")]
        html: Option<String>,
        /// The result of a run against annulus-echo: the floor of processor time.
        #[arg(long, value_name = "FILE")]
        floor: Option<String>,
        /// Compare results of different loads all the same.
        #[arg(long)]
        force: bool,
    },
}

/// A run.
#[derive(Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) servers: ServerOptions,
    #[command(flatten)]
    pub(crate) sending: SendingOptions,
    #[command(flatten)]
    pub(crate) length: LengthOptions,
    #[command(flatten)]
    pub(crate) work: WorkOptions,
    #[command(flatten)]
    pub(crate) search: SearchOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// Whom to load.
#[derive(Args)]
#[command(next_help_heading = "Targets")]
pub(crate) struct ServerOptions {
    /// A server, HOST:PORT; several with commas between them, or the option repeated. Connections are spread over them.
    #[arg(
        long = "target",
        default_value = "127.0.0.1:7400",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub(crate) targets: Vec<String>,
    /// How to speak to them.
    #[arg(long, value_enum, default_value_t = Protocol::Resp)]
    pub(crate) protocol: Protocol,
    /// Consistency level of every connection: one, quorum, all or linearizable; for Annulus alone [default: the
    /// nodes'].
    #[arg(long, value_parser = level)]
    pub(crate) level: Option<Level>,
    /// Send WAIT with so many replicas behind each write, and take both replies for one; for redis-server with
    /// replicas.
    #[arg(long, value_name = "REPLICAS", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) wait: Option<u8>,
    /// File with the password to give before anything else. A line break at its end does not count.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<String>,
    /// Go on without connections that break, until none is left; the exit code is then 4. Otherwise the first ends the
    /// run.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Process of a server, on this machine: measure its processor time. Several are summed.
    #[arg(long = "server-pid", value_delimiter = ',', value_name = "PID")]
    pub(crate) server_pids: Vec<u32>,
}

/// How to send.
#[derive(Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct SendingOptions {
    /// Connections at once, over all targets and threads.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) connections: u32,
    /// Requests under way on a connection at most.
    #[arg(long, short = 'P', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) pipeline: u32,
    /// When a connection sends: a batch once all replies to the last are there, or a request for each reply at once.
    #[arg(long, value_enum, default_value_t = Sending::Batch)]
    pub(crate) send: Sending,
    /// Open loop: requests a second, over all connections.
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// How requests of an open loop are spaced.
    #[arg(long, value_enum, default_value_t = Arrivals::Fixed)]
    pub(crate) arrivals: Arrivals,
    /// Threads, each with its share of the connections and an event loop of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: u32,
    /// Cores to bind the threads to, one after the other; as in 2,3.
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    pub(crate) pin: Vec<usize>,
    /// Measure the latency of so many gets a second beside the load: one connection to the first target, one request at
    /// a time, on a thread of its own.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) probe: Option<f64>,
}

/// How long the phases are.
#[derive(Args)]
#[command(next_help_heading = "Length")]
pub(crate) struct LengthOptions {
    /// Length of the measured phase, as in 500ms, 10s or 2m. 10s if neither this nor --requests is given; with
    /// --find-max the length of each step, 3s.
    #[arg(long, value_parser = duration, conflicts_with = "requests")]
    pub(crate) duration: Option<Duration>,
    /// Operations of the measured phase.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) requests: Option<u64>,
    /// Load before the measured phase that is not counted. With --find-max before each step, and 500ms by default.
    #[arg(long, value_parser = duration)]
    pub(crate) warm_up: Option<Duration>,
    /// A connection that has requests under way and gets no reply for so long is broken.
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub(crate) reply_timeout: Duration,
}

/// What to send.
#[derive(Args)]
#[command(next_help_heading = "Work")]
pub(crate) struct WorkOptions {
    /// A core workload of YCSB: its mix, distribution and values of 1000 bytes, unless said otherwise.
    #[arg(long, value_enum, ignore_case = true, conflicts_with_all = ["mix", "read_ratio"])]
    pub(crate) workload: Option<Workload>,
    /// Operations and their weights, as in get=80,set=15,del=5; also insert (a new key), rmw (a get, then a set of the
    /// same key) and incr (of counters, which are keys of their own).
    #[arg(long, conflicts_with = "read_ratio")]
    pub(crate) mix: Option<Mix>,
    /// Share of requests that read, 0 to 1, where the others write: 0.9 if no mix is given.
    #[arg(long, value_parser = ratio)]
    pub(crate) read_ratio: Option<f64>,
    /// Keys in the key space.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_u64 << 40))]
    pub(crate) keys: u64,
    /// First index of the key space.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_u64 << 40))]
    pub(crate) first_key: u64,
    /// Bytes of each key.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=250))]
    pub(crate) key_bytes: u32,
    /// Bytes of each value written: 64 (the default), a range as in 16..1024, or lengths with weights as in
    /// 64:80,1024:15,65536:5.
    #[arg(long)]
    pub(crate) value_bytes: Option<Lengths>,
    /// How keys are drawn: uniform (the default), sequential, zipfian, zipfian:THETA, or latest (the newest most).
    #[arg(long)]
    pub(crate) distribution: Option<String>,
    /// What each connection's own seed is derived from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Set every key once on each target before the run.
    #[arg(long)]
    pub(crate) preload: bool,
    /// Set every key once on each target, and no more.
    #[arg(long)]
    pub(crate) preload_only: bool,
}

/// What to look for.
#[derive(Args)]
#[command(next_help_heading = "Search", group = ArgGroup::new("objective").multiple(true))]
pub(crate) struct SearchOptions {
    /// Find the highest rate at which latencies stay within --p50, --p99 and --p99.9: double it until they do not, then
    /// bisect.
    #[arg(long, conflicts_with_all = ["rate", "requests", "preload_only"], requires = "objective")]
    pub(crate) find_max: bool,
    /// The longest 50th percentile that will do, as in 200us or 1ms.
    #[arg(long, value_parser = duration, group = "objective", requires = "find_max", value_name = "DURATION")]
    pub(crate) p50: Option<Duration>,
    /// The longest 99th percentile that will do.
    #[arg(long, value_parser = duration, group = "objective", requires = "find_max", value_name = "DURATION")]
    pub(crate) p99: Option<Duration>,
    /// The longest 99.9th percentile that will do.
    #[arg(
        long = "p99.9", value_parser = duration, group = "objective", requires = "find_max", value_name = "DURATION"
    )]
    pub(crate) p99_9: Option<Duration>,
    /// The rate to begin with.
    #[arg(long, value_parser = rate, default_value = "1000", value_name = "RATE")]
    pub(crate) start_rate: f64,
    /// End once the highest rate is known to this share of it.
    #[arg(long, value_parser = precision, default_value = "0.05", value_name = "SHARE")]
    pub(crate) precision: f64,
}

/// Where to put what was found.
#[derive(Args)]
#[command(next_help_heading = "Results")]
pub(crate) struct OutputOptions {
    /// What the result is called where several are compared; results of one label are repetitions. The targets by
    /// default.
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// Write the report as JSON to this file; - for standard output, instead of the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<String>,
    /// Write a page with plots, which needs nothing else, to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<String>,
    /// Write the latencies of each interval to this file as an HdrHistogram log, tagged by operation.
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr_log: Option<String>,
    /// Length of an interval: of the series in reports, of the log, and of the live line. A 120th of the duration and
    /// at least 100ms by default.
    #[arg(long, value_parser = interval)]
    pub(crate) interval: Option<Duration>,
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("expected a number from 0 to 1"),
    }
}

fn precision(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(precision) if (0.001..=1.0).contains(&precision) => Ok(precision),
        _ => Err("expected a share from 0.001 to 1"),
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    const RATE_MAX: f64 = 1e8;
    match text.parse() {
        Ok(rate) if (0.001..=RATE_MAX).contains(&rate) => Ok(rate),
        _ => Err("expected requests a second, from 0.001 to 100000000"),
    }
}

fn interval(text: &str) -> Result<Duration, &'static str> {
    match duration(text) {
        Ok(interval) if interval >= Duration::from_millis(10) => Ok(interval),
        _ => Err("expected a duration of at least 10ms, as in 100ms or 1s"),
    }
}

/// A number with `us`, `ms`, `s` (or no unit) or `m`, up to a day.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const DAY_S: f64 = 86_400.0;
    const UNITS_S: [(&str, f64); 4] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    let with_unit = UNITS_S.iter().find_map(|(unit, unit_s)| Some((text.strip_suffix(unit)?, *unit_s)));
    let (number, unit_s) = with_unit.unwrap_or((text, 1.0));
    match number.parse::<f64>() {
        Ok(number) if (0.0..=DAY_S).contains(&(number * unit_s)) => {
            Ok(Duration::from_secs_f64(number * unit_s))
        }
        _ => Err("expected a duration up to a day, as in 500us, 500ms, 10s or 2m"),
    }
}

fn level(text: &str) -> Result<Level, &'static str> {
    Level::named(text.as_bytes()).ok_or("one, quorum, all or linearizable is needed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(arguments: &[&str]) -> bool {
        Options::try_parse_from([&["annulus-load"], arguments].concat()).is_err()
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("3"), Ok(Duration::from_secs(3)));
        for text in ["", "s", "-1s", "1h", "NaN", "inf", "1e99"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ratios() {
        assert_eq!(ratio("0.9"), Ok(0.9));
        assert!(ratio("1.1").is_err() && ratio("NaN").is_err() && ratio("x").is_err());
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        assert!(refuses(&["--duration", "1s", "--requests", "5"]));
        assert!(refuses(&["--mix", "get=1", "--read-ratio", "0.5"]));
        assert!(refuses(&["--workload", "a", "--mix", "get=1"]));
        assert!(refuses(&["--find-max"]), "without an objective");
        assert!(refuses(&["--p99", "1ms"]), "without a search");
        assert!(refuses(&["--find-max", "--p99", "1ms", "--rate", "5"]));
        assert!(!refuses(&["--find-max", "--p99.9", "1ms"]));
        assert!(!refuses(&["--find-max", "--p99", "1ms", "--p50", "1ms", "--p99.9", "2ms"]));
        assert!(!refuses(&["--workload", "A", "--value-bytes", "16..1024", "--distribution", "uniform"]));
    }
}
