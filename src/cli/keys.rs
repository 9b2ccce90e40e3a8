//! Keys from the command line: get, put, remove, cas, incr, scan.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::output::{NO, bytes_as_json, print, write};
use super::{Failure, Target};
use crate::client::{ClusterClient, Conditional, Operations};
use crate::message::{Condition, ExpiryChange};
use crate::types::{Level, Version};

/// Where and how a key is asked for.
#[derive(Args, Debug)]
pub struct At {
    #[command(flatten)]
    target: Target,

    /// How many replicas it takes: one, quorum, all or linearizable [default: quorum].
    #[arg(long, value_parser = parse_level)]
    level: Option<Level>,
}

/// What can be done with keys.
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Prints what a key holds.
    Get {
        /// The key.
        key: OsString,
        /// Whom to ask, and how.
        #[command(flatten)]
        at: At,
    },
    /// Stores a value.
    Put {
        /// The key.
        key: OsString,
        /// The value; `-`: standard input to its end.
        value: OsString,
        /// Milliseconds after which the key expires.
        #[arg(long, value_name = "MILLISECONDS")]
        ttl: Option<u64>,
        /// Only if the key is not there.
        #[arg(long)]
        if_absent: bool,
        /// Whom to ask, and how.
        #[command(flatten)]
        at: At,
    },
    /// Removes a key.
    Remove {
        /// The key.
        key: OsString,
        /// Whom to ask, and how.
        #[command(flatten)]
        at: At,
    },
    /// Stores a value if the key holds exactly this version, which `get --json` and `put` show.
    Cas {
        /// The key.
        key: OsString,
        /// The version.
        expected: Version,
        /// The value; `-`: standard input to its end.
        value: OsString,
        /// Whom to ask, and how.
        #[command(flatten)]
        at: At,
    },
    /// Adds to a number; a key that is not there counts as 0.
    Incr {
        /// The key.
        key: OsString,
        /// What to add.
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        delta: i64,
        /// Whom to ask, and how.
        #[command(flatten)]
        at: At,
    },
    /// Prints the keys of the whole cluster, each on a line of its own.
    Scan {
        /// Only keys that begin so.
        #[arg(long, default_value = "")]
        prefix: OsString,
        /// Whom to ask.
        #[command(flatten)]
        target: Target,
    },
}

fn parse_level(text: &str) -> Result<Level, &'static str> {
    Level::named(text.as_bytes()).ok_or("one, quorum, all or linearizable is needed")
}

impl At {
    fn connect(&self) -> Result<ClusterClient, Failure> {
        let mut client = self.target.connect()?;
        client.set_level(self.level);
        Ok(client)
    }
}

impl KeyCommand {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Get { key, at } => get(key.as_bytes(), at),
            Self::Put { key, value, ttl, if_absent, at } => {
                let condition = if *if_absent { Condition::Absent } else { Condition::Always };
                let expiry = ttl.map_or(ExpiryChange::Clear, ExpiryChange::AfterMs);
                put(key.as_bytes(), value, condition, expiry, at)
            }
            Self::Cas { key, expected, value, at } => {
                put(key.as_bytes(), value, Condition::VersionIs(*expected), ExpiryChange::Keep, at)
            }
            Self::Remove { key, at } => {
                let existed = at.connect()?.remove(key.as_bytes())?;
                let words = if existed { "removed" } else { "there was no such key" };
                print(at.target.json, &json!({ "existed": existed }), || words.into())?;
                Ok(if existed { ExitCode::SUCCESS } else { NO.into() })
            }
            Self::Incr { key, delta, at } => {
                let sum = at.connect()?.increment(key.as_bytes(), *delta)?;
                print(at.target.json, &json!({ "value": sum }), || sum.to_string())
            }
            Self::Scan { prefix, target } => scan(prefix.as_bytes(), target),
        }
    }
}

fn get(key: &[u8], at: &At) -> Result<ExitCode, Failure> {
    let Some(entry) = at.connect()?.get(key)? else {
        if at.target.json {
            print(true, &Value::Null, String::new)?;
        } else {
            eprintln!("no such key");
        }
        return Ok(NO.into());
    };
    if at.target.json {
        let mut found = Map::new();
        found.extend([bytes_as_json("value", &entry.value)]);
        found.insert("version".into(), entry.version.to_string().into());
        found.insert("expires_at_ms".into(), entry.expires_at.map(|at| at.0).into());
        return print(true, &found, String::new);
    }
    write(&[&entry.value, &b"\n"[..]].concat())?;
    Ok(ExitCode::SUCCESS)
}

fn put(
    key: &[u8],
    value: &OsString,
    condition: Condition,
    expiry: ExpiryChange,
    at: &At,
) -> Result<ExitCode, Failure> {
    let value = if value == "-" { read_to_end()? } else { value.as_bytes().to_vec() };
    match at.connect()?.put_with(key, &value, condition, expiry)? {
        Conditional::Written(version) => {
            let version = version.to_string();
            print(at.target.json, &json!({ "written": true, "version": version }), || {
                format!("written: {version}")
            })
        }
        Conditional::NotWritten { current } => {
            let current = current.map(|version| version.to_string());
            print(at.target.json, &json!({ "written": false, "current": current }), || match &current {
                Some(version) => format!("not written: the key holds version {version}"),
                None => "not written: there is no such key".into(),
            })?;
            Ok(NO.into())
        }
    }
}

fn read_to_end() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn scan(prefix: &[u8], target: &Target) -> Result<ExitCode, Failure> {
    let mut client = target.connect()?;
    let mut page = Vec::new();
    for key in client.scan() {
        let key = key?;
        if !key.starts_with(prefix) {
            continue;
        }
        if target.json {
            let line: Map<String, Value> = [bytes_as_json("key", &key)].into_iter().collect();
            page.extend_from_slice(&serde_json::to_vec(&line).map_err(io::Error::from)?);
        } else {
            page.extend_from_slice(&key);
        }
        page.push(b'\n');
        if page.len() > 1 << 16 {
            write(&page)?;
            page.clear();
        }
    }
    write(&page)?;
    Ok(ExitCode::SUCCESS)
}
