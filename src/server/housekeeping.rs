//! What is done now and then: expired cells, deadlines of connections, stopping.
//!
//! Invariant: each round is bounded, in slots and in connections; a deadline is met within about a second.

use std::time::Duration;

use crate::config::turn;
use crate::metrics::ErrorKind;
use crate::protocol::resp::reply;
use crate::server::connection::Connection;
use crate::server::session::Protocol;
use crate::server::worker::Worker;
use crate::types::Timestamp;

/// Rounds in which all connections have been looked at once.
const DEADLINE_ROUNDS: usize = 8;

impl Worker {
    /// Keeps house if it is time to.
    #[inline]
    pub(super) fn keep_house(&mut self) {
        if self.engine.now < self.housekeeping_at {
            return;
        }
        let fruitful = self.sweep();
        let pause = if fruitful { turn::SWEEP_PAUSE } else { turn::HOUSEKEEPING_INTERVAL };
        self.housekeeping_at = self.engine.now.after(pause);
        self.accepting |= self.listener.is_some() && std::mem::take(&mut self.accept_again);
        self.meet_deadlines();
        self.answer_denied();
    }

    /// Removes expired cells; true if so many had expired that it should go on soon.
    fn sweep(&mut self) -> bool {
        // What has expired here may be all that other replicas' older values are known by: it is kept, as removals are.
        if self.engine.replication.is_some() {
            return false;
        }
        let now = self.engine.clock.wall();
        let deadline = self.engine.now.after(turn::SWEEP_TIME_MAX);
        loop {
            let swept = self.engine.shared.store.sweep(&mut self.sweeper, now, turn::SWEEP_SLOTS);
            self.engine.recorder.totals.expired += swept;
            let fruitful = swept * turn::SWEEP_YIELD_MIN > turn::SWEEP_SLOTS as u64;
            if !fruitful || self.time.now() >= deadline {
                return fruitful;
            }
        }
    }

    /// Looks at some of the connections, and closes those that are late.
    fn meet_deadlines(&mut self) {
        let slots = self.connections.capacity();
        let first = if self.deadline_slot < slots { self.deadline_slot } else { 0 };
        let end = slots.min(first + slots.div_ceil(DEADLINE_ROUNDS));
        for slot in first..end {
            let late = |connection: &Connection| self.is_late(connection);
            if self.is_parted(slot) {
                self.close(slot);
            } else if self.connections.get(slot).is_some_and(late) {
                self.engine.recorder.totals.connections_timed_out += 1;
                self.close(slot);
            }
        }
        self.deadline_slot = end;
    }

    /// Whether a connection has been silent, half-said or deaf for too long.
    fn is_late(&self, connection: &Connection) -> bool {
        let limits = &self.engine.shared.limits;
        let longer = |since: Timestamp, than: Duration| self.engine.now > since.after(than);
        let first_byte_late = connection.session.protocol == Protocol::Unknown
            && longer(connection.session.connected_at, limits.first_byte_timeout);
        let deaf = connection.waiting_bytes() > 0 && longer(connection.active_at, limits.stalled_timeout);
        let half_said = !connection.input.is_empty()
            && !connection.has_requests()
            && longer(connection.active_at, limits.stalled_timeout);
        let idle_timeout = self.engine.shared.settings.idle_timeout();
        let idle = idle_timeout.is_some_and(|timeout| longer(connection.active_at, timeout));
        first_byte_late || deaf || half_said || idle
    }

    /// Ends a connection whose buffers are more than the worker may hold in all.
    #[cold]
    pub(super) fn refuse_buffers(&mut self, slot: usize) {
        self.engine.recorder.error(ErrorKind::Overloaded, None);
        let connection = &mut self.connections[slot];
        if connection.session.protocol == Protocol::Resp && connection.waiting_bytes() == 0 {
            let mut output = self.spare_outputs.pop().unwrap_or_default();
            reply::error(
                output.bytes(),
                "OVERLOADED too many bytes are buffered for clients: try again later",
            );
            connection.output = Some(output);
            self.write(slot);
            if self.connections[slot].waiting_bytes() == 0 && !self.connections[slot].broken {
                return self.part(slot);
            }
        }
        self.close(slot);
    }

    /// Stops accepting; what was read will be answered.
    pub(super) fn begin_stop(&mut self) {
        if self.stop_at.is_some() {
            // A worker that ends tells the others; that gives them no more time.
            return;
        }
        if let Some(mut listener) = self.listener.take() {
            let _ = self.poll.registry().deregister(&mut listener);
        }
        self.accepting = false;
        self.stop_at = Some(self.engine.now.after(turn::STOP_TIMEOUT));
    }

    /// Goes on answering what was read; true when nothing is left to answer, or it took too long.
    pub(super) fn has_stopped(&mut self) -> bool {
        let late = self.stop_at.is_some_and(|at| self.engine.now >= at);
        let slots: Vec<_> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let parted = self.is_parted(slot);
            let connection = &mut self.connections[slot];
            let answered =
                connection.waiting_bytes() == 0 && !connection.has_requests() && !connection.awaits_answer();
            if late || parted {
                self.close(slot);
            } else if connection.parting_since.is_none() {
                // What the kernel still holds was not read, and is not answered.
                connection.readable = false;
                if answered {
                    self.part(slot);
                }
            }
        }
        self.connections.is_empty()
    }
}
