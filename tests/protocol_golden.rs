//! Pins the bytes of the native protocol: every kind of request and response, in both directions, and the
//! examples of `docs/protocol.md`. A change that fails here changes the wire for everyone.

#[path = "golden/bytes.rs"]
mod bytes_shown;

use annulus::message::gossip::Peer;
use annulus::message::{
    Condition, Counter, Envelope, ExpiryChange, OperationStats, Outcome, Refusal, Reply, Request, RequestId,
    Stats,
};
use annulus::protocol::Limits;
use annulus::protocol::client::{
    BatchWriter, PageWriter, RequestBatchWriter, decode_request, decode_response, encode_absent,
    encode_request, encode_response, encode_value, encode_value_head, encode_written,
};
use annulus::protocol::gossip::GossipCodec;
use annulus::protocol::preamble::{
    Greeting, Preamble, decode_greeting, decode_preamble, encode_greeting, encode_preamble,
};
use annulus::types::{Incarnation, Level, NodeNumber, Stamp, Version, WallTime, WriterId};
use foca::{Codec, Header, Member, Message, State};

use bytes_shown::{hex, only_frame};

const VERSION: Version = Version { stamp: Stamp(0x0198_C868_E500_0002), writer: WriterId(0x0401) };
const EXPIRES_AT: WallTime = WallTime(0x0198_C868_F000);

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits")).collect()
}

#[track_caller]
fn request_is(level: Option<Level>, request: Request<'_>, golden: &str) {
    let envelope = Envelope { id: RequestId(7), level, request };
    let mut out = Vec::new();
    encode_request(&envelope, &mut out);
    assert_eq!(hex(&out), hex(&bytes(golden)), "encoding {request:?}");
    assert_eq!(decode_request(only_frame(&out), &Limits::default()), Ok(envelope));
}

#[track_caller]
fn response_is(outcome: &Outcome<'_>, golden: &str) {
    let mut out = Vec::new();
    encode_response(RequestId(7), outcome, &mut out);
    assert_eq!(hex(&out), hex(&bytes(golden)), "encoding {outcome:?}");
    assert_eq!(decode_response(only_frame(&out)), Ok((RequestId(7), outcome.clone())));
}

fn example(name: &str) -> String {
    let document = include_str!("../docs/protocol.md");
    let (_, block) = document.split_once(&format!("```hexdump {name}\n")).expect("an example of this name");
    let (block, _) = block.split_once("```").expect("the example ends");
    block.lines().filter_map(|line| line.split(';').next()).collect::<Vec<_>>().join(" ")
}

#[test]
fn examples_of_the_specification() {
    request_is(Some(Level::Quorum), Request::Get { key: b"user:1" }, &example("get_request"));
    let value = Reply::Value { version: VERSION, expires_at: Some(EXPIRES_AT), value: b"alice" };
    response_is(&Outcome::Done(value), &example("value_response"));
    let put = Request::Put {
        key: b"user:1",
        value: b"bob",
        condition: Condition::VersionIs(VERSION),
        expiry: ExpiryChange::AfterMs(60_000),
    };
    request_is(Some(Level::Linearizable), put, &example("put_request"));
    let current = Some(Version { stamp: Stamp(VERSION.stamp.0 + 1), ..VERSION });
    let refused = Outcome::Refused { reason: Refusal::ConditionFailed { current }, message: "changed" };
    response_is(&refused, &example("refused_response"));
}

#[test]
fn opening() {
    for (level, golden) in [(None, "8A 41 4E 4C 01 00 00 00"), (Some(Level::All), "8A 41 4E 4C 01 03 00 00")]
    {
        let encoded = encode_preamble(Preamble { level });
        assert_eq!(hex(&encoded), golden);
        assert_eq!(decode_preamble(encoded), Ok(Preamble { level }));
    }
    for (greeting, golden) in [
        (Greeting::Welcome { authentication_required: false }, "8A 41 4E 4C 01 00 00 00"),
        (Greeting::Welcome { authentication_required: true }, "8A 41 4E 4C 01 00 01 00"),
        (Greeting::VersionUnsupported { spoken: 9 }, "8A 41 4E 4C 09 01 00 00"),
        (Greeting::Overloaded, "8A 41 4E 4C 01 02 00 00"),
    ] {
        let encoded = encode_greeting(greeting);
        assert_eq!(hex(&encoded), golden);
        assert_eq!(decode_greeting(encoded), Ok(greeting));
    }
}

#[test]
fn requests_without_a_key() {
    request_is(None, Request::Ping, "0C 00 00 00  07 00 00 00  01 00 00 00  00 00 00 00");
    request_is(
        None,
        Request::Authenticate { password: b"pw" },
        "0E 00 00 00  07 00 00 00  02 00 00 00  00 00 00 00  70 77",
    );
    request_is(None, Request::Stats, "0C 00 00 00  07 00 00 00  03 00 00 00  00 00 00 00");
    request_is(None, Request::Cluster, "0C 00 00 00  07 00 00 00  06 00 00 00  00 00 00 00");
    request_is(
        Some(Level::One),
        Request::Scan { cursor: 0x0102_0304_0506_0708, count: 10 },
        "18 00 00 00  07 00 00 00  04 01 00 00  00 00 00 00  08 07 06 05 04 03 02 01  0A 00 00 00",
    );
}

#[test]
fn reads() {
    request_is(None, Request::Get { key: b"k" }, "0D 00 00 00  07 00 00 00  10 00 00 00  01 00 00 00  6B");
    request_is(None, Request::Get { key: b"" }, "0C 00 00 00  07 00 00 00  10 00 00 00  00 00 00 00");
    request_is(
        Some(Level::All),
        Request::GetRange { key: b"k", start: 1, end: -2 },
        "1D 00 00 00  07 00 00 00  11 03 00 00  01 00 00 00
         01 00 00 00 00 00 00 00  FE FF FF FF FF FF FF FF  6B",
    );
}

#[test]
fn puts() {
    let put = |condition, expiry| Request::Put { key: b"k", value: b"vv", condition, expiry };
    request_is(
        None,
        put(Condition::Always, ExpiryChange::Clear),
        "0F 00 00 00  07 00 00 00  20 00 00 00  01 00 00 00  6B 76 76",
    );
    request_is(
        None,
        put(Condition::Absent, ExpiryChange::Keep),
        "0F 00 00 00  07 00 00 00  20 00 09 00  01 00 00 00  6B 76 76",
    );
    request_is(
        None,
        put(Condition::Present, ExpiryChange::At(EXPIRES_AT)),
        "17 00 00 00  07 00 00 00  20 00 12 00  01 00 00 00  00 F0 68 C8 98 01 00 00  6B 76 76",
    );
    request_is(
        None,
        put(Condition::VersionIs(VERSION), ExpiryChange::AfterMs(1)),
        "23 00 00 00  07 00 00 00  20 00 24 00  01 00 00 00
         02 00 00 E5 68 C8 98 01  01 04 00 00  01 00 00 00 00 00 00 00  6B 76 76",
    );
}

#[test]
fn other_writes() {
    request_is(
        None,
        Request::Remove { key: b"k", condition: Condition::Present },
        "0D 00 00 00  07 00 00 00  21 00 02 00  01 00 00 00  6B",
    );
    request_is(
        Some(Level::Linearizable),
        Request::Increment { key: b"k", delta: -1 },
        "15 00 00 00  07 00 00 00  22 04 00 00  01 00 00 00  FF FF FF FF FF FF FF FF  6B",
    );
    request_is(
        None,
        Request::Append { key: b"k", value: b"vv" },
        "0F 00 00 00  07 00 00 00  23 00 00 00  01 00 00 00  6B 76 76",
    );
    request_is(
        None,
        Request::Expire { key: b"k", expiry: ExpiryChange::AfterMs(256) },
        "15 00 00 00  07 00 00 00  24 00 20 00  01 00 00 00  00 01 00 00 00 00 00 00  6B",
    );
}

#[test]
fn a_batch_of_requests() {
    let requests = [Request::Get { key: b"k" }, Request::Ping];
    let mut out = Vec::new();
    let mut writer = RequestBatchWriter::begin(RequestId(7), Some(Level::One), &mut out);
    for (id, request) in (0..).zip(requests) {
        writer.push(&Envelope { id: RequestId(id), level: None, request }, &mut out);
    }
    writer.finish(&mut out);
    let golden = "31 00 00 00  07 00 00 00  05 01 00 00  00 00 00 00  02 00 00 00
         0D 00 00 00  00 00 00 00  10 00 00 00  01 00 00 00  6B
         0C 00 00 00  01 00 00 00  01 00 00 00  00 00 00 00";
    assert_eq!(hex(&out), hex(&bytes(golden)));

    let envelope = decode_request(only_frame(&out), &Limits::default()).expect("a request");
    let Request::Batch(batch) = envelope.request else { panic!("not a batch") };
    let decoded: Vec<_> =
        batch.requests(Limits::default()).map(|item| item.expect("a request").request).collect();
    assert_eq!(decoded, requests);
    request_is(Some(Level::One), envelope.request, golden);
}

#[test]
fn plain_replies() {
    response_is(&Outcome::Done(Reply::Pong), "08 00 00 00  07 00 00 00  00 01 00 00");
    response_is(&Outcome::Done(Reply::Authenticated), "08 00 00 00  07 00 00 00  00 02 00 00");
    response_is(&Outcome::Done(Reply::Absent), "08 00 00 00  07 00 00 00  00 10 00 00");
    response_is(
        &Outcome::Done(Reply::Removed { existed: true }),
        "09 00 00 00  07 00 00 00  00 21 00 00  01",
    );
    response_is(
        &Outcome::Done(Reply::Removed { existed: false }),
        "09 00 00 00  07 00 00 00  00 21 00 00  00",
    );
}

#[test]
fn versioned_replies() {
    response_is(
        &Outcome::Done(Reply::Value { version: VERSION, expires_at: None, value: b"v" }),
        "15 00 00 00  07 00 00 00  00 11 01 00  02 00 00 E5 68 C8 98 01  01 04 00 00  76",
    );
    response_is(
        &Outcome::Done(Reply::Value { version: VERSION, expires_at: Some(EXPIRES_AT), value: b"v" }),
        "1D 00 00 00  07 00 00 00  00 11 03 00
         02 00 00 E5 68 C8 98 01  01 04 00 00  00 F0 68 C8 98 01 00 00  76",
    );
    response_is(
        &Outcome::Done(Reply::Written { version: VERSION }),
        "14 00 00 00  07 00 00 00  00 20 01 00  02 00 00 E5 68 C8 98 01  01 04 00 00",
    );
    response_is(
        &Outcome::Done(Reply::Integer { version: VERSION, value: -1 }),
        "1C 00 00 00  07 00 00 00  00 22 01 00
         02 00 00 E5 68 C8 98 01  01 04 00 00  FF FF FF FF FF FF FF FF",
    );
    response_is(
        &Outcome::Done(Reply::Length { version: VERSION, bytes: 3 }),
        "1C 00 00 00  07 00 00 00  00 23 01 00
         02 00 00 E5 68 C8 98 01  01 04 00 00  03 00 00 00 00 00 00 00",
    );
}

#[test]
fn shortcuts_lay_down_what_the_general_encoder_does() {
    let id = RequestId(7);
    let general = |reply| {
        let mut out = Vec::new();
        encode_response(id, &Outcome::Done(reply), &mut out);
        out
    };
    for expires_at in [None, Some(EXPIRES_AT)] {
        let expected = general(Reply::Value { version: VERSION, expires_at, value: b"value" });
        let mut out = Vec::new();
        encode_value(id, VERSION, expires_at, b"value", &mut out);
        assert_eq!(out, expected);
        out.clear();
        encode_value_head(id, VERSION, expires_at, 5, &mut out);
        out.extend_from_slice(b"value");
        assert_eq!(out, expected);
    }
    let mut out = Vec::new();
    encode_written(id, VERSION, &mut out);
    encode_absent(id, &mut out);
    assert_eq!(out, [general(Reply::Written { version: VERSION }), general(Reply::Absent)].concat());
}

#[test]
fn a_cluster() {
    response_is(
        &Outcome::Done(Reply::Cluster { json: "{}" }),
        "0A 00 00 00  07 00 00 00  00 06 00 00  7B 7D",
    );
}

#[test]
fn stats() {
    let operation = OperationStats {
        name: "get",
        count: 1,
        errors: 2,
        p50_ns: 3,
        p90_ns: 4,
        p99_ns: 5,
        p999_ns: 6,
        max_ns: 7,
    };
    let stats = Stats { counters: vec![Counter { name: "keys", value: 258 }], operations: vec![operation] };
    response_is(
        &Outcome::Done(Reply::Stats(stats)),
        "5F 00 00 00  07 00 00 00  00 03 00 00  01 00 00 00  01 00 00 00
         04 00 00 00  6B 65 79 73  02 01 00 00 00 00 00 00
         03 00 00 00  67 65 74
         01 00 00 00 00 00 00 00  02 00 00 00 00 00 00 00  03 00 00 00 00 00 00 00  04 00 00 00 00 00 00 00
         05 00 00 00 00 00 00 00  06 00 00 00 00 00 00 00  07 00 00 00 00 00 00 00",
    );
}

#[test]
fn a_page() {
    let mut out = Vec::new();
    let mut writer = PageWriter::begin(RequestId(7), &mut out);
    writer.push(b"k", &mut out);
    writer.push(b"", &mut out);
    writer.finish(9, &mut out);
    let golden = "1D 00 00 00  07 00 00 00  00 04 00 00  09 00 00 00 00 00 00 00  02 00 00 00
         01 00 00 00  6B  00 00 00 00";
    assert_eq!(hex(&out), hex(&bytes(golden)));
    let (_, outcome) = decode_response(only_frame(&out)).expect("a response");
    let Outcome::Done(Reply::Page { cursor: 9, keys }) = outcome else { panic!("not the page") };
    assert_eq!(keys.list().collect::<Vec<_>>(), [b"k".as_slice(), b""]);
    response_is(&outcome, golden);
}

#[test]
fn a_batch_of_outcomes() {
    let mut out = b"before".to_vec();
    let writer = BatchWriter::begin(RequestId(7), 2, &mut out);
    encode_absent(RequestId(0), &mut out);
    encode_response(RequestId(1), &Outcome::Unknown { message: "" }, &mut out);
    writer.finish(&mut out);
    let golden = "24 00 00 00  07 00 00 00  00 05 00 00  02 00 00 00
         08 00 00 00  00 00 00 00  00 10 00 00
         08 00 00 00  01 00 00 00  02 00 00 00";
    assert_eq!(hex(&out[6..]), hex(&bytes(golden)));
    let (_, outcome) = decode_response(only_frame(&out[6..])).expect("a response");
    let Outcome::Done(Reply::Batch(outcomes)) = outcome else { panic!("not a batch") };
    assert_eq!(
        outcomes.items().collect::<Result<Vec<_>, _>>().expect("responses"),
        [(RequestId(0), Outcome::Done(Reply::Absent)), (RequestId(1), Outcome::Unknown { message: "" }),]
    );
    response_is(&outcome, golden);
}

#[test]
fn a_batch_counts_what_is_written_from_elsewhere() {
    let value = [b'v'; 2000];
    let mut whole = Vec::new();
    let writer = BatchWriter::begin(RequestId(7), 1, &mut whole);
    encode_value(RequestId(0), VERSION, None, &value, &mut whole);
    writer.finish(&mut whole);

    let mut head = Vec::new();
    let mut writer = BatchWriter::begin(RequestId(7), 1, &mut head);
    encode_value_head(RequestId(0), VERSION, None, value.len(), &mut head);
    writer.add_elsewhere(value.len());
    assert_eq!(writer.frame_bytes(&head), whole.len() - 4);
    writer.finish(&mut head);
    head.extend_from_slice(&value);
    assert_eq!(head, whole);
}

#[test]
fn refusals_and_unknown_outcomes() {
    let all = [
        (Refusal::BadRequest, "01"),
        (Refusal::KeyTooLarge, "02"),
        (Refusal::ValueTooLarge, "03"),
        (Refusal::AnswerTooLarge, "04"),
        (Refusal::AuthenticationRequired, "05"),
        (Refusal::AuthenticationFailed, "06"),
        (Refusal::ConditionFailed { current: None }, "20"),
        (Refusal::NotAnInteger, "21"),
        (Refusal::Overflow, "22"),
        (Refusal::OutOfMemory, "40"),
        (Refusal::Overloaded, "41"),
        (Refusal::Unavailable, "42"),
        (Refusal::Loading, "43"),
        (Refusal::ShuttingDown, "44"),
    ];
    for (reason, number) in all {
        let refused = Outcome::Refused { reason, message: "no" };
        response_is(&refused, &format!("0A 00 00 00  07 00 00 00  01 {number} 00 00  6E 6F"));
    }
    response_is(
        &Outcome::Refused { reason: Refusal::ConditionFailed { current: Some(VERSION) }, message: "" },
        "14 00 00 00  07 00 00 00  01 20 01 00  02 00 00 E5 68 C8 98 01  01 04 00 00",
    );
    response_is(&Outcome::Unknown { message: "?" }, "09 00 00 00  07 00 00 00  02 00 00 00  3F");
}

#[test]
fn gossip() {
    let peer = |node| Peer { node: NodeNumber(node), incarnation: Incarnation(0x0403_0201), renewal: 0x0605 };
    let (one, other, third) =
        ("01 00 05 06 01 02 03 04", "02 00 05 06 01 02 03 04", "03 00 05 06 01 02 03 04");
    let probe_number = 9;
    let messages = [
        (Message::Ping(probe_number), "01 09", ""),
        (Message::Ack(probe_number), "02 09", ""),
        (Message::PingReq { target: peer(3), probe_number }, "03 09", third),
        (Message::IndirectPing { origin: peer(3), probe_number }, "04 09", third),
        (Message::IndirectAck { target: peer(3), probe_number }, "05 09", third),
        (Message::ForwardedAck { origin: peer(3), probe_number }, "06 09", third),
        (Message::Announce, "07 00", ""),
        (Message::Feed, "08 00", ""),
        (Message::Gossip, "09 00", ""),
        (Message::TurnUndead, "0A 00", ""),
    ];
    for (message, kind, third) in messages {
        let header = Header { src: peer(1), src_incarnation: 0x0807, dst: peer(2), message };
        let mut out = Vec::new();
        GossipCodec.encode_header(&header, &mut out).expect("a vector has room");
        assert_eq!(hex(&out), format!("{kind} 07 08 {one} {other} {third}").trim_end());
    }
    for (state, number) in [(State::Alive, "00"), (State::Suspect, "01"), (State::Down, "02")] {
        let mut out = Vec::new();
        let member = Member::new(peer(1), 0x0807, state);
        GossipCodec.encode_member(&member, &mut out).expect("a vector has room");
        assert_eq!(hex(&out), format!("{one} 07 08 {number} 00"));
    }
}
