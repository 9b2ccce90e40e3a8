//! What holds of the native protocol for any message and for any bytes: what is encoded decodes to itself, half
//! a frame is never taken for one, and bytes from outside neither panic nor make anything large.

use annulus::message::{
    Condition, Counter, Envelope, ExpiryChange, OperationStats, Outcome, Refusal, Reply, Request, RequestId,
    Stats,
};
use annulus::protocol::client::{
    BatchWriter, PageWriter, RequestBatchWriter, decode_request, decode_response, encode_protocol_error,
    encode_request, encode_response,
};
use annulus::protocol::frame::{Frame, Split, split_frame};
use annulus::protocol::preamble::{decode_greeting, decode_preamble, encode_greeting, encode_preamble};
use annulus::protocol::{Fault, Field, Limits};
use annulus::types::{Level, Stamp, Version, WallTime, WriterId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const LIMITS: Limits =
    Limits { key_bytes_max: 64, value_bytes_max: 4096, frame_bytes_max: 1 << 16, batch_count_max: 16 };

fn version() -> impl Strategy<Value = Version> {
    any::<(u64, u32)>().prop_map(|(stamp, writer)| Version { stamp: Stamp(stamp), writer: WriterId(writer) })
}

fn level() -> impl Strategy<Value = Option<Level>> {
    option::of(prop_oneof![
        Just(Level::One),
        Just(Level::Quorum),
        Just(Level::All),
        Just(Level::Linearizable)
    ])
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Always),
        Just(Condition::Absent),
        Just(Condition::Present),
        version().prop_map(Condition::VersionIs)
    ]
}

fn expiry() -> impl Strategy<Value = ExpiryChange> {
    prop_oneof![
        Just(ExpiryChange::Clear),
        Just(ExpiryChange::Keep),
        any::<u64>().prop_map(|at| ExpiryChange::At(WallTime(at))),
        any::<u64>().prop_map(ExpiryChange::AfterMs)
    ]
}

/// What a request is made of; a request borrows from it.
#[derive(Clone, Debug)]
struct RequestParts {
    kind: u8,
    key: Vec<u8>,
    value: Vec<u8>,
    numbers: (u64, i64, i64),
    condition: Condition,
    expiry: ExpiryChange,
    level: Option<Level>,
    id: u32,
}

fn request_parts() -> impl Strategy<Value = RequestParts> {
    (0u8..12, vec(any::<u8>(), 0..=64), vec(any::<u8>(), 0..300), any::<(u64, i64, i64)>())
        .prop_flat_map(|mixed| (Just(mixed), condition(), expiry(), level(), any::<u32>()))
        .prop_map(|((kind, key, value, numbers), condition, expiry, level, id)| RequestParts {
            kind,
            key,
            value,
            numbers,
            condition,
            expiry,
            level,
            id,
        })
}

impl RequestParts {
    /// Kinds below 9 may stand in a batch.
    fn envelope(&self) -> Envelope<'_> {
        let Self { kind, key, value, numbers: (cursor, start, end), condition, expiry, level, id } = self;
        let (condition, expiry) = (*condition, *expiry);
        let request = match kind {
            0 => Request::Ping,
            1 => Request::Scan { cursor: *cursor, count: *id },
            2 => Request::Get { key },
            3 => Request::GetRange { key, start: *start, end: *end },
            4 => Request::Put { key, value, condition, expiry },
            5 => Request::Remove { key, condition },
            6 => Request::Increment { key, delta: *start },
            7 => Request::Append { key, value },
            8 => Request::Expire { key, expiry },
            9 => Request::Stats,
            10 => Request::Cluster,
            _ => Request::Authenticate { password: value },
        };
        Envelope { id: RequestId(*id), level: *level, request }
    }
}

/// What an outcome is made of.
#[derive(Clone, Debug)]
struct OutcomeParts {
    kind: u8,
    version: Version,
    moment: Option<u64>,
    value: Vec<u8>,
    message: String,
    number: u64,
}

fn outcome_parts() -> impl Strategy<Value = OutcomeParts> {
    (0u8..13, version(), any::<Option<u64>>(), vec(any::<u8>(), 0..300), any::<String>(), any::<u64>())
        .prop_map(|(kind, version, moment, value, message, number)| OutcomeParts {
            kind,
            version,
            moment,
            value,
            message,
            number,
        })
}

impl OutcomeParts {
    /// Kinds below 10 may stand in a batch.
    fn outcome(&self) -> Outcome<'_> {
        let Self { kind, version, moment, value, message, number } = self;
        let version = *version;
        Outcome::Done(match kind {
            0 => return Outcome::Unknown { message },
            1 => {
                let current = moment.map(|_| version);
                return Outcome::Refused { reason: Refusal::ConditionFailed { current }, message };
            }
            2 => return Outcome::Refused { reason: Refusal::Unavailable, message },
            3 => Reply::Pong,
            4 => Reply::Absent,
            5 => Reply::Value { version, expires_at: moment.map(WallTime), value },
            6 => Reply::Written { version },
            7 => Reply::Removed { existed: number % 2 == 1 },
            8 => Reply::Integer { version, value: number.cast_signed() },
            9 => Reply::Length { version, bytes: *number },
            10 => Reply::Authenticated,
            11 => Reply::Cluster { json: message },
            _ => {
                let counters = vec![Counter { name: message, value: *number }; (*number % 5) as usize];
                let operation = OperationStats {
                    name: message,
                    count: 1,
                    errors: 2,
                    p50_ns: *number,
                    p90_ns: 4,
                    p99_ns: 5,
                    p999_ns: 6,
                    max_ns: 7,
                };
                Reply::Stats(Stats { counters, operations: vec![operation; (*number % 3) as usize] })
            }
        })
    }
}

fn whole_frame(bytes: &[u8]) -> Frame<'_> {
    match split_frame(bytes, &LIMITS) {
        Ok(Split::Frame(frame)) => frame,
        other => panic!("not a frame: {other:?}"),
    }
}

/// No prefix of a frame is a frame, and none asks for more than the frame.
fn halves_are_incomplete(bytes: &[u8]) {
    for half in 0..bytes.len() {
        match split_frame(&bytes[..half], &LIMITS) {
            Ok(Split::Incomplete { needed_bytes_total }) => {
                assert!(half < needed_bytes_total && needed_bytes_total <= bytes.len());
            }
            other => panic!("{half} bytes of {}: {other:?}", bytes.len()),
        }
    }
}

/// Walks everything that decoding such bytes as a request leads to.
fn digest_request(frame: Frame<'_>) {
    match decode_request(frame, &LIMITS) {
        Ok(envelope) => {
            if let Request::Batch(batch) = envelope.request {
                assert!(batch.count() <= LIMITS.batch_count_max);
                assert_eq!(batch.requests(LIMITS).count(), batch.count() as usize);
            }
            let mut again = Vec::new();
            encode_request(&envelope, &mut again);
            assert_eq!(whole_frame(&again), frame, "there is one way to write a request");
        }
        Err(error) => {
            assert_eq!((error.id, error.ends_connection), (Some(frame.id()), false));
            let mut refusal = Vec::new();
            encode_protocol_error(&error, &mut refusal);
            let (id, outcome) = decode_response(whole_frame(&refusal)).expect("a refusal is a response");
            assert_eq!(id, frame.id());
            assert!(matches!(outcome, Outcome::Refused { .. }));
        }
    }
}

/// Walks everything that decoding such bytes as a response leads to.
fn digest_response(frame: Frame<'_>) {
    let Ok((id, outcome)) = decode_response(frame) else { return };
    match &outcome {
        Outcome::Done(Reply::Batch(outcomes)) => {
            assert_eq!(outcomes.items().count(), outcomes.count() as usize);
        }
        Outcome::Done(Reply::Page { keys, .. }) => {
            assert_eq!(keys.list().count(), keys.count() as usize);
        }
        Outcome::Done(Reply::Stats(stats)) => {
            // A counter is 12 bytes on the wire at least, an operation 60; vectors at most double.
            let entries = stats.counters.capacity() + stats.operations.capacity();
            assert!(entries <= 8 + frame.bytes_total() / 6);
        }
        _ => {}
    }
    let mut again = Vec::new();
    encode_response(id, &outcome, &mut again);
    assert_eq!(whole_frame(&again), frame, "there is one way to write a response");
}

/// A frame with a header that is mostly right, so that what lies behind it is reached.
fn nearly_a_frame() -> impl Strategy<Value = Vec<u8>> {
    let numbers = prop_oneof![0u8..6, 15u8..19, 31u8..37, any::<u8>()];
    let small = || prop_oneof![0u8..5, any::<u8>()];
    let body = prop_oneof![vec(any::<u8>(), 0..100), vec(0u8..20, 0..100), vec(Just(0u8), 0..100)];
    (any::<u32>(), small(), numbers, small(), 0u8..64, 0u8..20, body).prop_map(
        |(id, first, number, level, flags, key_bytes, body)| {
            let mut frame = id.to_le_bytes().to_vec();
            // As a request: opcode, level, flags, key bytes. As a response: outcome, kind, flags.
            if first < 3 {
                frame.extend([first, number, flags % 4, 0]);
            } else {
                frame.extend([number, level, flags, 0, key_bytes, 0, 0, 0]);
            }
            frame.extend(body);
            let length = u32::try_from(frame.len()).expect("short");
            [length.to_le_bytes().to_vec(), frame].concat()
        },
    )
}

proptest! {
    #[test]
    fn a_request_decodes_to_itself(request_parts in request_parts(), behind in vec(any::<u8>(), 0..20)) {
        let envelope = request_parts.envelope();
        let mut out = Vec::new();
        encode_request(&envelope, &mut out);
        halves_are_incomplete(&out);
        let whole = out.len();
        out.extend(behind);
        let frame = whole_frame(&out);
        prop_assert_eq!(frame.bytes_total(), whole);
        prop_assert_eq!(decode_request(frame, &LIMITS), Ok(envelope));
    }

    #[test]
    fn a_batch_of_requests_decodes_to_itself(items in vec(request_parts(), 0..=16), level in level()) {
        let mut out = Vec::new();
        let mut writer = RequestBatchWriter::begin(RequestId(7), level, &mut out);
        for item in &items {
            writer.push(&item.envelope(), &mut out);
        }
        writer.finish(&mut out);
        let envelope = decode_request(whole_frame(&out), &LIMITS).expect("a batch");
        prop_assert_eq!(envelope.level, level);
        let Request::Batch(batch) = envelope.request else { panic!("not a batch") };
        for (decoded, item) in batch.requests(LIMITS).zip(&items) {
            if item.kind < 9 {
                prop_assert_eq!(decoded, Ok(item.envelope()));
            } else {
                let error = decoded.expect_err("not in a batch");
                prop_assert_eq!((error.field, error.fault), (Field::Opcode, Fault::Misplaced));
                prop_assert_eq!(error.id, Some(RequestId(item.id)));
            }
        }
    }

    #[test]
    fn an_outcome_decodes_to_itself(outcome_parts in outcome_parts(), id in any::<u32>()) {
        let outcome = outcome_parts.outcome();
        let mut out = Vec::new();
        encode_response(RequestId(id), &outcome, &mut out);
        halves_are_incomplete(&out);
        prop_assert_eq!(decode_response(whole_frame(&out)), Ok((RequestId(id), outcome)));
    }

    #[test]
    fn a_batch_of_outcomes_decodes_to_itself(items in vec(outcome_parts(), 0..20)) {
        let items: Vec<_> = items.into_iter().filter(|item| item.kind < 10).collect();
        let mut out = Vec::new();
        let count = u32::try_from(items.len()).expect("few");
        let writer = BatchWriter::begin(RequestId(7), count, &mut out);
        for (id, item) in (0..).zip(&items) {
            encode_response(RequestId(id), &item.outcome(), &mut out);
        }
        writer.finish(&mut out);
        let (_, outcome) = decode_response(whole_frame(&out)).expect("a response");
        let Outcome::Done(Reply::Batch(outcomes)) = outcome else { panic!("not a batch") };
        prop_assert_eq!(outcomes.items().count(), items.len());
        for (decoded, (id, item)) in outcomes.items().zip((0..).zip(&items)) {
            prop_assert_eq!(decoded, Ok((RequestId(id), item.outcome())));
        }
    }

    #[test]
    fn a_page_decodes_to_itself(pages in vec(vec(any::<u8>(), 0..40), 0..40), cursor in any::<u64>()) {
        let mut out = Vec::new();
        let mut writer = PageWriter::begin(RequestId(7), &mut out);
        for key in &pages {
            writer.push(key, &mut out);
        }
        writer.finish(cursor, &mut out);
        let (_, outcome) = decode_response(whole_frame(&out)).expect("a response");
        let Outcome::Done(Reply::Page { cursor: decoded, keys }) = outcome else { panic!("not a page") };
        prop_assert_eq!(decoded, cursor);
        prop_assert_eq!(keys.list().collect::<Vec<_>>(), pages);
    }

    #[test]
    fn any_bytes_are_digested(bytes in vec(any::<u8>(), 0..200)) {
        match split_frame(&bytes, &LIMITS) {
            Ok(Split::Frame(frame)) => {
                digest_request(frame);
                digest_response(frame);
            }
            Ok(Split::Incomplete { needed_bytes_total }) => {
                prop_assert!(needed_bytes_total <= LIMITS.frame_bytes_max as usize + 4);
            }
            Err(error) => prop_assert!(error.ends_connection),
        }
    }

    #[test]
    fn nearly_right_frames_are_digested(bytes in nearly_a_frame()) {
        digest_request(whole_frame(&bytes));
        digest_response(whole_frame(&bytes));
    }

    #[test]
    fn a_changed_byte_is_digested(
        request in request_parts(),
        outcome in outcome_parts(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut out = Vec::new();
        encode_request(&request.envelope(), &mut out);
        let at = 4 + place.index(out.len() - 4);
        out[at] = byte;
        digest_request(whole_frame(&out));
        out.clear();
        encode_response(RequestId(7), &outcome.outcome(), &mut out);
        let at = 4 + place.index(out.len() - 4);
        out[at] = byte;
        digest_response(whole_frame(&out));
    }

    #[test]
    fn an_opening_is_written_in_one_way(bytes in any::<[u8; 4]>()) {
        let [version, level, second, third] = bytes;
        let opening = [0x8A, b'A', b'N', b'L', version % 3, level % 6, second % 2, third % 2];
        if let Ok(preamble) = decode_preamble(opening) {
            prop_assert_eq!(encode_preamble(preamble), opening);
        }
        if let Ok(greeting) = decode_greeting(opening) {
            prop_assert_eq!(encode_greeting(greeting)[..6].to_vec(), opening[..6].to_vec());
        }
        let _ = decode_preamble([bytes, bytes].concat().try_into().expect("eight"));
        let _ = decode_greeting([bytes, bytes].concat().try_into().expect("eight"));
    }
}

#[track_caller]
fn request_fails(body: &[u8], field: Field, fault: Fault) {
    let length = u32::try_from(body.len()).expect("short");
    let bytes = [&length.to_le_bytes(), body].concat();
    let error = decode_request(whole_frame(&bytes), &LIMITS).expect_err("refused");
    assert_eq!((error.field, error.fault), (field, fault));
    assert_eq!((error.id, error.ends_connection), (Some(RequestId(7)), false));
}

#[test]
fn a_wrong_request_names_its_fault() {
    let header = |opcode, level, flags, key_bytes| [7, 0, 0, 0, opcode, level, flags, 0, key_bytes, 0, 0, 0];
    request_fails(&[7, 0, 0, 0, 1, 0, 0, 0], Field::Header, Fault::Truncated);
    request_fails(&header(0, 0, 0, 0), Field::Opcode, Fault::Undefined);
    request_fails(&header(99, 0, 0, 0), Field::Opcode, Fault::Undefined);
    request_fails(&header(16, 5, 0, 0), Field::Level, Fault::Undefined);
    request_fails(&header(32, 0, 64, 0), Field::Flags, Fault::Undefined);
    request_fails(&header(16, 0, 1, 0), Field::Flags, Fault::Misplaced);
    request_fails(&header(16, 0, 0, 1), Field::Key, Fault::Truncated);
    request_fails(&header(16, 0, 0, 65), Field::Key, Fault::TooLarge);
    request_fails(&header(1, 0, 0, 1), Field::Key, Fault::Misplaced);
    request_fails(&[&header(16, 0, 0, 0)[..], b"left over"].concat(), Field::End, Fault::Misplaced);
    request_fails(&header(32, 0, 3, 0), Field::Condition, Fault::Misplaced);
    request_fails(&header(32, 0, 4, 0), Field::Condition, Fault::Truncated);
    request_fails(&header(32, 0, 48, 0), Field::Expiry, Fault::Misplaced);
    request_fails(&header(32, 0, 16, 0), Field::Expiry, Fault::Truncated);
    request_fails(&header(34, 0, 0, 0), Field::Operands, Fault::Truncated);
    request_fails(&[&header(32, 0, 0, 0)[..], &[0; 4097]].concat(), Field::Value, Fault::TooLarge);
    request_fails(&header(5, 0, 0, 0), Field::BatchCount, Fault::Truncated);
    request_fails(&[&header(5, 0, 0, 0)[..], &[17, 0, 0, 0]].concat(), Field::BatchCount, Fault::TooLarge);
    request_fails(&[&header(5, 0, 0, 0)[..], &[1, 0, 0, 0]].concat(), Field::BatchItem, Fault::Truncated);
}

#[test]
fn a_length_out_of_bounds_ends_the_connection() {
    let error = split_frame(&[7, 0, 0, 0, 1, 0, 0, 0], &LIMITS).expect_err("too short");
    assert_eq!((error.fault, error.id, error.ends_connection), (Fault::Truncated, None, true));
    // Judged before the rest is there, but for the id.
    assert_eq!(split_frame(&[1, 0, 1, 0], &LIMITS), Ok(Split::Incomplete { needed_bytes_total: 8 }));
    let error = split_frame(&[255, 255, 255, 255, 7, 0, 0, 0], &LIMITS).expect_err("too long");
    assert_eq!((error.fault, error.id, error.ends_connection), (Fault::TooLarge, Some(RequestId(7)), true));
    assert_eq!(error.refusal(), Refusal::ValueTooLarge);
    assert!(matches!(
        split_frame(&[0, 0, 1, 0], &LIMITS),
        Ok(Split::Incomplete { needed_bytes_total: 65540 })
    ));
}
