//! The command line of the generator, and what it means.
//!
//! Invariant: a [`Settings`] can be run; what cannot (a width too narrow, a phase without a length) was refused
//! with one line before anything was connected. Defaults stand here and nowhere else.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use clap::{Args, Parser};
use thiserror::Error;

use crate::distribution::Shape;
use crate::keys::{KeyText, TooNarrow};
use crate::protocol::Protocol;
use crate::report::LoadSettings;
use crate::schedule::Arrivals;
use crate::sending::Sending;

/// Loads a key-value server and measures what its clients would feel.
///
/// With --rate the loop is open: requests are sent when they are due, whatever became of those before, and a latency
/// counts from the moment a request was due. Without it the loop is closed: each connection keeps at most a pipeline of
/// requests under way, and a server that stalls is spared the load that it would have met.
///
/// Exit codes: 0, 1 if the run failed or ended early (what was measured is still reported), 2 for a wrong command line,
/// 3 if an open loop fell short of its rate by more than 1%.
#[derive(Parser)]
#[command(name = "annulus-load", version, args_conflicts_with_subcommands = true)]
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
    /// The server, HOST:PORT.
    #[arg(long, default_value = "127.0.0.1:7400")]
    target: String,
    /// How to speak to it.
    #[arg(long, value_enum, default_value_t = Protocol::Resp)]
    protocol: Protocol,
    /// Connections at once.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections: u32,
    /// Requests under way on a connection at most.
    #[arg(long, short = 'P', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pipeline: u32,
    /// When a connection sends: a batch once all replies to the last are there, or a request for each reply at once.
    #[arg(long, value_enum, default_value_t = Sending::Batch)]
    send: Sending,
    /// Open loop: requests a second, over all connections.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// How requests of an open loop are spaced.
    #[arg(long, value_enum, default_value_t = Arrivals::Fixed, requires = "rate")]
    arrivals: Arrivals,
    /// What the result is called where several are compared; results of one label are repetitions.
    #[arg(long)]
    label: Option<String>,
    #[command(flatten)]
    length: Length,
    /// Keys in the key space.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_u64 << 40))]
    keys: u64,
    /// First index of the key space.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_u64 << 40))]
    first_key: u64,
    /// Bytes of each key.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=250))]
    key_bytes: u32,
    /// Bytes of each value written.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    value_bytes: u32,
    /// Share of requests that read, 0 to 1.
    #[arg(long, default_value_t = 0.9, value_parser = ratio)]
    read_ratio: f64,
    /// How keys are drawn: uniform, sequential, zipfian or zipfian:THETA.
    #[arg(long, default_value = "uniform")]
    distribution: String,
    /// What each connection's own seed is derived from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Set every key once before the run.
    #[arg(long)]
    preload: bool,
    /// Set every key once, and no more.
    #[arg(long)]
    preload_only: bool,
    /// Process of the server, on this machine: measure its processor time.
    #[arg(long)]
    server_pid: Option<u32>,
    /// Write the report as JSON to this file; - for standard output, instead of the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<String>,
    /// Write a page with plots, which needs nothing else, to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<String>,
}

/// How long the phases are.
#[derive(Args)]
struct Length {
    /// Length of the measured phase, as in 500ms, 10s or 2m. 10s if neither this nor --requests is given.
    #[arg(long, value_parser = duration, conflicts_with = "requests")]
    duration: Option<Duration>,
    /// Operations of the measured phase.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Load before the measured phase that is not counted.
    #[arg(long, value_parser = duration, default_value = "0s")]
    warm_up: Duration,
    /// Give up when no reply arrives for so long.
    #[arg(long, value_parser = duration, default_value = "5s")]
    reply_timeout: Duration,
}

/// The measured phase ends when this is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Time has passed.
    Elapsed(Duration),
    /// Operations were answered.
    Answered(u64),
}

/// A run that can be started.
pub(crate) struct Settings {
    /// As the report repeats them.
    pub(crate) load: LoadSettings,
    pub(crate) label: String,
    pub(crate) arrivals: Arrivals,
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) sending: Sending,
    pub(crate) shape: Shape,
    /// The text of the key space's keys.
    pub(crate) key_text: KeyText,
    pub(crate) until: Until,
    pub(crate) warm_up: Duration,
    pub(crate) reply_timeout: Duration,
    pub(crate) preload: bool,
    pub(crate) preload_only: bool,
    pub(crate) server_pid: Option<u32>,
}

/// The command line asks for what cannot be. The caller's fault.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    #[error("cannot resolve {target}: {source}")]
    Resolve { target: String, source: io::Error },
    #[error("{target} names no address")]
    NoAddress { target: String },
    #[error(transparent)]
    Key(#[from] TooNarrow),
    #[error("--distribution: {0}")]
    Shape(#[from] crate::distribution::UnknownShape),
}

impl RunOptions {
    /// What they mean.
    pub(crate) fn settings(&self) -> Result<Settings, Refused> {
        let target = &self.target;
        let address = target
            .to_socket_addrs()
            .map_err(|source| Refused::Resolve { target: target.clone(), source })?
            .next()
            .ok_or_else(|| Refused::NoAddress { target: target.clone() })?;
        let until = match self.length.requests {
            Some(requests) => Until::Answered(requests),
            None => Until::Elapsed(self.length.duration.unwrap_or(Duration::from_secs(10))),
        };
        Ok(Settings {
            load: LoadSettings {
                target: target.clone(),
                protocol: self.protocol.name().to_owned(),
                connections: self.connections as usize,
                pipeline: self.pipeline as usize,
                send: self.send.name().to_owned(),
                keys: self.keys,
                first_key: self.first_key,
                key_bytes: self.key_bytes as usize,
                value_bytes: self.value_bytes as usize,
                read_ratio: self.read_ratio,
                distribution: self.distribution.clone(),
                seed: self.seed,
                rate_per_second: self.rate,
                arrivals: self.rate.map(|_| self.arrivals.name().to_owned()),
            },
            label: self.label.clone().unwrap_or_else(|| target.clone()),
            arrivals: self.arrivals,
            address,
            protocol: self.protocol,
            sending: self.send,
            shape: self.distribution.parse()?,
            key_text: KeyText::new(self.key_bytes as usize, self.first_key + self.keys)?,
            until,
            warm_up: self.length.warm_up,
            reply_timeout: self.length.reply_timeout,
            preload: self.preload || self.preload_only,
            preload_only: self.preload_only,
            server_pid: self.server_pid,
        })
    }
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("expected a number from 0 to 1"),
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    const RATE_MAX: f64 = 1e8;
    match text.parse() {
        Ok(rate) if (0.0..=RATE_MAX).contains(&rate) && rate > 0.0 => Ok(rate),
        _ => Err("expected requests a second, above 0 and up to 100000000"),
    }
}

/// A number with `ms`, `s` (or no unit) or `m`, up to a day.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const DAY_S: f64 = 86_400.0;
    let (number, unit_s) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1e-3)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60.0)
    } else {
        (text, 1.0)
    };
    match number.parse::<f64>() {
        Ok(number) if (0.0..=DAY_S).contains(&(number * unit_s)) => {
            Ok(Duration::from_secs_f64(number * unit_s))
        }
        _ => Err("expected a duration up to a day, as in 500ms, 10s or 2m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
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
    fn keys_must_fit_their_width() {
        let options =
            Options::try_parse_from(["annulus-load", "--key-bytes", "3", "--keys", "1001"]).unwrap();
        assert!(matches!(options.run.settings(), Err(Refused::Key(_))));
    }

    #[test]
    fn duration_and_requests_exclude_each_other() {
        assert!(Options::try_parse_from(["annulus-load", "--duration", "1s", "--requests", "5"]).is_err());
    }
}
