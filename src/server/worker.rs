//! One event loop: takes connections and their bytes in, runs the requests, writes the answers.
//!
//! Invariant: a connection stays with its worker, and a request with its turn: read, parsed, hashed, prefetched,
//! executed in order and answered with one write, all on this thread. No turn is unbounded, in requests or in bytes,
//! and nothing here waits but for events.
//!
//! ```text
//! poll -> gather (read, parse, hash) -> execute (prefetch ahead, run in order) -> write -> accept, messages
//! ```

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::config::turn;
use crate::server::batch::{Batch, Source};
use crate::server::clock::Clock;
use crate::server::connection::{Connection, Received};
use crate::server::engine::Engine;
use crate::server::gathering::{Collection, Questions};
use crate::server::output::Output;
use crate::server::replication::Errand;
use crate::server::roster::Outlook;
use crate::store::Sweeper;
use crate::types::Timestamp;

pub(super) const LISTENER: Token = Token(0);
pub(super) const WAKER: Token = Token(1);
/// The token of the connection in slot 0.
pub(super) const FIRST_CONNECTION: usize = 2;

/// What is begun anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Forget {
    /// Counters and latencies.
    Statistics,
    /// The log of slow commands.
    SlowLog,
}

/// What workers tell each other.
pub(crate) enum Message {
    /// Serve this connection.
    Serve(TcpStream),
    /// Add your counters.
    Collect(Arc<Collection>),
    /// All counters for one of your questions are there.
    Collected,
    /// Begin to count or to log anew.
    Forget(Forget),
    /// Go by this view of the cluster from now on.
    Adopt(Arc<Outlook>),
    /// Propose this for me.
    Errand(Box<Errand>),
    /// This became of your errand.
    ErrandDone {
        /// Which.
        ticket: usize,
        /// What is told, as it is on a link.
        answer: Box<[u8]>,
    },
    /// Look whether the node is stopping.
    Stop,
}

/// One event loop and its connections.
pub(crate) struct Worker {
    pub(super) index: usize,
    pub(super) poll: Poll,
    pub(super) listener: Option<TcpListener>,
    /// The kernel may hold connections to accept.
    pub(super) accepting: bool,
    /// They could not be accepted; they are tried again when house is kept.
    pub(super) accept_again: bool,
    pub(super) time: Clock,
    pub(super) engine: Engine,
    pub(super) connections: Slab<Connection>,
    /// Connections that have a turn now.
    pub(super) active: Vec<usize>,
    /// Connections that were left with work for the next turn.
    pub(super) queued: Vec<usize>,
    pub(super) input: Box<[u8]>,
    pub(super) input_used: usize,
    pub(super) batch: Batch,
    pub(super) spare_inputs: Vec<Vec<u8>>,
    #[expect(
        clippy::vec_box,
        reason = "a connection holds one as a pointer, so that an idle one stays small"
    )]
    pub(super) spare_outputs: Vec<Box<Output>>,
    /// Bytes that all connections are charged for.
    pub(super) buffered_bytes: usize,
    pub(super) questions: Questions,
    pub(super) sweeper: Sweeper,
    pub(super) housekeeping_at: Timestamp,
    /// The slot at which looking at deadlines goes on.
    pub(super) deadline_slot: usize,
    /// When to give up waiting for clients, once it was told to stop.
    pub(super) stop_at: Option<Timestamp>,
}

impl Worker {
    pub(crate) fn new(index: usize, poll: Poll, listener: TcpListener, engine: Engine, time: Clock) -> Self {
        let workers = engine.shared.mailboxes.len();
        Self {
            index,
            poll,
            listener: Some(listener),
            accepting: false,
            accept_again: false,
            time,
            connections: Slab::new(),
            active: Vec::new(),
            queued: Vec::new(),
            input: vec![0; turn::INPUT_BYTES].into_boxed_slice(),
            input_used: 0,
            batch: Batch::new(&engine.shared.limits),
            spare_inputs: Vec::new(),
            spare_outputs: Vec::new(),
            buffered_bytes: 0,
            questions: Questions::default(),
            sweeper: Sweeper::new(index, workers),
            housekeeping_at: Timestamp::default(),
            deadline_slot: 0,
            stop_at: None,
            engine,
        }
    }

    /// Runs until it is told to stop and has answered what it read.
    ///
    /// # Errors
    /// The kernel's, if it cannot poll.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(turn::EVENTS);
        if let Some(listener) = &mut self.listener {
            self.poll.registry().register(listener, LISTENER, Interest::READABLE)?;
        }
        if let Some(replication) = &mut self.engine.replication {
            replication.register(self.poll.registry())?;
        }
        loop {
            let timeout = self.idle_for();
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            self.engine.begin_turn();
            mem::swap(&mut self.active, &mut self.queued);
            for event in &events {
                self.note(event);
            }
            self.serve_active();
            self.attend_peers();
            self.receive_messages();
            self.accept();
            self.keep_house();
            self.attend_questions();
            if self.engine.shared.stopping.load(Ordering::Relaxed) {
                self.begin_stop();
            }
            if self.stop_at.is_some() && self.has_stopped() {
                return Ok(());
            }
        }
    }

    /// How long there is nothing to do unless an event comes.
    #[inline]
    fn idle_for(&self) -> Duration {
        let mailbox = &self.engine.shared.mailboxes[self.index];
        if !self.queued.is_empty() || self.accepting || !mailbox.is_empty() {
            return Duration::ZERO;
        }
        let idle = Duration::from_nanos(self.housekeeping_at.nanos_since(self.engine.now));
        if self.engine.replication.is_some() { self.idle_in_cluster(idle) } else { idle }
    }

    /// Remembers what an event says.
    #[inline]
    fn note(&mut self, event: &Event) {
        match event.token() {
            LISTENER => self.accepting = true,
            WAKER => {}
            Token(token) => {
                let slot = token - FIRST_CONNECTION;
                // An event of another node, of a connection that was closed meanwhile, or of none.
                let Some(connection) = self.connections.get_mut(slot) else {
                    return self.note_peer(token, event);
                };
                connection.readable |= event.is_readable();
                connection.read_closed |= event.is_read_closed();
                if !connection.queued {
                    connection.queued = true;
                    self.active.push(slot);
                }
            }
        }
    }

    /// Gives each active connection its turn: takes in as much as fits, executes, and goes on.
    pub(super) fn serve_active(&mut self) {
        let active = mem::take(&mut self.active);
        for &slot in &active {
            let full = self.input.len() - self.input_used < turn::READ_BYTES;
            if full || self.batch.requests.len() >= turn::REQUESTS_MAX {
                self.execute();
            }
            self.gather(slot);
        }
        self.execute();
        self.active = active;
        self.active.clear();
    }

    /// Takes in what a connection has to say in this turn.
    #[inline]
    fn gather(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        connection.queued = false;
        if connection.parting_since.is_some() {
            return self.hear_out(slot);
        }
        if connection.waiting_bytes() > 0 {
            self.write(slot);
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let limits = &self.engine.shared.limits;
        if connection.session.waiting
            || connection.session.closing
            || connection.waiting_bytes() >= limits.output_bytes_high
        {
            return self.settle(slot);
        }
        if !connection.has_requests() && connection.readable {
            let space = &mut self.input[self.input_used..][..turn::READ_BYTES];
            let Received::Bytes(count) = connection.receive(space) else { return self.close(slot) };
            if count > 0 {
                (connection.active_at, connection.received_at) = (self.engine.now, self.engine.now);
                self.engine.recorder.totals.bytes_read += count as u64;
                if connection.input.is_empty() {
                    return self.parse_arena(slot, count);
                }
                connection.input.extend_from_slice(&space[..count]);
            }
        }
        if connection.has_requests() {
            self.parse_own(slot);
        } else {
            self.settle(slot);
        }
    }

    #[inline]
    fn parse_arena(&mut self, slot: usize, count: usize) {
        let connection = &mut self.connections[slot];
        let input = &self.input[self.input_used..][..count];
        let (limits, seed) = (&self.engine.shared.limits, self.engine.shared.store.seed());
        let span = self.batch.add(slot, &mut connection.session, input, limits, seed);
        span.source = Source::Arena(self.input_used);
        self.input_used += count;
    }

    fn parse_own(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let input = connection.take_input();
        let (limits, seed) = (&self.engine.shared.limits, self.engine.shared.store.seed());
        let span = self.batch.add(slot, &mut connection.session, &input, limits, seed);
        span.source = Source::Own(input);
    }

    /// Writes what a connection has waiting.
    pub(super) fn write(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let Some(mut output) = connection.output.take() else { return };
        match output.write_to(&mut connection.stream) {
            Ok(written) => {
                if written > 0 {
                    connection.active_at = self.engine.now;
                    self.engine.recorder.totals.bytes_written += written as u64;
                }
                if output.waiting_bytes() > 0 {
                    connection.output = Some(output);
                } else {
                    self.spare_outputs.push(output);
                }
            }
            Err(_) => connection.broken = true,
        }
    }

    /// Puts a connection in order after its turn: closes it, charges its buffers, gives it another turn.
    #[inline]
    pub(super) fn settle(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let flushed = connection.waiting_bytes() == 0;
        let unanswered = connection.has_requests() || connection.awaits_answer();
        if connection.broken || (connection.finished && !unanswered && flushed) {
            return self.close(slot);
        }
        if connection.session.closing && flushed {
            return self.part(slot);
        }
        let held_bytes = connection.held_bytes();
        if held_bytes != connection.charged_bytes {
            self.buffered_bytes += held_bytes;
            self.buffered_bytes -= connection.charged_bytes;
            connection.charged_bytes = held_bytes;
            if self.buffered_bytes > self.engine.shared.limits.buffered_bytes_max {
                return self.refuse_buffers(slot);
            }
        }
        let connection = &mut self.connections[slot];
        let high = self.engine.shared.limits.output_bytes_high;
        let blocked =
            connection.session.waiting || connection.session.closing || connection.waiting_bytes() >= high;
        if !blocked && !connection.queued && (connection.readable || connection.has_requests()) {
            connection.queued = true;
            self.queued.push(slot);
        }
    }
}
