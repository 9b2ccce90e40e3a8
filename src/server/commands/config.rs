//! CONFIG: what the node is set to, under the names that Redis clients ask for.
//!
//! Invariant: either all of what CONFIG SET is given is set, or nothing. What the command line alone can choose is told
//! and not set; nothing is written to a file.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::REPLICAS_MAX;
use crate::config::topology::{DRIFT_MS_BOUNDS, OPERATION_TIMEOUT_MS_BOUNDS};
use crate::message::topology::{Command, Setting};
use crate::operation;
use crate::operation::glob;
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::objects::help;
use crate::server::commands::{CommandError, Context};
use crate::server::control;
use crate::server::engine::Engine;
use crate::server::worker::Forget;

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Return parameters matching the patterns and their values.",
    "SET <parameter> <value> [<parameter> <value> ...]",
    "    Set maxmemory, maxclients, timeout, slowlog-log-slower-than, slowlog-max-len; in a cluster also, for all its",
    "    nodes, cluster-drift-max-ms, cluster-operation-timeout-ms and cluster-replication-factor, which the leader",
    "    carries out soon after.",
    "RESETSTAT",
    "    Count and time anew.",
    "HELP",
    "    Prints this help.",
];

pub(super) fn config(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let subcommand = &arguments[1];
    let arity = || CommandError::subcommand_arity("config", subcommand);
    match subcommand.to_ascii_uppercase().as_slice() {
        b"GET" if arguments.len() > 2 => get(context, arguments),
        b"SET" if arguments.len() > 3 && arguments.len().is_multiple_of(2) => set(context, arguments)?,
        b"RESETSTAT" if arguments.len() == 2 => {
            context.engine.forget_everywhere(Forget::Statistics);
            reply::ok(context.out.bytes());
        }
        b"HELP" if arguments.len() == 2 => help(context, HELP),
        b"REWRITE" if arguments.len() == 2 => {
            let text = "ERR The server is running without a config file";
            return Err(CommandError::Other(text.into()));
        }
        b"GET" | b"SET" | b"RESETSTAT" | b"HELP" | b"REWRITE" => return Err(arity()),
        _ => return Err(CommandError::subcommand("CONFIG", subcommand)),
    }
    Ok(())
}

fn get(context: &mut Context<'_>, arguments: &Arguments<'_>) {
    let settings = settings(context.engine);
    let wanted = |name: &str| {
        arguments.iter_from(2, 1).any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
    };
    let chosen: Vec<_> = settings.iter().filter(|(name, _)| wanted(name)).collect();
    let out = context.out.bytes();
    reply::map_head(out, context.session.resp, chosen.len());
    for (name, value) in chosen {
        reply::bulk(out, name.as_bytes());
        reply::bulk(out, value.as_bytes());
    }
}

/// A change that has been read and not been made.
enum Change {
    MemoryMax(u64),
    ConnectionsMax(usize),
    IdleTimeout(u64),
    SlowThreshold(i64),
    SlowEntries(usize),
    Cluster(Setting),
}

fn set(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let known = settings(context.engine);
    let mut changes = Vec::new();
    for index in (2..arguments.len()).step_by(2) {
        let name = String::from_utf8_lossy(&arguments[index]).to_lowercase();
        if !known.iter().any(|(known, _)| *known == name) {
            let before = "ERR Unknown option or number of arguments for CONFIG SET - '";
            return Err(CommandError::quoting(before, &arguments[index], "'"));
        }
        let failed = |reason: &str| {
            let text = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}");
            CommandError::Other(text.into())
        };
        changes.push(Change::read(&name, &arguments[index + 1]).map_err(failed)?);
    }
    let shared = &context.engine.shared;
    for change in changes {
        match change {
            Change::MemoryMax(bytes) => shared.store.set_memory_bytes_max((bytes > 0).then_some(bytes)),
            Change::ConnectionsMax(connections) => shared.settings.set_connections_max(connections),
            Change::IdleTimeout(seconds) => shared.settings.set_idle_timeout(Duration::from_secs(seconds)),
            Change::SlowThreshold(threshold_us) => shared.settings.set_slow_threshold_us(threshold_us),
            Change::SlowEntries(entries) => shared.settings.set_slow_entries_max(entries),
            Change::Cluster(setting) => shared.roster.iter().for_each(|roster| {
                // A control thread that has so much to do that this is lost is told again by whoever looks.
                let _ = roster.control.send(control::Message::Ask(Command::Set(setting)));
            }),
        }
    }
    reply::ok(context.out.bytes());
    Ok(())
}

/// A size as Redis reads it: `kb` is 1024 bytes and `k` a thousand, and so on.
fn parse_size(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let unit_bytes = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1_000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    number.checked_mul(unit_bytes)
}

impl Change {
    /// Reads a change, or says what is wrong with it.
    fn read(name: &str, value: &[u8]) -> Result<Self, &'static str> {
        let number = |least: i64| {
            let number =
                operation::parse_integer(value).ok_or("argument couldn't be parsed into an integer")?;
            if number < least {
                Err("argument must be between its least and greatest value")
            } else {
                Ok(number)
            }
        };
        let count = |least| number(least).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        match name {
            "maxmemory" => parse_size(value).map(Self::MemoryMax).ok_or("argument must be a memory value"),
            "maxclients" => count(1).map(Self::ConnectionsMax),
            "timeout" => number(0).map(|seconds| Self::IdleTimeout(seconds.unsigned_abs())),
            "slowlog-log-slower-than" => number(-1).map(Self::SlowThreshold),
            "slowlog-max-len" => count(0).map(Self::SlowEntries),
            "cluster-drift-max-ms" => cluster(number(1)?, Setting::DriftMaxMs, DRIFT_MS_BOUNDS),
            "cluster-operation-timeout-ms" => {
                cluster(number(1)?, Setting::OperationTimeoutMs, OPERATION_TIMEOUT_MS_BOUNDS)
            }
            "cluster-replication-factor" => {
                let copies = u8::try_from(number(1)?).ok();
                let copies = copies.filter(|copies| usize::from(*copies) <= REPLICAS_MAX);
                let copies = copies.ok_or("argument is out of bounds for a cluster")?;
                Ok(Self::Cluster(Setting::ReplicationFactor(copies)))
            }
            _ => Err("can't set immutable config"),
        }
    }
}

/// A setting of the whole cluster, if it is within its bounds.
fn cluster(
    number: i64,
    setting: fn(u32) -> Setting,
    bounds: RangeInclusive<u32>,
) -> Result<Change, &'static str> {
    let number = u32::try_from(number).ok().filter(|number| bounds.contains(number));
    number.map(setting).map(Change::Cluster).ok_or("argument is out of bounds for a cluster")
}

/// What CONFIG GET tells, under the names that Redis clients ask for.
fn settings(engine: &Engine) -> Vec<(&'static str, String)> {
    let (shared, limits) = (&engine.shared, &engine.shared.limits);
    let mut settings = vec![
        ("appendonly", "no".into()),
        ("bind", shared.address.ip().to_string()),
        ("databases", "1".into()),
        ("io-threads", shared.mailboxes.len().to_string()),
        ("maxclients", shared.settings.connections_max().to_string()),
        ("maxmemory", shared.store.memory_bytes_max().unwrap_or(0).to_string()),
        ("maxmemory-policy", "noeviction".into()),
        ("port", shared.address.port().to_string()),
        ("proto-max-bulk-len", limits.value_bytes_max.to_string()),
        ("save", String::new()),
        ("slowlog-log-slower-than", shared.settings.slow_threshold_us().to_string()),
        ("slowlog-max-len", shared.settings.slow_entries_max().to_string()),
        ("timeout", shared.settings.idle_timeout().map_or(0, |timeout| timeout.as_secs()).to_string()),
    ];
    if let Some(roster) = &shared.roster {
        let told = &roster.known().topology.settings;
        settings.push(("cluster-drift-max-ms", told.drift_max_ms.to_string()));
        settings.push(("cluster-operation-timeout-ms", told.operation_timeout_ms.to_string()));
        settings.push(("cluster-replication-factor", told.replication_factor.to_string()));
    }
    settings
}
