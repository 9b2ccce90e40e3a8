//! A worker's dealings with other nodes: their events, their turn, and the replies that it brings to clients.
//!
//! Invariant: a client's replies are written in one go when all that came in a turn are known, and what it said
//! meanwhile goes on after them.

use std::time::Duration;

use crate::message::Refusal;
use crate::metrics::{ErrorKind, Timing};
use crate::server::replication::{Errand, Finished, LINKS, OperationResult, Waiter};
use crate::server::roster::Outlook;
use crate::server::worker::Worker;
use crate::types::Timestamp;
use mio::event::Event;

impl Worker {
    /// Remembers what an event of another node says.
    #[cold]
    pub(super) fn note_peer(&mut self, token: usize, event: &Event) {
        if token >= LINKS
            && let Some(replication) = &mut self.engine.replication
        {
            replication.note(event);
        }
    }

    /// Lets the cluster have its turn, if there is one.
    #[inline]
    pub(super) fn attend_peers(&mut self) {
        if self.engine.replication.is_some() {
            self.attend_cluster();
        }
    }

    /// Goes by another view of the cluster from now on.
    #[cold]
    pub(super) fn adopt(&mut self, outlook: &Outlook) {
        if let Some(replication) = &mut self.engine.replication {
            replication.adopt(self.engine.now, outlook, &self.engine.shared.store);
        }
    }

    /// Proposes what a client of another worker wants.
    #[cold]
    pub(super) fn run_errand(&mut self, errand: &Errand) {
        let hash = errand.hash(&self.engine.shared.store);
        if let Some(replication) = &mut self.engine.replication {
            replication.take_errand(errand, hash);
        }
    }

    /// Hears what became of an errand.
    #[cold]
    pub(super) fn hear_of_errand(&mut self, ticket: usize, answer: &[u8]) {
        if let Some(replication) = &mut self.engine.replication {
            replication.hear_of_errand(ticket, answer);
        }
    }

    /// How long there is nothing to do for other nodes either.
    #[cold]
    pub(super) fn idle_in_cluster(&self, idle: Duration) -> Duration {
        let replication = self.engine.replication.as_ref();
        replication.map_or(idle, |replication| idle.min(replication.idle_for(self.engine.now)))
    }

    #[cold]
    fn attend_cluster(&mut self) {
        let engine = &mut self.engine;
        let Some(replication) = &mut engine.replication else { return };
        let (time, wall) = (self.time, engine.clock.wall());
        replication.attend(engine.now, time, wall, self.poll.registry(), &engine.shared);
        let (mut finished, bytes) = replication.take_finished();
        if finished.is_empty() {
            return replication.give_back(finished, bytes);
        }
        let mut touched = Vec::new();
        for reply in &mut finished {
            if self.tell(reply, &bytes[reply.bytes.clone()]) {
                touched.push(reply.waiter.connection);
            }
        }
        for slot in touched {
            if self.connections.contains(slot) {
                self.write(slot);
                self.settle(slot);
            }
        }
        let now = self.time.now();
        for reply in &finished {
            self.count(reply, now);
        }
        if let Some(replication) = &mut self.engine.replication {
            replication.give_back(finished, bytes);
        }
    }

    fn count(&mut self, reply: &Finished, now: Timestamp) {
        let recorder = &mut self.engine.recorder;
        let Waiter { operation, level, received, begun, local_ns, .. } = reply.waiter;
        let Some(result) = reply.answers else { return };
        // What is refused at once is decided in the turn that begins it.
        let decided = reply.decided.max(begun);
        let timing = Timing {
            queue_ns: begun.nanos_since(received),
            local_ns,
            replicas_ns: decided.nanos_since(begun),
            flush_ns: now.nanos_since(decided),
        };
        recorder.record(operation, level, &timing);
        let kind = match result {
            OperationResult::Done => return,
            OperationResult::Refused(Refusal::OutOfMemory) => ErrorKind::OutOfMemory,
            OperationResult::Refused(Refusal::Overloaded) => ErrorKind::Overloaded,
            OperationResult::Refused(_) => ErrorKind::Unavailable,
            OperationResult::Unknown => ErrorKind::Unknown,
        };
        recorder.error(kind, Some(operation));
    }

    /// Hands a reply to its client, if that is still there; `true` if the client is to be attended to and is not yet.
    fn tell(&mut self, reply: &mut Finished, bytes: &[u8]) -> bool {
        let waiter = &reply.waiter;
        // Of a client that is gone nobody knows which part was the last.
        reply.answers = (waiter.part == 0).then_some(reply.result);
        let Some(connection) = self.connections.get_mut(waiter.connection) else { return false };
        if connection.session.id != waiter.session || connection.parting_since.is_some() {
            return false;
        }
        let Some(conversation) = &mut connection.conversation else { return false };
        let mut output = connection.output.take().or_else(|| self.spare_outputs.pop()).unwrap_or_default();
        let before = output.waiting_bytes();
        reply.answers =
            conversation.accept(waiter.sequence, waiter.part, (bytes, reply.result), output.bytes());
        let first = before == 0 && output.waiting_bytes() > 0;
        let resumes = std::mem::take(&mut connection.session.waiting);
        connection.output = Some(output);
        first || resumes
    }
}
