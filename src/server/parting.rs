//! How connections end: the client hears all that was said to it, and then that there is no more.
//!
//! Invariant: a socket that is closed while bytes of its client wait unread is reset by the kernel, and a reset takes
//! with it what the client has not received yet. So the node first ends its own direction, and then discards what
//! still comes until the client ends its own, falls silent, or has had time enough. It answers nothing.

use std::sync::atomic::Ordering;

use crate::config::turn;
use crate::server::connection::Received;
use crate::server::worker::Worker;

impl Worker {
    /// Tells a client to whom all is said that no more will come, and waits for its end.
    pub(super) fn part(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        self.buffered_bytes -= connection.charged_bytes;
        connection.charged_bytes = 0;
        connection.input = Vec::new();
        connection.parting_since = Some(self.engine.now);
        if self.is_parted(slot) || self.connections[slot].shut_down().is_err() {
            return self.close(slot);
        }
        let connection = &mut self.connections[slot];
        connection.readable = true;
        if !connection.queued {
            connection.queued = true;
            self.queued.push(slot);
        }
    }

    /// Discards what a client says that was told of the end, until it ends as well.
    pub(super) fn hear_out(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if connection.readable {
            let space = &mut self.input[self.input_used..][..turn::READ_BYTES];
            match connection.receive(space) {
                Received::Bytes(count) if !connection.finished => {
                    self.engine.recorder.totals.bytes_read += count as u64;
                    if count > 0 {
                        connection.active_at = self.engine.now;
                    }
                }
                _ => return self.close(slot),
            }
        }
        let connection = &mut self.connections[slot];
        if connection.readable && !connection.queued {
            connection.queued = true;
            self.queued.push(slot);
        }
    }

    /// Whether a client that was told of the end has been silent since, or has had time enough.
    pub(super) fn is_parted(&self, slot: usize) -> bool {
        let Some(connection) = self.connections.get(slot) else { return false };
        connection.parting_since.is_some_and(|since| {
            let now = self.engine.now;
            now > connection.active_at.after(turn::PARTING_SILENCE)
                || now > since.after(turn::PARTING_TIMEOUT)
        })
    }

    /// Forgets a connection.
    pub(super) fn close(&mut self, slot: usize) {
        // Closing the descriptor takes it out of the poll as well.
        let connection = self.connections.remove(slot);
        self.buffered_bytes -= connection.charged_bytes;
        self.engine.shared.loads[self.index].fetch_sub(1, Ordering::Relaxed);
    }
}
