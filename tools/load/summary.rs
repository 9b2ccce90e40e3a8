//! What a stage's sum comes to: rates, percentiles, and processor time per operation.
//!
//! Invariant: every figure of a phase is computed here, once, from its sum and its two ends. Nothing is measured.

use std::time::{Duration, Instant};

use crate::dialect::Outcome;
use crate::mix::Operation;
use crate::process::Moment;
use crate::report::{OpenLoop, Part, Phase, Probe};
use crate::tally::{Tally, latency_us, percentiles_us};

/// An open loop that answers less than this share of what was due fell short of its rate.
const ANSWERED_MIN: f64 = 0.99;

/// The two ends of a phase.
pub(crate) struct Ends<'a> {
    pub(crate) start: &'a Moment,
    pub(crate) end: &'a Moment,
    pub(crate) count_from: Instant,
    /// From there to the last that was counted.
    pub(crate) duration: Duration,
}

impl Ends<'_> {
    /// Microseconds an operation, if `nanos` were spent between the two ends. The processor times are read a moment
    /// later than counting begins and ends, which matters in short phases.
    fn per_operation_us(&self, nanos: u64, operations: u64) -> f64 {
        let read_s = (self.end.at - self.start.at.max(self.count_from)).as_secs_f64();
        let share = if read_s > 0.0 { self.duration.as_secs_f64() / read_s } else { 1.0 };
        nanos as f64 / 1e3 * share / operations.max(1) as f64
    }
}

/// A phase, with its operations and the names of its targets by their places.
pub(crate) fn phase(sum: &Tally, ends: &Ends<'_>, operations: &[Operation], targets: &[&str]) -> Phase {
    let all = sum.all();
    let Part {
        operations: answered,
        hits,
        misses,
        stored,
        errors,
        operations_per_second,
        latency_us: latency,
        ..
    } = all.part("", ends.duration);
    let by_operation = operations.iter().enumerate();
    let by_target = targets.iter().enumerate().filter(|_| targets.len() > 1);
    let server_ns = ends.end.server_nanos_since(ends.start);
    Phase {
        operations: answered,
        hits,
        misses,
        stored,
        errors,
        duration_ms: ends.duration.as_secs_f64() * 1e3,
        operations_per_second,
        replies_per_read: answered as f64 / sum.reads.max(1) as f64,
        latency_us: latency,
        by_operation: by_operation
            .map(|(place, operation)| sum.of_operation(place).part(operation.name(), ends.duration))
            .collect(),
        by_target: by_target.map(|(place, name)| sum.of_target(place).part(name, ends.duration)).collect(),
        probe: None,
        open_loop: sum.service_ns.as_ref().map(|service_ns| OpenLoop {
            due: sum.due,
            sent_late: sum.sent_late,
            late_us_max: sum.late_max.as_secs_f64() * 1e6,
            service_us: latency_us(service_ns),
            short_of_rate: (answered as f64) < ANSWERED_MIN * sum.due as f64,
        }),
        percentiles_us: percentiles_us(&all.latency_ns),
        series: Vec::new(),
        longest_gap_ms: 0.0,
        server_cpu_us_per_operation: server_ns.map(|nanos| ends.per_operation_us(nanos, answered)),
        generator_cpu_us_per_operation: ends.per_operation_us(ends.end.own_nanos_since(ends.start), answered),
    }
}

/// What a probe counted.
pub(crate) fn probe(sum: &Tally) -> Probe {
    let all = sum.all();
    let service_ns = sum.service_ns.as_ref().unwrap_or(&all.latency_ns);
    Probe {
        operations: all.count(),
        errors: all.of(Outcome::Error),
        latency_us: latency_us(&all.latency_ns),
        service_us: latency_us(service_ns),
    }
}
