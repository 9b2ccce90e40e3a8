//! The coordinator: carries out a client's operation at the key's replicas, to the level that was asked for.
//!
//! Invariants: an operation gets exactly one reply, at its deadline at the latest, and the reply never claims more than
//! is known: done (the level was met), refused (surely nothing was applied) or unknown. Answers count only for the
//! round they were asked in, and a round belongs to one epoch. The node's own replica is asked like any other. It
//! touches no store and no socket, and allocates nothing for an operation but the copy of its key and value.
//!
//! ```text
//!            write: send to all ── a quorum applied ──────────────────────────────► done
//! begin ──►         └─ superseded: a higher version, again
//!            read:  one for the cell, others for the version ── they agree ───────► done
//!                   └─ they differ: fetch the highest ─► settle: write it back ──► done
//! ```
//! Sources: DeCandia et al., "Dynamo" (2007); write-back before the answer: Attiya, Bar-Noy, Dolev, "Sharing Memory
//! Robustly in Message-Passing Systems" (1995), with versions of several writers.

mod counts;
mod forward;
mod operation;
mod orders;
mod proposer;
mod read;
mod replicas;
mod settle;
mod timers;
mod write;

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::cluster::deviation::Deviation;
use crate::cluster::view::View;
use crate::config::CoordinatorConfig;
use crate::hybrid_clock::HybridClock;
use crate::message::peer::{Answer, OperationId, Proposal, Verdict};
use crate::message::{Outcome, Refusal};
use crate::types::{KeyHash, Level, NodeNumber, Timestamp, WallTime, WriterId};

pub use counts::Counts;
pub use orders::{Decided, Decision, Order, Orders, Question};

use operation::{Ended, Operation, Progress};
use proposer::{PROPOSERS, Proposers, Wanted};
use replicas::Replicas;
use timers::Timers;

/// Whom a reply is for, chosen by the caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClientTag(pub u64);

/// What a client wants done with a key.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Whom the reply is for.
    pub client: ClientTag,
    /// The key.
    pub key: &'a [u8],
    /// Its hash.
    pub hash: KeyHash,
    /// How many replicas it takes.
    pub level: Level,
    /// What is to be done.
    pub action: Action<'a>,
}

/// What is to be done with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<'a> {
    /// To get its value.
    Get,
    /// To give it this value.
    Put {
        /// The value.
        value: &'a [u8],
        /// When it expires, if ever.
        expires_at: Option<WallTime>,
    },
    /// To remove it.
    Remove,
    /// To change it by agreement, in a way that depends on what it holds. The level is linearizable, whatever is said.
    Change {
        /// How, as [`Orders::decide`] understands it.
        change: &'a [u8],
    },
    /// To have most replicas agree on what it holds, and to get that.
    Settle,
}

/// The operations of one worker.
pub struct Coordinator {
    view: Arc<View>,
    clock: HybridClock,
    config: CoordinatorConfig,
    random: fastrand::Rng,
    operations: Slab<Operation>,
    proposers: Proposers,
    timers: Timers,
    /// Buffers of operations that ended.
    spare: Vec<Vec<u8>>,
    rounds: u32,
    counts: Counts,
    /// No version is issued beyond this time.
    ceiling: WallTime,
    /// The time it was last shown.
    now: Timestamp,
}

/// What an operation works with while it is looked at.
struct Turn<'a, O> {
    slot: u32,
    view: &'a View,
    clock: &'a mut HybridClock,
    config: &'a CoordinatorConfig,
    rounds: &'a mut u32,
    counts: &'a mut Counts,
    ceiling: WallTime,
    /// How long the operation may still take.
    remaining_ms: u16,
    now: Timestamp,
    random: &'a mut fastrand::Rng,
    out: &'a mut O,
}

impl Coordinator {
    /// A coordinator without operations, whose clock no other may share. `seed` decides what is left to chance.
    #[must_use]
    pub fn new(view: Arc<View>, clock: HybridClock, config: CoordinatorConfig, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let (operations, timers) = (Slab::new(), Timers::default());
        Self {
            view,
            clock,
            config,
            random,
            operations,
            proposers: Proposers::default(),
            timers,
            spare: Vec::new(),
            rounds: 0,
            counts: Counts::default(),
            ceiling: WallTime(u64::MAX),
            now: Timestamp::default(),
        }
    }

    /// Goes on as another writer: this process's life has been given its number.
    pub fn become_writer(&mut self, writer: WriterId) {
        self.clock.become_writer(writer);
    }

    /// The latest time that a version was issued for or heard of, or the wall time if that is later.
    #[inline]
    #[must_use]
    pub fn latest(&self) -> WallTime {
        self.clock.latest()
    }

    /// Sets the time beyond which no version is issued: so much is on disk, and what is on disk is not undone.
    #[inline]
    pub const fn set_ceiling(&mut self, ceiling: WallTime) {
        self.ceiling = ceiling;
    }

    /// Sets how long an operation that begins from now on may take.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.config.timeout = timeout;
    }

    /// How long an operation may take, in milliseconds.
    #[must_use]
    pub fn timeout_ms(&self) -> u16 {
        u16::try_from(self.config.timeout.as_millis()).unwrap_or(u16::MAX)
    }

    /// Shows it the time, and the wall time, which versions follow and expiry is judged by.
    #[inline]
    pub fn observe(&mut self, now: Timestamp, wall: WallTime) {
        self.now = now;
        self.clock.observe(wall);
    }

    /// Operations under way, those that only repair behind a reply among them.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.operations.len() + self.proposers.under_way()
    }

    /// What it saw happen since it was made, or since it was told to forget that.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Begins to count anew.
    pub fn forget_counts(&mut self) {
        self.counts = Counts::default();
    }

    /// The client of an operation under way that has not been replied to; of changes of a key, of the first.
    #[inline]
    #[must_use]
    pub fn client_of(&self, id: OperationId) -> Option<ClientTag> {
        if id.slot & PROPOSERS != 0 {
            return self.proposers.client_of(id.slot);
        }
        let operation = self.operations.get(id.slot as usize);
        operation.filter(|operation| operation.round == id.round).and_then(Operation::client)
    }

    /// Begins an operation.
    pub fn begin<O: Orders>(&mut self, now: Timestamp, ask: &Ask<'_>, out: &mut O) {
        self.now = now;
        if matches!(ask.action, Action::Change { .. } | Action::Settle) {
            let change = if let Action::Change { change } = ask.action { Some(change) } else { None };
            let Ask { client, key, hash, .. } = *ask;
            let deadline = now.after(self.config.timeout);
            return self.agree(&Wanted { client, key, hash, change, deadline }, out);
        }
        let replicas = Replicas::of(&self.view, ask.hash.token());
        let refusal = if self.operations.len() >= self.config.operations_max {
            Some((Refusal::Overloaded, "too many operations are under way: send fewer at once"))
        } else if ask.level == Level::Linearizable && ask.action != Action::Get {
            Some((Refusal::Unavailable, "what is to be agreed on is asked for as a change"))
        } else if self.view.ring.replicas() == 0 {
            Some((
                Refusal::Unavailable,
                "this node is starting, or the cluster has not opened yet: try again",
            ))
        } else if !replicas.quorum::<O>(ask.level).is_met(replicas.reachable(&self.view)) {
            Some((Refusal::Unavailable, "too few of the key's replicas can be reached"))
        } else {
            None
        };
        if let Some((reason, message)) = refusal {
            out.order(Order::Reply { client: ask.client, outcome: Outcome::Refused { reason, message } });
            return;
        }
        let buffer = self.spare.pop().unwrap_or_default();
        let repairs = ask.action == Action::Get && self.random.f64() < self.config.repair_share;
        let deadline = now.after(self.config.timeout);
        let operation = Operation::new::<O>(ask, replicas, buffer, deadline, repairs);
        let slot = self.operations.insert(operation);
        self.with(slot, out, Operation::start);
        if let Some(operation) = self.operations.get(slot) {
            let timer = (now.after(self.config.patience), slot as u32, operation.incarnation);
            self.timers.push(timer);
        }
    }

    /// Takes in a replica's answer.
    pub fn answer<O: Orders>(&mut self, from: NodeNumber, answer: &Answer<'_>, out: &mut O) {
        if answer.operation.slot & PROPOSERS != 0 {
            return self.with_proposers(out, |proposers, turn| proposers.answer(from, answer, turn));
        }
        let slot = answer.operation.slot as usize;
        let Some(operation) = self.operations.get(slot) else { return };
        let current = operation.round == answer.operation.round;
        if !current && O::DEVIATION != Deviation::OldRoundsCounted {
            return;
        }
        if let Verdict::Superseded { by } = answer.verdict {
            self.clock.witness(by.stamp);
        }
        self.with(slot, out, |operation, turn| operation.answer(from, &answer.verdict, turn));
    }

    /// Stops waiting for a node whose link was lost: what was sent to it may have been applied, or not.
    pub fn link_lost(&mut self, node: NodeNumber, out: &mut impl Orders) {
        for slot in self.slots() {
            self.with(slot, out, |operation, turn| operation.link_lost(node, turn));
        }
        self.with_proposers(out, |proposers, turn| proposers.link_lost(node, turn));
    }

    /// Goes on under another view. If it is of another epoch, every operation under way begins anew.
    pub fn adopt(&mut self, view: Arc<View>, out: &mut impl Orders) {
        let same_epoch = view.epoch == self.view.epoch;
        self.view = view;
        if !same_epoch {
            for slot in self.slots() {
                self.with(slot, out, Operation::start_over);
            }
            self.with_proposers(out, Proposers::start_over);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Timestamp, out: &mut impl Orders) {
        self.now = now;
        while let Some((_, slot, incarnation)) = self.timers.pop_due(now) {
            let Some(operation) = self.operations.get(slot as usize) else { continue };
            if operation.incarnation != incarnation {
                continue;
            }
            let overdue = now >= operation.deadline;
            let deadline = operation.deadline;
            self.with(slot as usize, out, |operation, turn| {
                if overdue { operation.expire(turn) } else { operation.hurry(turn) }
            });
            if self.operations.contains(slot as usize) && !overdue {
                let again = now.after(self.config.patience).min(deadline);
                self.timers.push((again, slot, incarnation));
            }
        }
        if self.proposers.next_timeout().is_some_and(|at| at <= now) {
            self.with_proposers(out, Proposers::handle_timeout);
        }
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.next().into_iter().chain(self.proposers.next_timeout()).min()
    }

    fn slots(&self) -> Vec<usize> {
        self.operations.iter().map(|(slot, _)| slot).collect()
    }

    /// Lets an operation act, and takes it off if it has ended.
    #[inline]
    fn with<O: Orders>(
        &mut self,
        slot: usize,
        out: &mut O,
        act: impl FnOnce(&mut Operation, &mut Turn<'_, O>) -> Progress,
    ) {
        let Self { view, clock, config, operations, rounds, counts, ceiling, now, random, .. } = self;
        let Some(operation) = operations.get_mut(slot) else { return };
        let remaining_ms = (operation.deadline.nanos_since(*now) / 1_000_000).min(u64::from(u16::MAX)) as u16;
        let (slot_number, ceiling, now) = (slot as u32, *ceiling, *now);
        let mut turn = Turn {
            slot: slot_number,
            view,
            clock,
            config,
            rounds,
            counts,
            ceiling,
            remaining_ms,
            now,
            random,
            out,
        };
        if let Err(ended) = act(operation, &mut turn) {
            let operation = self.operations.remove(slot);
            if ended != Ended::Told {
                let ((client, hash, key), change) = (operation.of(), operation.change());
                let deadline = operation.deadline;
                self.counts.reads_agreed += u64::from(ended == Ended::Disagreed);
                self.agree(&Wanted { client, key, hash, change, deadline }, out);
            }
            self.keep_buffer(operation);
        }
    }

    #[inline]
    fn keep_buffer(&mut self, ended: Operation) {
        if self.spare.len() < self.config.spare_buffers_max {
            self.spare.push(ended.into_buffer(self.config.spare_bytes_max));
        }
    }
}

impl Coordinator {
    /// Begins what another node was asked by its client, and passed on.
    pub fn propose(
        &mut self,
        client: ClientTag,
        hash: KeyHash,
        proposal: &Proposal<'_>,
        out: &mut impl Orders,
    ) {
        let Proposal { key, change, .. } = *proposal;
        let deadline = self.now.after(Duration::from_millis(u64::from(proposal.remaining_ms)));
        let wanted = Wanted { client, key, hash, change, deadline };
        self.with_proposers(out, |proposers, turn| proposers.propose(&wanted, turn));
    }

    /// The node that proposes changes of what has this hash, if any can.
    #[must_use]
    pub fn proposer_of(&self, hash: KeyHash) -> Option<NodeNumber> {
        Replicas::of(&self.view, hash.token()).proposer(&self.view)
    }

    /// Lets the node that proposes for the key carry it out.
    #[cold]
    fn agree<O: Orders>(&mut self, wanted: &Wanted<'_>, out: &mut O) {
        let Wanted { client, key, hash, change, deadline } = *wanted;
        let replicas = Replicas::of(&self.view, hash.token());
        let proposer = replicas.proposer(&self.view);
        if proposer == Some(self.view.own) {
            return self.with_proposers(out, |proposers, turn| proposers.propose(wanted, turn));
        }
        let refusal = if self.operations.len() >= self.config.operations_max {
            Some((Refusal::Overloaded, "too many operations are under way: send fewer at once"))
        } else if proposer.is_none() {
            Some((Refusal::Unavailable, "no replica that proposes for the key can be reached: try again"))
        } else {
            None
        };
        if let Some((reason, message)) = refusal {
            return out.order(Order::Reply { client, outcome: Outcome::Refused { reason, message } });
        }
        let action = change.map_or(Action::Settle, |change| Action::Change { change });
        let ask = Ask { client, key, hash, level: Level::Linearizable, action };
        let buffer = self.spare.pop().unwrap_or_default();
        let operation = Operation::new::<O>(&ask, replicas, buffer, deadline, false);
        let slot = self.operations.insert(operation);
        self.with(slot, out, Operation::start);
        if let Some(operation) = self.operations.get(slot) {
            let at = self.now.after(self.config.patience);
            self.timers.push((at, slot as u32, operation.incarnation));
        }
    }

    fn with_proposers<O: Orders>(&mut self, out: &mut O, act: impl FnOnce(&mut Proposers, &mut Turn<'_, O>)) {
        let Self { view, clock, config, rounds, counts, ceiling, now, random, proposers, .. } = self;
        let (ceiling, now) = (*ceiling, *now);
        let (slot, remaining_ms) = (PROPOSERS, 0);
        let mut turn =
            Turn { slot, view, clock, config, rounds, counts, ceiling, remaining_ms, now, random, out };
        act(proposers, &mut turn);
    }
}

impl<O> Turn<'_, O> {
    fn next_round(&mut self) -> u32 {
        *self.rounds = self.rounds.wrapping_add(1);
        *self.rounds
    }
}

#[cfg(test)]
mod tests;
