//! Handing an operation to the node that proposes for its key, and waiting for what it tells.
//!
//! Invariant: a change is sent to one node, once: whether that has carried it out when its link is lost, nobody knows.
//! What changes nothing may be asked of another.

use crate::cluster::coordinator::operation::{Effort, Nudge, Step};
use crate::cluster::coordinator::{Order, Orders, Turn, read};
use crate::cluster::deviation::Deviation;
use crate::message::peer::{Cell, Content, OperationId, Proposal, Told, Verdict};
use crate::message::{Outcome, Refusal};
use crate::types::NodeNumber;

pub(super) struct Forward {
    /// Whether something is to change.
    changes: bool,
    /// Who was asked and has not answered.
    asked: Option<NodeNumber>,
}

impl Forward {
    pub(super) fn new(changes: bool) -> Self {
        Self { changes, asked: None }
    }

    /// Whether something is to change.
    pub(super) fn changes(&self) -> bool {
        self.changes
    }

    pub(super) fn start<O: Orders>(&mut self, effort: &mut Effort, turn: &mut Turn<'_, O>) -> Step {
        if self.asked.is_some() {
            return Step::Wait;
        }
        let Some(to) = effort.replicas.proposer(turn.view) else { return self.ended(effort, turn) };
        if to == turn.view.own {
            return Step::Propose;
        }
        effort.new_round(turn);
        self.asked = Some(to);
        let operation = OperationId { slot: turn.slot, round: effort.round() };
        let change = self.changes.then(|| effort.value());
        let Turn { remaining_ms, .. } = *turn;
        let proposal =
            Proposal { operation, epoch: turn.view.epoch, remaining_ms, key: effort.key(), change };
        turn.out.order(Order::Propose { to, proposal });
        Step::Wait
    }

    pub(super) fn answer<O: Orders>(
        &mut self,
        from: NodeNumber,
        verdict: &Verdict<'_>,
        effort: &mut Effort,
        turn: &mut Turn<'_, O>,
    ) -> Step {
        if self.asked != Some(from) {
            return Step::Wait;
        }
        match *verdict {
            Verdict::Told(Told::Done(reply)) if self.changes => {
                turn.out.order(Order::Told { client: effort.client(), reply });
                Step::End
            }
            Verdict::Cell(cell) if !self.changes => {
                if let Some(Cell { content: Content::Value { value, .. }, .. }) = cell {
                    effort.set_value(value);
                }
                read::reply(cell.as_ref().map(Cell::summary), effort, turn);
                Step::End
            }
            Verdict::Told(Told::Refused(reason)) => {
                effort.refuse(turn, reason, "the node that proposes for the key could not carry it out now")
            }
            // It is of another epoch: nothing was done, and it is asked again, or another is.
            Verdict::Refused(_) => {
                self.asked = None;
                Step::Wait
            }
            _ => self.unknown(effort, turn),
        }
    }

    pub(super) fn lost<O: Orders>(
        &mut self,
        node: NodeNumber,
        effort: &mut Effort,
        turn: &mut Turn<'_, O>,
    ) -> Step {
        if self.asked != Some(node) {
            return Step::Wait;
        }
        if self.changes && O::DEVIATION != Deviation::ChangesRepeated {
            return self.unknown(effort, turn);
        }
        self.asked = None;
        self.start(effort, turn)
    }

    pub(super) fn nudge<O: Orders>(
        &mut self,
        nudge: Nudge,
        effort: &mut Effort,
        turn: &mut Turn<'_, O>,
    ) -> Step {
        match nudge {
            Nudge::Expire => self.ended(effort, turn),
            Nudge::Hurry | Nudge::Lost => self.start(effort, turn),
        }
    }

    fn ended<O: Orders>(&self, effort: &mut Effort, turn: &mut Turn<'_, O>) -> Step {
        if self.changes && self.asked.is_some() {
            return self.unknown(effort, turn);
        }
        effort.refuse(turn, Refusal::Unavailable, "no node that proposes for the key can be reached")
    }

    fn unknown<O: Orders>(&self, effort: &Effort, turn: &mut Turn<'_, O>) -> Step {
        let message =
            "the node that proposes for the key did not tell in time: it may or may not take effect";
        effort.reply(turn, Outcome::Unknown { message });
        Step::End
    }
}
