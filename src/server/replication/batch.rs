//! A batch of the native protocol, at the replicas of its keys: its requests are under way together, each has an
//! outcome of its own, and the outcomes stand in the answer in the order of the requests.
//!
//! Invariant: a batch begins when nothing else of its connection is under way, so what was asked before it is done
//! before it. A key that a request of it changes is asked nothing else in it: nobody could tell which came first.

use std::collections::HashSet;

use crate::message::{Batch, Envelope, Outcome, Refusal, Reply, Request, RequestId};
use crate::metrics::ErrorKind;
use crate::protocol::Limits as FrameLimits;
use crate::protocol::client::{BatchWriter, encode_protocol_error, encode_refused, encode_response};
use crate::server::engine::Engine;
use crate::server::native::operation_of;
use crate::server::replication::OperationResult;
use crate::server::replication::conversation::Combine;
use crate::server::replication::outbox::{Shape, Waiter, Waiting};
use crate::server::replication::requests::{Begun, Client, NOT_OFFERED, level_of, want_of};

const TWICE: &str =
    "in a cluster, a batch asks nothing else about a key that it changes: ask in a request of its own";

/// Keys that a batch has asked about.
#[derive(Default)]
struct Asked<'a> {
    changed: HashSet<&'a [u8]>,
    read: HashSet<&'a [u8]>,
}

impl<'a> Asked<'a> {
    /// Whether a key may be asked about as well; notes that it is.
    fn admits(&mut self, key: &'a [u8], reads: bool) -> bool {
        if self.changed.contains(key) || (!reads && self.read.contains(key)) {
            return false;
        }
        if reads {
            self.read.insert(key)
        } else {
            self.changed.insert(key)
        };
        true
    }
}

/// Begins a batch.
pub(super) fn begin(
    engine: &mut Engine,
    client: &mut Client<'_>,
    envelope: &Envelope<'_>,
    batch: Batch<'_>,
    operation: u16,
    limits: &FrameLimits,
) -> Begun {
    let connection = &mut *client.connection;
    let level = envelope.level.unwrap_or(connection.session.level);
    let conversation = connection.conversation.get_or_insert_default();
    if !conversation.is_empty() {
        return Begun::Later;
    }
    engine.recorder.count(operation);
    if batch.count() == 0 {
        BatchWriter::begin(envelope.id, 0, client.out.bytes()).finish(client.out.bytes());
        return Begun::Yes;
    }
    let combine = Combine::Batch { id: envelope.id, bytes_max: limits.frame_bytes_max };
    let sequence = conversation.add(None, combine, batch.count(), false);
    let (mut asked, mut known) = (Asked::default(), Vec::new());
    for (part, request) in (0..).zip(batch.requests(*limits)) {
        let envelope = match request {
            Ok(envelope) => envelope,
            Err(error) => {
                engine.recorder.error(ErrorKind::Protocol, None);
                known.push((part, encoded(|out| encode_protocol_error(&error, out))));
                continue;
            }
        };
        let (id, request) = (envelope.id, envelope.request);
        let wanted = envelope.level.unwrap_or(level);
        let action = want_of(engine, &envelope, wanted).zip(request.key());
        let reads = matches!(request, Request::Get { .. });
        match (action, &mut engine.replication) {
            (Some((action, key)), Some(replication)) if asked.admits(key, reads) => {
                let waiter = Waiter {
                    connection: client.slot,
                    session: connection.session.id,
                    sequence,
                    part,
                    operation: operation_of(&request),
                    level: Some(level_of(&action, wanted)),
                    received: connection.received_at,
                    begun: engine.batch_at,
                    local_ns: 0,
                    shape: Shape::Native(id),
                };
                let hash = engine.shared.store.hash(key);
                let (shared, waiting) = (&engine.shared, Waiting::Client(waiter));
                replication.begin(shared, waiting, key, hash, wanted, &action);
            }
            (Some(_), _) => known.push((part, refused(engine, id, &request, TWICE))),
            (None, _) if request == Request::Ping => {
                let pong = Outcome::Done(Reply::Pong);
                known.push((part, encoded(|out| encode_response(id, &pong, out))));
            }
            (None, _) => known.push((part, refused(engine, id, &request, NOT_OFFERED))),
        }
    }
    for (part, bytes) in known {
        // It was counted when it was refused.
        conversation.accept(sequence, part, (&bytes, OperationResult::Done), client.out.bytes());
    }
    Begun::Yes
}

fn refused(engine: &mut Engine, id: RequestId, request: &Request<'_>, why: &str) -> Vec<u8> {
    let operation = operation_of(request);
    engine.recorder.count(operation);
    engine.recorder.error(ErrorKind::Unavailable, Some(operation));
    encoded(|out| encode_refused(id, Refusal::Unavailable, why, out))
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

/// Bytes of an outcome that is always told: all but values are shorter.
const SHORT_BYTES: usize = 128;

/// Writes the answer around the outcomes of its parts. A value that does not fit is refused by itself: it was read, and
/// nothing was changed.
pub(super) fn write(id: RequestId, bytes_max: u32, parts: &[Vec<u8>], out: &mut Vec<u8>) {
    let writer = BatchWriter::begin(id, u32::try_from(parts.len()).unwrap_or(u32::MAX), out);
    let reserved = parts.len() * SHORT_BYTES;
    for part in parts {
        let fits = writer.frame_bytes(out) + part.len() + reserved <= bytes_max as usize;
        if fits || part.len() <= SHORT_BYTES {
            out.extend_from_slice(part);
        } else {
            let id = part[4..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            let why = "the answer does not fit a frame: ask for less at once";
            encode_refused(RequestId(id), Refusal::AnswerTooLarge, why, out);
        }
    }
    writer.finish(out);
}
