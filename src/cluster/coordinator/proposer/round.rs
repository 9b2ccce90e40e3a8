//! One key's proposer: prepare at a majority, accept at the same replicas, and what follows if that fails.
//!
//! Invariants: a replica's acceptance counts only if its promise was counted, in the same epoch, and what it held then
//! was no higher than what was decided on, so nothing that most replicas have is passed over. Once an acceptance was
//! asked for and not won, the change is not repeated: the proposer prepares again and looks. One of its own versions on
//! top: it finishes that one. Only versions below its first: a majority is fenced, it decides anew. Anything else:
//! nobody can tell what became of it, and the client is told so. But an acceptance that every replica that was asked
//! for it, once, has refused for what it holds, or has promised, is no attempt: it was accepted nowhere, and as
//! versions and promises only rise, it never will be.
//!
//! ```text
//!           the next ballot was promised with the last acceptance
//!         ┌──────────────────────────────────────────────────────────┐
//!  idle ──┴─► preparing ── most promised ──► decided ─► accepting ───┴─ most accepted ──► told, idle
//!                 ▲                                        │
//!                 └──── resting a while ◄── too few left ──┘
//! ```

mod decide;
mod late;

use std::collections::VecDeque;

use super::Change;
use crate::cluster::coordinator::replicas::{PLACES_MAX, Quorum, Replicas, Set};
use crate::cluster::coordinator::{ClientTag, Decision, Order, Orders, Turn};
use crate::cluster::deviation::Deviation;
use crate::message::peer::{
    Answer, Cell, Content, Inquiry, Kind, Obstacle, OperationId, Rank, Summary, Task, Verdict,
};
use crate::message::{Outcome, Refusal};
use crate::types::{Epoch, KeyHash, Level, NodeNumber, Stamp, Timestamp, Version};

/// Rounds that are lost before the next is put off: the first is often lost to a version that is newer than expected.
const ROUNDS_AT_ONCE: u32 = 2;

/// How often acceptances are asked for again before all is prepared anew.
const PATIENCES_MAX: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Preparing,
    Accepting,
    /// Until the next look.
    Resting,
}

/// A version that was asked to be accepted, and what its client is told if it is.
struct Attempt {
    version: Version,
    reply: Vec<u8>,
}

pub(super) struct Proposer {
    key: Box<[u8]>,
    hash: KeyHash,
    epoch: Epoch,
    replicas: Replicas,
    quorum: Quorum,
    queue: VecDeque<Change>,
    phase: Phase,
    /// Tells the time since it began to have something to do from others, of whoever had its slot before too; and that
    /// after which it is in the list of the idle.
    busy: u32,
    listed: u32,
    round: u32,
    /// The round before, whose late answers are of use.
    late_round: u32,
    ballot: Version,
    /// The highest stamp that was in the way.
    highest: Stamp,
    /// What each replica that promised had.
    seen: [Option<Summary>; PLACES_MAX],
    /// What was decided on; what most replicas hold once it is accepted.
    base: Option<Summary>,
    /// What was there when it was decided.
    decided_on: Option<Rank>,
    /// The value of `held`.
    value: Vec<u8>,
    held: Option<Rank>,
    promised: Set,
    pending: Set,
    parked: Set,
    /// Were asked for the value too since all were last asked, and those of them that have not answered.
    asked_whole: Set,
    whole: Set,
    accepted: Set,
    /// Were asked to accept in this round, and those of them that never will, because they hold or have promised more.
    asked: Set,
    never: Set,
    /// Promised `next` when they accepted.
    riding: Set,
    next: Option<Version>,
    rides_until: Timestamp,
    /// All that was asked to be accepted for the change under way.
    attempts: Vec<Attempt>,
    failures: u32,
    patiences: u32,
    decision: Decision,
}

impl Proposer {
    pub(super) fn new<O: Orders>(key: &[u8], hash: KeyHash, replicas: Replicas) -> Self {
        let [promised, pending, parked, whole, accepted, riding] = [Set::default(); 6];
        Self {
            key: key.into(),
            hash,
            epoch: Epoch::default(),
            replicas,
            quorum: replicas.quorum::<O>(Level::Linearizable),
            queue: VecDeque::new(),
            phase: Phase::Idle,
            busy: 0,
            listed: 0,
            round: 0,
            late_round: 0,
            ballot: Version::default(),
            highest: Stamp::default(),
            seen: [None; PLACES_MAX],
            base: None,
            decided_on: None,
            value: Vec::new(),
            held: None,
            promised,
            pending,
            parked,
            asked_whole: whole,
            whole,
            accepted,
            asked: Set::default(),
            never: Set::default(),
            riding,
            next: None,
            rides_until: Timestamp::default(),
            attempts: Vec::new(),
            failures: 0,
            patiences: 0,
            decision: Decision::default(),
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn hash(&self) -> KeyHash {
        self.hash
    }

    /// Whose change is under way, if one is.
    pub(super) fn client(&self) -> Option<ClientTag> {
        self.queue.front().map(|front| front.client)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    pub(super) fn busy(&self) -> u32 {
        self.busy
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listed == self.busy
    }

    pub(super) fn list(&mut self) {
        self.listed = self.busy;
    }

    /// Changes that wait or are under way.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How long the change under way may still take.
    pub(super) fn remaining_ms(&self, now: Timestamp) -> u16 {
        let deadline = self.queue.front().map_or(now, |front| front.deadline);
        (deadline.nanos_since(now) / 1_000_000).min(u64::from(u16::MAX)) as u16
    }

    pub(super) fn enqueue<O: Orders>(&mut self, change: Change, turn: &mut Turn<'_, O>) {
        if self.is_idle() {
            self.busy = turn.next_round();
            if self.epoch != turn.view.epoch {
                self.move_to_epoch(turn);
            }
        }
        self.queue.push_back(change);
        self.go_on(turn);
    }

    /// Begins what waits, as long as nothing is under way.
    fn go_on<O: Orders>(&mut self, turn: &mut Turn<'_, O>) {
        while self.is_idle() && !self.queue.is_empty() {
            self.attempts.clear();
            self.failures = 0;
            turn.remaining_ms = self.remaining_ms(turn.now);
            let changes = self.queue.front().is_some_and(|front| front.change.is_some());
            let rides = changes && self.quorum.is_met(self.riding) && turn.now < self.rides_until;
            match self.next.take() {
                Some(ballot) if rides => {
                    turn.counts.rounds_ridden += 1;
                    self.ballot = ballot;
                    self.promised = self.riding;
                    self.decide(true, turn);
                }
                _ => self.prepare(turn),
            }
        }
    }

    fn new_round<O>(&mut self, turn: &mut Turn<'_, O>) {
        self.late_round = self.round;
        self.round = turn.next_round();
        self.patiences = 0;
        let nobody = Set::default();
        (self.pending, self.parked) = (nobody, nobody);
        (self.whole, self.asked_whole) = (nobody, nobody);
        (self.accepted, self.riding) = (nobody, nobody);
        (self.asked, self.never) = (nobody, nobody);
    }

    fn prepare<O: Orders>(&mut self, turn: &mut Turn<'_, O>) {
        turn.counts.rounds_prepared += 1;
        self.forget_promises();
        (self.promised, self.base, self.held) = (Set::default(), None, None);
        self.new_round(turn);
        self.phase = Phase::Preparing;
        self.ballot = turn.clock.issue_above(self.highest);
        if self.ballot.stamp.wall() > turn.ceiling {
            self.phase = Phase::Resting;
            return;
        }
        let reachable = self.replicas.reachable(turn.view);
        let own = self.replicas.place_of(turn.view.own).filter(|&own| reachable.contains(own));
        let first = own.or_else(|| reachable.iter().next());
        for place in reachable.iter() {
            self.send_prepare(place, Some(place) == first, turn);
        }
        self.judge_promises(turn);
    }

    fn send_prepare<O: Orders>(&mut self, place: usize, whole: bool, turn: &mut Turn<'_, O>) {
        if whole {
            self.asked_whole.insert(place);
            self.whole.insert(place);
        }
        self.send(place, Task::Prepare { ballot: self.ballot, whole }, turn);
    }

    fn send_accept<O: Orders>(&mut self, place: usize, turn: &mut Turn<'_, O>) {
        let Some(base) = self.base else { return };
        self.asked.insert(place);
        let value = std::mem::take(&mut self.value);
        self.send(place, Task::Accept { cell: base.with(&value), next: self.next }, turn);
        self.value = value;
    }

    fn send<O: Orders>(&mut self, place: usize, task: Task<'_>, turn: &mut Turn<'_, O>) {
        self.parked.remove(place);
        self.pending.insert(place);
        let operation = OperationId { slot: turn.slot, round: self.round };
        let Turn { remaining_ms, .. } = *turn;
        let inquiry = Inquiry { operation, epoch: self.epoch, remaining_ms, key: &self.key, task };
        turn.out.order(Order::Send { to: self.replicas.node(place), inquiry });
    }

    pub(super) fn answer<O: Orders>(
        &mut self,
        from: NodeNumber,
        answer: &Answer<'_>,
        turn: &mut Turn<'_, O>,
    ) {
        let Some(place) = self.replicas.place_of(from) else { return };
        let verdict = &answer.verdict;
        if answer.operation.round == self.round {
            if !self.pending.remove(place) {
                return;
            }
            self.whole.remove(place);
            match self.phase {
                Phase::Preparing => self.hear_promise(place, verdict, turn),
                Phase::Accepting => self.hear_acceptance(place, verdict, turn),
                Phase::Idle => self.hear_late(place, verdict, turn),
                Phase::Resting => {}
            }
        } else if answer.operation.round == self.late_round {
            self.hear_late(place, verdict, turn);
        }
        self.go_on(turn);
    }

    fn hear_promise<O: Orders>(&mut self, place: usize, verdict: &Verdict<'_>, turn: &mut Turn<'_, O>) {
        match *verdict {
            Verdict::Cell(cell) => {
                self.note(place, cell.as_ref().map(Cell::summary));
                let rank = self.seen[place].map(|summary| summary.rank);
                if let Some(Cell { content: Content::Value { value, .. }, .. }) = cell
                    && self.held < rank
                {
                    self.value.clear();
                    self.value.extend_from_slice(value);
                    self.held = rank;
                }
            }
            Verdict::Summary(summary) => self.note(place, summary),
            Verdict::Superseded { by } => {
                self.promised.remove(place);
                self.highest = self.highest.max(by.stamp);
            }
            Verdict::Refused(Obstacle::Epoch(_)) => self.parked.insert(place),
            _ => {}
        }
        self.judge_promises(turn);
    }

    fn note(&mut self, place: usize, summary: Option<Summary>) {
        self.promised.insert(place);
        self.seen[place] = summary;
    }

    fn judge_promises<O: Orders>(&mut self, turn: &mut Turn<'_, O>) {
        if !self.quorum.is_met(self.promised) {
            if !self.quorum.is_met(self.promised.union(self.pending).union(self.parked)) {
                self.lose(turn);
            }
            return;
        }
        // Who wants agreement has seen a difference, perhaps beyond this majority: all are heard that answer in time.
        let settles = self.queue.front().is_some_and(|front| front.change.is_none());
        if settles && self.patiences == 0 && !self.pending.is_empty() {
            return;
        }
        let newest = self.promised.iter().filter_map(|place| self.seen[place]).max_by_key(|seen| seen.rank);
        if let Some(newest) = newest
            && matches!(newest.kind, Kind::Value { .. })
            && self.held != Some(newest.rank)
        {
            if self.whole.is_empty()
                // One that told its version and then no value is left alone for a while.
                && let Some(holder) = self.holders(newest.rank).without(self.asked_whole).iter().next()
            {
                self.send_prepare(holder, true, turn);
            }
            return;
        }
        self.base = newest;
        self.decide(false, turn);
    }

    fn holders(&self, rank: Rank) -> Set {
        let holds = |&place: &usize| self.seen[place].is_some_and(|summary| summary.rank == rank);
        self.promised.iter().filter(holds).fold(Set::default(), |mut set, place| {
            set.insert(place);
            set
        })
    }

    fn hear_acceptance<O: Orders>(&mut self, place: usize, verdict: &Verdict<'_>, turn: &mut Turn<'_, O>) {
        match *verdict {
            Verdict::Accepted { rides } => {
                self.accepted.insert(place);
                if rides {
                    self.riding.insert(place);
                }
            }
            Verdict::Superseded { by } => {
                self.never.insert(place);
                self.highest = self.highest.max(by.stamp);
            }
            Verdict::Refused(Obstacle::Epoch(_)) => self.parked.insert(place),
            _ => {}
        }
        self.judge_acceptances(turn);
    }

    fn judge_acceptances<O: Orders>(&mut self, turn: &mut Turn<'_, O>) {
        if !self.quorum.is_met(self.accepted) {
            if self.quorum.is_met(self.accepted.union(self.pending).union(self.parked)) {
                return;
            }
            let others = self.asked.without(self.never);
            let one = O::DEVIATION == Deviation::RefusalOfOneSuffices && !self.never.is_empty();
            // Each was sent one copy: who refuses a second may have accepted the first.
            if one || (self.patiences == 0 && others.is_empty()) {
                // Nobody has accepted it and nobody will: it is as if it had not been tried.
                self.attempts.pop();
            } else if self.patiences == 0 && others.without(self.pending).is_empty() {
                // Whoever has not answered may be of the same mind, and then there is no doubt.
                return;
            }
            return self.lose(turn);
        }
        let reply = self.attempts.pop().map_or_else(Vec::new, |attempt| attempt.reply);
        let (next, riding) = (self.next, self.riding);
        let asked = self.promised;
        self.tell(&reply, turn);
        self.late_round = self.round;
        self.ride(next, riding, turn);
        self.catch_up(asked, turn);
    }

    /// Remembers what was promised for the next change.
    fn ride<O>(&mut self, next: Option<Version>, riding: Set, turn: &Turn<'_, O>) {
        (self.next, self.riding) = (next, riding);
        self.rides_until = turn.now.after(turn.config.timeout);
    }

    fn forget_promises(&mut self) {
        (self.next, self.riding) = (None, Set::default());
    }

    /// The round is lost: tries another, at once or later.
    fn lose<O: Orders>(&mut self, turn: &mut Turn<'_, O>) {
        turn.counts.rounds_lost += 1;
        self.failures += 1;
        if self.failures <= ROUNDS_AT_ONCE {
            self.prepare(turn);
        } else {
            self.phase = Phase::Resting;
        }
    }

    pub(super) fn link_lost<O: Orders>(&mut self, node: NodeNumber, turn: &mut Turn<'_, O>) {
        let Some(place) = self.replicas.place_of(node) else { return };
        self.parked.remove(place);
        self.whole.remove(place);
        if self.pending.remove(place) {
            match self.phase {
                Phase::Preparing => self.judge_promises(turn),
                Phase::Accepting => self.judge_acceptances(turn),
                Phase::Idle | Phase::Resting => {}
            }
        }
        self.go_on(turn);
    }

    /// Who holds the key may be others now: what was promised and accepted counts no more.
    pub(super) fn start_over<O: Orders>(&mut self, turn: &mut Turn<'_, O>) {
        self.move_to_epoch(turn);
        if !self.is_idle() {
            self.prepare(turn);
        }
        self.go_on(turn);
    }

    fn move_to_epoch<O: Orders>(&mut self, turn: &Turn<'_, O>) {
        self.epoch = turn.view.epoch;
        self.replicas = Replicas::of(turn.view, self.hash.token());
        self.quorum = self.replicas.quorum::<O>(Level::Linearizable);
        self.forget_promises();
    }

    /// Asks again those who have not answered, or begins another round; tells whoever has waited for too long.
    pub(super) fn hurry<O: Orders>(&mut self, turn: &mut Turn<'_, O>) {
        let now = turn.now;
        if !self.is_idle() && self.queue.front().is_some_and(|front| front.deadline <= now) {
            self.give_up(turn);
        }
        let under_way = usize::from(!self.is_idle());
        while self.queue.get(under_way).is_some_and(|waiting| waiting.deadline <= now) {
            let Some(late) = self.queue.remove(under_way) else { break };
            let message = "other changes of the key took all its time";
            let outcome = Outcome::Refused { reason: Refusal::Unavailable, message };
            turn.out.order(Order::Reply { client: late.client, outcome });
        }
        self.patiences += 1;
        let asked = matches!(self.phase, Phase::Preparing | Phase::Accepting);
        turn.counts.hurried += u64::from(asked && self.patiences == 1);
        match self.phase {
            Phase::Idle => {}
            // The more were lost, the longer it waits on average: others have their chance.
            Phase::Resting if turn.random.u32(..self.failures.clamp(1, 8)) > 0 => {}
            Phase::Resting => self.prepare(turn),
            Phase::Accepting if self.patiences > PATIENCES_MAX => self.lose(turn),
            Phase::Preparing => {
                self.asked_whole = Set::default();
                for place in self.replicas.reachable(turn.view).without(self.promised).iter() {
                    self.send_prepare(place, true, turn);
                }
                self.judge_promises(turn);
            }
            Phase::Accepting => {
                for place in self.promised.without(self.accepted).iter() {
                    self.send_accept(place, turn);
                }
                self.judge_acceptances(turn);
            }
        }
        self.go_on(turn);
    }
}
