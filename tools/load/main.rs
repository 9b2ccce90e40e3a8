//! The load generator: a closed loop over many connections, in any of several protocols.
//!
//! In reading order: [`options`] says what can be asked for, [`distribution`] and [`keys`] what is sent, [`dialect`]
//! how it is written, [`sending`] and [`plan`] when, [`connection`] and [`run`] send it and take the replies,
//! [`process`] reads processor times and [`report`] prints. Invariant: whatever goes wrong gives one line on standard
//! error and a code other than 0, and what was measured until then is printed all the same.

// A load generator measures time: it is one of the places that may read the clock.
#![allow(clippy::disallowed_methods)]

mod connection;
mod dialect;
mod distribution;
mod keys;
mod options;
mod plan;
mod process;
mod protocol;
mod report;
mod run;
mod sending;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::dialect::{Memcached, Native, Resp};
use crate::options::Options;
use crate::protocol::Protocol;
use crate::report::Report;

fn main() -> ExitCode {
    let options = Options::parse();
    let settings = match options.settings() {
        Ok(settings) => settings,
        Err(refused) => return fail(&refused),
    };
    let report = match settings.protocol {
        Protocol::Resp => run::run(&settings, &Resp),
        Protocol::Memcached => run::run(&settings, &Memcached),
        Protocol::Native => run::run(&settings, &Native::default()),
    };
    if let Err(error) = print(&report, options.json.as_deref()) {
        return fail(&format_args!("cannot write the report: {error}"));
    }
    match &report.failure {
        Some(failure) => fail(failure),
        None => ExitCode::SUCCESS,
    }
}

fn print(report: &Report, json: Option<&str>) -> io::Result<()> {
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(report)?;
        if path == "-" {
            return writeln!(io::stdout(), "{text}");
        }
        fs::write(path, text + "\n")?;
    }
    write!(io::stdout(), "{report}")
}

fn fail(cause: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("annulus-load: {cause}");
    ExitCode::FAILURE
}
