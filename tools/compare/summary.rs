//! From cells to the table: medians, excesses over the floor, shares of redis-server's excess.
//!
//! Invariant: a ratio is taken within one round, where both sides met the same machine, and only then is the median
//! over rounds taken; a round that lacks either side is left out of that ratio. Nothing is measured here.

use std::fmt::Write;

use serde::Serialize;

use crate::memory::Memory;
use crate::report::Phase;
use crate::server::Kind;

/// A server over a protocol: a line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) server: Kind,
    pub(crate) protocol: String,
}

impl Row {
    /// Whether it is `server` over the protocol that it is first of all compared over.
    pub(crate) fn is_first_of(&self, server: Kind) -> bool {
        self.server == server && self.protocol == server.protocol()
    }

    fn title(&self) -> String {
        if self.is_first_of(self.server) {
            self.server.title().to_owned()
        } else {
            format!("{} ({})", self.server.title(), self.protocol)
        }
    }
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) round: usize,
    /// Index among the rows.
    pub(crate) row: usize,
    pub(crate) pipeline: u32,
    pub(crate) phase: Phase,
}

/// The median over rounds and the range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of the values of the rounds; `None` if there are none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = values.first().zip(values.last())?;
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

/// A row at one pipeline.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) pipeline: u32,
    /// Server CPU per operation in microseconds.
    pub(crate) cpu_us: Option<Spread>,
    /// That less the floor's.
    pub(crate) excess_us: Option<Spread>,
    /// That over redis-server's.
    pub(crate) share_of_redis_excess: Option<Spread>,
    /// CPU per operation over redis-server's, floor and all.
    pub(crate) share_of_redis_cpu: Option<Spread>,
    /// CPU per operation over that of the same server over its first protocol; absent if this is that.
    pub(crate) share_of_first_protocol: Option<Spread>,
}

/// A line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RowSummary {
    #[serde(flatten)]
    pub(crate) row: Row,
    pub(crate) figures: Vec<Figures>,
    pub(crate) memory: Option<Memory>,
    pub(crate) bytes_per_entry: Option<f64>,
}

/// Everything that was measured.
pub(crate) struct Measurements<'a> {
    pub(crate) rows: &'a [Row],
    pub(crate) pipelines: &'a [u32],
    pub(crate) rounds: usize,
    pub(crate) cells: &'a [Cell],
    /// By server.
    pub(crate) memory: &'a [(Kind, Memory)],
}

impl Measurements<'_> {
    /// The lines of the table.
    pub(crate) fn summary(&self) -> Vec<RowSummary> {
        let memory_of =
            |server| self.memory.iter().find(|(kind, _)| *kind == server).map(|(_, memory)| memory);
        self.rows
            .iter()
            .enumerate()
            .map(|(index, row)| {
                let figures = self.pipelines.iter().map(|&pipeline| self.figures(index, pipeline)).collect();
                let memory = memory_of(row.server).cloned();
                let bytes_per_entry = memory.as_ref().map(Memory::bytes_per_entry);
                RowSummary { row: row.clone(), figures, memory, bytes_per_entry }
            })
            .collect()
    }

    fn figures(&self, row: usize, pipeline: u32) -> Figures {
        let cpu_us = |round| self.cpu_us(row, pipeline, round);
        let reference = |kind| self.rows.iter().position(|row| row.server == kind);
        let floor_us = |round| self.cpu_us(reference(Kind::Echo)?, pipeline, round);
        let redis_us = |round| self.cpu_us(reference(Kind::Redis)?, pipeline, round);
        let excess_us = |round| Some(cpu_us(round)? - floor_us(round)?);
        let share_of_excess = |round| {
            let redis_excess_us = redis_us(round)? - floor_us(round)?;
            (redis_excess_us > 0.0).then_some(excess_us(round)? / redis_excess_us)
        };
        let share_of_cpu = |round| Some(cpu_us(round)? / redis_us(round)?);
        let server = self.rows[row].server;
        let first =
            self.rows.iter().position(|other| other.is_first_of(server)).filter(|&first| first != row);
        let share_of_first = |round| Some(cpu_us(round)? / self.cpu_us(first?, pipeline, round)?);
        Figures {
            pipeline,
            cpu_us: self.spread(cpu_us),
            excess_us: self.spread(excess_us),
            share_of_redis_excess: self.spread(share_of_excess),
            share_of_redis_cpu: self.spread(share_of_cpu),
            share_of_first_protocol: self.spread(share_of_first),
        }
    }

    fn spread(&self, of_round: impl Fn(usize) -> Option<f64>) -> Option<Spread> {
        Spread::of((0..self.rounds).filter_map(of_round).collect())
    }

    fn cpu_us(&self, row: usize, pipeline: u32, round: usize) -> Option<f64> {
        let cell =
            self.cells.iter().find(|cell| (cell.row, cell.pipeline, cell.round) == (row, pipeline, round))?;
        cell.phase.server_cpu_us_per_operation
    }
}

/// The table in markdown: server CPU in microseconds per operation, excesses, shares, bytes per entry.
pub(crate) fn markdown(rows: &[RowSummary], pipelines: &[u32]) -> String {
    let mut header = "| server CPU us/operation".to_owned();
    for pipeline in pipelines {
        let _ = write!(header, " | pipeline {pipeline}");
    }
    let listed: Vec<String> = pipelines.iter().map(u32::to_string).collect();
    let _ = write!(header, " | excess over the floor at {}", listed.join(" / "));
    for pipeline in pipelines {
        let _ = write!(header, " | share of redis-server's excess at {pipeline}");
    }
    header.push_str(" | bytes per entry (RSS) |\n");
    let rule = format!("{}|\n", "|---".repeat(2 * pipelines.len() + 3));

    let mut text = header + &rule;
    for summary in rows {
        let figures = &summary.figures;
        let mut columns = vec![summary.row.title()];
        columns.extend(figures.iter().map(|figures| cell(figures.cpu_us, |it| format!("{:.3}", it.median))));
        let is_floor = summary.row.server == Kind::Echo;
        let of_floor = |spread: Option<Spread>| spread.filter(|_| !is_floor);
        let excess: Vec<String> = figures
            .iter()
            .map(|figures| cell(of_floor(figures.excess_us), |it| format!("{:.3}", it.median)))
            .collect();
        columns.push(excess.join(" / "));
        columns.extend(figures.iter().map(|figures| {
            cell(of_floor(figures.share_of_redis_excess), |it| {
                format!("{:.2} ({:.2}..{:.2})", it.median, it.min, it.max)
            })
        }));
        columns.push(summary.bytes_per_entry.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.0}")));
        let _ = writeln!(text, "| {} |", columns.join(" | "));
    }
    text
}

/// One line on whether the floor is the floor: its cost as a share of redis-server's.
pub(crate) fn floor_line(rows: &[RowSummary]) -> Option<String> {
    let floor = rows.iter().find(|summary| summary.row.server == Kind::Echo)?;
    let mut parts = Vec::new();
    for figures in &floor.figures {
        let share = figures.share_of_redis_cpu?;
        let Spread { median, min, max } = share;
        parts.push(format!("{median:.3} ({min:.3}..{max:.3}) at {}", figures.pipeline));
    }
    Some(format!("The floor costs of redis-server: {}.", parts.join(", ")))
}

fn cell(spread: Option<Spread>, format: impl Fn(Spread) -> String) -> String {
    spread.map_or_else(|| "-".to_owned(), format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Latency;

    fn cell_of(round: usize, row: usize, cpu_us: f64) -> Cell {
        let latency_us =
            Latency { mean: 0.0, p50: 0.0, p90: 0.0, p99: 0.0, p99_9: 0.0, p99_99: 0.0, max: 0.0 };
        Cell {
            round,
            row,
            pipeline: 16,
            phase: Phase {
                longest_gap_ms: 0.0,
                operations: 1,
                hits: 1,
                misses: 0,
                stored: 0,
                errors: 0,
                duration_ms: 1.0,
                operations_per_second: 1.0,
                replies_per_read: 1.0,
                latency_us,
                by_operation: Vec::new(),
                by_target: Vec::new(),
                probe: None,
                open_loop: None,
                percentiles_us: Vec::new(),
                series: Vec::new(),
                server_cpu_us_per_operation: Some(cpu_us),
                generator_cpu_us_per_operation: 0.0,
            },
        }
    }

    fn rows() -> Vec<Row> {
        [Kind::Echo, Kind::Redis, Kind::Annulus]
            .map(|server| Row { server, protocol: server.protocol().to_owned() })
            .to_vec()
    }

    #[test]
    fn shares_are_taken_within_a_round() {
        // The second round ran on a machine twice as slow: shares must not notice.
        let mut cells = Vec::new();
        for (round, slowness) in [(0, 1.0), (1, 2.0), (2, 1.0)] {
            for (row, cpu_us) in [(0, 0.25), (1, 1.25), (2, 0.5)] {
                cells.push(cell_of(round, row, cpu_us * slowness));
            }
        }
        let rows = rows();
        let measurements =
            Measurements { rows: &rows, pipelines: &[16], rounds: 3, cells: &cells, memory: &[] };
        let summary = measurements.summary();
        let figures = &summary[2].figures[0];
        let share = Spread { median: 0.25, min: 0.25, max: 0.25 };
        assert_eq!(figures.share_of_redis_excess, Some(share));
        assert_eq!(figures.excess_us, Some(Spread { median: 0.25, min: 0.25, max: 0.5 }));
        assert_eq!(summary[0].figures[0].share_of_redis_cpu.map(|it| it.median), Some(0.2));
        let table = markdown(&summary, &[16]);
        assert!(table.contains("| Annulus | 0.500 | 0.250 | 0.25 (0.25..0.25) | - |"), "{table}");
        assert!(table.contains("| floor (canned replies) | 0.250 | - | - | - |"), "{table}");
        assert!(floor_line(&summary).unwrap().contains("0.200 (0.200..0.200) at 16"));
    }

    #[test]
    fn another_protocol_is_a_share_of_the_first_within_a_round() {
        let rows =
            ["resp", "native"].map(|protocol| Row { server: Kind::Annulus, protocol: protocol.to_owned() });
        let cells = [cell_of(0, 0, 1.0), cell_of(0, 1, 0.5), cell_of(1, 0, 3.0), cell_of(1, 1, 1.5)];
        let measurements =
            Measurements { rows: &rows, pipelines: &[16], rounds: 2, cells: &cells, memory: &[] };
        let summary = measurements.summary();
        let share = Spread { median: 0.5, min: 0.5, max: 0.5 };
        assert_eq!(summary[1].figures[0].share_of_first_protocol, Some(share));
        assert_eq!(summary[0].figures[0].share_of_first_protocol, None);
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let rows = rows();
        let cells = [cell_of(0, 2, 0.5)];
        let measurements =
            Measurements { rows: &rows, pipelines: &[16], rounds: 1, cells: &cells, memory: &[] };
        let summary = measurements.summary();
        assert_eq!(summary[2].figures[0].excess_us, None);
        assert_eq!(floor_line(&summary), None);
        assert!(markdown(&summary, &[16]).contains("| Annulus | 0.500 | - | - | - |"));
    }

    #[test]
    fn medians() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0]).map(|it| it.median), Some(2.5));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
