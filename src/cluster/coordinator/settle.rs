//! Settling what was read: writing the newest cell back before the answer, so that no later read sees less.
//!
//! Invariant: the client is told when as many replicas as the level takes have held this very cell, not before: with a
//! newer one in its place, what was read may be what nobody ever agreed on, and is read again.
//! It changes nothing that a client wrote: what it stores is stored somewhere already, or marks what has expired.

use crate::cluster::coordinator::operation::{Effort, Nudge, State, Step};
use crate::cluster::coordinator::read::Read;
use crate::cluster::coordinator::replicas::Set;
use crate::cluster::coordinator::{Orders, Turn, read};
use crate::cluster::deviation::Deviation;
use crate::message::Refusal;
use crate::message::peer::{Obstacle, Summary, Task, Verdict};

pub(super) struct Settle {
    newest: Summary,
    holders: Set,
    /// Answered the read: the first to be written to.
    answered: Set,
    asked: Set,
}

impl Settle {
    pub(super) fn new(newest: Summary, holders: Set, answered: Set) -> Self {
        Self { newest, holders, answered, asked: holders }
    }

    pub(super) fn start<O: Orders>(&mut self, effort: &mut Effort, turn: &mut Turn<'_, O>) -> Step {
        effort.new_round(turn);
        for place in self.answered.without(self.holders).iter() {
            self.send(place, effort, turn);
        }
        self.judge(effort, turn)
    }

    pub(super) fn answer<O: Orders>(
        &mut self,
        place: usize,
        verdict: &Verdict<'_>,
        effort: &mut Effort,
        turn: &mut Turn<'_, O>,
    ) -> Step {
        match *verdict {
            Verdict::Applied { .. } => self.holders.insert(place),
            Verdict::Superseded { .. } if O::DEVIATION == Deviation::NewerCountsAsRepaired => {
                self.holders.insert(place);
            }
            // What was read is not the newest any more, and if it never was agreed on, it never will be.
            Verdict::Superseded { .. } if effort.read_again(turn) => {
                return Step::Become(State::Read(Read::new(false)));
            }
            Verdict::Refused(Obstacle::Epoch(_)) => effort.parked.insert(place),
            Verdict::Refused(Obstacle::Promised) if O::DEVIATION == Deviation::PromisedCountsAsRepaired => {
                self.holders.insert(place);
            }
            // A ballot is promised there that may be to replace this, or not: only another round can tell.
            Verdict::Superseded { .. } | Verdict::Refused(Obstacle::Promised) => return Step::Agree,
            Verdict::Refused(_)
            | Verdict::Cell(_)
            | Verdict::Summary(_)
            | Verdict::Accepted { .. }
            | Verdict::Told(_) => {}
        }
        self.judge(effort, turn)
    }

    pub(super) fn nudge<O: Orders>(
        &mut self,
        nudge: Nudge,
        effort: &mut Effort,
        turn: &mut Turn<'_, O>,
    ) -> Step {
        match nudge {
            Nudge::Lost => self.judge(effort, turn),
            Nudge::Hurry => {
                for place in effort.replicas.reachable(turn.view).without(self.holders).iter() {
                    self.send(place, effort, turn);
                }
                self.judge(effort, turn)
            }
            Nudge::Expire => self.refused(effort, turn),
        }
    }

    fn judge<O: Orders>(&mut self, effort: &mut Effort, turn: &mut Turn<'_, O>) -> Step {
        let quorum = effort.quorum;
        if quorum.is_met(self.holders) {
            read::reply(Some(self.newest), effort, turn);
            return Step::End;
        }
        let mut expected = self.holders.union(effort.pending).union(effort.parked);
        if !quorum.is_met(expected) {
            let replicas = effort.replicas;
            let others = replicas.reachable(turn.view).without(self.asked);
            for next in quorum.complete(expected, replicas.by_use(others)) {
                self.send(next, effort, turn);
                expected.insert(next);
            }
            if !quorum.is_met(expected) {
                return self.refused(effort, turn);
            }
        }
        Step::Wait
    }

    fn send<O: Orders>(&mut self, place: usize, effort: &mut Effort, turn: &mut Turn<'_, O>) {
        self.asked.insert(place);
        let newest = self.newest;
        effort.send(place, turn, |value| Task::Repair(newest.with(value)));
    }

    fn refused<O: Orders>(&self, effort: &Effort, turn: &mut Turn<'_, O>) -> Step {
        effort.refuse(turn, Refusal::Unavailable, "what was read could not be confirmed at enough replicas")
    }
}
