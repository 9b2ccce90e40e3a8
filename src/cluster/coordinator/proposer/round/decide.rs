//! What a key is to hold, and what its client is told of it.
//!
//! Invariant: what is decided rests on what most replicas reported, or on what the proposer itself put there; a reply
//! goes out when most replicas hold what it speaks of, once.

use super::{Attempt, Phase, Proposer};
use crate::cluster::coordinator::{Decided, Order, Orders, Question, Turn};
use crate::cluster::deviation::Deviation;
use crate::cluster::view::View;
use crate::message::peer::{Kind, Rank, Summary};
use crate::message::{Outcome, Refusal, Reply};

impl Proposer {
    /// Says what the key is to hold, most replicas having promised to take nothing below the ballot; if it `rides`,
    /// when they accepted what is there. Whether they hold to that, only their acceptance tells.
    pub(super) fn decide<O: Orders>(&mut self, rides: bool, turn: &mut Turn<'_, O>) {
        let Some(front) = self.queue.front() else { return };
        let top = self.base.map(|base| base.rank.version);
        if let Some(first) = self.attempts.first()
            && front.change.is_some()
            && O::DEVIATION != Deviation::LostRoundsForgotten
        {
            if let Some(own) = self.attempts.iter().find(|attempt| Some(attempt.version) == top) {
                let reply = own.reply.clone();
                return self.accept(None, reply, turn);
            }
            if top.is_some_and(|top| top > first.version) {
                return self.give_up(turn);
            }
        }
        let wall = turn.clock.wall();
        let live = self.base.filter(|base| base.kind.is_live(wall));
        let outlived =
            live.is_none() && self.base.is_some_and(|base| matches!(base.kind, Kind::Value { .. }));
        let outlived = outlived && O::DEVIATION != Deviation::ExpiryByTwoClocks;
        self.decision.value.clear();
        // Who wants agreement has seen that there is none: all who promise are given the same.
        let settles = front.change.is_none() && self.base.is_some();
        let decided = match &front.change {
            None => Decided::Keep,
            Some(change) => {
                let current = live.map(|live| live.with(&self.value));
                let question = Question { key: &self.key, change, current, version: self.ballot, wall };
                turn.out.decide(&question, &mut self.decision)
            }
        };
        let reply = std::mem::take(&mut self.decision.reply);
        match decided {
            Decided::Keep if rides => self.prepare(turn),
            Decided::Keep if !outlived && !settles && self.is_settled::<O>(turn.view) => {
                let (ballot, promised) = (self.ballot, self.promised);
                self.tell(&reply, turn);
                // What was promised is of use to the next change.
                self.ride(Some(ballot), promised, turn);
            }
            Decided::Keep => self.accept(None, reply, turn),
            Decided::Store(kind) => self.accept(Some(kind), reply, turn),
        }
    }

    /// Whether most replicas are known to hold what is there.
    fn is_settled<O: Orders>(&self, view: &View) -> bool {
        let Some(base) = self.base else { return true };
        let holders = self.replicas.vouching::<O>(self.holders(base.rank), base.rank.version, view);
        self.quorum.is_met(holders) || O::DEVIATION == Deviation::SettlingSkipped
    }

    /// Asks those who promised to accept what was decided, or what is there already, under the ballot.
    pub(super) fn accept<O: Orders>(&mut self, new: Option<Kind>, reply: Vec<u8>, turn: &mut Turn<'_, O>) {
        let live = self.base.filter(|base| base.kind.is_live(turn.clock.wall()));
        let kind = match new {
            Some(kind) => {
                std::mem::swap(&mut self.value, &mut self.decision.value);
                kind
            }
            None => live.map_or(Kind::Tombstone, |base| base.kind),
        };
        let rank = Rank { version: self.ballot, expired: false };
        self.held = matches!(kind, Kind::Value { .. }).then_some(rank);
        self.decided_on = self.base.map(|base| base.rank);
        self.base = Some(Summary { rank, kind });
        if O::DEVIATION == Deviation::LastRoundRemembered {
            self.attempts.clear();
        }
        self.attempts.push(Attempt { version: self.ballot, reply });
        self.new_round(turn);
        self.phase = Phase::Accepting;
        let next = turn.clock.issue_above(self.ballot.stamp);
        let small = self.value.len() <= turn.config.spare_bytes_max;
        self.next = (small && next.stamp.wall() <= turn.ceiling).then_some(next);
        for place in self.promised.iter() {
            self.send_accept(place, turn);
        }
        self.judge_acceptances(turn);
    }

    /// Tells the client of the change under way that it is done, and is idle.
    pub(super) fn tell<O: Orders>(&mut self, reply: &[u8], turn: &mut Turn<'_, O>) {
        self.phase = Phase::Idle;
        let Some(front) = self.queue.pop_front() else { return };
        let order = match (&front.change, self.base) {
            (Some(_), _) => Order::Told { client: front.client, reply },
            (None, base) => {
                let outcome = match base {
                    // It was there when it was decided on.
                    Some(Summary { rank, kind: Kind::Value { expires_at } }) => {
                        Reply::Value { version: rank.version, expires_at, value: &self.value }
                    }
                    _ => Reply::Absent,
                };
                Order::Reply { client: front.client, outcome: Outcome::Done(outcome) }
            }
        };
        turn.out.order(order);
    }

    /// Tells the client of the change under way that it is not known to be done, and is idle.
    pub(super) fn give_up<O: Orders>(&mut self, turn: &mut Turn<'_, O>) {
        self.forget_promises();
        self.phase = Phase::Idle;
        let Some(front) = self.queue.pop_front() else { return };
        let outcome = if front.change.is_none() || self.attempts.is_empty() {
            let message = "too few of the key's replicas agreed on it in time";
            Outcome::Refused { reason: Refusal::Unavailable, message }
        } else {
            let message =
                "whether most replicas accepted the change is not known: it may or may not take effect";
            Outcome::Unknown { message }
        };
        turn.out.order(Order::Reply { client: front.client, outcome });
    }
}
