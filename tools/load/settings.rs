//! What the command line means.
//!
//! Invariant: a [`Settings`] can be run; what cannot (a width too narrow, more threads than connections) was refused
//! with one line before anything was connected.

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use annulus::types::Level;
use thiserror::Error;

use crate::distribution::Distribution;
use crate::keys::{KeyText, TooNarrow};
use crate::mix::{Mix, Operation, Workload};
use crate::options::{RunOptions, ServerOptions, WorkOptions};
use crate::protocol::Protocol;
use crate::report::LoadSettings;
use crate::schedule::Arrivals;
use crate::search::Objective;
use crate::sending::Sending;
use crate::values::{Lengths, Values};

/// Inserts that keys have room for: more than a day of a million a second.
const INSERTS_MAX: u64 = 100_000_000_000;
/// Bytes of a password file that are read: more than any server takes.
const PASSWORD_BYTES_MAX: u64 = 64 * 1024;

/// The measured phase ends when this is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Time has passed.
    Elapsed(Duration),
    /// Operations were answered.
    Answered(u64),
}

/// A server.
pub(crate) struct Target {
    /// As it was named.
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
}

/// A search for the highest rate.
#[derive(Clone, Copy)]
pub(crate) struct SearchSettings {
    pub(crate) objective: Objective,
    /// Each step's.
    pub(crate) length: Duration,
    pub(crate) start_rate: f64,
    pub(crate) precision: f64,
}

/// A run that can be started.
pub(crate) struct Settings {
    /// As the report repeats them.
    pub(crate) load: LoadSettings,
    pub(crate) label: String,
    pub(crate) targets: Vec<Target>,
    pub(crate) protocol: Protocol,
    pub(crate) level: Option<Level>,
    pub(crate) wait: Option<u8>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) keep_going: bool,
    pub(crate) server_pids: Vec<u32>,
    pub(crate) sending: Sending,
    pub(crate) arrivals: Arrivals,
    /// Cores for the threads, one after the other; empty to leave them free.
    pub(crate) pins: Vec<usize>,
    pub(crate) mix: Mix,
    pub(crate) distribution: Distribution,
    pub(crate) values: Values,
    /// The text of the key space's keys, and of the counters.
    pub(crate) key_text: KeyText,
    pub(crate) counter_text: KeyText,
    pub(crate) until: Until,
    pub(crate) warm_up: Duration,
    pub(crate) interval: Option<Duration>,
    pub(crate) reply_timeout: Duration,
    pub(crate) preload: bool,
    pub(crate) preload_only: bool,
    pub(crate) search: Option<SearchSettings>,
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
    #[error(
        "--mix incr: keys of {0} bytes have no room for what tells counters apart; give --key-bytes more"
    )]
    NoCounters(usize),
    #[error("--distribution: {0}")]
    Shape(#[from] crate::distribution::UnknownShape),
    #[error(
        "{connections} connections are too few for each of {threads} threads to have one to each of {targets} targets; \
         give --connections {} or more", threads * targets
    )]
    TooFewConnections { connections: usize, threads: usize, targets: usize },
    #[error("--password-file {path}: {source}")]
    PasswordFile { path: String, source: io::Error },
    #[error("--password-file {path} must hold one line")]
    NoPassword { path: String },
    #[error("--password-file: memcached's text protocol has no password")]
    NoPasswords,
    #[error("--level is for Annulus' own protocol and RESP, --wait for RESP alone")]
    NotSpoken,
    #[error("--arrivals is for an open loop; give --rate or --find-max")]
    NoRate,
}

impl RunOptions {
    /// What they mean.
    pub(crate) fn settings(&self) -> Result<Settings, Refused> {
        let Self { servers, sending, length, work, search, output } = self;
        let targets = servers.targets.iter().map(|name| resolved(name)).collect::<Result<Vec<_>, _>>()?;
        let open = sending.rate.is_some() || search.find_max;
        if sending.arrivals != Arrivals::Fixed && !open {
            return Err(Refused::NoRate);
        }
        if (servers.level.is_some() && servers.protocol == Protocol::Memcached)
            || (servers.wait.is_some() && servers.protocol != Protocol::Resp)
        {
            return Err(Refused::NotSpoken);
        }
        let connections = sending.connections as usize;
        let threads = sending.threads as usize;
        if connections < targets.len() * threads {
            return Err(Refused::TooFewConnections { connections, targets: targets.len(), threads });
        }
        let Work { mix, shape, lengths, key_text, counter_text } = work.meant()?;
        let (seconds, warm_up_ms) = if search.find_max { (3, 500) } else { (10, 0) };
        let duration = length.duration.unwrap_or(Duration::from_secs(seconds));
        let until = length.requests.map_or(Until::Elapsed(duration), Until::Answered);
        let target = servers.targets.join(",");
        Ok(Settings {
            load: LoadSettings {
                target: target.clone(),
                protocol: servers.protocol.name().to_owned(),
                connections,
                threads,
                pipeline: sending.pipeline as usize,
                send: sending.send.name().to_owned(),
                keys: work.keys,
                first_key: work.first_key,
                key_bytes: work.key_bytes as usize,
                value_bytes: lengths.to_string(),
                mix: mix.to_string(),
                distribution: shape.clone(),
                seed: work.seed,
                rate_per_second: sending.rate,
                arrivals: open.then(|| sending.arrivals.name().to_owned()),
                probes_per_second: sending.probe,
            },
            label: output.label.clone().unwrap_or(target),
            targets,
            protocol: servers.protocol,
            level: servers.level,
            wait: servers.wait,
            password: servers.password()?,
            keep_going: servers.keep_going,
            server_pids: servers.server_pids.clone(),
            sending: sending.send,
            arrivals: sending.arrivals,
            pins: sending.pin.clone(),
            mix,
            distribution: Distribution::new(shape.parse()?, work.keys),
            values: Values::new(lengths),
            key_text,
            counter_text,
            until,
            warm_up: length.warm_up.unwrap_or(Duration::from_millis(warm_up_ms)),
            interval: output.interval,
            reply_timeout: length.reply_timeout,
            preload: work.preload || work.preload_only,
            preload_only: work.preload_only,
            search: search.find_max.then_some(SearchSettings {
                objective: Objective { p50: search.p50, p99: search.p99, p99_9: search.p99_9 },
                length: duration,
                start_rate: search.start_rate,
                precision: search.precision,
            }),
        })
    }
}

fn resolved(name: &str) -> Result<Target, Refused> {
    let address = name
        .to_socket_addrs()
        .map_err(|source| Refused::Resolve { target: name.to_owned(), source })?
        .next()
        .ok_or_else(|| Refused::NoAddress { target: name.to_owned() })?;
    Ok(Target { name: name.to_owned(), address })
}

impl ServerOptions {
    fn password(&self) -> Result<Option<Vec<u8>>, Refused> {
        let Some(path) = self.password_file.clone() else { return Ok(None) };
        if self.protocol == Protocol::Memcached {
            return Err(Refused::NoPasswords);
        }
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(PASSWORD_BYTES_MAX).read_to_end(&mut bytes))
            .map_err(|source| Refused::PasswordFile { path: path.clone(), source })?;
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.contains(&b'\n') {
            return Err(Refused::NoPassword { path });
        }
        Ok(Some(line.to_vec()))
    }
}

/// What is sent.
struct Work {
    mix: Mix,
    shape: String,
    lengths: Lengths,
    key_text: KeyText,
    counter_text: KeyText,
}

impl WorkOptions {
    fn meant(&self) -> Result<Work, Refused> {
        const CONSTANT: &str = "defaults are constants that can be read";
        let mix = match (&self.mix, self.workload) {
            (Some(mix), _) => mix.clone(),
            (None, Some(workload)) => workload.mix().parse().expect(CONSTANT),
            (None, None) => Mix::reads(self.read_ratio.unwrap_or(0.9)),
        };
        let shape = self.workload.map_or("uniform", Workload::distribution);
        let lengths = self.workload.map_or("64", |_| Workload::VALUE_BYTES);
        let inserts = if mix.has(Operation::Insert) { INSERTS_MAX } else { 0 };
        let key_text = KeyText::new(self.key_bytes as usize, self.first_key + self.keys + inserts)?;
        let counter_text = match key_text.counters() {
            Some(counters) => counters,
            None if mix.has(Operation::Increment) => {
                return Err(Refused::NoCounters(self.key_bytes as usize));
            }
            None => key_text.clone(),
        };
        Ok(Work {
            mix,
            shape: self.distribution.clone().unwrap_or_else(|| shape.to_owned()),
            lengths: self.value_bytes.clone().unwrap_or_else(|| lengths.parse().expect(CONSTANT)),
            key_text,
            counter_text,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::Options;

    fn settings(arguments: &[&str]) -> Result<Settings, Refused> {
        Options::try_parse_from([&["annulus-load"], arguments].concat()).unwrap().run.settings()
    }

    #[test]
    fn keys_must_fit_their_width() {
        assert!(matches!(settings(&["--key-bytes", "3", "--keys", "1001"]), Err(Refused::Key(_))));
        assert!(matches!(settings(&["--key-bytes", "9", "--mix", "insert=1"]), Err(Refused::Key(_))));
        assert!(matches!(settings(&["--key-bytes", "9", "--mix", "incr=1"]), Err(Refused::NoCounters(9))));
        assert!(settings(&["--mix", "insert=1,incr=1"]).is_ok());
    }

    #[test]
    fn workloads_set_what_is_not_said() {
        let load = settings(&["--workload", "d"]).unwrap().load;
        assert_eq!(
            (&*load.mix, &*load.distribution, &*load.value_bytes),
            ("get=95,insert=5", "latest", "1000")
        );
        let load =
            settings(&["--workload", "a", "--distribution", "uniform", "--value-bytes", "8"]).unwrap().load;
        assert_eq!((&*load.mix, &*load.distribution, &*load.value_bytes), ("get=50,set=50", "uniform", "8"));
        let load = settings(&[]).unwrap().load;
        assert_eq!((&*load.mix, &*load.distribution, &*load.value_bytes), ("get=90,set=10", "uniform", "64"));
    }

    #[test]
    fn connections_are_enough_for_all() {
        let few = ["--target", "127.0.0.1:1,127.0.0.1:2", "--target", "127.0.0.1:3", "--connections", "2"];
        assert!(matches!(settings(&few), Err(Refused::TooFewConnections { .. })));
        assert!(matches!(
            settings(&["--threads", "3", "--connections", "2"]),
            Err(Refused::TooFewConnections { .. })
        ));
        let three = settings(&[&few[..4], &["--connections", "3"]].concat()).unwrap();
        assert_eq!(three.load.target, "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
    }

    #[test]
    fn arrivals_are_for_an_open_loop() {
        assert!(matches!(settings(&["--arrivals", "poisson"]), Err(Refused::NoRate)));
        assert!(settings(&["--arrivals", "poisson", "--rate", "5"]).is_ok());
        assert!(settings(&["--arrivals", "poisson", "--find-max", "--p50", "1ms"]).is_ok());
    }
}
