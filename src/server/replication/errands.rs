//! Changes that are proposed here on behalf of others: of clients of another worker, of clients of another node.
//!
//! Invariant: what is asked is told to whoever asked, once, if it is still there; changes of one key are proposed by
//! one worker of a node, so that its ballots do not compete with each other.

use crate::cluster::coordinator::ClientTag;
use crate::message::Refusal;
use crate::message::peer::{Answer, OperationId, Proposal, Told, Verdict};
use crate::protocol::peer::{PeerMessage, encode_answer};
use crate::server::engine::Shared;
use crate::server::replication::outbox::Waiting;
use crate::server::replication::{Replication, next_message};
use crate::server::worker::Message;
use crate::store::Store;
use crate::types::{Epoch, KeyHash, Timestamp};

/// A proposal that one worker hands to another.
pub(crate) struct Errand {
    /// Whose it is.
    from: usize,
    /// What that worker knows it by.
    ticket: usize,
    proposal: OwnedProposal,
}

impl Errand {
    /// The hash of its key.
    pub(crate) fn hash(&self, store: &Store) -> KeyHash {
        store.hash(&self.proposal.key)
    }
}

/// A proposal that outlives the turn it came in.
pub(super) struct OwnedProposal {
    operation: OperationId,
    epoch: Epoch,
    remaining_ms: u16,
    key: Box<[u8]>,
    change: Option<Box<[u8]>>,
}

impl OwnedProposal {
    pub(super) fn of(proposal: &Proposal<'_>) -> Self {
        let Proposal { operation, epoch, remaining_ms, key, change } = *proposal;
        Self { operation, epoch, remaining_ms, key: key.into(), change: change.map(Into::into) }
    }

    fn lend(&self) -> Proposal<'_> {
        let Self { operation, epoch, remaining_ms, ref key, ref change } = *self;
        Proposal { operation, epoch, remaining_ms, key, change: change.as_deref() }
    }
}

/// Who asked for something that is proposed here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) destination: Destination,
    /// What the answer carries.
    pub(super) operation: OperationId,
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Destination {
    /// The link that another node has to this worker, in this slot, if it is still the one of this number.
    Guest { slot: usize, serial: u64 },
    /// Another worker, which knows it by this ticket.
    Worker { index: usize, ticket: usize },
}

impl Replication {
    /// The worker that proposes for keys of this hash.
    fn owner(shared: &Shared, hash: KeyHash) -> usize {
        // Each has a part of the ring, of the same length.
        ((u128::from(hash.token().0) * shared.mailboxes.len() as u128) >> 64) as usize
    }

    /// Proposes what a client of this worker wants, here or by the worker that does so for the key.
    pub(super) fn propose_here(
        &mut self,
        shared: &Shared,
        waiting: Waiting,
        hash: KeyHash,
        proposal: &Proposal<'_>,
    ) {
        let owner = Self::owner(shared, hash);
        if owner == self.index as usize {
            let client = ClientTag(self.outbox.waiting.insert(waiting) as u64);
            let outbox = &mut self.outbox;
            return self.coordinator.propose(client, hash, proposal, outbox);
        }
        let ticket = self.tickets.insert(waiting);
        let proposal = OwnedProposal::of(proposal);
        let errand = Errand { from: self.index as usize, ticket, proposal };
        if shared.mailboxes[owner].send(Message::Errand(Box::new(errand))).is_err() {
            self.finish(ticket, &Verdict::Told(Told::Refused(Refusal::Overloaded)));
        }
    }

    /// Takes on what another worker's client wants.
    pub(crate) fn take_errand(&mut self, errand: &Errand, hash: KeyHash) {
        let Errand { from, ticket, ref proposal } = *errand;
        let destination = Destination::Worker { index: from, ticket };
        let operation = proposal.operation;
        let waiting = Waiting::Asker(Asker { destination, operation });
        let client = ClientTag(self.outbox.waiting.insert(waiting) as u64);
        let outbox = &mut self.outbox;
        self.coordinator.propose(client, hash, &proposal.lend(), outbox);
    }

    /// Hears from another worker what became of an errand.
    pub(crate) fn hear_of_errand(&mut self, ticket: usize, answer: &[u8]) {
        let limits = self.limits;
        if let Some((PeerMessage::Answer(answer), _)) = next_message(answer, &limits) {
            self.finish(ticket, &answer.verdict);
        }
    }

    fn finish(&mut self, ticket: usize, verdict: &Verdict<'_>) {
        if let Some(waiting) = self.tickets.try_remove(ticket) {
            self.outbox.conclude(waiting, verdict);
        }
    }

    /// Takes on what other nodes' clients want.
    pub(super) fn take_proposals(&mut self, shared: &Shared) {
        for (slot, serial, proposal) in std::mem::take(&mut self.heard.proposals) {
            let operation = proposal.operation;
            let waiting =
                Waiting::Asker(Asker { destination: Destination::Guest { slot, serial }, operation });
            match self.replica.refuses(proposal.epoch, Some(proposal.remaining_ms)) {
                Some(obstacle) => self.outbox.conclude(waiting, &Verdict::Refused(obstacle)),
                None => {
                    let hash = shared.store.hash(&proposal.key);
                    self.propose_here(shared, waiting, hash, &proposal.lend());
                }
            }
        }
    }

    /// Sends what is to be told to other nodes and other workers.
    pub(super) fn tell_askers(&mut self, now: Timestamp, shared: &Shared) {
        for (destination, bytes) in std::mem::take(&mut self.outbox.answers) {
            match destination {
                Destination::Guest { slot, serial } => {
                    self.guests.tell(now, slot, serial, &bytes);
                }
                Destination::Worker { index, ticket } => {
                    let done = Message::ErrandDone { ticket, answer: bytes.into() };
                    if let Err(Message::ErrandDone { answer, .. }) = shared.mailboxes[index].send(done) {
                        // There is no room for it: in the next turn again. Somebody waits for it without end.
                        self.outbox.answers.push((destination, answer.into()));
                    }
                }
            }
        }
    }
}

/// The bytes of an answer to `asker`.
pub(super) fn answer_to(asker: &Asker, verdict: Verdict<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_answer(&Answer { operation: asker.operation, verdict }, &mut bytes);
    bytes
}
