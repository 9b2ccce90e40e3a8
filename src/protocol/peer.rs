//! What nodes say to each other about cells, to bytes and back.
//!
//! Invariant: a message in a sound frame is either decoded in place or an error that ends the link: a peer that speaks
//! nonsense is not to be trusted with what it says next. Fields stand in one order: kind, content, operation, then what
//! the kind has, then key and value, the value last.

use super::acknowledgement::Acknowledgement;
use super::codec::{Malformed, Reader, version_bytes, wire_length};
use super::frame::{Frame, begin_frame, finish_frame};
use super::page::{self, Listing, Page};
use super::{Fault, Field, Limits, ProtocolError};
use crate::message::Refusal;
use crate::message::peer::{
    Answer, Cell, Content, Fetch, Inquiry, Kind, List, Obstacle, OperationId, Proposal, Rank, Summary, Task,
    Told, Verdict,
};
use crate::types::{Epoch, Version};

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerMessage<'a> {
    /// From a coordinator to a replica.
    Inquiry(Inquiry<'a>),
    /// From a coordinator to a proposer.
    Proposal(Proposal<'a>),
    /// From a node that recovers to a source.
    Fetch(Fetch),
    /// A node asks for keys.
    List(List),
    /// From a source to a node that recovers.
    Page(Page<'a>),
    /// The keys that were asked for.
    Listing(Listing<'a>),
    /// From a replica to a coordinator.
    Answer(Answer<'a>),
    /// Several answers.
    Acknowledgement(Acknowledgement<'a>),
    /// On a link that has nothing else to say.
    Heartbeat(Heartbeat),
}

/// A sign of life, and the answer to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heartbeat {
    /// From who asks on a link.
    Call,
    /// From who answers there.
    Response,
}

/// The numbers of kinds: inquiries from 1 on, answers from 16 on. Those of what is about many keys are in [`page`].
pub(super) mod kind {
    pub(super) const READ: u8 = 1;
    pub(super) const READ_VERSION: u8 = 2;
    pub(super) const WRITE: u8 = 3;
    pub(super) const REPAIR: u8 = 4;
    pub(super) const HEARTBEAT_CALL: u8 = 5;
    pub(super) const PREPARE: u8 = 6;
    pub(super) const ACCEPT: u8 = 7;
    pub(super) const PROPOSE: u8 = 8;
    pub(super) const CELL: u8 = 16;
    pub(super) const SUMMARY: u8 = 17;
    pub(in crate::protocol) const APPLIED: u8 = 18;
    pub(super) const SUPERSEDED: u8 = 19;
    pub(super) const REFUSED: u8 = 20;
    pub(super) const HEARTBEAT_RESPONSE: u8 = 21;
    pub(super) const ACCEPTED: u8 = 22;
    pub(super) const TOLD: u8 = 23;
}

/// The numbers of contents; also of what an answer says beside its kind.
mod content {
    pub(super) const NONE: u8 = 0;
    pub(super) const VALUE: u8 = 1;
    pub(super) const EXPIRING_VALUE: u8 = 2;
    pub(super) const EXPIRED: u8 = 3;
    pub(super) const TOMBSTONE: u8 = 4;
}

/// The numbers of obstacles.
mod obstacle {
    pub(super) const EPOCH: u8 = 1;
    pub(super) const DRIFT: u8 = 2;
    pub(super) const OUT_OF_MEMORY: u8 = 3;
    pub(super) const NOT_SERVING: u8 = 4;
    pub(super) const OVERDUE: u8 = 5;
    pub(super) const NOT_PROMISED: u8 = 6;
    pub(super) const PROMISED: u8 = 7;
}

/// The numbers of what a proposer tells: done, unknown, or why it was refused.
mod told {
    pub(super) const DONE: u8 = 0;
    pub(super) const UNKNOWN: u8 = 1;
    pub(super) const UNAVAILABLE: u8 = 2;
    pub(super) const OVERLOADED: u8 = 3;
    pub(super) const OUT_OF_MEMORY: u8 = 4;
}

/// Bytes of a message after the length that are neither key nor value, at most.
pub const PEER_OVERHEAD_BYTES_MAX: u32 = 60;

/// What a heartbeat is about.
const NO_OPERATION: OperationId = OperationId { slot: 0, round: 0 };

/// Appends a frame with `inquiry` to `out`.
pub fn encode_inquiry(inquiry: &Inquiry<'_>, out: &mut Vec<u8>) {
    let start = begin_frame(out);
    let (kind, cell) = match inquiry.task {
        Task::Read => (kind::READ, None),
        Task::ReadVersion => (kind::READ_VERSION, None),
        Task::Write(cell) => (kind::WRITE, Some(cell)),
        Task::Repair(cell) => (kind::REPAIR, Some(cell)),
        Task::Prepare { .. } => (kind::PREPARE, None),
        Task::Accept { cell, .. } => (kind::ACCEPT, Some(cell)),
    };
    let detail = match inquiry.task {
        Task::Prepare { whole, .. } => u8::from(whole),
        _ => cell.map_or(content::NONE, |cell| content_of(&cell.summary().kind)),
    };
    put_head(kind, detail, inquiry.remaining_ms, inquiry.operation, out);
    out.extend_from_slice(&inquiry.epoch.0.to_le_bytes());
    out.extend_from_slice(&wire_length(inquiry.key.len()).to_le_bytes());
    match inquiry.task {
        Task::Prepare { ballot, .. } => out.extend_from_slice(&version_bytes(ballot)),
        Task::Accept { next, .. } => out.extend_from_slice(&version_bytes(next.unwrap_or_default())),
        Task::Read | Task::ReadVersion | Task::Write(_) | Task::Repair(_) => {}
    }
    put_summary(cell.as_ref().map(Cell::summary), out);
    out.extend_from_slice(inquiry.key);
    out.extend_from_slice(cell.as_ref().map_or(&[], value_of));
    finish_frame(start, 0, out);
}

/// Appends a frame with `proposal` to `out`.
pub fn encode_proposal(proposal: &Proposal<'_>, out: &mut Vec<u8>) {
    let start = begin_frame(out);
    let detail = u8::from(proposal.change.is_some());
    put_head(kind::PROPOSE, detail, proposal.remaining_ms, proposal.operation, out);
    out.extend_from_slice(&proposal.epoch.0.to_le_bytes());
    out.extend_from_slice(&wire_length(proposal.key.len()).to_le_bytes());
    out.extend_from_slice(proposal.key);
    out.extend_from_slice(proposal.change.unwrap_or_default());
    finish_frame(start, 0, out);
}

/// Appends a frame with `answer` to `out`.
pub fn encode_answer(answer: &Answer<'_>, out: &mut Vec<u8>) {
    let start = begin_frame(out);
    let head = |kind, detail, out: &mut Vec<u8>| put_head(kind, detail, 0, answer.operation, out);
    match answer.verdict {
        Verdict::Cell(cell) => {
            let summary = cell.as_ref().map(Cell::summary);
            head(kind::CELL, summary.map_or(content::NONE, |summary| content_of(&summary.kind)), out);
            put_summary(summary, out);
            out.extend_from_slice(cell.as_ref().map_or(&[], value_of));
        }
        Verdict::Summary(summary) => {
            head(kind::SUMMARY, summary.map_or(content::NONE, |summary| content_of(&summary.kind)), out);
            put_summary(summary, out);
        }
        Verdict::Applied { existed } => head(kind::APPLIED, u8::from(existed), out),
        Verdict::Superseded { by } => {
            head(kind::SUPERSEDED, 0, out);
            out.extend_from_slice(&version_bytes(by));
        }
        Verdict::Accepted { rides } => head(kind::ACCEPTED, u8::from(rides), out),
        Verdict::Told(told) => {
            let (number, reply) = match told {
                Told::Done(reply) => (told::DONE, reply),
                Told::Unknown => (told::UNKNOWN, &[][..]),
                Told::Refused(Refusal::Overloaded) => (told::OVERLOADED, &[][..]),
                Told::Refused(Refusal::OutOfMemory) => (told::OUT_OF_MEMORY, &[][..]),
                Told::Refused(_) => (told::UNAVAILABLE, &[][..]),
            };
            head(kind::TOLD, number, out);
            out.extend_from_slice(reply);
        }
        Verdict::Refused(obstacle) => {
            let (number, epoch) = match obstacle {
                Obstacle::Epoch(epoch) => (obstacle::EPOCH, Some(epoch)),
                Obstacle::Drift => (obstacle::DRIFT, None),
                Obstacle::OutOfMemory => (obstacle::OUT_OF_MEMORY, None),
                Obstacle::NotServing => (obstacle::NOT_SERVING, None),
                Obstacle::Overdue => (obstacle::OVERDUE, None),
                Obstacle::NotPromised => (obstacle::NOT_PROMISED, None),
                Obstacle::Promised => (obstacle::PROMISED, None),
            };
            head(kind::REFUSED, number, out);
            if let Some(epoch) = epoch {
                out.extend_from_slice(&epoch.0.to_le_bytes());
            }
        }
    }
    finish_frame(start, 0, out);
}

/// Appends a frame with `heartbeat` to `out`.
pub fn encode_heartbeat(heartbeat: Heartbeat, out: &mut Vec<u8>) {
    let start = begin_frame(out);
    let kind = match heartbeat {
        Heartbeat::Call => kind::HEARTBEAT_CALL,
        Heartbeat::Response => kind::HEARTBEAT_RESPONSE,
    };
    put_head(kind, 0, 0, NO_OPERATION, out);
    finish_frame(start, 0, out);
}

/// Reads the message in `frame`, in place.
///
/// # Errors
///
/// It is none. The link is to be closed.
pub fn decode_peer<'a>(frame: Frame<'a>, limits: &Limits) -> Result<PeerMessage<'a>, ProtocolError> {
    decode(frame.body(), limits).map_err(|malformed| ProtocolError {
        field: malformed.field,
        fault: malformed.fault,
        id: None,
        ends_connection: true,
    })
}

fn decode<'a>(body: &'a [u8], limits: &Limits) -> Result<PeerMessage<'a>, Malformed> {
    let mut reader = Reader::new(body);
    let kind = reader.u8(Field::Header)?;
    let detail = reader.u8(Field::Header)?;
    let remaining_ms = u16::from_le_bytes([reader.u8(Field::Header)?, reader.u8(Field::Header)?]);
    let asks = matches!(kind, kind::READ..=kind::REPAIR | kind::PREPARE..=kind::PROPOSE);
    if remaining_ms != 0 && !asks {
        return Err(Malformed::new(Field::Reserved, Fault::Undefined));
    }
    let operation = OperationId { slot: reader.u32(Field::Header)?, round: reader.u32(Field::Header)? };
    match kind {
        kind::READ..=kind::REPAIR | kind::PREPARE | kind::ACCEPT => {
            let epoch = Epoch(reader.u64(Field::Operands)?);
            let key_bytes = key_bytes(&mut reader, limits)?;
            let ballot = match kind {
                kind::PREPARE | kind::ACCEPT => reader.version(Field::Version)?,
                _ => Version::default(),
            };
            let summary = if kind == kind::PREPARE { None } else { summary(detail, &mut reader)? };
            let key = reader.bytes(key_bytes, Field::Key)?;
            let cell = cell(summary, reader, limits)?;
            let task = match (kind, cell) {
                (kind::PREPARE, None) if detail <= 1 => Task::Prepare { ballot, whole: detail == 1 },
                (kind::ACCEPT, Some(cell)) => {
                    Task::Accept { cell, next: (ballot != Version::default()).then_some(ballot) }
                }
                (kind::READ, None) => Task::Read,
                (kind::READ_VERSION, None) => Task::ReadVersion,
                (kind::WRITE, Some(cell)) => Task::Write(cell),
                (kind::REPAIR, Some(cell)) => Task::Repair(cell),
                _ => return Err(Malformed::new(Field::Value, Fault::Misplaced)),
            };
            Ok(PeerMessage::Inquiry(Inquiry { operation, epoch, remaining_ms, key, task }))
        }
        kind::PROPOSE if detail <= 1 => {
            let epoch = Epoch(reader.u64(Field::Operands)?);
            let key_bytes = key_bytes(&mut reader, limits)?;
            let key = reader.bytes(key_bytes, Field::Key)?;
            let change = reader.rest();
            if change.len() > limits.frame_bytes_max as usize || (detail == 0 && !change.is_empty()) {
                return Err(Malformed::new(Field::Value, Fault::TooLarge));
            }
            let change = (detail == 1).then_some(change);
            Ok(PeerMessage::Proposal(Proposal { operation, epoch, remaining_ms, key, change }))
        }
        page::FETCH | page::LIST | page::PAGE | page::LISTING if detail == 0 => {
            page::decode(kind, operation, reader, limits)
        }
        kind::APPLIED if detail <= 1 && !reader.is_empty() => {
            let acknowledgement = Acknowledgement::decode(detail == 1, operation, reader)?;
            Ok(PeerMessage::Acknowledgement(acknowledgement))
        }
        kind::CELL..=kind::REFUSED | kind::ACCEPTED | kind::TOLD => {
            let verdict = verdict(kind, detail, reader, limits)?;
            Ok(PeerMessage::Answer(Answer { operation, verdict }))
        }
        kind::HEARTBEAT_CALL | kind::HEARTBEAT_RESPONSE => {
            if (detail, operation) != (0, NO_OPERATION) {
                return Err(Malformed::new(Field::Reserved, Fault::Undefined));
            }
            reader.end()?;
            let call = kind == kind::HEARTBEAT_CALL;
            Ok(PeerMessage::Heartbeat(if call { Heartbeat::Call } else { Heartbeat::Response }))
        }
        _ => Err(Malformed::new(Field::Opcode, Fault::Undefined)),
    }
}

/// How long the key is.
fn key_bytes(reader: &mut Reader<'_>, limits: &Limits) -> Result<u32, Malformed> {
    let bytes = reader.u32(Field::Key)?;
    if bytes > limits.key_bytes_max {
        return Err(Malformed::new(Field::Key, Fault::TooLarge));
    }
    Ok(bytes)
}

fn verdict<'a>(
    kind: u8,
    detail: u8,
    mut reader: Reader<'a>,
    limits: &Limits,
) -> Result<Verdict<'a>, Malformed> {
    if kind == kind::CELL {
        let summary = summary(detail, &mut reader)?;
        return Ok(Verdict::Cell(cell(summary, reader, limits)?));
    }
    if (kind, detail) == (kind::TOLD, told::DONE) {
        return Ok(Verdict::Told(Told::Done(reader.rest())));
    }
    let verdict = match (kind, detail) {
        (kind::ACCEPTED, 0 | 1) => Verdict::Accepted { rides: detail == 1 },
        (kind::TOLD, told::UNKNOWN) => Verdict::Told(Told::Unknown),
        (kind::TOLD, told::UNAVAILABLE) => Verdict::Told(Told::Refused(Refusal::Unavailable)),
        (kind::TOLD, told::OVERLOADED) => Verdict::Told(Told::Refused(Refusal::Overloaded)),
        (kind::TOLD, told::OUT_OF_MEMORY) => Verdict::Told(Told::Refused(Refusal::OutOfMemory)),
        (kind::SUMMARY, _) => Verdict::Summary(summary(detail, &mut reader)?),
        (kind::APPLIED, 0 | 1) => Verdict::Applied { existed: detail == 1 },
        (kind::SUPERSEDED, 0) => Verdict::Superseded { by: reader.version(Field::Version)? },
        (kind::REFUSED, obstacle::EPOCH) => {
            Verdict::Refused(Obstacle::Epoch(Epoch(reader.u64(Field::Operands)?)))
        }
        (kind::REFUSED, obstacle::DRIFT) => Verdict::Refused(Obstacle::Drift),
        (kind::REFUSED, obstacle::OUT_OF_MEMORY) => Verdict::Refused(Obstacle::OutOfMemory),
        (kind::REFUSED, obstacle::NOT_SERVING) => Verdict::Refused(Obstacle::NotServing),
        (kind::REFUSED, obstacle::OVERDUE) => Verdict::Refused(Obstacle::Overdue),
        (kind::REFUSED, obstacle::NOT_PROMISED) => Verdict::Refused(Obstacle::NotPromised),
        (kind::REFUSED, obstacle::PROMISED) => Verdict::Refused(Obstacle::Promised),
        _ => return Err(Malformed::new(Field::Reason, Fault::Undefined)),
    };
    reader.end()?;
    Ok(verdict)
}

/// The head; `remaining_ms` is 0 in all but inquiries.
pub(super) fn put_head(kind: u8, detail: u8, remaining_ms: u16, operation: OperationId, out: &mut Vec<u8>) {
    let [low, high] = remaining_ms.to_le_bytes();
    out.extend_from_slice(&[kind, detail, low, high]);
    out.extend_from_slice(&operation.slot.to_le_bytes());
    out.extend_from_slice(&operation.round.to_le_bytes());
}

/// The number of a content.
pub(super) fn content_of(kind: &Kind) -> u8 {
    match kind {
        Kind::Value { expires_at: None } => content::VALUE,
        Kind::Value { expires_at: Some(_) } => content::EXPIRING_VALUE,
        Kind::Expired => content::EXPIRED,
        Kind::Tombstone => content::TOMBSTONE,
    }
}

pub(super) fn value_of<'a>(cell: &Cell<'a>) -> &'a [u8] {
    match cell.content {
        Content::Value { value, .. } => value,
        Content::Expired | Content::Tombstone => &[],
    }
}

/// The version, and the expiry of a value that has one.
fn put_summary(summary: Option<Summary>, out: &mut Vec<u8>) {
    let Some(Summary { rank, kind }) = summary else { return };
    out.extend_from_slice(&version_bytes(rank.version));
    if let Kind::Value { expires_at: Some(at) } = kind {
        out.extend_from_slice(&at.0.to_le_bytes());
    }
}

fn summary(detail: u8, reader: &mut Reader<'_>) -> Result<Option<Summary>, Malformed> {
    if detail == content::NONE {
        return Ok(None);
    }
    let version: Version = reader.version(Field::Version)?;
    let kind = kind_of(detail, reader)?;
    Ok(Some(Summary { rank: Rank { version, expired: kind == Kind::Expired }, kind }))
}

/// The content of this number, and when it expires, which is next.
pub(super) fn kind_of(content: u8, reader: &mut Reader<'_>) -> Result<Kind, Malformed> {
    match content {
        content::VALUE => Ok(Kind::Value { expires_at: None }),
        content::EXPIRING_VALUE => Ok(Kind::Value { expires_at: Some(reader.wall_time(Field::Expiry)?) }),
        content::EXPIRED => Ok(Kind::Expired),
        content::TOMBSTONE => Ok(Kind::Tombstone),
        _ => Err(Malformed::new(Field::Header, Fault::Undefined)),
    }
}

/// The cell of `summary`, whose value is what is left.
fn cell<'a>(
    summary: Option<Summary>,
    reader: Reader<'a>,
    limits: &Limits,
) -> Result<Option<Cell<'a>>, Malformed> {
    let value = reader.rest();
    if value.len() > limits.value_bytes_max as usize {
        return Err(Malformed::new(Field::Value, Fault::TooLarge));
    }
    match summary {
        Some(summary @ Summary { kind: Kind::Value { .. }, .. }) => Ok(Some(summary.with(value))),
        _ => reader.end().map(|()| summary.map(|summary| summary.with(&[]))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::acknowledgement::AnswerWriter;
    use super::page::{encode_fetch, encode_list};
    use super::*;
    use crate::protocol::frame::{Split, split_frame};
    use crate::types::Token;
    use crate::types::{Stamp, WallTime, WriterId};

    const OPERATION: OperationId = OperationId { slot: 7, round: 0x0102_0304 };
    const VERSION: Version = Version { stamp: Stamp(0x1122_3344_5566), writer: WriterId(9) };

    fn cells() -> Vec<Cell<'static>> {
        let value = |value, expires_at| Content::Value { value, expires_at };
        [
            value(&b""[..], None),
            value(b"some value", Some(WallTime(77))),
            Content::Expired,
            Content::Tombstone,
        ]
        .map(|content| Cell { version: VERSION, content })
        .to_vec()
    }

    fn messages() -> Vec<PeerMessage<'static>> {
        let prepare = |whole| Task::Prepare { ballot: VERSION, whole };
        let mut tasks = vec![Task::Read, Task::ReadVersion, prepare(false), prepare(true)];
        let mut verdicts = vec![
            Verdict::Cell(None),
            Verdict::Summary(None),
            Verdict::Applied { existed: false },
            Verdict::Applied { existed: true },
            Verdict::Superseded { by: VERSION },
            Verdict::Refused(Obstacle::Epoch(Epoch(5))),
            Verdict::Refused(Obstacle::Drift),
            Verdict::Refused(Obstacle::OutOfMemory),
            Verdict::Refused(Obstacle::NotServing),
            Verdict::Refused(Obstacle::Overdue),
            Verdict::Refused(Obstacle::NotPromised),
            Verdict::Refused(Obstacle::Promised),
            Verdict::Accepted { rides: false },
            Verdict::Accepted { rides: true },
            Verdict::Told(Told::Done(b"")),
            Verdict::Told(Told::Done(b"some reply")),
            Verdict::Told(Told::Unknown),
            Verdict::Told(Told::Refused(Refusal::Unavailable)),
            Verdict::Told(Told::Refused(Refusal::Overloaded)),
            Verdict::Told(Told::Refused(Refusal::OutOfMemory)),
        ];
        for cell in cells() {
            tasks.extend([Task::Write(cell), Task::Repair(cell), Task::Accept { cell, next: None }]);
            tasks.push(Task::Accept { cell, next: Some(VERSION) });
            verdicts.extend([Verdict::Cell(Some(cell)), Verdict::Summary(Some(cell.summary()))]);
        }
        let inquiry = |task| {
            PeerMessage::Inquiry(Inquiry {
                operation: OPERATION,
                epoch: Epoch(3),
                remaining_ms: 999,
                key: b"the key",
                task,
            })
        };
        let answer = |verdict| PeerMessage::Answer(Answer { operation: OPERATION, verdict });
        let heartbeats = [Heartbeat::Call, Heartbeat::Response].map(PeerMessage::Heartbeat);
        let proposal = |change| {
            let (operation, epoch) = (OPERATION, Epoch(3));
            PeerMessage::Proposal(Proposal { operation, epoch, remaining_ms: 7, key: b"the key", change })
        };
        let fetch = Fetch { operation: OPERATION, epoch: Epoch(3), from: Token(0x0102) };
        let list = List { operation: OPERATION, epoch: Epoch(3), cursor: 0x0304, count: 5 };
        let proposals = [None, Some(&b""[..]), Some(b"a change")].map(proposal);
        tasks
            .into_iter()
            .map(inquiry)
            .chain([PeerMessage::Fetch(fetch), PeerMessage::List(list)])
            .chain(proposals)
            .chain(verdicts.into_iter().map(answer))
            .chain(heartbeats)
            .collect()
    }

    fn encode(message: &PeerMessage<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        match message {
            PeerMessage::Inquiry(inquiry) => encode_inquiry(inquiry, &mut out),
            PeerMessage::Proposal(proposal) => encode_proposal(proposal, &mut out),
            PeerMessage::Fetch(fetch) => encode_fetch(fetch, &mut out),
            PeerMessage::List(list) => encode_list(list, &mut out),
            PeerMessage::Listing(listing) => {
                let mut writer = page::PageWriter::begin_listing(listing.operation, listing.keys, &mut out);
                listing.cells.iter().for_each(|(key, cell)| writer.push_key(key, &cell));
                writer.finish_listing(listing.next);
            }
            PeerMessage::Page(page) => {
                let mut writer = page::PageWriter::begin(page.operation, page.latest, &mut out);
                page.cells.iter().for_each(|(key, cell)| writer.push(key, &cell));
                writer.finish(page.next);
            }
            PeerMessage::Answer(answer) => encode_answer(answer, &mut out),
            PeerMessage::Acknowledgement(many) => {
                let mut writer = AnswerWriter::default();
                many.answers().for_each(|answer| writer.write(&answer, &mut out));
            }
            PeerMessage::Heartbeat(heartbeat) => encode_heartbeat(*heartbeat, &mut out),
        }
        out
    }

    fn frame(bytes: &[u8]) -> Frame<'_> {
        match split_frame(bytes, &Limits::default()) {
            Ok(Split::Frame(frame)) if frame.bytes_total() == bytes.len() => frame,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_message_comes_back_as_it_was() {
        for message in messages() {
            let bytes = encode(&message);
            assert_eq!(decode_peer(frame(&bytes), &Limits::default()), Ok(message));
        }
    }

    #[test]
    fn heartbeats_are_these_bytes() {
        let golden = |kind| [12, 0, 0, 0, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (heartbeat, kind) in [(Heartbeat::Call, 5), (Heartbeat::Response, 21)] {
            assert_eq!(encode(&PeerMessage::Heartbeat(heartbeat)), golden(kind));
        }
    }

    #[test]
    fn no_message_is_cut_short_changed_or_lengthened_unnoticed() {
        for message in messages() {
            let whole = encode(&message);
            let body = &whole[4..];
            let limits = Limits::default();
            for end in 0..body.len() {
                assert_ne!(decode(&body[..end], &limits).ok(), Some(message), "cut at {end}: {message:?}");
            }
            for (at, byte) in body.iter().enumerate() {
                let mut changed = body.to_vec();
                changed[at] = byte ^ 0x81;
                assert_ne!(decode(&changed, &limits).ok(), Some(message), "changed at {at}: {message:?}");
            }
            let longer = [body, b"x"].concat();
            assert_ne!(decode(&longer, &limits).ok(), Some(message));
        }
    }

    #[test]
    fn what_exceeds_the_limits_is_an_error() {
        let limits = Limits { key_bytes_max: 3, value_bytes_max: 5, ..Limits::default() };
        let value = Content::Value { value: b"longer", expires_at: None };
        let task = Task::Write(Cell { version: VERSION, content: value });
        for (key, field) in [(&b"long"[..], Field::Key), (b"key", Field::Value)] {
            let (operation, epoch) = (OPERATION, Epoch(1));
            let inquiry = Inquiry { operation, epoch, remaining_ms: 1, key, task };
            let bytes = encode(&PeerMessage::Inquiry(inquiry));
            let error = decode_peer(frame(&bytes), &limits).unwrap_err();
            assert_eq!((error.field, error.fault), (field, Fault::TooLarge));
        }
    }

    #[test]
    fn the_overhead_is_bounded() {
        for message in messages() {
            assert!(
                encode(&message).len() <= 4 + PEER_OVERHEAD_BYTES_MAX as usize + b"the keysome value".len()
            );
        }
    }
}
