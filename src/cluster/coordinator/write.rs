//! Writing: one version to all replicas, until the level is met.
//!
//! Invariant: a replica counts only when it applied the very version that is being written, and a write that any
//! replica may have applied is never reported as refused. The node's own replica is asked when another has agreed,
//! or when nobody else is left to ask: a clock that runs ahead is found out before anything is stored.

use crate::cluster::coordinator::operation::{Effort, Nudge, Step};
use crate::cluster::coordinator::replicas::Set;
use crate::cluster::coordinator::{Orders, Turn};
use crate::cluster::deviation::Deviation;
use crate::message::peer::{Cell, Kind, Obstacle, Task, Verdict};
use crate::message::{Outcome, Refusal, Reply};
use crate::types::{Stamp, Version};

pub(super) struct Write {
    kind: Kind,
    version: Option<Version>,
    applied: Set,
    /// Hold a higher version.
    superseded: Set,
    highest: Stamp,
    /// The own replica, while it is not asked yet.
    held_back: Option<usize>,
    /// Came back without their data, and are not told yet.
    recovering: Set,
    obstacle: Option<Obstacle>,
    /// Whether any replica may have applied any version of this write.
    touched: bool,
    existed: bool,
    retries: u8,
}

impl Write {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            version: None,
            applied: Set::default(),
            superseded: Set::default(),
            highest: Stamp::default(),
            held_back: None,
            recovering: Set::default(),
            obstacle: None,
            touched: false,
            existed: false,
            retries: 0,
        }
    }

    /// Prepares for beginning anew: whoever was asked may have applied it.
    pub(super) fn forget(&mut self, effort: &Effort) {
        self.touched |= !effort.pending.is_empty();
    }

    /// Sends to all; the version stays the same if there is one, so that who has it applies nothing twice.
    pub(super) fn start<O: Orders>(&mut self, effort: &mut Effort, turn: &mut Turn<'_, O>) -> Step {
        if self.version.is_none() {
            let version = turn.clock.issue_above(self.highest);
            if version.stamp.wall() > turn.ceiling && O::DEVIATION != Deviation::CeilingIgnored {
                self.obstacle = Some(Obstacle::NotServing);
                return if self.touched { self.unknown(effort, turn) } else { self.refused(effort, turn) };
            }
            self.version = Some(version);
        }
        effort.new_round(turn);
        (self.applied, self.superseded) = (Set::default(), Set::default());
        let mut targets = effort.replicas.reachable(turn.view);
        self.recovering = effort.replicas.recovering(turn.view);
        self.held_back = effort.replicas.place_of(turn.view.own).filter(|&own| targets.contains(own));
        if let Some(own) = self.held_back {
            targets.remove(own);
        }
        for place in targets.iter() {
            self.send(place, effort, turn);
        }
        self.judge(false, effort, turn)
    }

    pub(super) fn answer<O: Orders>(
        &mut self,
        place: usize,
        verdict: &Verdict<'_>,
        effort: &mut Effort,
        turn: &mut Turn<'_, O>,
    ) -> Step {
        match *verdict {
            Verdict::Applied { existed } => {
                self.applied.insert(place);
                self.touched = true;
                self.existed |= existed;
                if let Some(own) = self.held_back.take() {
                    self.send(own, effort, turn);
                }
                self.tell_recovering(effort, turn);
            }
            Verdict::Superseded { .. } if O::DEVIATION == Deviation::SupersededAcknowledged => {
                self.applied.insert(place);
                self.touched = true;
            }
            Verdict::Superseded { by } => {
                self.superseded.insert(place);
                self.highest = self.highest.max(by.stamp);
            }
            Verdict::Refused(Obstacle::Epoch(_)) if O::DEVIATION == Deviation::OldEpochAccepted => {
                self.applied.insert(place);
            }
            Verdict::Refused(Obstacle::Epoch(_)) => effort.parked.insert(place),
            Verdict::Refused(obstacle) => self.obstacle = Some(obstacle),
            Verdict::Cell(_) | Verdict::Summary(_) | Verdict::Accepted { .. } | Verdict::Told(_) => {
                self.obstacle = Some(Obstacle::NotServing);
            }
        }
        self.judge(false, effort, turn)
    }

    pub(super) fn nudge<O: Orders>(
        &mut self,
        nudge: Nudge,
        effort: &mut Effort,
        turn: &mut Turn<'_, O>,
    ) -> Step {
        match nudge {
            Nudge::Lost => {
                self.touched = true;
                self.judge(false, effort, turn)
            }
            Nudge::Hurry => {
                // One copy may be refused, and another that arrives later applied.
                if O::DEVIATION != Deviation::CopiesForgotten {
                    self.touched |= !effort.pending.is_empty();
                }
                for place in effort.pending.union(effort.parked).iter() {
                    self.send(place, effort, turn);
                }
                self.judge(true, effort, turn)
            }
            Nudge::Expire if O::DEVIATION == Deviation::UnknownReportedAsRefused => {
                self.refused(effort, turn)
            }
            Nudge::Expire if self.touched || !effort.pending.is_empty() => self.unknown(effort, turn),
            Nudge::Expire => self.refused(effort, turn),
        }
    }

    /// Decides whether the level is met, can still be met, or is to be tried with a higher version.
    fn judge<O: Orders>(&mut self, impatient: bool, effort: &mut Effort, turn: &mut Turn<'_, O>) -> Step {
        let version = self.version.expect("a write begins by issuing a version");
        let quorum = effort.quorum;
        if quorum.is_met(self.applied) {
            let reply = match self.kind {
                Kind::Tombstone => Reply::Removed { existed: self.existed },
                Kind::Value { .. } | Kind::Expired => Reply::Written { version },
            };
            effort.reply(turn, Outcome::Done(reply));
            return Step::End;
        }
        let mut waiting = effort.pending.union(effort.parked);
        if waiting.is_empty()
            && let Some(own) = self.held_back
            && quorum.is_met(self.applied.with(own))
        {
            self.held_back = None;
            self.send(own, effort, turn);
            return Step::Wait;
        }
        if let Some(own) = self.held_back {
            waiting.insert(own);
        }
        let may_be_met = quorum.is_met(self.applied.union(waiting));
        if may_be_met && (!impatient || self.superseded.is_empty()) {
            return Step::Wait;
        }
        let willing = self.applied.union(waiting).union(self.superseded);
        let retry = !self.superseded.is_empty() && quorum.is_met(willing);
        if retry && self.retries < turn.config.retries_max {
            turn.counts.writes_superseded += u64::from(self.retries == 0);
            self.retries += 1;
            self.touched |= !effort.pending.is_empty();
            self.version = None;
            return self.start(effort, turn);
        }
        if self.touched {
            return self.unknown(effort, turn);
        }
        // As long as somebody may have applied it, it is not known to be refused.
        if effort.pending.is_empty() { self.refused(effort, turn) } else { Step::Wait }
    }

    /// Tells those who came back without their data; what they answer counts for nothing. Not before another has
    /// applied it: a write that is refused is nowhere.
    fn tell_recovering<O: Orders>(&mut self, effort: &mut Effort, turn: &mut Turn<'_, O>) {
        for place in std::mem::take(&mut self.recovering).iter() {
            self.send(place, effort, turn);
            effort.pending.remove(place);
        }
    }

    #[inline]
    fn send<O: Orders>(&self, place: usize, effort: &mut Effort, turn: &mut Turn<'_, O>) {
        let version = self.version.expect("a write begins by issuing a version");
        let kind = self.kind;
        effort.send(place, turn, |value| Task::Write(Cell { version, content: kind.with(value) }));
    }

    fn unknown<O: Orders>(&self, effort: &Effort, turn: &mut Turn<'_, O>) -> Step {
        let message = "too few replicas confirmed the write in time: it may or may not take effect";
        effort.reply(turn, Outcome::Unknown { message });
        Step::End
    }

    fn refused<O: Orders>(&self, effort: &Effort, turn: &mut Turn<'_, O>) -> Step {
        let (reason, message) = match self.obstacle {
            Some(Obstacle::OutOfMemory) => (
                Refusal::OutOfMemory,
                "a replica's memory limit is reached: remove keys or raise --memory-max",
            ),
            Some(Obstacle::Drift) => {
                (Refusal::Unavailable, "this node's clock is too far ahead of its replicas': correct it")
            }
            Some(
                Obstacle::NotServing
                | Obstacle::Overdue
                | Obstacle::NotPromised
                | Obstacle::Promised
                | Obstacle::Epoch(_),
            )
            | None => (Refusal::Unavailable, "too few of the key's replicas can serve it now"),
        };
        effort.refuse(turn, reason, message)
    }
}
