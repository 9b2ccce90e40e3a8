//! What comes, and is sent, when a round has been decided already: replicas that were overtaken catch up.
//!
//! Invariant: whoever is added to those that promised held nothing above what was decided on, and has promised the very
//! ballot.

use super::{Phase, Proposer};
use crate::cluster::coordinator::replicas::Set;
use crate::cluster::coordinator::{Orders, Turn};
use crate::message::peer::{Task, Verdict};

impl Proposer {
    /// Gives what was accepted to the replicas that were not asked; those that have it promise the next ballot too.
    pub(super) fn catch_up<O: Orders>(&mut self, asked: Set, turn: &mut Turn<'_, O>) {
        let Some(base) = self.base else { return };
        for place in self.replicas.reachable(turn.view).without(asked).iter() {
            let value = std::mem::take(&mut self.value);
            self.send(place, Task::Repair(base.with(&value)), turn);
            self.value = value;
        }
    }

    /// Takes in what comes for the round before.
    pub(super) fn hear_late<O: Orders>(
        &mut self,
        place: usize,
        verdict: &Verdict<'_>,
        turn: &mut Turn<'_, O>,
    ) {
        let promised = match *verdict {
            // It promised the ballot, and had nothing higher than what was decided on.
            Verdict::Cell(cell) if self.phase == Phase::Accepting => {
                cell.map(|cell| cell.rank()) <= self.decided_on
            }
            Verdict::Summary(summary) if self.phase == Phase::Accepting => {
                summary.map(|summary| summary.rank) <= self.decided_on
            }
            // It accepted what was there before, and promised what is the ballot now.
            Verdict::Accepted { rides: true } if self.phase == Phase::Accepting => true,
            Verdict::Accepted { rides: true } if self.phase == Phase::Idle => {
                self.riding.insert(place);
                false
            }
            // It caught up: it may promise the next ballot, not before.
            Verdict::Applied { .. } if self.phase == Phase::Idle => {
                if let Some(ballot) = self.next {
                    self.send(place, Task::Prepare { ballot, whole: false }, turn);
                }
                false
            }
            // It has promised what will be the ballot.
            Verdict::Summary(summary) if self.phase == Phase::Idle => {
                let has = summary.map(|summary| summary.rank);
                if self.next.is_some() && has <= self.base.map(|base| base.rank) {
                    self.riding.insert(place);
                }
                false
            }
            _ => false,
        };
        if promised && !self.promised.contains(place) {
            self.promised.insert(place);
            self.send_accept(place, turn);
        }
    }
}
