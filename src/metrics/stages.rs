//! Where the time of a replicated request goes, by operation, level and stage.
//!
//! Invariant: the stages but for `Local` follow each other without a gap, so they add up to the latency of the request;
//! `Local` is a part of `Replicas`. All are stamped by turns of the event loop and batches in them, not request by
//! request.

use super::latencies::Latencies;
use crate::types::Level;

/// A part of a request's way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Stage {
    /// From when it was read off its connection until its replicas were asked: it waits for those before it.
    Queue,
    /// What its batch took at this node's own replica, if that was asked.
    Local,
    /// From when its replicas were asked until the slowest of those that its level takes had answered.
    Replicas,
    /// From then until its answer was given to the kernel.
    Flush,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Queue, Self::Local, Self::Replicas, Self::Flush];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Local => "local",
            Self::Replicas => "replicas",
            Self::Flush => "flush",
        }
    }
}

/// What the stages of one request took, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// See [`Stage::Queue`].
    pub queue_ns: u64,
    /// See [`Stage::Local`]; 0 if this node's replica was not asked.
    pub local_ns: u64,
    /// See [`Stage::Replicas`].
    pub replicas_ns: u64,
    /// See [`Stage::Flush`].
    pub flush_ns: u64,
}

/// The latencies of one operation's stages at one level.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    latencies: [Latencies; Stage::ALL.len()],
}

impl Stages {
    /// Those of one stage.
    #[must_use]
    pub fn of(&self, stage: Stage) -> &Latencies {
        &self.latencies[stage as usize]
    }

    fn record(&mut self, timing: &Timing) {
        let Timing { queue_ns, local_ns, replicas_ns, flush_ns } = *timing;
        self.latencies[Stage::Queue as usize].record(queue_ns);
        if local_ns > 0 {
            self.latencies[Stage::Local as usize].record(local_ns);
        }
        self.latencies[Stage::Replicas as usize].record(replicas_ns);
        self.latencies[Stage::Flush as usize].record(flush_ns);
    }

    fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            ours.merge(theirs);
        }
    }
}

/// The stages of all operations at all levels; those that never happened take a pointer each.
#[derive(Clone, Debug)]
pub struct LeveledStages {
    by_operation: Vec<[Option<Box<Stages>>; Level::ALL.len()]>,
}

impl LeveledStages {
    pub(super) fn new(operations: usize) -> Self {
        Self { by_operation: (0..operations).map(|_| Default::default()).collect() }
    }

    #[inline]
    pub(super) fn record(&mut self, operation: u16, level: Level, timing: &Timing) {
        let stages = &mut self.by_operation[usize::from(operation)][level as usize];
        stages.get_or_insert_default().record(timing);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.by_operation.iter_mut().flatten().zip(other.by_operation.iter().flatten())
        {
            if let Some(theirs) = theirs {
                ours.get_or_insert_default().merge(theirs);
            }
        }
    }

    /// Those that happened, by the number of the operation and the level.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Level, &Stages)> {
        let levels = |(operation, stages): (usize, _)| {
            let stages: &[Option<Box<Stages>>; Level::ALL.len()] = stages;
            let each = Level::ALL.into_iter().zip(stages);
            each.filter_map(move |(level, stages)| Some((operation, level, stages.as_deref()?)))
        };
        self.by_operation.iter().enumerate().flat_map(levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_kept_apart_by_operation_and_level_and_merged_as_histograms() {
        let timing = |queue_ns, local_ns| Timing { queue_ns, local_ns, replicas_ns: 5_000, flush_ns: 70 };
        let (mut ours, mut theirs) = (LeveledStages::new(3), LeveledStages::new(3));
        ours.record(1, Level::Quorum, &timing(100, 0));
        theirs.record(1, Level::Quorum, &timing(100_000, 900));
        theirs.record(1, Level::One, &timing(7, 7));
        theirs.record(2, Level::All, &timing(7, 7));
        ours.merge(&theirs);
        let found: Vec<_> = ours.iter().map(|(operation, level, _)| (operation, level)).collect();
        assert_eq!(found, [(1, Level::One), (1, Level::Quorum), (2, Level::All)]);
        let (.., stages) = ours.iter().nth(1).expect("just seen");
        let counts = Stage::ALL.map(|stage| stages.of(stage).count());
        assert_eq!(counts, [2, 1, 2, 2], "the own replica was asked once");
        assert!(stages.of(Stage::Queue).max_ns() >= 99_000);
        assert!(stages.of(Stage::Queue).at_quantile_ns(0.5) < 110);
    }
}
