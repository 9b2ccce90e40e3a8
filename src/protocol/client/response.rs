//! Responses to bytes and back.
//!
//! Invariant: a response carries exactly the fields that its kind has, in one order: header, version, expiry,
//! body. What a node answers most is laid down by functions of its own, without going through an [`Outcome`].

use std::io::Write;

use super::{Place, outcome, reply_kind, response_flag};
use crate::message::{Counter, Keys, OperationStats, Outcome, Outcomes, Refusal, Reply, RequestId, Stats};
use crate::protocol::codec::{Malformed, Reader, put_counted, text, version_bytes, wire_length};
use crate::protocol::frame::{Frame, LENGTH_BYTES, begin_frame, finish_frame, holds_frames};
use crate::protocol::{Fault, Field, ProtocolError};
use crate::types::{VERSION_BYTES, Version, WallTime};

/// Bytes of a response's header after the length field.
const HEADER_BYTES: usize = 8;

const VERSION_AT: usize = LENGTH_BYTES + HEADER_BYTES;
const EXPIRY_AT: usize = VERSION_AT + VERSION_BYTES;

/// Bytes of a value response before the value: at most.
pub const VALUE_HEAD_BYTES_MAX: usize = EXPIRY_AT + 8;

/// Appends a value response up to where the value begins; `value_bytes` of it are to follow from elsewhere.
///
/// # Panics
///
/// If the value reaches 4 GiB.
#[inline]
pub fn encode_value_head(
    id: RequestId,
    version: Version,
    expires_at: Option<WallTime>,
    value_bytes: usize,
    out: &mut Vec<u8>,
) {
    // Two copies of constant length; one of a length known only at run time is a call.
    let Some(expires_at) = expires_at else {
        let length = wire_length(EXPIRY_AT - LENGTH_BYTES + value_bytes);
        let head = header(length, id, outcome::DONE, reply_kind::VALUE, response_flag::VERSION);
        out.extend_from_slice(&with_version(head, version));
        return;
    };
    let length = wire_length(VALUE_HEAD_BYTES_MAX - LENGTH_BYTES + value_bytes);
    let head = header(length, id, outcome::DONE, reply_kind::VALUE, response_flag::DEFINED);
    out.extend_from_slice(&with_version(head, version));
    out.extend_from_slice(&expires_at.0.to_le_bytes());
}

/// Appends a value response.
///
/// # Panics
///
/// If the value reaches 4 GiB.
#[inline]
pub fn encode_value(
    id: RequestId,
    version: Version,
    expires_at: Option<WallTime>,
    value: &[u8],
    out: &mut Vec<u8>,
) {
    out.reserve(VALUE_HEAD_BYTES_MAX + value.len());
    encode_value_head(id, version, expires_at, value.len(), out);
    out.extend_from_slice(value);
}

/// Appends the response to a write that was done.
#[inline]
pub fn encode_written(id: RequestId, version: Version, out: &mut Vec<u8>) {
    const BYTES: u32 = (HEADER_BYTES + VERSION_BYTES) as u32;
    let head = header(BYTES, id, outcome::DONE, reply_kind::WRITTEN, response_flag::VERSION);
    out.extend_from_slice(&with_version(head, version));
}

/// Appends the response that a key is not there.
#[inline]
pub fn encode_absent(id: RequestId, out: &mut Vec<u8>) {
    out.extend_from_slice(&header(HEADER_BYTES as u32, id, outcome::DONE, reply_kind::ABSENT, 0));
}

/// Appends a refusal.
pub fn encode_refused(id: RequestId, reason: Refusal, message: &str, out: &mut Vec<u8>) {
    let start = begin_refused(id, reason, out);
    out.extend_from_slice(message.as_bytes());
    finish_frame(start, 0, out);
}

/// Appends the refusal of what was not a request, if it is known which; otherwise nothing.
pub fn encode_protocol_error(error: &ProtocolError, out: &mut Vec<u8>) {
    let Some(id) = error.id else { return };
    let start = begin_refused(id, error.refusal(), out);
    write!(out, "{error}").expect("a vector takes whatever is written");
    finish_frame(start, 0, out);
}

/// Appends `outcome` as the response to the request `id`.
///
/// # Panics
///
/// If it reaches 4 GiB.
pub fn encode_response(id: RequestId, outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    match outcome {
        Outcome::Done(reply) => encode_done(id, reply, out),
        Outcome::Refused { reason, message } => encode_refused(id, *reason, message, out),
        Outcome::Unknown { message } => {
            let start = begin(id, outcome::UNKNOWN, 0, None, out);
            out.extend_from_slice(message.as_bytes());
            finish_frame(start, 0, out);
        }
    }
}

fn encode_done(id: RequestId, reply: &Reply<'_>, out: &mut Vec<u8>) {
    let start = match reply {
        Reply::Pong => begin_done(id, reply_kind::PONG, None, out),
        Reply::Authenticated => begin_done(id, reply_kind::AUTHENTICATED, None, out),
        Reply::Stats(stats) => {
            let start = begin_done(id, reply_kind::STATS, None, out);
            put_stats(stats, out);
            start
        }
        Reply::Cluster { json } => {
            let start = begin_done(id, reply_kind::CLUSTER, None, out);
            out.extend_from_slice(json.as_bytes());
            start
        }
        Reply::Page { cursor, keys } => {
            let start = begin_page(id, *cursor, keys.count, out);
            out.extend_from_slice(keys.encoded);
            start
        }
        Reply::Absent => return encode_absent(id, out),
        Reply::Value { version, expires_at, value } => {
            return encode_value(id, *version, *expires_at, value, out);
        }
        Reply::Written { version } => return encode_written(id, *version, out),
        Reply::Removed { existed } => {
            let start = begin_done(id, reply_kind::REMOVED, None, out);
            out.push(u8::from(*existed));
            start
        }
        Reply::Integer { version, value } => {
            let start = begin_done(id, reply_kind::INTEGER, Some(*version), out);
            out.extend_from_slice(&value.to_le_bytes());
            start
        }
        Reply::Length { version, bytes } => {
            let start = begin_done(id, reply_kind::LENGTH, Some(*version), out);
            out.extend_from_slice(&bytes.to_le_bytes());
            start
        }
        Reply::Batch(outcomes) => {
            let start = begin_batch(id, outcomes.count, out);
            out.extend_from_slice(outcomes.frames);
            start
        }
    };
    finish_frame(start, 0, out);
}

pub(super) fn begin_page(id: RequestId, cursor: u64, count: u32, out: &mut Vec<u8>) -> usize {
    let start = begin_done(id, reply_kind::PAGE, None, out);
    out.extend_from_slice(&cursor.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    start
}

pub(super) fn begin_batch(id: RequestId, count: u32, out: &mut Vec<u8>) -> usize {
    let start = begin_done(id, reply_kind::BATCH, None, out);
    out.extend_from_slice(&count.to_le_bytes());
    start
}

fn begin_done(id: RequestId, kind: u8, version: Option<Version>, out: &mut Vec<u8>) -> usize {
    begin(id, outcome::DONE, kind, version, out)
}

fn begin_refused(id: RequestId, reason: Refusal, out: &mut Vec<u8>) -> usize {
    let current = if let Refusal::ConditionFailed { current } = reason { current } else { None };
    begin(id, outcome::REFUSED, reason.number(), current, out)
}

fn begin(id: RequestId, outcome: u8, kind: u8, version: Option<Version>, out: &mut Vec<u8>) -> usize {
    let start = begin_frame(out);
    let flags = if version.is_some() { response_flag::VERSION } else { 0 };
    out.extend_from_slice(&header(0, id, outcome, kind, flags)[LENGTH_BYTES..]);
    if let Some(version) = version {
        out.extend_from_slice(&version_bytes(version));
    }
    start
}

#[inline]
fn header(length: u32, id: RequestId, outcome: u8, kind: u8, flags: u16) -> [u8; VERSION_AT] {
    let [l0, l1, l2, l3] = length.to_le_bytes();
    let [i0, i1, i2, i3] = id.0.to_le_bytes();
    let [f0, f1] = flags.to_le_bytes();
    [l0, l1, l2, l3, i0, i1, i2, i3, outcome, kind, f0, f1]
}

#[inline]
fn with_version(header: [u8; VERSION_AT], version: Version) -> [u8; EXPIRY_AT] {
    let mut head = [0; EXPIRY_AT];
    head[..VERSION_AT].copy_from_slice(&header);
    head[VERSION_AT..].copy_from_slice(&version_bytes(version));
    head
}

fn put_stats(stats: &Stats<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&wire_length(stats.counters.len()).to_le_bytes());
    out.extend_from_slice(&wire_length(stats.operations.len()).to_le_bytes());
    for counter in &stats.counters {
        put_counted(counter.name.as_bytes(), out);
        out.extend_from_slice(&counter.value.to_le_bytes());
    }
    for operation in &stats.operations {
        let OperationStats { name, count, errors, p50_ns, p90_ns, p99_ns, p999_ns, max_ns } = *operation;
        put_counted(name.as_bytes(), out);
        for number in [count, errors, p50_ns, p90_ns, p99_ns, p999_ns, max_ns] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Reads the response in `frame`, in place.
///
/// # Errors
///
/// The node does not speak the protocol; nothing more that it says can be trusted.
pub fn decode_response(frame: Frame<'_>) -> Result<(RequestId, Outcome<'_>), ProtocolError> {
    decode_response_in(Place::Alone, frame)
}

pub(super) fn decode_response_in(
    place: Place,
    frame: Frame<'_>,
) -> Result<(RequestId, Outcome<'_>), ProtocolError> {
    match decode(place, frame.body()) {
        Ok(outcome) => Ok((frame.id(), outcome)),
        Err(Malformed { field, fault }) => {
            Err(ProtocolError { field, fault, id: Some(frame.id()), ends_connection: true })
        }
    }
}

fn decode(place: Place, body: &[u8]) -> Result<Outcome<'_>, Malformed> {
    let (header, rest) =
        body.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed::new(Field::Header, Fault::Truncated))?;
    let [_, _, _, _, outcome, kind, f0, f1] = *header;
    let flags = u16::from_le_bytes([f0, f1]);
    if flags & !response_flag::DEFINED != 0 {
        return Err(Malformed::new(Field::Flags, Fault::Undefined));
    }
    let mut reader = Reader::new(rest);
    let has = |flag| flags & flag != 0;
    let version = has(response_flag::VERSION).then(|| reader.version(Field::Version)).transpose()?;
    let expires_at = has(response_flag::EXPIRES_AT).then(|| reader.wall_time(Field::Expiry)).transpose()?;
    let misplaced = Err(Malformed::new(Field::Flags, Fault::Misplaced));
    match (outcome, kind, version, expires_at) {
        (outcome::DONE, reply_kind::VALUE, Some(version), expires_at) => {
            Ok(Outcome::Done(Reply::Value { version, expires_at, value: reader.rest() }))
        }
        (outcome::DONE, _, Some(version), None) => decode_versioned(kind, version, reader).map(Outcome::Done),
        (outcome::DONE, _, None, None) => decode_plain(place, kind, reader).map(Outcome::Done),
        (outcome::REFUSED, _, current, None) => {
            let reason =
                Refusal::from_number(kind, current).ok_or(Malformed::new(Field::Reason, Fault::Undefined))?;
            Ok(Outcome::Refused { reason, message: text(reader.rest(), Field::Message)? })
        }
        (outcome::UNKNOWN, 0, None, None) => {
            Ok(Outcome::Unknown { message: text(reader.rest(), Field::Message)? })
        }
        (outcome::UNKNOWN, _, None, None) => Err(Malformed::new(Field::Reserved, Fault::Undefined)),
        (outcome::DONE | outcome::REFUSED | outcome::UNKNOWN, ..) => misplaced,
        _ => Err(Malformed::new(Field::Outcome, Fault::Undefined)),
    }
}

fn decode_versioned(kind: u8, version: Version, mut reader: Reader<'_>) -> Result<Reply<'_>, Malformed> {
    let reply = match kind {
        reply_kind::WRITTEN => Reply::Written { version },
        reply_kind::INTEGER => Reply::Integer { version, value: reader.i64(Field::Operands)? },
        reply_kind::LENGTH => Reply::Length { version, bytes: reader.u64(Field::Operands)? },
        _ => return Err(Malformed::new(Field::ReplyKind, Fault::Misplaced)),
    };
    reader.end()?;
    Ok(reply)
}

fn decode_plain(place: Place, kind: u8, mut reader: Reader<'_>) -> Result<Reply<'_>, Malformed> {
    let reply = match kind {
        reply_kind::PONG => Reply::Pong,
        reply_kind::ABSENT => Reply::Absent,
        reply_kind::REMOVED => match reader.u8(Field::Operands)? {
            existed @ (0 | 1) => Reply::Removed { existed: existed == 1 },
            _ => return Err(Malformed::new(Field::Operands, Fault::Undefined)),
        },
        reply_kind::PAGE => {
            let cursor = reader.u64(Field::Operands)?;
            return Ok(Reply::Page { cursor, keys: decode_keys(reader)? });
        }
        reply_kind::AUTHENTICATED | reply_kind::STATS | reply_kind::CLUSTER | reply_kind::BATCH
            if place == Place::InBatch =>
        {
            return Err(Malformed::new(Field::ReplyKind, Fault::Misplaced));
        }
        reply_kind::AUTHENTICATED => Reply::Authenticated,
        reply_kind::STATS => return decode_stats(reader).map(Reply::Stats),
        reply_kind::CLUSTER => return Ok(Reply::Cluster { json: text(reader.rest(), Field::Description)? }),
        reply_kind::BATCH => {
            let count = reader.u32(Field::BatchCount)?;
            let frames = reader.rest();
            if !holds_frames(count, frames) {
                return Err(Malformed::new(Field::BatchItem, Fault::Truncated));
            }
            return Ok(Reply::Batch(Outcomes { count, frames }));
        }
        _ => return Err(Malformed::new(Field::ReplyKind, Fault::Undefined)),
    };
    reader.end()?;
    Ok(reply)
}

fn decode_keys(mut reader: Reader<'_>) -> Result<Keys<'_>, Malformed> {
    let count = reader.u32(Field::Operands)?;
    let encoded = reader.rest();
    for _ in 0..count {
        reader.counted(Field::Key)?;
    }
    reader.end()?;
    Ok(Keys { count, encoded })
}

fn decode_stats(mut reader: Reader<'_>) -> Result<Stats<'_>, Malformed> {
    let counters = reader.u32(Field::Stats)?;
    let operations = reader.u32(Field::Stats)?;
    // The vectors grow with what is there, not with what is declared.
    let mut stats = Stats::default();
    for _ in 0..counters {
        let name = reader.counted_text(Field::Stats)?;
        stats.counters.push(Counter { name, value: reader.u64(Field::Stats)? });
    }
    for _ in 0..operations {
        let name = reader.counted_text(Field::Stats)?;
        let mut number = || reader.u64(Field::Stats);
        stats.operations.push(OperationStats {
            name,
            count: number()?,
            errors: number()?,
            p50_ns: number()?,
            p90_ns: number()?,
            p99_ns: number()?,
            p999_ns: number()?,
            max_ns: number()?,
        });
    }
    reader.end()?;
    Ok(stats)
}
