//! Reading: one replica's cell and the versions of others, until the level is met.
//!
//! Invariant: what is returned is the highest of all that answered, and as many replicas as the level takes hold it by
//! then; an expired value is answered as absent only when its mark is there like that. A read never changes what a
//! client wrote, so one that fails is refused.

use crate::cluster::coordinator::operation::{Effort, Nudge, State, Step};
use crate::cluster::coordinator::replicas::{PLACES_MAX, Set};
use crate::cluster::coordinator::settle::Settle;
use crate::cluster::coordinator::{Orders, Turn};
use crate::cluster::deviation::Deviation;
use crate::message::peer::{Cell, Content, Kind, Obstacle, Rank, Summary, Task, Verdict};
use crate::message::{Outcome, Refusal, Reply};
use crate::types::Level;

pub(super) struct Read {
    /// What each replica that answered has.
    seen: [Option<Summary>; PLACES_MAX],
    answered: Set,
    /// Were asked in this round.
    asked: Set,
    /// Were asked for the value too and have not answered.
    whole: Set,
    /// Have refused since all were last asked.
    refusing: Set,
    /// The cell whose value is at hand.
    held: Option<Rank>,
    /// Whether all replicas are asked, to repair those that are behind.
    repairs: bool,
}

impl Read {
    pub(super) fn new(repairs: bool) -> Self {
        let [answered, asked, whole, refusing] = [Set::default(); 4];
        Self { seen: [None; PLACES_MAX], answered, asked, whole, refusing, held: None, repairs }
    }

    pub(super) fn start<O: Orders>(&mut self, effort: &mut Effort, turn: &mut Turn<'_, O>) -> Step {
        effort.new_round(turn);
        let reachable = effort.replicas.reachable(turn.view);
        let own = effort.replicas.place_of(turn.view.own).filter(|&own| reachable.contains(own));
        let Some(first) = own.or_else(|| reachable.iter().next()) else { return self.refused(effort, turn) };
        self.ask(first, true, effort, turn);
        if self.repairs {
            for place in reachable.without(self.asked).iter() {
                self.ask(place, false, effort, turn);
            }
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
        self.whole.remove(place);
        match *verdict {
            Verdict::Cell(cell) => {
                self.note(place, cell.as_ref().map(Cell::summary));
                if let Some(Cell { content: Content::Value { value, .. }, .. }) = cell
                    && self.held < self.seen[place].map(|summary| summary.rank)
                {
                    effort.set_value(value);
                    self.held = self.seen[place].map(|summary| summary.rank);
                }
            }
            Verdict::Summary(summary) => self.note(place, summary),
            Verdict::Refused(obstacle) => {
                self.refusing.insert(place);
                if matches!(obstacle, Obstacle::Epoch(_)) {
                    effort.parked.insert(place);
                }
            }
            Verdict::Applied { .. }
            | Verdict::Superseded { .. }
            | Verdict::Accepted { .. }
            | Verdict::Told(_) => {}
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
            Nudge::Lost => self.judge(false, effort, turn),
            Nudge::Hurry => {
                self.refusing = Set::default();
                let others = effort.replicas.reachable(turn.view).without(self.answered);
                for place in others.iter() {
                    self.ask(place, true, effort, turn);
                }
                self.judge(true, effort, turn)
            }
            Nudge::Expire => self.refused(effort, turn),
        }
    }

    fn note(&mut self, place: usize, summary: Option<Summary>) {
        self.answered.insert(place);
        self.seen[place] = summary;
    }

    fn ask<O: Orders>(&mut self, place: usize, whole: bool, effort: &mut Effort, turn: &mut Turn<'_, O>) {
        self.asked.insert(place);
        if whole {
            self.whole.insert(place);
        }
        effort.send(place, turn, |_| if whole { Task::Read } else { Task::ReadVersion });
    }

    /// Decides whether there are enough answers, and what they say.
    fn judge<O: Orders>(&mut self, impatient: bool, effort: &mut Effort, turn: &mut Turn<'_, O>) -> Step {
        let quorum = effort.quorum;
        let mut expected = self.answered.union(effort.pending).union(effort.parked);
        if !quorum.is_met(expected) {
            let replicas = effort.replicas;
            let others = replicas.reachable(turn.view).without(self.asked);
            for next in quorum.complete(expected, replicas.by_use(others)) {
                self.ask(next, self.whole.is_empty(), effort, turn);
                expected.insert(next);
            }
            if !quorum.is_met(expected) {
                return self.refused(effort, turn);
            }
        }
        let early = O::DEVIATION == Deviation::ReadsOne && !self.answered.is_empty();
        if !quorum.is_met(self.answered) && !early {
            return Step::Wait;
        }
        let Some(newest) = self.newest() else { return self.finish(None, effort, turn) };
        let wall = turn.clock.wall();
        if newest.kind.is_live(wall) && self.held != Some(newest.rank) {
            // One that was asked for its value may have it; if it takes long, whoever is known to have it is asked.
            // One that has just refused is left alone for a while: it would refuse again at once.
            let holders = self.holders(newest.rank).without(self.refusing);
            if (self.whole.is_empty() || impatient)
                && let Some(holder) = holders.iter().next()
            {
                self.ask(holder, true, effort, turn);
            }
            return Step::Wait;
        }
        let outlived = matches!(newest.kind, Kind::Value { .. }) && !newest.kind.is_live(wall);
        if outlived && O::DEVIATION == Deviation::MarkSkipped {
            return self.finish(Some(newest), effort, turn);
        }
        // At level one nobody agrees on anything, and the expiry is judged by this node's clock alone.
        let agreement = effort.level() == Level::Linearizable;
        if outlived && agreement {
            return Step::Agree;
        }
        if outlived && quorum.takes_several() {
            let rank = Rank { expired: true, ..newest.rank };
            let mark = Summary { rank, kind: Kind::Expired };
            return Step::Become(State::Settle(Settle::new(mark, self.holders(rank), self.answered)));
        }
        let holders = self.holders(newest.rank);
        let several = quorum.takes_several();
        let vouching = effort.replicas.vouching::<O>(holders, newest.rank.version, turn.view);
        if several && vouching != holders && !quorum.is_met(vouching) {
            return self.find_more(impatient, effort, turn);
        }
        if !quorum.is_met(holders) && O::DEVIATION != Deviation::WriteBackSkipped {
            turn.counts.reads_divergent += 1;
            if agreement {
                return Step::Agree;
            }
            return Step::Become(State::Settle(Settle::new(newest, holders, self.answered)));
        }
        self.finish(Some(newest), effort, turn)
    }

    /// Asks those who were not asked yet, because what those have who were proves too little; if there are none, has
    /// the replicas agree anew.
    fn find_more<O: Orders>(&mut self, impatient: bool, effort: &mut Effort, turn: &mut Turn<'_, O>) -> Step {
        for place in effort.replicas.reachable(turn.view).without(self.asked).iter() {
            self.ask(place, false, effort, turn);
        }
        let wait = !impatient && !effort.pending.union(effort.parked).is_empty();
        if wait { Step::Wait } else { Step::Agree }
    }

    /// Replies, and repairs those that are behind.
    fn finish<O: Orders>(
        &mut self,
        newest: Option<Summary>,
        effort: &mut Effort,
        turn: &mut Turn<'_, O>,
    ) -> Step {
        let differs =
            |place: usize| self.seen[place].map(|seen| seen.rank) != newest.map(|newest| newest.rank);
        let divergent = self.answered.iter().any(differs);
        turn.counts.reads_divergent += u64::from(divergent);
        let wall = turn.clock.wall();
        reply(newest.filter(|newest| newest.kind.is_live(wall)), effort, turn);
        let pending = effort.pending;
        // A value that had expired may not be at hand: then there is nothing to repair with.
        let at_hand =
            |newest: &Summary| !matches!(newest.kind, Kind::Value { .. }) || self.held == Some(newest.rank);
        let mut linger = Linger { newest: newest.filter(at_hand), divergent };
        for place in self.answered.iter() {
            linger.repair(place, self.seen[place], effort, turn);
        }
        effort.pending = pending;
        Step::Become(State::Linger(linger))
    }

    fn newest(&self) -> Option<Summary> {
        self.answered.iter().filter_map(|place| self.seen[place]).max_by_key(|summary| summary.rank)
    }

    fn holders(&self, rank: Rank) -> Set {
        let holds = |&place: &usize| self.seen[place].is_some_and(|summary| summary.rank == rank);
        self.answered.iter().filter(holds).fold(Set::default(), |mut set, place| {
            set.insert(place);
            set
        })
    }

    fn refused<O: Orders>(&self, effort: &Effort, turn: &mut Turn<'_, O>) -> Step {
        effort.refuse(turn, Refusal::Unavailable, "too few of the key's replicas answered in time")
    }
}

/// Tells the client what the newest cell holds; its value is at hand, and was there when replicas agreed on it: what
/// this clock says by now would be known to nobody else.
pub(super) fn reply<O: Orders>(newest: Option<Summary>, effort: &Effort, turn: &mut Turn<'_, O>) {
    let outcome = match newest {
        Some(Summary { rank, kind: Kind::Value { expires_at } }) => {
            Reply::Value { version: rank.version, expires_at, value: effort.value() }
        }
        _ => Reply::Absent,
    };
    effort.reply(turn, Outcome::Done(outcome));
}

/// What is left of a read that was replied to: repairing those that answer late.
pub(super) struct Linger {
    newest: Option<Summary>,
    /// Replicas were found to differ, and that is counted.
    divergent: bool,
}

impl Linger {
    pub(super) fn answer<O: Orders>(
        &mut self,
        place: usize,
        verdict: &Verdict<'_>,
        effort: &mut Effort,
        turn: &mut Turn<'_, O>,
    ) -> Step {
        let pending = effort.pending;
        match *verdict {
            Verdict::Cell(cell) => self.repair(place, cell.as_ref().map(Cell::summary), effort, turn),
            Verdict::Summary(summary) => self.repair(place, summary, effort, turn),
            _ => {}
        }
        effort.pending = pending;
        if pending.is_empty() { Step::End } else { Step::Wait }
    }

    /// Sends the newest cell to a replica that has less; nobody waits for the answer.
    fn repair<O: Orders>(
        &mut self,
        place: usize,
        seen: Option<Summary>,
        effort: &mut Effort,
        turn: &mut Turn<'_, O>,
    ) {
        let Some(newest) = self.newest else { return };
        if seen.is_none_or(|seen| seen.rank < newest.rank) {
            turn.counts.repairs += 1;
            turn.counts.reads_divergent += u64::from(!std::mem::replace(&mut self.divergent, true));
            effort.send(place, turn, |value| Task::Repair(newest.with(value)));
        }
    }
}
