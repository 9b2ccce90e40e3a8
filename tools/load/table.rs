//! A report as a table for people.
//!
//! Invariant: what marks a result as not to be trusted is in capitals. Nothing is measured or computed here.

use std::fmt::{self, Display, Formatter};

use crate::report::{LoadSettings, Part, Phase, Report, SearchReport, Verdict};

/// A generator that sends more than this share of its requests late is taken to be what limits a step.
const LATE_SHARE: f64 = 0.01;

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let load = &self.load;
        writeln!(formatter, "target                    {} ({})", load.target, load.protocol)?;
        writeln!(formatter, "load                      {}", Load(load))?;
        writeln!(
            formatter,
            "keys                      {} of {} bytes from {}, {}, seed {}; values of {} bytes",
            load.keys, load.key_bytes, load.first_key, load.distribution, load.seed, load.value_bytes
        )?;
        writeln!(formatter, "mix                       {}", load.mix)?;
        if let Some(preload) = &self.preload {
            writeln!(
                formatter,
                "preload                   {} sets, {} errors, {:.0} a second",
                preload.operations, preload.errors, preload.operations_per_second
            )?;
        }
        if let Some(search) = &self.search {
            search.fmt(formatter)?;
        }
        if let Some(measured) = &self.measured {
            measured.fmt(formatter)?;
        }
        for loss in &self.losses {
            writeln!(
                formatter,
                "LOST                      {}: {} connections, {} requests; {}",
                loss.target, loss.connections, loss.requests, loss.reason
            )?;
        }
        if self.interrupted {
            writeln!(formatter, "INTERRUPTED               what is above was measured until then")?;
        }
        Ok(())
    }
}

/// How the load is driven, in a line.
struct Load<'a>(&'a LoadSettings);

impl Display for Load<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let load = self.0;
        write!(formatter, "{} connections", load.connections)?;
        if load.threads > 1 {
            write!(formatter, " on {} threads", load.threads)?;
        }
        let arrivals = load.arrivals.as_deref().unwrap_or("fixed");
        match (load.rate_per_second, &load.arrivals) {
            (Some(rate), _) => write!(formatter, ", open loop, {rate} a second, {arrivals}"),
            (None, Some(_)) => write!(formatter, ", open loop, {arrivals}, searching for the highest rate"),
            (None, None) => write!(formatter, " x {} of {}, closed loop", load.send, load.pipeline),
        }
    }
}

impl Display for SearchReport {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "objective                 ")?;
        for (place, bound) in self.bounds.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}{} within {} us", bound.percentile, bound.latency_us)?;
        }
        writeln!(formatter)?;
        for step in &self.steps {
            let latency = &step.latency_us;
            let verdict = match step.verdict {
                Verdict::Met => "met",
                Verdict::Missed if step.sent_late > LATE_SHARE => "missed, and the generator was late",
                Verdict::Missed => "missed",
                Verdict::Unfinished => "unfinished",
            };
            writeln!(
                formatter,
                "step {:>12.0}/s         answered {:.0}/s, p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us: {verdict}{}",
                step.rate_per_second,
                step.operations_per_second,
                latency.p50,
                latency.p99,
                latency.p99_9,
                if step.cut_short { " (cut short)" } else { "" }
            )?;
        }
        match self.found_per_second {
            Some(rate) => writeln!(formatter, "highest rate              {rate:.0} a second"),
            None => writeln!(formatter, "highest rate              none met the objective"),
        }
    }
}

impl Display for Phase {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "count                     {}", self.operations)?;
        writeln!(formatter, "errors                    {}", self.errors)?;
        writeln!(formatter, "misses                    {}", self.misses)?;
        writeln!(formatter, "duration ms               {:.1}", self.duration_ms)?;
        writeln!(formatter, "operations/s              {:.0}", self.operations_per_second)?;
        writeln!(formatter, "replies per read          {:.1}", self.replies_per_read)?;
        let latency = &self.latency_us;
        for (name, value_us) in [
            ("mean", latency.mean),
            ("p50", latency.p50),
            ("p90", latency.p90),
            ("p99", latency.p99),
            ("p99.9", latency.p99_9),
            ("p99.99", latency.p99_99),
            ("max", latency.max),
        ] {
            writeln!(formatter, "latency {name:<6} us         {value_us:.1}")?;
        }
        let operations = self.by_operation.iter().filter(|_| self.by_operation.len() > 1);
        let parts = operations.map(|part| ("", part)).chain(self.by_target.iter().map(|part| ("at ", part)));
        if let Some(open) = &self.open_loop {
            let service = &open.service_us;
            writeln!(formatter, "service p99, max us       {:.1}, {:.1}", service.p99, service.max)?;
            writeln!(formatter, "due                       {}", open.due)?;
            writeln!(
                formatter,
                "sent late                 {} (the latest by {:.1} us)",
                open.sent_late, open.late_us_max
            )?;
            if open.short_of_rate {
                writeln!(formatter, "SHORT OF ITS RATE         answered less than 99% of what was due")?;
            }
        }
        for (kind, part) in parts {
            writeln!(formatter, "{}", Row(kind, part))?;
        }
        if let Some(probe) = &self.probe {
            let latency = &probe.latency_us;
            writeln!(
                formatter,
                "probe                     {} gets, {} errors; p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, \
                 max {:.1} us",
                probe.operations, probe.errors, latency.p50, latency.p99, latency.p99_9, latency.max
            )?;
        }
        writeln!(formatter, "longest without success   {:.1} ms", self.longest_gap_ms)?;
        match self.server_cpu_us_per_operation {
            Some(cpu_us) => writeln!(formatter, "server CPU us/operation   {cpu_us:.3}")?,
            None => writeln!(formatter, "server CPU us/operation   unknown without --server-pid")?,
        }
        writeln!(formatter, "own CPU us/operation      {:.3}", self.generator_cpu_us_per_operation)
    }
}

/// A part of a phase, in a line.
struct Row<'a>(&'static str, &'a Part);

impl Display for Row<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self(kind, part) = self;
        let latency = &part.latency_us;
        write!(
            formatter,
            "{:<25} {} ({:.0}/s), {} misses, {} errors; p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, max {:.1} us",
            format!("{kind}{}", part.name),
            part.operations,
            part.operations_per_second,
            part.misses,
            part.errors,
            latency.p50,
            latency.p99,
            latency.p99_9,
            latency.max
        )
    }
}
