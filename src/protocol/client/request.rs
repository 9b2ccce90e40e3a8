//! Requests to bytes and back.
//!
//! Invariant: a request in a sound frame is either decoded in place or refused with its id, and the connection
//! lives. Fields stand in one order: header, operands of the opcode, optional fields by flag, key, value.

use super::{Place, opcode, request_flag};
use crate::message::{Batch, Condition, Envelope, ExpiryChange, Request, RequestId};
use crate::protocol::codec::{Malformed, Reader, version_bytes, wire_length};
use crate::protocol::frame::{Frame, REQUEST_OVERHEAD_BYTES_MAX, begin_frame, finish_frame, holds_frames};
use crate::protocol::preamble::{level_from_number, level_number};
use crate::protocol::{Fault, Field, Limits, ProtocolError};
use crate::types::{Level, VERSION_BYTES};

/// Bytes of a request's header after the length field.
const HEADER_BYTES: usize = 12;

/// Bytes of the longest operands: two ends of a range.
const OPERAND_BYTES_MAX: usize = 16;

/// Bytes of a moment or a duration.
const EXPIRY_BYTES: usize = 8;

const _: () = assert!(
    HEADER_BYTES + OPERAND_BYTES_MAX + VERSION_BYTES + EXPIRY_BYTES == REQUEST_OVERHEAD_BYTES_MAX as usize
);

/// Reads the request in `frame`, in place.
///
/// # Errors
///
/// The request is not one. It is to be refused with the error's `id`; the connection goes on.
#[inline]
pub fn decode_request<'a>(frame: Frame<'a>, limits: &Limits) -> Result<Envelope<'a>, ProtocolError> {
    decode_request_in(Place::Alone, frame, limits)
}

#[inline]
pub(super) fn decode_request_in<'a>(
    place: Place,
    frame: Frame<'a>,
    limits: &Limits,
) -> Result<Envelope<'a>, ProtocolError> {
    let id = frame.id();
    match decode(place, frame.body(), limits) {
        Ok((level, request)) => Ok(Envelope { id, level, request }),
        Err(malformed) => Err(refused(malformed, id)),
    }
}

#[cold]
pub(super) fn refused(malformed: Malformed, id: RequestId) -> ProtocolError {
    ProtocolError { field: malformed.field, fault: malformed.fault, id: Some(id), ends_connection: false }
}

#[inline]
fn decode<'a>(
    place: Place,
    body: &'a [u8],
    limits: &Limits,
) -> Result<(Option<Level>, Request<'a>), Malformed> {
    let (header, rest) =
        body.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed::new(Field::Header, Fault::Truncated))?;
    let [_, _, _, _, opcode, level, f0, f1, k0, k1, k2, k3] = *header;
    let level = level_from_number(level).ok_or(Malformed::new(Field::Level, Fault::Undefined))?;
    let fields = Fields {
        reader: Reader::new(rest),
        flags: u16::from_le_bytes([f0, f1]),
        key_bytes: u32::from_le_bytes([k0, k1, k2, k3]),
        limits,
    };
    let request = match opcode {
        opcode::GET => Request::Get { key: fields.with_flags(0)?.last_key()? },
        opcode::PUT => decode_put(fields)?,
        _ => decode_other(place, opcode, fields)?,
    };
    Ok((level, request))
}

#[inline]
fn decode_put<'a>(fields: Fields<'a, '_>) -> Result<Request<'a>, Malformed> {
    let mut fields = fields.with_flags(request_flag::CONDITION | request_flag::EXPIRY)?;
    let condition = fields.condition()?;
    let expiry = fields.expiry()?;
    let key = fields.key()?;
    Ok(Request::Put { key, value: fields.value()?, condition, expiry })
}

fn decode_other<'a>(place: Place, opcode: u8, fields: Fields<'a, '_>) -> Result<Request<'a>, Malformed> {
    match opcode {
        opcode::REMOVE => {
            let mut fields = fields.with_flags(request_flag::CONDITION)?;
            let condition = fields.condition()?;
            Ok(Request::Remove { key: fields.last_key()?, condition })
        }
        opcode::EXPIRE => {
            let mut fields = fields.with_flags(request_flag::EXPIRY)?;
            let expiry = fields.expiry()?;
            Ok(Request::Expire { key: fields.last_key()?, expiry })
        }
        opcode::GET_RANGE => {
            let mut fields = fields.with_flags(0)?;
            let start = fields.reader.i64(Field::Operands)?;
            let end = fields.reader.i64(Field::Operands)?;
            Ok(Request::GetRange { key: fields.last_key()?, start, end })
        }
        opcode::INCREMENT => {
            let mut fields = fields.with_flags(0)?;
            let delta = fields.reader.i64(Field::Operands)?;
            Ok(Request::Increment { key: fields.last_key()?, delta })
        }
        opcode::APPEND => {
            let mut fields = fields.with_flags(0)?;
            let key = fields.key()?;
            Ok(Request::Append { key, value: fields.value()? })
        }
        _ => decode_keyless(place, opcode, fields),
    }
}

fn decode_keyless<'a>(place: Place, opcode: u8, fields: Fields<'a, '_>) -> Result<Request<'a>, Malformed> {
    let alone = [opcode::AUTHENTICATE, opcode::STATS, opcode::CLUSTER, opcode::BATCH];
    if place == Place::InBatch && alone.contains(&opcode) {
        return Err(Malformed::new(Field::Opcode, Fault::Misplaced));
    }
    if !matches!(opcode, opcode::PING..=opcode::CLUSTER) {
        return Err(Malformed::new(Field::Opcode, Fault::Undefined));
    }
    let mut fields = fields.with_flags(0)?;
    if fields.key_bytes != 0 {
        return Err(Malformed::new(Field::Key, Fault::Misplaced));
    }
    match opcode {
        opcode::PING => fields.reader.end().map(|()| Request::Ping),
        opcode::STATS => fields.reader.end().map(|()| Request::Stats),
        opcode::CLUSTER => fields.reader.end().map(|()| Request::Cluster),
        opcode::AUTHENTICATE => Ok(Request::Authenticate { password: fields.value()? }),
        opcode::SCAN => {
            let cursor = fields.reader.u64(Field::Operands)?;
            let count = fields.reader.u32(Field::Operands)?;
            fields.reader.end().map(|()| Request::Scan { cursor, count })
        }
        _ => {
            let count = fields.reader.u32(Field::BatchCount)?;
            if count > fields.limits.batch_count_max {
                return Err(Malformed::new(Field::BatchCount, Fault::TooLarge));
            }
            let frames = fields.reader.rest();
            if !holds_frames(count, frames) {
                return Err(Malformed::new(Field::BatchItem, Fault::Truncated));
            }
            Ok(Request::Batch(Batch { count, frames }))
        }
    }
}

/// What follows a request's header.
struct Fields<'a, 'l> {
    reader: Reader<'a>,
    flags: u16,
    key_bytes: u32,
    limits: &'l Limits,
}

impl<'a> Fields<'a, '_> {
    /// Refuses flags other than the `allowed`.
    #[inline]
    fn with_flags(self, allowed: u16) -> Result<Self, Malformed> {
        if self.flags & !allowed == 0 {
            return Ok(self);
        }
        let defined = self.flags & !request_flag::DEFINED == 0;
        Err(Malformed::new(Field::Flags, if defined { Fault::Misplaced } else { Fault::Undefined }))
    }

    #[inline]
    fn condition(&mut self) -> Result<Condition, Malformed> {
        match self.flags & request_flag::CONDITION {
            0 => Ok(Condition::Always),
            request_flag::IF_ABSENT => Ok(Condition::Absent),
            request_flag::IF_PRESENT => Ok(Condition::Present),
            request_flag::IF_VERSION => self.reader.version(Field::Condition).map(Condition::VersionIs),
            _ => Err(Malformed::new(Field::Condition, Fault::Misplaced)),
        }
    }

    #[inline]
    fn expiry(&mut self) -> Result<ExpiryChange, Malformed> {
        match self.flags & request_flag::EXPIRY {
            0 => Ok(ExpiryChange::Clear),
            request_flag::KEEP_EXPIRY => Ok(ExpiryChange::Keep),
            request_flag::EXPIRES_AT => self.reader.wall_time(Field::Expiry).map(ExpiryChange::At),
            request_flag::EXPIRES_AFTER => self.reader.u64(Field::Expiry).map(ExpiryChange::AfterMs),
            _ => Err(Malformed::new(Field::Expiry, Fault::Misplaced)),
        }
    }

    #[inline]
    fn key(&mut self) -> Result<&'a [u8], Malformed> {
        if self.key_bytes > self.limits.key_bytes_max {
            return Err(Malformed::new(Field::Key, Fault::TooLarge));
        }
        self.reader.bytes(self.key_bytes, Field::Key)
    }

    /// The key of a request that has no value.
    #[inline]
    fn last_key(mut self) -> Result<&'a [u8], Malformed> {
        let key = self.key()?;
        self.reader.end()?;
        Ok(key)
    }

    #[inline]
    fn value(self) -> Result<&'a [u8], Malformed> {
        let value = self.reader.rest();
        if value.len() > self.limits.value_bytes_max as usize {
            return Err(Malformed::new(Field::Value, Fault::TooLarge));
        }
        Ok(value)
    }
}

/// A request, taken apart into what stands in its frame.
#[derive(Default)]
struct Parts<'a> {
    opcode: u8,
    operands: [u8; OPERAND_BYTES_MAX],
    operand_bytes: usize,
    condition: Condition,
    expiry: ExpiryChange,
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(request: Request<'a>) -> Self {
        let none = Self::default();
        match request {
            Request::Ping => Self { opcode: opcode::PING, ..none },
            Request::Authenticate { password } => {
                Self { opcode: opcode::AUTHENTICATE, value: password, ..none }
            }
            Request::Stats => Self { opcode: opcode::STATS, ..none },
            Request::Cluster => Self { opcode: opcode::CLUSTER, ..none },
            Request::Scan { cursor, count } => Self { opcode: opcode::SCAN, ..none }
                .operand(&cursor.to_le_bytes())
                .operand(&count.to_le_bytes()),
            Request::Get { key } => Self { opcode: opcode::GET, key, ..none },
            Request::GetRange { key, start, end } => Self { opcode: opcode::GET_RANGE, key, ..none }
                .operand(&start.to_le_bytes())
                .operand(&end.to_le_bytes()),
            Request::Put { key, value, condition, expiry } => {
                Self { opcode: opcode::PUT, condition, expiry, key, value, ..none }
            }
            Request::Remove { key, condition } => Self { opcode: opcode::REMOVE, condition, key, ..none },
            Request::Increment { key, delta } => {
                Self { opcode: opcode::INCREMENT, key, ..none }.operand(&delta.to_le_bytes())
            }
            Request::Append { key, value } => Self { opcode: opcode::APPEND, key, value, ..none },
            Request::Expire { key, expiry } => Self { opcode: opcode::EXPIRE, expiry, key, ..none },
            Request::Batch(Batch { count, frames }) => {
                Self { opcode: opcode::BATCH, value: frames, ..none }.operand(&count.to_le_bytes())
            }
        }
    }

    fn operand(mut self, bytes: &[u8]) -> Self {
        self.operands[self.operand_bytes..][..bytes.len()].copy_from_slice(bytes);
        self.operand_bytes += bytes.len();
        self
    }

    fn flags(&self) -> u16 {
        let condition = match self.condition {
            Condition::Always => 0,
            Condition::Absent => request_flag::IF_ABSENT,
            Condition::Present => request_flag::IF_PRESENT,
            Condition::VersionIs(_) => request_flag::IF_VERSION,
        };
        let expiry = match self.expiry {
            ExpiryChange::Clear => 0,
            ExpiryChange::Keep => request_flag::KEEP_EXPIRY,
            ExpiryChange::At(_) => request_flag::EXPIRES_AT,
            ExpiryChange::AfterMs(_) => request_flag::EXPIRES_AFTER,
        };
        condition | expiry
    }
}

/// Appends `envelope` to `out` as a frame.
///
/// # Panics
///
/// If the key and value together reach 4 GiB.
pub fn encode_request(envelope: &Envelope<'_>, out: &mut Vec<u8>) {
    let parts = Parts::of(envelope.request);
    let start = begin_frame(out);
    out.extend_from_slice(&envelope.id.0.to_le_bytes());
    out.extend_from_slice(&[parts.opcode, level_number(envelope.level)]);
    out.extend_from_slice(&parts.flags().to_le_bytes());
    out.extend_from_slice(&wire_length(parts.key.len()).to_le_bytes());
    out.extend_from_slice(&parts.operands[..parts.operand_bytes]);
    if let Condition::VersionIs(version) = parts.condition {
        out.extend_from_slice(&version_bytes(version));
    }
    match parts.expiry {
        ExpiryChange::Clear | ExpiryChange::Keep => {}
        ExpiryChange::At(at) => out.extend_from_slice(&at.0.to_le_bytes()),
        ExpiryChange::AfterMs(delay_ms) => out.extend_from_slice(&delay_ms.to_le_bytes()),
    }
    out.extend_from_slice(parts.key);
    out.extend_from_slice(parts.value);
    finish_frame(start, 0, out);
}
