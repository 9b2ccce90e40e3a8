//! One operation under way: what all kinds share, and which kind it is at the moment.
//!
//! Invariant: whatever is sent belongs to the current round, and a replica is in `pending` from then until it answers
//! or its link is lost. A kind of operation decides what comes next; this file only hands on.

use crate::cluster::coordinator::forward::Forward;
use crate::cluster::coordinator::read::{Linger, Read};
use crate::cluster::coordinator::replicas::{Quorum, Replicas, Set};
use crate::cluster::coordinator::settle::Settle;
use crate::cluster::coordinator::write::Write;
use crate::cluster::coordinator::{Action, Ask, ClientTag, Order, Orders, Turn};
use crate::message::peer::{Inquiry, Kind, OperationId, Task, Verdict};
use crate::message::{Outcome, Refusal};
use crate::types::{KeyHash, Level, NodeNumber, Timestamp};

/// The operation has nothing left to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// It has been replied to.
    Told,
    /// Before it is, most replicas are to agree on what is there.
    Disagreed,
    /// What was to be handed to another node is to be proposed by this one.
    ComesBack,
}

/// Whether an operation goes on.
pub(super) type Progress = Result<(), Ended>;

/// What a kind of operation wants next.
#[expect(
    clippy::large_enum_variant,
    reason = "returned by the way, never kept: a box would be an allocation"
)]
pub(super) enum Step {
    /// To wait for answers.
    Wait,
    /// To go on as another kind.
    Become(State),
    /// Nothing.
    End,
    /// That most replicas agree on what is there, and that the client is told that.
    Agree,
    /// That this node proposes what another was to.
    Propose,
}

/// The kinds.
#[expect(clippy::large_enum_variant, reason = "kept in a slab of slots; a box would be an allocation a read")]
pub(super) enum State {
    Write(Write),
    Read(Read),
    Settle(Settle),
    Linger(Linger),
    Forward(Forward),
}

/// Why an operation is looked at though nobody answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Nudge {
    /// Those who have not answered take longer than usual.
    Hurry,
    /// What was sent to a replica is lost, or its answer is.
    Lost,
    /// The deadline has come.
    Expire,
}

pub(super) struct Operation {
    /// Tells its timers from those of whoever had its slot before.
    pub(super) incarnation: u32,
    pub(super) round: u32,
    pub(super) deadline: Timestamp,
    effort: Effort,
    state: State,
}

/// What all kinds share.
pub(super) struct Effort {
    client: ClientTag,
    hash: KeyHash,
    level: Level,
    pub(super) replicas: Replicas,
    /// Which replicas the level takes.
    pub(super) quorum: Quorum,
    round: u32,
    /// Were sent something in this round and have not answered.
    pub(super) pending: Set,
    /// Answered that they are of another epoch, and are asked again.
    pub(super) parked: Set,
    /// It took longer than usual.
    hurried: bool,
    /// How often it was read again, because what was read had been replaced meanwhile.
    reads_again: u8,
    key_bytes: usize,
    /// The key, then a value: the one to write, or the newest one read.
    buffer: Vec<u8>,
}

impl Operation {
    pub(super) fn new<O: Orders>(
        ask: &Ask<'_>,
        replicas: Replicas,
        mut buffer: Vec<u8>,
        deadline: Timestamp,
        repairs: bool,
    ) -> Self {
        buffer.clear();
        buffer.extend_from_slice(ask.key);
        let state = match ask.action {
            Action::Get => State::Read(Read::new(repairs)),
            Action::Put { value, expires_at } => {
                buffer.extend_from_slice(value);
                State::Write(Write::new(Kind::Value { expires_at }))
            }
            Action::Remove => State::Write(Write::new(Kind::Tombstone)),
            Action::Change { change } => {
                buffer.extend_from_slice(change);
                State::Forward(Forward::new(true))
            }
            Action::Settle => State::Forward(Forward::new(false)),
        };
        let effort = Effort {
            client: ask.client,
            hash: ask.hash,
            level: ask.level,
            replicas,
            quorum: replicas.quorum::<O>(ask.level),
            round: 0,
            pending: Set::default(),
            parked: Set::default(),
            hurried: false,
            reads_again: 0,
            key_bytes: ask.key.len(),
            buffer,
        };
        Self { incarnation: 0, round: 0, deadline, effort, state }
    }

    /// Whose it is, and its key.
    pub(super) fn of(&self) -> (ClientTag, KeyHash, &[u8]) {
        (self.effort.client, self.effort.hash, self.effort.key())
    }

    /// Whose it is, if that client waits for a reply.
    #[inline]
    pub(super) fn client(&self) -> Option<ClientTag> {
        (!matches!(self.state, State::Linger(_))).then_some(self.effort.client)
    }

    /// What is to be changed, if that is to be agreed on.
    pub(super) fn change(&self) -> Option<&[u8]> {
        match &self.state {
            State::Forward(forward) if forward.changes() => Some(self.effort.value()),
            _ => None,
        }
    }

    /// Its buffer, unless that has grown beyond `bytes_max`.
    pub(super) fn into_buffer(self, bytes_max: usize) -> Vec<u8> {
        if self.effort.buffer.capacity() > bytes_max { Vec::new() } else { self.effort.buffer }
    }

    pub(super) fn start<O: Orders>(&mut self, turn: &mut Turn<'_, O>) -> Progress {
        self.incarnation = turn.next_round();
        self.enter(turn)
    }

    /// Begins anew, because who holds the key may have changed.
    pub(super) fn start_over<O: Orders>(&mut self, turn: &mut Turn<'_, O>) -> Progress {
        let effort = &mut self.effort;
        effort.replicas = Replicas::of(turn.view, effort.hash.token());
        effort.quorum = effort.replicas.quorum::<O>(effort.level);
        match &mut self.state {
            State::Write(write) => write.forget(effort),
            State::Read(_) | State::Settle(_) => {
                effort.buffer.truncate(effort.key_bytes);
                self.state = State::Read(Read::new(false));
            }
            State::Linger(_) => return Err(Ended::Told),
            State::Forward(_) => {}
        }
        self.enter(turn)
    }

    pub(super) fn answer<O: Orders>(
        &mut self,
        from: NodeNumber,
        verdict: &Verdict<'_>,
        turn: &mut Turn<'_, O>,
    ) -> Progress {
        if let State::Forward(forward) = &mut self.state {
            let step = forward.answer(from, verdict, &mut self.effort, turn);
            return self.take(step, turn);
        }
        let Some(place) = self.effort.replicas.place_of(from) else { return Ok(()) };
        if !self.effort.pending.remove(place) {
            return Ok(());
        }
        let step = match &mut self.state {
            State::Write(write) => write.answer(place, verdict, &mut self.effort, turn),
            State::Read(read) => read.answer(place, verdict, &mut self.effort, turn),
            State::Settle(settle) => settle.answer(place, verdict, &mut self.effort, turn),
            State::Linger(linger) => linger.answer(place, verdict, &mut self.effort, turn),
            State::Forward(_) => Step::Wait,
        };
        self.take(step, turn)
    }

    pub(super) fn link_lost<O: Orders>(&mut self, node: NodeNumber, turn: &mut Turn<'_, O>) -> Progress {
        if let State::Forward(forward) = &mut self.state {
            let step = forward.lost(node, &mut self.effort, turn);
            return self.take(step, turn);
        }
        let Some(place) = self.effort.replicas.place_of(node) else { return Ok(()) };
        self.effort.parked.remove(place);
        if self.effort.pending.remove(place) { self.nudge(Nudge::Lost, turn) } else { Ok(()) }
    }

    /// Asks again those who have not answered, and others beside them.
    pub(super) fn hurry<O: Orders>(&mut self, turn: &mut Turn<'_, O>) -> Progress {
        if !matches!(self.state, State::Linger(_) | State::Forward(_)) {
            turn.counts.hurried += u64::from(!std::mem::replace(&mut self.effort.hurried, true));
        }
        self.nudge(Nudge::Hurry, turn)
    }

    /// Replies what is known at the deadline.
    pub(super) fn expire<O: Orders>(&mut self, turn: &mut Turn<'_, O>) -> Progress {
        self.nudge(Nudge::Expire, turn)
    }

    fn nudge<O: Orders>(&mut self, nudge: Nudge, turn: &mut Turn<'_, O>) -> Progress {
        let step = match &mut self.state {
            State::Write(write) => write.nudge(nudge, &mut self.effort, turn),
            State::Read(read) => read.nudge(nudge, &mut self.effort, turn),
            State::Settle(settle) => settle.nudge(nudge, &mut self.effort, turn),
            State::Linger(_) if nudge == Nudge::Expire => Step::End,
            State::Linger(_) => Step::Wait,
            State::Forward(forward) => forward.nudge(nudge, &mut self.effort, turn),
        };
        self.take(step, turn)
    }

    fn enter<O: Orders>(&mut self, turn: &mut Turn<'_, O>) -> Progress {
        let step = match &mut self.state {
            State::Write(write) => write.start(&mut self.effort, turn),
            State::Read(read) => read.start(&mut self.effort, turn),
            State::Settle(settle) => settle.start(&mut self.effort, turn),
            State::Linger(_) if self.effort.pending.is_empty() => Step::End,
            State::Linger(_) => Step::Wait,
            State::Forward(forward) => forward.start(&mut self.effort, turn),
        };
        self.take(step, turn)
    }

    #[inline]
    fn take<O: Orders>(&mut self, step: Step, turn: &mut Turn<'_, O>) -> Progress {
        let progress = match step {
            Step::Wait => Ok(()),
            Step::End => Err(Ended::Told),
            Step::Agree => Err(Ended::Disagreed),
            Step::Propose => Err(Ended::ComesBack),
            Step::Become(state) => {
                turn.counts.reads_written_back += u64::from(matches!(state, State::Settle(_)));
                self.state = state;
                self.enter(turn)
            }
        };
        self.round = self.effort.round;
        progress
    }
}

impl Effort {
    pub(super) fn client(&self) -> ClientTag {
        self.client
    }

    pub(super) fn round(&self) -> u32 {
        self.round
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.buffer[..self.key_bytes]
    }

    #[inline]
    pub(super) fn value(&self) -> &[u8] {
        &self.buffer[self.key_bytes..]
    }

    pub(super) fn set_value(&mut self, value: &[u8]) {
        self.buffer.truncate(self.key_bytes);
        self.buffer.extend_from_slice(value);
    }

    /// Whether to read again, having been overtaken; forgets what was read if so.
    pub(super) fn read_again<O>(&mut self, turn: &Turn<'_, O>) -> bool {
        self.buffer.truncate(self.key_bytes);
        self.reads_again += 1;
        self.reads_again <= turn.config.retries_max
    }

    /// From here on only answers to what is sent from here on count.
    pub(super) fn new_round<O>(&mut self, turn: &mut Turn<'_, O>) {
        self.round = turn.next_round();
        self.pending = Set::default();
        self.parked = Set::default();
    }

    /// Sends to the replica at `place` a task made from the value at hand.
    #[inline]
    pub(super) fn send<O: Orders>(
        &mut self,
        place: usize,
        turn: &mut Turn<'_, O>,
        task: impl for<'v> FnOnce(&'v [u8]) -> Task<'v>,
    ) {
        self.parked.remove(place);
        self.pending.insert(place);
        let operation = OperationId { slot: turn.slot, round: self.round };
        let task = task(self.value());
        let inquiry = Inquiry {
            operation,
            epoch: turn.view.epoch,
            remaining_ms: turn.remaining_ms,
            key: self.key(),
            task,
        };
        turn.out.order(Order::Send { to: self.replicas.node(place), inquiry });
    }

    #[inline]
    pub(super) fn reply<O: Orders>(&self, turn: &mut Turn<'_, O>, outcome: Outcome<'_>) {
        turn.out.order(Order::Reply { client: self.client, outcome });
    }

    pub(super) fn refuse<O: Orders>(&self, turn: &mut Turn<'_, O>, reason: Refusal, message: &str) -> Step {
        self.reply(turn, Outcome::Refused { reason, message });
        Step::End
    }
}
