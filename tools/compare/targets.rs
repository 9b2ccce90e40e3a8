//! What Annulus has set itself to reach, and whether what was measured does.
//!
//! Invariant: a target is judged by medians over rounds, and one that was asked for but could not be measured is not
//! reached. What was not asked for (another pipeline, memory that was skipped) is not judged. Nothing is measured here.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::server::Kind;
use crate::summary::{RowSummary, Spread};

/// Pipeline, and the greatest excess over the floor there, as a share of redis-server's.
const EXCESS_SHARE_MAX: [(u32, f64); 3] = [(1, 0.45), (16, 0.22), (64, 0.20)];

/// The greatest resident set, in bytes per entry.
const BYTES_PER_ENTRY_MAX: f64 = 118.0;

/// The greatest CPU time per operation over the native protocol, as a share of that over RESP.
const NATIVE_OVER_RESP_MAX: f64 = 1.0;

/// What one target came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Verdict {
    /// What is bounded.
    pub(crate) what: String,
    /// What was measured: the median, and the range if there is one; absent if it could not be.
    pub(crate) measured: Option<Spread>,
    /// At most this is allowed.
    pub(crate) limit: f64,
    /// Whether the median is within the limit.
    pub(crate) reached: bool,
}

impl Verdict {
    fn new(what: String, measured: Option<Spread>, limit: f64) -> Self {
        let reached = measured.is_some_and(|measured| measured.median <= limit);
        Self { what, measured, limit, reached }
    }
}

impl Display for Verdict {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        // Bytes want no decimals, shares want two or three.
        let digits = if self.limit >= 10.0 { 1 } else { 3 };
        let Self { what, limit, .. } = self;
        match self.measured {
            None => write!(formatter, "missed: {what}: not measured, at most {limit}"),
            Some(Spread { median, min, max }) => {
                let verdict = if self.reached { "reached" } else { "missed" };
                write!(formatter, "{verdict}: {what}: {median:.digits$}")?;
                if min < max {
                    write!(formatter, " ({min:.digits$}..{max:.digits$})")?;
                }
                write!(formatter, ", at most {limit}")
            }
        }
    }
}

/// What each target came to that the measurements `rows` asked for; none without Annulus.
pub(crate) fn verdicts(rows: &[RowSummary], memory_was_asked_for: bool) -> Vec<Verdict> {
    let Some(annulus) = rows.iter().find(|summary| summary.row.is_first_of(Kind::Annulus)) else {
        return Vec::new();
    };
    let mut verdicts = Vec::new();
    for figures in &annulus.figures {
        let target = EXCESS_SHARE_MAX.iter().find(|(pipeline, _)| *pipeline == figures.pipeline);
        if let Some((pipeline, limit)) = target {
            let what = format!("share of redis-server's excess over the floor at pipeline {pipeline}");
            verdicts.push(Verdict::new(what, figures.share_of_redis_excess, *limit));
        }
    }
    if memory_was_asked_for {
        let bytes = annulus.bytes_per_entry.and_then(|bytes| Spread::of(vec![bytes]));
        verdicts.push(Verdict::new("bytes per entry".to_owned(), bytes, BYTES_PER_ENTRY_MAX));
    }
    let other_protocols = rows
        .iter()
        .filter(|summary| summary.row.server == Kind::Annulus && !summary.row.is_first_of(Kind::Annulus));
    for summary in other_protocols {
        for figures in &summary.figures {
            let what = format!(
                "CPU per operation over {}, as a share of that over {}, at pipeline {}",
                summary.row.protocol, annulus.row.protocol, figures.pipeline
            );
            verdicts.push(Verdict::new(what, figures.share_of_first_protocol, NATIVE_OVER_RESP_MAX));
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{Figures, Row};

    fn figures(pipeline: u32, share_of_excess: Option<f64>, share_of_first: Option<f64>) -> Figures {
        let spread = |value: Option<f64>| value.and_then(|value| Spread::of(vec![value]));
        Figures {
            pipeline,
            cpu_us: None,
            excess_us: None,
            share_of_redis_excess: spread(share_of_excess),
            share_of_redis_cpu: None,
            share_of_first_protocol: spread(share_of_first),
        }
    }

    fn annulus(protocol: &str, figures: Vec<Figures>, bytes_per_entry: Option<f64>) -> RowSummary {
        let row = Row { server: Kind::Annulus, protocol: protocol.to_owned() };
        RowSummary { row, figures, memory: None, bytes_per_entry }
    }

    #[test]
    fn each_target_is_judged_by_its_own_limit() {
        let rows = [
            annulus("resp", vec![figures(1, Some(0.45), None), figures(16, Some(0.23), None)], Some(117.9)),
            annulus("native", vec![figures(1, None, Some(0.99)), figures(16, None, Some(1.01))], Some(117.9)),
        ];
        let verdicts = verdicts(&rows, true);
        let reached: Vec<_> = verdicts.iter().map(|verdict| verdict.reached).collect();
        assert_eq!(reached, [true, false, true, true, false]);
        assert_eq!(
            verdicts[1].to_string(),
            "missed: share of redis-server's excess over the floor at pipeline 16: 0.230, at most 0.22"
        );
        assert_eq!(verdicts[2].to_string(), "reached: bytes per entry: 117.9, at most 118");
    }

    #[test]
    fn what_was_asked_for_and_not_measured_is_missed() {
        let rows = [annulus("resp", vec![figures(64, None, None)], None)];
        let with_memory = verdicts(&rows, true);
        assert_eq!(with_memory.len(), 2);
        assert!(with_memory.iter().all(|verdict| !verdict.reached));
        assert!(with_memory[0].to_string().contains("not measured"));
        assert_eq!(verdicts(&rows, false).len(), 1);
    }

    #[test]
    fn what_was_not_asked_for_is_not_judged() {
        let rows = [annulus("resp", vec![figures(8, Some(9.0), None)], None)];
        assert!(verdicts(&rows, false).is_empty());
        assert!(verdicts(&[], true).is_empty());
    }
}
