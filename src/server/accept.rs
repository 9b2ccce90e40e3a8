//! New connections: accepted, counted, placed with the worker that has fewest, or turned away.
//!
//! Invariant: a connection counts for a worker from before that worker knows of it, so that many at once spread
//! evenly; the limit holds for the node and not for a worker. Running out of descriptors stops accepting for a
//! moment and nothing else.

use std::io::{ErrorKind, Write};
use std::sync::atomic::Ordering;

use mio::net::TcpStream;
use mio::{Interest, Token};

use crate::server::connection::Connection;
use crate::server::session::Session;
use crate::server::worker::{FIRST_CONNECTION, Message, Worker};

/// Connections accepted in one turn.
const ACCEPTED_PER_TURN: usize = 64;

const REFUSAL: &[u8] = b"-ERR max number of clients reached\r\n";

impl Worker {
    /// Accepts what waits, a bounded number.
    #[inline]
    pub(super) fn accept(&mut self) {
        if !self.accepting {
            return;
        }
        for _ in 0..ACCEPTED_PER_TURN {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, _)) => self.place(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accepting = false;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of descriptors or memory: what waits is tried again when house is kept.
                    tracing::warn!(%error, "cannot accept a connection: raise the limit of open files?");
                    (self.accepting, self.accept_again) = (false, true);
                    return;
                }
            }
        }
    }

    /// Serves a new connection here, or hands it to the worker that has fewest.
    fn place(&mut self, mut stream: TcpStream) {
        let shared = &self.engine.shared;
        self.engine.recorder.totals.connections_accepted += 1;
        if shared.connections() >= shared.settings.connections_max() {
            self.engine.recorder.totals.connections_refused += 1;
            let _ = stream.write(REFUSAL);
            return;
        }
        let load = |worker: &usize| shared.loads[*worker].load(Ordering::Relaxed);
        let least = (0..shared.loads.len()).min_by_key(load).unwrap_or(self.index);
        let target = if load(&least) < load(&self.index) { least } else { self.index };
        shared.loads[target].fetch_add(1, Ordering::Relaxed);
        if target == self.index {
            return self.serve(stream);
        }
        match shared.mailboxes[target].send(Message::Serve(stream)) {
            Ok(()) => self.engine.recorder.totals.connections_handed_over += 1,
            Err(Message::Serve(stream)) => {
                shared.loads[target].fetch_sub(1, Ordering::Relaxed);
                shared.loads[self.index].fetch_add(1, Ordering::Relaxed);
                self.serve(stream);
            }
            Err(_) => {}
        }
    }

    /// Takes up a connection that is already counted.
    pub(super) fn serve(&mut self, mut stream: TcpStream) {
        let entry = self.connections.vacant_entry();
        let token = Token(entry.key() + FIRST_CONNECTION);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut stream, token, interest);
        if let Err(error) = registered.and_then(|()| stream.set_nodelay(true)) {
            tracing::warn!(%error, "cannot serve a connection");
            self.engine.shared.loads[self.index].fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let id = self.engine.shared.next_connection.fetch_add(1, Ordering::Relaxed);
        let peer = stream.peer_addr().ok();
        let now = self.engine.now;
        let trusted = self.engine.shared.password.is_none();
        let session = Session::new(id, now, trusted, self.engine.replication.is_some());
        entry.insert(Connection::new(stream, peer, session, now));
    }
}
