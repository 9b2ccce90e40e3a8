//! The load generator: open and closed loops over many connections, in any of several protocols.
//!
//! In reading order: [`options`] says what can be asked for, [`distribution`] and [`keys`] what is sent, [`dialect`]
//! how it is written, [`sending`], [`schedule`] and [`plan`] when, [`connection`] and [`run`] send it and take the
//! replies, [`counts`] counts and times them, [`process`] reads processor times, [`report`] prints, [`comparison`] and
//! [`page`] set results side by side. Invariant: whatever goes wrong gives one line on standard error and a code other
//! than 0, and what was measured until then is printed all the same.

// A load generator measures time: it is one of the places that may read the clock.
#![allow(clippy::disallowed_methods)]

mod comparison;
mod connection;
mod counts;
mod dialect;
mod distribution;
mod keys;
mod options;
mod page;
mod plan;
mod process;
mod protocol;
mod report;

mod run;
mod schedule;
mod sending;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::dialect::{Memcached, Native, Resp};
use crate::options::{Options, Subcommand};
use crate::protocol::Protocol;
use crate::report::Report;

fn main() -> ExitCode {
    let Options { command, run: options } = Options::parse();
    if let Some(Subcommand::Compare { results, html, floor, force }) = command {
        return match comparison::compare(&results, floor.as_deref(), html.as_deref(), force) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
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
    if let Some(path) = &options.html
        && let Err(error) = fs::write(path, page::page(std::slice::from_ref(&report), None))
    {
        return fail(&format_args!("cannot write {path}: {error}"));
    }
    let short = |phase: &report::Phase| phase.open_loop.is_some_and(|open| open.short_of_rate);
    match &report.failure {
        Some(failure) => fail(failure),
        None if report.measured.as_ref().is_some_and(short) => ExitCode::from(SHORT_OF_RATE),
        None => ExitCode::SUCCESS,
    }
}

/// Exit code of an open loop that fell short of its rate.
const SHORT_OF_RATE: u8 = 3;

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
