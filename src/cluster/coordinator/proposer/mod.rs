//! The proposers of one worker: one for each key that is changed by agreement, one change of a key at a time.
//!
//! Invariants: changes of a key are decided in the order in which they came, each told exactly once what became of it;
//! a proposer that has nothing to do is kept for a while, because what it knows saves the next change a round trip, and
//! is forgotten when there are too many.
//!
//! Source: Rystsov, "CASPaxos: Replicated State Machines without logs" (2018); here the ballot is the cell's version.

mod round;

use std::collections::{HashMap, VecDeque};

use crate::cluster::coordinator::replicas::Replicas;
use crate::cluster::coordinator::{ClientTag, Order, Orders, Timers, Turn};
use crate::message::peer::Answer;
use crate::message::{Outcome, Refusal};
use crate::types::{KeyHash, NodeNumber, Timestamp};

use round::Proposer;

/// What tells the slots of proposers from those of other operations.
pub(super) const PROPOSERS: u32 = 1 << 31;

/// A change that is to be agreed on.
pub(super) struct Wanted<'a> {
    pub(super) client: ClientTag,
    pub(super) key: &'a [u8],
    pub(super) hash: KeyHash,
    /// `None`: nothing is to change.
    pub(super) change: Option<&'a [u8]>,
    pub(super) deadline: Timestamp,
}

/// A change that waits, or is under way.
struct Change {
    client: ClientTag,
    change: Option<Vec<u8>>,
    deadline: Timestamp,
}

/// All of a worker's.
#[derive(Default)]
pub(super) struct Proposers {
    proposers: slab::Slab<Proposer>,
    places: HashMap<KeyHash, u32>,
    /// Those that have nothing to do, the longest first; and what tells the time they had something to do.
    idle: VecDeque<(u32, u32)>,
    timers: Timers,
    /// Changes that wait or are under way.
    count: usize,
}

impl Proposers {
    /// Changes that wait or are under way.
    pub(super) fn under_way(&self) -> usize {
        self.count
    }

    /// Whose change is under way.
    pub(super) fn client_of(&self, slot: u32) -> Option<ClientTag> {
        self.proposers.get((slot & !PROPOSERS) as usize).and_then(Proposer::client)
    }

    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Takes on a change.
    pub(super) fn propose<O: Orders>(&mut self, wanted: &Wanted<'_>, turn: &mut Turn<'_, O>) {
        let place = self.places.get(&wanted.hash).copied();
        let known = place.and_then(|slot| self.proposers.get(slot as usize));
        let stranger = known.is_some_and(|proposer| proposer.key() != wanted.key);
        if self.count >= turn.config.operations_max || stranger {
            // Two keys of one hash at one time: it does not happen, and is not worth more.
            let message = "too many operations are under way: send fewer at once";
            let outcome = Outcome::Refused { reason: Refusal::Overloaded, message };
            return turn.out.order(Order::Reply { client: wanted.client, outcome });
        }
        let slot = place.unwrap_or_else(|| {
            let replicas = Replicas::of(turn.view, wanted.hash.token());
            let slot = self.proposers.insert(Proposer::new::<O>(wanted.key, wanted.hash, replicas)) as u32;
            self.places.insert(wanted.hash, slot);
            slot
        });
        let change = Change {
            client: wanted.client,
            change: wanted.change.map(<[u8]>::to_vec),
            deadline: wanted.deadline,
        };
        let was_idle = self.with(slot, turn, |proposer, turn| {
            let was_idle = proposer.is_idle();
            proposer.enqueue(change, turn);
            was_idle
        });
        if was_idle == Some(true)
            && let Some(proposer) = self.proposers.get(slot as usize)
            && !proposer.is_idle()
        {
            self.timers.push((turn.now.after(turn.config.patience), slot, proposer.busy()));
        }
    }

    /// Takes in a replica's answer.
    pub(super) fn answer<O: Orders>(
        &mut self,
        from: NodeNumber,
        answer: &Answer<'_>,
        turn: &mut Turn<'_, O>,
    ) {
        let slot = answer.operation.slot & !PROPOSERS;
        self.with(slot, turn, |proposer, turn| proposer.answer(from, answer, turn));
    }

    /// Stops waiting for a node.
    pub(super) fn link_lost<O: Orders>(&mut self, node: NodeNumber, turn: &mut Turn<'_, O>) {
        for slot in self.slots() {
            self.with(slot, turn, |proposer, turn| proposer.link_lost(node, turn));
        }
    }

    /// Begins anew under another epoch.
    pub(super) fn start_over<O: Orders>(&mut self, turn: &mut Turn<'_, O>) {
        for slot in self.slots() {
            self.with(slot, turn, Proposer::start_over);
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout<O: Orders>(&mut self, turn: &mut Turn<'_, O>) {
        while let Some((_, slot, busy)) = self.timers.pop_due(turn.now) {
            let due = self.proposers.get(slot as usize).is_some_and(|proposer| proposer.busy() == busy);
            if !due {
                continue;
            }
            self.with(slot, turn, Proposer::hurry);
            let proposer = self.proposers.get(slot as usize);
            if proposer.is_some_and(|proposer| proposer.busy() == busy && !proposer.is_idle()) {
                self.timers.push((turn.now.after(turn.config.patience), slot, busy));
            }
        }
    }

    fn slots(&self) -> Vec<u32> {
        self.proposers.iter().map(|(slot, _)| slot as u32).collect()
    }

    /// Lets a proposer act; forgets the one that has been idle for longest if there are too many.
    fn with<O: Orders, R>(
        &mut self,
        slot: u32,
        turn: &mut Turn<'_, O>,
        act: impl FnOnce(&mut Proposer, &mut Turn<'_, O>) -> R,
    ) -> Option<R> {
        let proposer = self.proposers.get_mut(slot as usize)?;
        let waiting = proposer.waiting();
        turn.slot = slot | PROPOSERS;
        turn.remaining_ms = proposer.remaining_ms(turn.now);
        let result = act(proposer, turn);
        self.count = self.count + proposer.waiting() - waiting;
        if proposer.is_idle() && !proposer.is_listed() {
            proposer.list();
            self.idle.push_back((slot, proposer.busy()));
            self.forget(turn.config.proposers_max);
        }
        Some(result)
    }

    fn forget(&mut self, proposers_max: usize) {
        if self.idle.len() > 2 * proposers_max + 16 {
            let proposers = &self.proposers;
            let idle = |&(slot, busy): &(u32, u32)| {
                proposers.get(slot as usize).is_some_and(|one| one.is_idle() && one.busy() == busy)
            };
            self.idle.retain(idle);
        }
        while self.proposers.len() > proposers_max
            && let Some((slot, busy)) = self.idle.pop_front()
        {
            let idle = self.proposers.get(slot as usize);
            if idle.is_some_and(|proposer| proposer.is_idle() && proposer.busy() == busy) {
                let proposer = self.proposers.remove(slot as usize);
                self.places.remove(&proposer.hash());
            }
        }
    }
}
