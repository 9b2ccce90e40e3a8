//! The order of measurements: memory first, each server alone; then rounds, all servers up and idle but the one loaded.
//!
//! Invariant: within a round every row is measured at every pipeline with the same seed, close together in time, and
//! the order of rows rotates from round to round, so that no server always follows the same other. It measures nothing
//! itself and computes no medians.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use thiserror::Error;

use crate::cell::{CellError, measure};
use crate::cores::Cores;
use crate::interrupt::Interrupt;
use crate::memory::{Loaded, Memory, settled_resident_bytes};
use crate::protocol::Protocol;
use crate::report::Phase;
use crate::sending::Sending;
use crate::server::{Kind, Server, StartError};
use crate::summary::{Cell, Measurements, Row, RowSummary};

/// What is measured.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct Settings {
    /// Rounds; the median is quoted.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Length of one measurement in milliseconds.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    cell_ms: u32,
    /// Load before each measurement that is not counted, in milliseconds.
    #[arg(long, default_value_t = 200)]
    warm_up_ms: u32,
    /// Requests under way on a connection at most.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pipelines: Vec<u32>,
    /// When a connection sends, as for annulus-load.
    #[arg(long, value_enum, default_value_t = Sending::Batch)]
    send: Sending,
    /// Connections at once.
    #[arg(long, default_value_t = 50)]
    connections: u32,
    /// Entries preloaded, and the key space.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of each key.
    #[arg(long, default_value_t = 16)]
    key_bytes: u32,
    /// Bytes of each value.
    #[arg(long, default_value_t = 64)]
    value_bytes: u32,
    /// Share of requests that read.
    #[arg(long, default_value_t = 0.9)]
    read_ratio: f64,
    /// How keys are drawn, as for annulus-load.
    #[arg(long, default_value = "uniform")]
    distribution: String,
    /// Seed of the first round; each round takes the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Do not measure bytes per entry.
    #[arg(long)]
    pub(crate) skip_memory: bool,
    /// Counts of entries, ascending, over which bytes per entry are a mean.
    #[arg(long, value_delimiter = ',', default_value = "1000000,1250000,1500000,1750000,2000000")]
    memory_entries: Vec<u64>,
    /// Core for the servers; the first we may use by default.
    #[arg(long)]
    server_core: Option<usize>,
    /// Core for the load; the second we may use by default.
    #[arg(long)]
    load_core: Option<usize>,
}

/// Why the comparison ended early.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("no server to compare")]
    NoServer,
    #[error("--memory-entries must ascend from above 0")]
    MemoryEntries,
    #[error("cannot keep the servers' output: {0}")]
    Logs(io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{server}: {source}")]
    Cell { server: &'static str, source: CellError },
    #[error("{server}: cannot read its resident set: {source}")]
    Resident { server: &'static str, source: io::Error },
}

/// A comparison and what it has found so far.
pub(crate) struct Comparison {
    pub(crate) settings: Settings,
    pub(crate) notes: Vec<String>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) memory: Vec<(Kind, Memory)>,
    rows: Vec<Row>,
    cores: Cores,
    logs: PathBuf,
}

impl Comparison {
    /// A comparison of those of `kinds` that are installed.
    pub(crate) fn new(settings: Settings, kinds: &[Kind]) -> Self {
        let mut notes = Vec::new();
        let cores = Cores::choose(settings.server_core, settings.load_core, &mut notes);
        let mut rows = Vec::new();
        for &server in kinds {
            if server.program().is_none() {
                notes.push(format!("{} is not installed", server.title()));
                continue;
            }
            rows.push(Row { server, protocol: server.protocol().to_owned() });
            if server == Kind::Annulus {
                rows.push(Row { server, protocol: Protocol::Native.name().to_owned() });
            }
        }
        let logs = std::env::temp_dir().join(format!("annulus-compare-{}", std::process::id()));
        Self { settings, notes, cells: Vec::new(), memory: Vec::new(), rows, cores, logs }
    }

    /// The lines of the table.
    pub(crate) fn summary(&self) -> Vec<RowSummary> {
        Measurements {
            rows: &self.rows,
            pipelines: &self.settings.pipelines,
            rounds: self.settings.rounds,
            cells: &self.cells,
            memory: &self.memory,
        }
        .summary()
    }

    /// Measures everything. What was found before a failure is kept.
    pub(crate) fn run(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let entries = &self.settings.memory_entries;
        if !entries.is_sorted_by(|one, next| one < next) || entries.first() == Some(&0) {
            return Err(Failure::MemoryEntries);
        }
        fs::create_dir_all(&self.logs).map_err(Failure::Logs)?;
        let outcome = self.measure(interrupt);
        // The error names the output of a server that ended; nothing else there is worth keeping.
        if !matches!(outcome, Err(Failure::Start(StartError::Ended { .. }))) {
            fs::remove_dir_all(&self.logs).map_err(Failure::Logs)?;
        }
        outcome
    }

    fn measure(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        if !self.settings.skip_memory {
            self.measure_memory(interrupt)?;
        }
        self.measure_rounds(interrupt)
    }

    fn measure_memory(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        for kind in self.kinds().into_iter().filter(|kind| kind.stores()) {
            eprintln!("{}: bytes per entry", kind.title());
            let server = self.start(kind, interrupt)?;
            let resident = || {
                settled_resident_bytes(server.pid())
                    .map_err(|source| Failure::Resident { server: kind.title(), source })
            };
            let mut memory = Memory { empty_bytes: resident()?, loaded: Vec::new() };
            let mut before = 0;
            for &entries in &self.settings.memory_entries {
                self.preload(&server, before, entries - before, interrupt)?;
                memory.loaded.push(Loaded { entries, resident_bytes: resident()? });
                before = entries;
            }
            self.memory.push((kind, memory));
        }
        Ok(())
    }

    fn measure_rounds(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let mut servers = Vec::new();
        for kind in self.kinds() {
            eprintln!("{}: preload", kind.title());
            let server = self.start(kind, interrupt)?;
            self.preload(&server, 0, self.settings.keys, interrupt)?;
            servers.push(server);
        }
        if servers.is_empty() {
            return Err(Failure::NoServer);
        }
        for round in 0..self.settings.rounds {
            eprintln!("round {} of {}", round + 1, self.settings.rounds);
            for &pipeline in &self.settings.pipelines.clone() {
                for place in 0..self.rows.len() {
                    let row = (place + round) % self.rows.len();
                    let kind = self.rows[row].server;
                    let server = servers.iter().find(|server| server.kind == kind);
                    let server = server.expect("a server was started for every row");
                    let phase = self.measure_cell(server, row, pipeline, round, interrupt)?;
                    self.note_misses(kind, &phase);
                    self.cells.push(Cell { round, row, pipeline, phase });
                }
            }
        }
        Ok(())
    }

    /// The servers of the rows, each once.
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.rows.iter().map(|row| row.server).collect();
        kinds.dedup();
        kinds
    }

    fn start(&self, kind: Kind, interrupt: &Interrupt) -> Result<Server, Failure> {
        let Settings { value_bytes, .. } = self.settings;
        Ok(Server::start(kind, self.cores.server, value_bytes, &self.logs, interrupt)?)
    }

    fn preload(&self, server: &Server, first: u64, keys: u64, interrupt: &Interrupt) -> Result<(), Failure> {
        let mut arguments = self.arguments(server, server.kind.protocol());
        arguments.extend([
            "--preload-only".to_owned(),
            format!("--first-key={first}"),
            format!("--keys={keys}"),
        ]);
        match measure(&arguments, self.cores.load, interrupt) {
            Ok(_) => Ok(()),
            Err(source) => Err(Failure::Cell { server: server.kind.title(), source }),
        }
    }

    fn measure_cell(
        &self,
        server: &Server,
        row: usize,
        pipeline: u32,
        round: usize,
        interrupt: &Interrupt,
    ) -> Result<Phase, Failure> {
        let settings = &self.settings;
        let mut arguments = self.arguments(server, &self.rows[row].protocol);
        arguments.extend([
            format!("--keys={}", settings.keys),
            format!("--pipeline={pipeline}"),
            format!("--send={}", settings.send.name()),
            format!("--duration={}ms", settings.cell_ms),
            format!("--warm-up={}ms", settings.warm_up_ms),
            format!("--read-ratio={}", settings.read_ratio),
            format!("--distribution={}", settings.distribution),
            format!("--seed={}", settings.seed.wrapping_add(round as u64)),
            format!("--server-pid={}", server.pid()),
        ]);
        measure(&arguments, self.cores.load, interrupt)
            .and_then(|report| report.measured.ok_or(CellError::Failed("nothing was measured".to_owned())))
            .map_err(|source| Failure::Cell { server: server.kind.title(), source })
    }

    /// What every run of the generator is given.
    fn arguments(&self, server: &Server, protocol: &str) -> Vec<String> {
        let settings = &self.settings;
        vec![
            format!("--target={}", server.address),
            format!("--protocol={protocol}"),
            format!("--connections={}", settings.connections),
            format!("--key-bytes={}", settings.key_bytes),
            format!("--value-bytes={}", settings.value_bytes),
        ]
    }

    /// Every key was preloaded: a server that misses has thrown entries away, and its figures are not comparable.
    fn note_misses(&mut self, kind: Kind, phase: &Phase) {
        let note = format!("{} missed keys that it was sent", kind.title());
        if phase.misses > 0 && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
