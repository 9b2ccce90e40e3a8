//! The load generator: open and closed loops over many connections, in any of several protocols.
//!
//! In reading order: [`options`] and [`settings`] say what can be asked for; [`mix`], [`distribution`], [`inserts`],
//! [`keys`], [`values`] and [`weighted`] what is sent, [`dialect`] how it is written, [`sending`], [`schedule`] and
//! [`plan`] when. [`greeting`] and [`connection`] make connections and keep what is under way on them; a [`lane`] is a
//! thread that drives its share of them, bound to one of the [`cores`]; the [`crew`] is all lanes, a [`mod@run`] the
//! stages, [`search`] the choice of rates, [`stop`] what ends it all. [`tally`] counts, [`gather`], [`timeline`] and
//! [`summary`] sum up, [`process`] reads processor times, [`watch`] shows it meanwhile; [`report`] and [`table`] say it
//! at the end, [`comparison`] and [`page`] set results side by side.
//!
//! Invariant: whatever goes wrong gives one line on standard error and a code other than 0, and what was measured until
//! then is printed all the same.

// A load generator measures time: it is one of the places that may read the clock.
#![allow(clippy::disallowed_methods)]

mod comparison;
mod connection;
mod cores;
mod crew;
mod dialect;
mod distribution;
mod gather;
mod greeting;
mod inserts;
mod keys;
mod lane;
mod mix;
mod options;
mod page;
mod plan;
mod process;
mod protocol;
mod report;
mod run;
mod schedule;
mod search;
mod sending;
mod served;
mod settings;
mod stop;
mod summary;
mod table;
mod tally;
mod timeline;
mod values;
mod watch;
mod weighted;

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::dialect::{Memcached, Native, Resp};
use crate::options::{Options, OutputOptions, RunOptions, Subcommand};
use crate::protocol::Protocol;
use crate::report::Report;
use crate::settings::Settings;
use crate::stop::Stop;
use crate::watch::{LogFile, Watch};

/// The command line asks for what cannot be.
const WRONG_OPTIONS: u8 = 2;
/// An open loop fell short of its rate, or no rate met the objective.
const SHORT_OF_RATE: u8 = 3;
/// Connections broke and the run went on without them.
const LOST_CONNECTIONS: u8 = 4;
/// A signal ended the run: what a shell says of a process that SIGINT ended.
const INTERRUPTED: u8 = 128 + 2;

fn main() -> ExitCode {
    let Options { command, run: options } = Options::parse();
    if let Some(Subcommand::Compare { results, html, floor, force }) = command {
        return match comparison::compare(&results, floor.as_deref(), html.as_deref(), force) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        };
    }
    match options.settings() {
        Ok(settings) => run(&options, &settings),
        Err(refused) => fail(&refused, WRONG_OPTIONS),
    }
}

fn run(options: &RunOptions, settings: &Settings) -> ExitCode {
    let output = &options.output;
    let stop = match Stop::on_signals() {
        Ok(stop) => stop,
        Err(error) => return fail(&format_args!("cannot take over signals: {error}"), 1),
    };
    let mut log = match output.hdr_log.as_deref().map(LogFile::create).transpose() {
        Ok(log) => log,
        Err(error) => return fail(&Unwritable(output.hdr_log.as_deref(), &error), 1),
    };
    let mut watch = match Watch::new(settings, log.as_mut()) {
        Ok(watch) => watch,
        Err(error) => return fail(&Unwritable(output.hdr_log.as_deref(), &error), 1),
    };
    let report = match settings.protocol {
        Protocol::Resp => run::run(settings, &Resp::new(settings.level, settings.wait), &stop, &mut watch),
        Protocol::Memcached => run::run(settings, &Memcached, &stop, &mut watch),
        Protocol::Native => run::run(settings, &Native::new(settings.level), &stop, &mut watch),
    };
    let log_failed = watch.end();
    if let Err(unwritable) = write(&report, output) {
        return fail(&unwritable, 1);
    }
    if let Some(error) =
        log_failed.or_else(|| log.and_then(|log| log.end().err()).map(|error| error.to_string()))
    {
        return fail(&Unwritable(output.hdr_log.as_deref(), &error), 1);
    }
    outcome(&report)
}

/// Says how the run went, in a line if it did not go well, and as an exit code.
fn outcome(report: &Report) -> ExitCode {
    if let Some(failure) = &report.failure {
        return fail(failure, if report.interrupted { INTERRUPTED } else { 1 });
    }
    if let Some(loss) = report.losses.first() {
        let connections: usize = report.losses.iter().map(|loss| loss.connections).sum();
        let lost = format!("went on without {connections} connections; {}: {}", loss.target, loss.reason);
        return fail(&lost, LOST_CONNECTIONS);
    }
    let short = |phase: &report::Phase| phase.open_loop.is_some_and(|open| open.short_of_rate);
    let none_found = report.search.as_ref().is_some_and(|search| search.found_per_second.is_none());
    if none_found || report.measured.as_ref().is_some_and(short) {
        return ExitCode::from(SHORT_OF_RATE);
    }
    ExitCode::SUCCESS
}

/// A file could not be written.
struct Unwritable<'a, E>(Option<&'a str>, E);

impl<E: Display> Display for Unwritable<'_, E> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "cannot write {}: {}", self.0.unwrap_or("the report"), self.1)
    }
}

/// Prints the report, and writes what else was asked for: whatever cannot be written, the rest is.
fn write<'a>(report: &Report, output: &'a OutputOptions) -> Result<(), Unwritable<'a, io::Error>> {
    let page = output.html.as_deref().map_or(Ok(()), |path| {
        let page = page::page(std::slice::from_ref(report), None);
        fs::write(path, page).map_err(|error| Unwritable(Some(path), error))
    });
    let json = output
        .json
        .as_deref()
        .map_or(Ok(()), |path| json(report, path).map_err(|error| Unwritable(Some(path), error)));
    let table = if output.json.as_deref() == Some("-") { Ok(()) } else { write!(io::stdout(), "{report}") };
    page.and(json).and(table.map_err(|error| Unwritable(None, error)))
}

fn json(report: &Report, path: &str) -> io::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    if path == "-" { io::stdout().write_all(text.as_bytes()) } else { fs::write(path, text) }
}

fn fail(cause: &dyn Display, code: u8) -> ExitCode {
    eprintln!("annulus-load: {cause}");
    ExitCode::from(code)
}
