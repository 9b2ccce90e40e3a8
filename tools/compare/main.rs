//! Annulus, the floor and whatever other servers are installed, under one load, interleaved.
//!
//! In reading order: [`server`] starts and ends them, [`cores`] says where they run, [`cell`] is one measurement by
//! annulus-load, [`comparison`] is the order of all of them, [`memory`] reads resident sets, [`summary`] makes the
//! table and [`targets`] judges it. Invariant: every process started is ended by its id, on errors and on Ctrl-C too;
//! all traffic stays on the loopback.

// Waits for children and settles memory: a tool, which may read the clock and sleep.
#![allow(clippy::disallowed_methods)]

mod cell;
mod comparison;
mod cores;
mod interrupt;
mod memory;
#[path = "../load/protocol.rs"]
mod protocol;
#[path = "../load/report.rs"]
mod report;
#[path = "../load/sending.rs"]
mod sending;
mod server;
mod summary;
mod targets;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

use crate::comparison::{Comparison, Failure, Settings};
use crate::interrupt::Interrupt;
use crate::server::Kind;
use crate::summary::{Cell, RowSummary, floor_line, markdown};
use crate::targets::{Verdict, verdicts};

/// Exit code of `--check` when everything was measured and a target was missed.
const TARGET_MISSED: u8 = 3;

/// Compares the processor time per operation and the memory per entry of Annulus and other servers.
#[derive(Parser)]
#[command(name = "annulus-compare", version)]
struct Options {
    /// Servers to compare; those that are not installed are left out.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "echo,redis,valkey,memcached,annulus")]
    servers: Vec<Kind>,
    /// Servers to leave out.
    #[arg(long, value_enum, value_delimiter = ',')]
    without: Vec<Kind>,
    #[command(flatten)]
    settings: Settings,
    /// Write everything measured as JSON to this file; - for standard output, instead of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
    /// Exit with code 3 if Annulus misses a target, or one could not be judged.
    #[arg(long)]
    check: bool,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Output<'a> {
    settings: &'a Settings,
    notes: &'a [String],
    rows: &'a [RowSummary],
    cells: &'a [Cell],
    verdicts: &'a [Verdict],
    failure: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let interrupt = match Interrupt::install() {
        Ok(interrupt) => interrupt,
        Err(error) => return fail(&format_args!("cannot handle signals: {error}")),
    };
    let mut kinds = options.servers;
    kinds.retain(|kind| !options.without.contains(kind));
    let mut comparison = Comparison::new(options.settings, &kinds);
    let outcome = comparison.run(&interrupt);
    let rows = comparison.summary();
    let verdicts = verdicts(&rows, !comparison.settings.skip_memory);
    let results = Results { comparison: &comparison, rows: &rows, verdicts: &verdicts };
    if let Err(error) = results.print(options.json.as_deref(), outcome.as_ref().err()) {
        return fail(&format_args!("cannot write the results: {error}"));
    }
    let all_reached = !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.reached);
    match outcome {
        Err(failure) => fail(&failure),
        Ok(()) if options.check && !all_reached => ExitCode::from(TARGET_MISSED),
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// What there is to print, which after a failure is what was measured until then.
struct Results<'a> {
    comparison: &'a Comparison,
    rows: &'a [RowSummary],
    verdicts: &'a [Verdict],
}

impl Results<'_> {
    fn print(&self, json: Option<&str>, failure: Option<&Failure>) -> io::Result<()> {
        let Self { comparison, rows, verdicts } = *self;
        if let Some(path) = json {
            let output = Output {
                settings: &comparison.settings,
                notes: &comparison.notes,
                rows,
                cells: &comparison.cells,
                verdicts,
                failure: failure.map(ToString::to_string),
            };
            let text = serde_json::to_string_pretty(&output)?;
            if path == "-" {
                return writeln!(io::stdout(), "{text}");
            }
            fs::write(path, text + "\n")?;
        }
        let mut output = io::stdout().lock();
        if !comparison.cells.is_empty() || !comparison.memory.is_empty() {
            writeln!(output, "{}", markdown(rows, &comparison.settings.pipelines))?;
        }
        if let Some(line) = floor_line(rows) {
            writeln!(output, "{line}")?;
        }
        for note in &comparison.notes {
            writeln!(output, "Note: {note}.")?;
        }
        for verdict in verdicts {
            writeln!(output, "Target {verdict}.")?;
        }
        Ok(())
    }
}

fn fail(cause: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("annulus-compare: {cause}");
    ExitCode::FAILURE
}
