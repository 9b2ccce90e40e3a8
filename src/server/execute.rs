//! Running what a turn took in, and answering it.
//!
//! Invariant: requests of a connection run in the order in which they came, and what is not run (because the
//! connection waits, closes, or has too much output) goes back to its input byte for byte. While a request runs,
//! the cells of those behind it are on their way into the cache.

use std::mem;

use crate::config::turn::{self, CELLS_AHEAD, SLOTS_AHEAD};
use crate::metrics::ErrorKind;
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::batch::{Batch, Failure, Kind, Request, Source, Span};
use crate::server::commands::{self, Context, Question};
use crate::server::connection::Connection;
use crate::server::engine::Engine;
use crate::server::native;
use crate::server::output::Output;
use crate::server::replication::{self, Begun, Client};
use crate::server::session::Replies;
use crate::server::worker::Worker;
use crate::types::KeyHash;

/// A buffer that grew beyond this is not kept for another connection.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Spare buffers kept, of each kind.
const SPARES_MAX: usize = 64;

impl Worker {
    /// Runs everything taken in so far, answers it, and makes room for more.
    pub(super) fn execute(&mut self) {
        if self.batch.spans.is_empty() {
            return;
        }
        if self.engine.replication.is_some() {
            self.engine.batch_at = self.time.now();
        }
        let mut batch = mem::take(&mut self.batch);
        for request in batch.requests.iter().take(SLOTS_AHEAD) {
            prefetch_slot(&self.engine, request);
        }
        for request in batch.requests.iter().take(CELLS_AHEAD) {
            prefetch_cell(&self.engine, request);
        }
        let mut spans = mem::take(&mut batch.spans);
        for span in spans.drain(..) {
            self.execute_span(&batch, span);
        }
        batch.spans = spans;
        batch.clear();
        self.batch = batch;
        self.input_used = 0;
        let elapsed_ns = self.time.now().nanos_since(self.engine.now);
        self.engine.recorder.finish_turn(elapsed_ns);
    }

    fn execute_span(&mut self, batch: &Batch, span: Span) {
        let Span { connection: slot, source, length, needed, failure, .. } = span;
        let connection = &mut self.connections[slot];
        let mut output = connection.output.take().or_else(|| self.spare_outputs.pop()).unwrap_or_default();
        let input = match &source {
            Source::Arena(start) => &self.input[*start..][..length],
            Source::Own(bytes) => bytes,
        };
        self.engine.peer = connection.peer;
        let ran = Ran { batch, input, requests: span.first..span.end, slot };
        let high = self.engine.shared.limits.output_bytes_high;
        let authenticated = connection.session.is_authenticated();
        let (stopped_at, question) = ran.run(&mut self.engine, connection, &mut output, high);
        if let Some(Kind::Command(id)) = batch.requests[span.first..span.end].last().map(|last| last.kind) {
            connection.session.command = Some(id);
        }
        let mut rest = span.consumed;
        connection.needed = needed;
        if let Some(at) = stopped_at {
            rest = at;
            connection.needed = 0;
        } else if let Some(failure) = failure {
            // A client that gave the password in this turn may go on with what was too much for a stranger.
            if question.is_none() && authenticated == connection.session.is_authenticated() {
                fail(&mut self.engine, connection, &mut output, &failure);
            } else {
                // It is found again, and told, once the question before it has been answered.
                connection.needed = 0;
            }
        } else if span.end - span.first >= turn::CONNECTION_COMMANDS_MAX {
            connection.needed = 0;
        }
        connection.output = Some(output);
        self.keep_rest(slot, source, rest, length);
        if let Some(question) = question {
            self.ask(slot, question);
        }
        self.write(slot);
        self.settle(slot);
    }

    /// Keeps the bytes that were not executed, and a buffer only if there are any.
    #[inline]
    fn keep_rest(&mut self, slot: usize, source: Source, rest: usize, length: usize) {
        let connection = &mut self.connections[slot];
        let discarded = connection.session.closing;
        match source {
            Source::Arena(_) if rest == length || discarded => {}
            Source::Arena(start) => {
                connection.input = self.spare_inputs.pop().unwrap_or_default();
                connection.input.extend_from_slice(&self.input[start + rest..start + length]);
            }
            Source::Own(mut bytes) if rest == length || discarded => {
                if bytes.capacity() <= KEPT_BYTES_MAX && self.spare_inputs.len() < SPARES_MAX {
                    bytes.clear();
                    self.spare_inputs.push(bytes);
                }
            }
            Source::Own(mut bytes) => {
                bytes.drain(..rest);
                connection.input = bytes;
            }
        }
        while self.spare_outputs.len() > SPARES_MAX {
            self.spare_outputs.pop();
        }
    }
}

#[inline]
fn prefetch_slot(engine: &Engine, request: &Request) {
    // In a cluster the replicas look the key up, later: they fetch ahead themselves.
    if let Some(hash) = request.hash.filter(|_| engine.replication.is_none()) {
        engine.shared.store.prefetch_slot(hash);
    }
}

#[inline]
fn prefetch_cell(engine: &Engine, request: &Request) {
    if let Some(hash) = request.hash.filter(|_| engine.replication.is_none()) {
        engine.shared.store.prefetch_cell(hash);
    }
}

/// A request has to wait for those before it.
struct Later;

/// The requests of one span, about to be run.
struct Ran<'b> {
    batch: &'b Batch,
    input: &'b [u8],
    requests: std::ops::Range<usize>,
    /// The connection's slot.
    slot: usize,
}

impl Ran<'_> {
    /// Runs the requests; returns where it stopped if not all were run, and the question that one of them asked.
    #[inline]
    fn run(
        &self,
        engine: &mut Engine,
        connection: &mut Connection,
        output: &mut Output,
        output_bytes_high: usize,
    ) -> (Option<usize>, Option<Question>) {
        let requests = &self.batch.requests;
        for index in self.requests.clone() {
            let request = &requests[index];
            if connection.session.closing || output.waiting_bytes() >= output_bytes_high {
                return (Some(request.start), None);
            }
            if let Some(ahead) = requests.get(index + SLOTS_AHEAD) {
                prefetch_slot(engine, ahead);
            }
            if let Some(ahead) = requests.get(index + CELLS_AHEAD) {
                prefetch_cell(engine, ahead);
            }
            let question = if connection.session.is_plain() {
                self.run_one(engine, connection, output, request)
            } else {
                match self.run_guarded(engine, connection, output, request) {
                    Ok(question) => question,
                    Err(Later) => {
                        connection.session.waiting = true;
                        return (Some(request.start), None);
                    }
                }
            };
            if question.is_some() || mem::take(&mut engine.ends_turn) {
                let next = (index + 1 < self.requests.end).then(|| requests[index + 1].start);
                return (next, question);
            }
        }
        (None, None)
    }

    /// Runs a request of a client that has not given the password, or does not want every reply, or of a node that is
    /// not alone.
    #[cold]
    fn run_guarded(
        &self,
        engine: &mut Engine,
        connection: &mut Connection,
        output: &mut Output,
        request: &Request,
    ) -> Result<Option<Question>, Later> {
        let before = connection.session.replies();
        let begun = if engine.replication.is_some() && connection.session.is_authenticated() {
            self.replicate(engine, connection, output, request, before != Replies::All)
        } else {
            Begun::Local
        };
        if begun == Begun::Later {
            return Err(Later);
        }
        if before == Replies::SkipOne {
            connection.session.set_replies(Replies::All);
        }
        let mark = output.mark();
        let question = if begun == Begun::Yes {
            return Ok(None);
        } else if connection.session.is_authenticated() || self.is_for_strangers(request) {
            self.run_one(engine, connection, output, request)
        } else {
            self.refuse_stranger(engine, output, request);
            None
        };
        let silent = match before {
            Replies::All => false,
            Replies::SkipOne => true,
            Replies::None => connection.session.replies() == Replies::None,
        };
        if !silent {
            return Ok(question);
        }
        output.rewind(mark);
        // What has an effect is done all the same; nobody waits for the answer to the others.
        Ok(question.filter(|question| matches!(question, Question::Denied { .. } | Question::Kill { .. })))
    }

    /// Begins a request at the replicas of its keys, if it is about keys.
    fn replicate(
        &self,
        engine: &mut Engine,
        connection: &mut Connection,
        output: &mut Output,
        request: &Request,
        silent: bool,
    ) -> Begun {
        let hash = request.hash.unwrap_or(KeyHash(0));
        let input = &self.input[request.start..];
        let mut client = Client { slot: self.slot, connection, out: output, silent };
        match request.kind {
            Kind::Command(id) => {
                let list = &self.batch.arguments[request.first_argument..request.end_argument];
                let arguments = Arguments::new(input, &self.batch.scratch, list);
                let command = commands::entry(id);
                replication::begin(engine, &mut client, command, u16::from(id.0), &arguments, hash)
            }
            Kind::Frame => native::replicate(engine, &mut client, input, &self.batch.frame_limits, hash),
            Kind::UnknownCommand | Kind::Preamble => replication::begin_other(&client),
        }
    }

    fn refuse_stranger(&self, engine: &mut Engine, output: &mut Output, request: &Request) {
        engine.recorder.error(ErrorKind::Command, None);
        match request.kind {
            Kind::Frame => {
                let input = &self.input[request.start..];
                native::refuse_stranger(output, input, &self.batch.frame_limits);
            }
            _ => reply::error(output.bytes(), "NOAUTH Authentication required."),
        }
    }

    /// Whether it may be asked before the password is given.
    fn is_for_strangers(&self, request: &Request) -> bool {
        match request.kind {
            Kind::Command(id) => commands::entry(id).flags.contains(&"no_auth"),
            Kind::Preamble => true,
            Kind::UnknownCommand => false,
            Kind::Frame => native::is_for_strangers(&self.input[request.start..], &self.batch.frame_limits),
        }
    }

    // Left to itself, the compiler thinks it too long to become part of the loop.
    #[inline(always)]
    fn run_one(
        &self,
        engine: &mut Engine,
        connection: &mut Connection,
        output: &mut Output,
        request: &Request,
    ) -> Option<Question> {
        let input = &self.input[request.start..];
        let session = &mut connection.session;
        let arguments = || {
            let list = &self.batch.arguments[request.first_argument..request.end_argument];
            Arguments::new(input, &self.batch.scratch, list)
        };
        match request.kind {
            Kind::Command(id) => {
                let hash = request.hash.unwrap_or(KeyHash(0));
                let command = commands::entry(id);
                let mut context = Context { engine, session, out: output, command, hash, question: None };
                commands::execute(&mut context, id, &arguments());
                context.question
            }
            // What a browser sends is none of its user's doing, and its body may look like commands.
            Kind::UnknownCommand if commands::is_http(&arguments()) => {
                engine.recorder.error(ErrorKind::Protocol, None);
                session.closing = true;
                None
            }
            Kind::UnknownCommand => {
                commands::refuse_unknown(engine, output, &arguments());
                None
            }
            Kind::Frame => {
                native::execute(engine, session, output, input, &self.batch.frame_limits, request.hash)
            }
            Kind::Preamble => {
                native::greet(session, output, input);
                None
            }
        }
    }
}

/// Says why a connection cannot go on, and ends it.
#[cold]
fn fail(engine: &mut Engine, connection: &mut Connection, output: &mut Output, failure: &Failure) {
    if connection.session.closing {
        return;
    }
    match failure {
        Failure::Resp(error) => {
            engine.recorder.error(ErrorKind::Protocol, None);
            reply::error(output.bytes(), format!("ERR {error}"));
        }
        Failure::Native(error) => native::refuse_frame(engine, output, error),
    }
    connection.session.closing = true;
}
