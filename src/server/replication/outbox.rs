//! What a worker's coordinator ordered and is still to be carried out: messages for nodes, replies for clients.
//!
//! Invariant: an order is turned into bytes while what it borrows is there; nothing is sent from here. Each reply goes
//! to the part of the request that it was begun for, or to nobody if its client has gone.

use std::ops::Range;

use slab::Slab;

use crate::cluster::coordinator::{ClientTag, Decided, Decision, Order, Orders, Question};
use crate::message::peer::{Told, Verdict};
use crate::message::{Outcome, Refusal, Reply, RequestId};
use crate::protocol::client::encode_response;
use crate::protocol::peer::{encode_inquiry, encode_proposal};
use crate::protocol::resp::{RespVersion, reply};
use crate::server::replication::errands::{Asker, Destination, answer_to};
use crate::server::replication::judge::Judge;
use crate::types::{Level, Timestamp};

/// Which request of which client an operation is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    /// The slot of the connection.
    pub(crate) connection: usize,
    /// Its session, in case somebody else has that slot by then.
    pub(crate) session: u64,
    /// The request, by its place in the conversation.
    pub(crate) sequence: u64,
    /// The part of it.
    pub(crate) part: u32,
    /// The operation, as it is counted.
    pub(crate) operation: u16,
    /// The level it is at; `None` for what is about all keys.
    pub(crate) level: Option<Level>,
    /// When it was read off its connection.
    pub(crate) received: Timestamp,
    /// When it was begun.
    pub(crate) begun: Timestamp,
    /// What the batches took in which this node's own replica was asked for it, in nanoseconds.
    pub(crate) local_ns: u64,
    /// What the answer looks like.
    pub(crate) shape: Shape,
}

/// What the answer to an operation looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// The value, or null.
    Value(RespVersion),
    /// The bytes of the value from one place to another, both inclusive.
    Range { start: i64, end: i64 },
    /// How long the value is.
    Length,
    /// Whether there is one: 1 or 0.
    Found,
    /// The name of its type.
    Type,
    /// How long until it expires, or when it does, in units of so many milliseconds.
    Expiry { unit_ms: u64, remaining: bool },
    /// The reply as it was decided.
    Raw,
    /// That it was done.
    Ok,
    /// Whether there was one to remove: 1 or 0.
    Removed,
    /// A response of the native protocol.
    Native(RequestId),
}

/// A reply that has come.
#[derive(Debug)]
pub(crate) struct Finished {
    /// To what.
    pub(crate) waiter: Waiter,
    /// Where it stands among the bytes.
    pub(crate) bytes: Range<usize>,
    /// What it is counted as.
    pub(crate) result: OperationResult,
    /// When it was known what to tell.
    pub(crate) decided: Timestamp,
    /// What became of the request that has been answered by it, if one has been.
    pub(crate) answers: Option<OperationResult>,
}

/// What an operation is counted as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OperationResult {
    Done,
    Refused(Refusal),
    Unknown,
}

/// Who waits for an operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiting {
    /// A client of this worker.
    Client(Waiter),
    /// Another node or worker, on behalf of a client of its own.
    Asker(Asker),
    /// The walk of this slot, which has a key removed, since then.
    Walk { slot: usize, begun: Timestamp },
}

/// Orders that wait.
pub(crate) struct Outbox {
    /// Messages to each node by its number, encoded; to the own one as well.
    pub(super) staged: Vec<Vec<u8>>,
    pub(super) waiting: Slab<Waiting>,
    /// What those are to be told who asked on behalf of their clients.
    pub(super) answers: Vec<(Destination, Vec<u8>)>,
    judge: Judge,
    /// Replies that have come.
    pub(super) finished: Vec<Finished>,
    /// Their bytes.
    pub(super) bytes: Vec<u8>,
    /// By whose walk keys were removed, and whether they were.
    pub(super) removed: Vec<(usize, bool)>,
    /// Whose operations the own replica was asked for, in this batch.
    pub(super) served: Vec<ClientTag>,
    /// The time that replies are stamped with.
    pub(super) now: Timestamp,
    /// The wall time, for what is answered relative to it.
    pub(super) wall_ms: u64,
}

impl Outbox {
    pub(super) fn new(nodes: usize, judge: Judge) -> Self {
        let staged = (0..nodes).map(|_| Vec::new()).collect();
        let (finished, bytes) = (Vec::new(), Vec::new());
        let (waiting, answers, removed, served) = (Slab::new(), Vec::new(), Vec::new(), Vec::new());
        let now = Timestamp::default();
        Self { staged, waiting, answers, judge, finished, bytes, removed, served, now, wall_ms: 0 }
    }

    /// Makes room for messages to nodes of numbers below `nodes`.
    pub(super) fn make_room(&mut self, nodes: usize) {
        if self.staged.len() < nodes {
            self.staged.resize_with(nodes, Vec::new);
        }
    }

    /// Remembers whom a reply is for.
    pub(super) fn expect(&mut self, waiting: Waiting) -> ClientTag {
        ClientTag(self.waiting.insert(waiting) as u64)
    }

    /// Tells whoever waits what became of a proposal that was made elsewhere.
    pub(super) fn conclude(&mut self, waiting: Waiting, verdict: &Verdict<'_>) {
        match waiting {
            Waiting::Asker(asker) => {
                self.answers.push((asker.destination, answer_to(&asker, *verdict)));
            }
            Waiting::Walk { slot, .. } => {
                let done = |reply: &[u8]| !reply.starts_with(b"-");
                self.removed
                    .push((slot, matches!(*verdict, Verdict::Told(Told::Done(reply)) if done(reply))));
            }
            Waiting::Client(waiter) => match *verdict {
                Verdict::Told(Told::Done(reply)) => self.tell(waiter, reply),
                Verdict::Told(Told::Refused(reason)) => {
                    let message = "the key's changes could not be carried out now";
                    self.reply(waiter, &Outcome::Refused { reason, message });
                }
                _ => {
                    let message = "what became of the change is not known: it may or may not take effect";
                    self.reply(waiter, &Outcome::Unknown { message });
                }
            },
        }
    }

    pub(super) fn tell(&mut self, waiter: Waiter, reply: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(reply);
        let bytes = start..self.bytes.len();
        self.finish(waiter, bytes, OperationResult::Done);
    }

    #[inline]
    pub(super) fn reply(&mut self, waiter: Waiter, outcome: &Outcome<'_>) {
        let start = self.bytes.len();
        let result = match *outcome {
            Outcome::Done(_) => OperationResult::Done,
            Outcome::Refused { reason, .. } => OperationResult::Refused(reason),
            Outcome::Unknown { .. } => OperationResult::Unknown,
        };
        write(waiter.shape, outcome, self.wall_ms, &mut self.bytes);
        self.finish(waiter, start..self.bytes.len(), result);
    }

    #[inline]
    fn finish(&mut self, waiter: Waiter, bytes: Range<usize>, result: OperationResult) {
        self.finished.push(Finished { waiter, bytes, result, decided: self.now, answers: None });
    }

    /// Notes what the own replica took for what was asked of it since `before` replies had come.
    pub(super) fn note_local(&mut self, before: usize, local_ns: u64) {
        for finished in &mut self.finished[before..] {
            finished.waiter.local_ns += local_ns;
            finished.decided = self.now;
        }
        for ClientTag(tag) in self.served.drain(..) {
            if let Some(Waiting::Client(waiter)) = self.waiting.get_mut(tag as usize) {
                waiter.local_ns += local_ns;
            }
        }
    }
}

impl Orders for Outbox {
    #[inline]
    fn order(&mut self, order: Order<'_>) {
        let client = match order {
            Order::Send { to, inquiry } => {
                return encode_inquiry(&inquiry, &mut self.staged[usize::from(to.0)]);
            }
            Order::Propose { to, proposal } => {
                return encode_proposal(&proposal, &mut self.staged[usize::from(to.0)]);
            }
            Order::Told { client, .. } | Order::Reply { client, .. } => client,
        };
        match (self.waiting.remove(client.0 as usize), &order) {
            (Waiting::Client(waiter), Order::Reply { outcome, .. }) => self.reply(waiter, outcome),
            (Waiting::Client(waiter), Order::Told { reply, .. }) => self.tell(waiter, reply),
            (Waiting::Asker(asker), order) => {
                let answer = order.as_answer().map(|(_, verdict)| answer_to(&asker, verdict));
                self.answers.extend(answer.map(|answer| (asker.destination, answer)));
            }
            (Waiting::Walk { slot, .. }, order) => {
                let done = match order {
                    Order::Told { reply, .. } => !reply.starts_with(b"-"),
                    Order::Reply { outcome, .. } => matches!(outcome, Outcome::Done(_)),
                    _ => false,
                };
                self.removed.push((slot, done));
            }
            (Waiting::Client(_), _) => {}
        }
    }

    fn decide(&mut self, question: &Question<'_>, decision: &mut Decision) -> Decided {
        self.judge.decide(question, decision)
    }
}

/// Writes what a client is told.
#[inline]
fn write(shape: Shape, outcome: &Outcome<'_>, wall_ms: u64, out: &mut Vec<u8>) {
    if let Shape::Native(id) = shape {
        return encode_response(id, outcome, out);
    }
    match outcome {
        Outcome::Done(done) => write_done(shape, done, wall_ms, out),
        Outcome::Refused { reason, message } => {
            let name = match reason {
                Refusal::Overloaded => "OVERLOADED",
                Refusal::OutOfMemory => "OOM",
                _ => "UNAVAILABLE",
            };
            reply::error(out, format!("{name} {message}"));
        }
        Outcome::Unknown { message } => reply::error(out, format!("TIMEOUT {message}")),
    }
}

#[inline]
fn write_done(shape: Shape, done: &Reply<'_>, wall_ms: u64, out: &mut Vec<u8>) {
    let found = match *done {
        Reply::Value { value, expires_at, .. } => Some((value, expires_at)),
        _ => None,
    };
    match (shape, found) {
        (Shape::Value(_), Some((value, _))) => reply::bulk(out, value),
        (Shape::Value(version), None) => reply::null(out, version),
        (Shape::Range { start, end }, Some((value, _))) => {
            reply::bulk(out, crate::operation::range(value, start, end));
        }
        (Shape::Range { .. }, None) => reply::bulk(out, b""),
        (Shape::Length, found) => reply::integer(out, found.map_or(0, |(value, _)| value.len() as i64)),
        (Shape::Found, found) => reply::integer(out, i64::from(found.is_some())),
        (Shape::Type, found) => reply::simple(out, if found.is_some() { "string" } else { "none" }),
        (Shape::Expiry { .. }, None) => reply::integer(out, -2),
        (Shape::Expiry { .. }, Some((_, None))) => reply::integer(out, -1),
        (Shape::Expiry { unit_ms, remaining }, Some((_, Some(at)))) => {
            let ms = if remaining { at.0.saturating_sub(wall_ms) } else { at.0 };
            // Remaining seconds are rounded to the nearest, moments are cut, as Redis does.
            let rounding = if remaining { unit_ms / 2 } else { 0 };
            reply::integer(out, i64::try_from((ms + rounding) / unit_ms).unwrap_or(i64::MAX));
        }
        // What a change was told is told as it is.
        (Shape::Raw, _) => {}
        (Shape::Ok, _) => reply::ok(out),
        (Shape::Removed, _) => {
            reply::integer(out, i64::from(matches!(done, Reply::Removed { existed: true })));
        }
        (Shape::Native(_), _) => unreachable!("it was answered as it is"),
    }
}
