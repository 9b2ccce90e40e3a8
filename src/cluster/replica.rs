//! A replica: what a node does with an inquiry about a key it holds.
//!
//! Invariant: an inquiry of another epoch changes nothing, and neither does a client's cell that ranks below what is
//! there or whose version is too far ahead of this node's clock; what is stored elsewhere already is never refused for
//! its version. What may have outlived its operation changes nothing either. It answers every inquiry exactly once. It
//! holds no data: cells are behind [`Cells`].

use std::time::Duration;

use crate::message::peer::{Answer, Cell, Inquiry, Obstacle, Rank, Task, Verdict};
use crate::types::{Epoch, Version, WallTime};

/// The cells that a replica keeps.
pub trait Cells {
    /// Lends the key's cell to `read`, whatever it holds, expired or not.
    fn inspect<R>(&self, key: &[u8], read: impl FnOnce(Option<Cell<'_>>) -> R) -> R;

    /// Keeps `cell` if it ranks above what is there.
    ///
    /// # Errors
    /// [`Full`] if there is no memory for it; then nothing was changed.
    fn merge(&self, key: &[u8], cell: Cell<'_>, now: WallTime) -> Result<Merged, Full>;

    /// Promises `ballot` for the key, and lends its cell to `read`; or, if the version that is there is not below it or
    /// a promise is above it, that, and nothing is changed. What was promised stays so until the cell has that version,
    /// a higher ballot is promised, or the promise is forgotten.
    fn prepare<R>(
        &self,
        key: &[u8],
        ballot: Version,
        read: impl FnOnce(Result<Option<Cell<'_>>, Version>) -> R,
    ) -> R;

    /// Keeps `cell` if its version is promised, or there already; then promises `next`.
    ///
    /// # Errors
    /// [`Full`] if there is no memory for it; then nothing was changed.
    fn accept(
        &self,
        key: &[u8],
        cell: Cell<'_>,
        next: Option<Version>,
        now: WallTime,
    ) -> Result<Accepted, Full>;
}

/// What became of a cell that was to be accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It is there now.
    Stored {
        /// The next ballot is promised.
        rides: bool,
    },
    /// A cell or a promise of this version is there, above it.
    Superseded {
        /// The version.
        by: Version,
    },
    /// Its version is not promised, or no longer.
    NotPromised,
}

/// There is no memory for a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// What became of a cell that was merged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merged {
    /// It, or one of the same rank, is there now.
    Stored {
        /// Whether another value was there before that had not expired.
        existed: bool,
    },
    /// A cell of this higher rank is there, and stays.
    Superseded {
        /// Its rank.
        by: Rank,
    },
    /// This ballot is promised, above it.
    Promised {
        /// The ballot.
        ballot: Version,
    },
}

/// How a replica takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// Not at all.
    #[default]
    Absent,
    /// It takes what is written, and tells nothing: it has lost what it had.
    Recovering,
    /// It counts.
    Active,
}

/// What decides whether a replica serves.
#[derive(Clone, Copy, Debug)]
pub struct Replica {
    /// The epoch it has adopted.
    pub epoch: Epoch,
    /// How it takes part.
    pub standing: Standing,
    /// How far ahead of its own clock it takes a new version to be possible.
    pub drift_max: Duration,
    /// It stores nothing beyond this time: so much is on disk of what its clock has seen.
    pub ceiling: WallTime,
    /// How long it was stopped before it looked at what has come, in milliseconds: what came may have waited so long.
    pub stopped_ms: u64,
}

impl Replica {
    /// Does what `inquiry` asks, or refuses, and lends the answer to `reply`.
    pub fn serve<R>(
        &self,
        inquiry: &Inquiry<'_>,
        cells: &impl Cells,
        now: WallTime,
        reply: impl FnOnce(Answer<'_>) -> R,
    ) -> R {
        let operation = inquiry.operation;
        if let Some(obstacle) = self.obstacle(inquiry, now) {
            return reply(Answer { operation, verdict: Verdict::Refused(obstacle) });
        }
        let verdict = match inquiry.task {
            Task::Read => {
                let lend = |cell: Option<Cell<'_>>| reply(Answer { operation, verdict: Verdict::Cell(cell) });
                return cells.inspect(inquiry.key, lend);
            }
            Task::ReadVersion => {
                let summary = cells.inspect(inquiry.key, |cell| cell.as_ref().map(Cell::summary));
                Verdict::Summary(summary)
            }
            Task::Write(cell) => match cells.merge(inquiry.key, cell, now) {
                Ok(Merged::Stored { existed }) => Verdict::Applied { existed },
                Ok(Merged::Superseded { by }) => Verdict::Superseded { by: by.version },
                Ok(Merged::Promised { ballot }) => Verdict::Superseded { by: ballot },
                Err(Full) => Verdict::Refused(Obstacle::OutOfMemory),
            },
            Task::Repair(cell) => match cells.merge(inquiry.key, cell, now) {
                Ok(Merged::Stored { existed }) => Verdict::Applied { existed },
                Ok(Merged::Superseded { by }) => Verdict::Superseded { by: by.version },
                Ok(Merged::Promised { .. }) => Verdict::Refused(Obstacle::Promised),
                Err(Full) => Verdict::Refused(Obstacle::OutOfMemory),
            },
            Task::Prepare { ballot, whole } => {
                return cells.prepare(inquiry.key, ballot, |found| {
                    let verdict = match found {
                        Ok(cell) if whole => Verdict::Cell(cell),
                        Ok(cell) => Verdict::Summary(cell.as_ref().map(Cell::summary)),
                        Err(by) => Verdict::Superseded { by },
                    };
                    reply(Answer { operation, verdict })
                });
            }
            Task::Accept { cell, next } => match cells.accept(inquiry.key, cell, next, now) {
                Ok(Accepted::Stored { rides }) => Verdict::Accepted { rides },
                Ok(Accepted::Superseded { by }) => Verdict::Superseded { by },
                Ok(Accepted::NotPromised) => Verdict::Refused(Obstacle::NotPromised),
                Err(Full) => Verdict::Refused(Obstacle::OutOfMemory),
            },
        };
        reply(Answer { operation, verdict })
    }

    /// Why this node does not do what it is asked of what it holds, under that epoch and within that time, as far as
    /// it does not depend on what that is.
    #[must_use]
    pub fn refuses(&self, epoch: Epoch, remaining_ms: Option<u16>) -> Option<Obstacle> {
        self.mistimed(epoch, remaining_ms)
            .or_else(|| (self.standing != Standing::Active).then_some(Obstacle::NotServing))
    }

    fn mistimed(&self, epoch: Epoch, remaining_ms: Option<u16>) -> Option<Obstacle> {
        if epoch != self.epoch {
            return Some(Obstacle::Epoch(self.epoch));
        }
        let overdue = remaining_ms.is_some_and(|remaining_ms| u64::from(remaining_ms) < self.stopped_ms);
        overdue.then_some(Obstacle::Overdue)
    }

    fn obstacle(&self, inquiry: &Inquiry<'_>, now: WallTime) -> Option<Obstacle> {
        let mistimed = self.mistimed(inquiry.epoch, Some(inquiry.remaining_ms));
        if mistimed.is_some() {
            return mistimed;
        }
        match (self.standing, inquiry.task) {
            (Standing::Active, _) | (Standing::Recovering, Task::Write(_) | Task::Repair(_)) => {}
            (Standing::Absent | Standing::Recovering, _) => return Some(Obstacle::NotServing),
        }
        let wall_of_it = inquiry.task.version()?.stamp.wall();
        if wall_of_it > self.ceiling {
            return Some(Obstacle::NotServing);
        }
        if matches!(inquiry.task, Task::Repair(_)) {
            return None;
        }
        let drift_max_ms = u64::try_from(self.drift_max.as_millis()).unwrap_or(u64::MAX);
        let ahead = wall_of_it.0 > now.0.saturating_add(drift_max_ms);
        ahead.then_some(Obstacle::Drift)
    }
}
