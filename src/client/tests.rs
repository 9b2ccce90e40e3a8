//! The client against a node that says what a test wants it to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::*;
use crate::message::OperationStats;
use crate::message::{Condition, ExpiryChange, Refusal, Stats};
use crate::protocol::client::{BatchWriter, PageWriter, decode_request, encode_response};
use crate::protocol::frame::{Split, split_frame};
use crate::protocol::preamble::{Greeting, decode_preamble, encode_greeting};
use crate::types::{Stamp, WriterId};

const VERSION: Version = Version { stamp: Stamp(5), writer: WriterId(1) };

/// A node that serves one connection by `script`, after the greeting.
fn node(script: impl FnOnce(&mut TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    greeting_node(encode_greeting(Greeting::Welcome { authentication_required: false }), script)
}

fn greeting_node(
    greeting: [u8; 8],
    script: impl FnOnce(&mut TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut preamble = [0; 8];
        stream.read_exact(&mut preamble).unwrap();
        decode_preamble(preamble).unwrap();
        stream.write_all(&greeting).unwrap();
        script(&mut stream);
    });
    (address, thread)
}

/// Reads one frame, its length included; nothing at the end of the stream.
fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).ok()?;
    let length = u32::from_le_bytes(frame[..].try_into().unwrap()) as usize;
    frame.resize(4 + length, 0);
    stream.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}

fn decode(frame: &[u8]) -> Envelope<'_> {
    let Ok(Split::Frame(frame)) = split_frame(frame, &Limits::default()) else { panic!("no frame") };
    decode_request(frame, &Limits::default()).unwrap()
}

fn answer(stream: &mut TcpStream, id: RequestId, outcome: &Outcome<'_>) {
    let mut out = Vec::new();
    encode_response(id, outcome, &mut out);
    stream.write_all(&out).unwrap();
}

/// Answers requests, each by `outcome`, until the client goes.
fn serve(stream: &mut TcpStream, mut outcome: impl FnMut(Request<'_>) -> Outcome<'static>) {
    while let Some(frame) = read_frame(stream) {
        let envelope = decode(&frame);
        answer(stream, envelope.id, &outcome(envelope.request));
    }
}

fn impatient() -> Options {
    Options { read_timeout: Some(Duration::from_millis(500)), ..Options::default() }
}

fn put(key: &[u8]) -> Request<'_> {
    Request::Put { key, value: b"v", condition: Condition::Always, expiry: ExpiryChange::Clear }
}

#[test]
fn every_operation_returns_what_the_node_says() {
    let (address, node) = node(|stream| {
        serve(stream, |request| {
            let version = VERSION;
            Outcome::Done(match request {
                Request::Ping => Reply::Pong,
                Request::Get { key: b"absent" } | Request::Expire { key: b"absent", .. } => Reply::Absent,
                Request::Get { .. } => {
                    Reply::Value { version, expires_at: Some(WallTime(9)), value: b"whole" }
                }
                Request::GetRange { start: 1, end: -2, .. } => {
                    Reply::Value { version, expires_at: None, value: b"hol" }
                }
                Request::Put { condition: Condition::Absent, .. } => {
                    let reason = Refusal::ConditionFailed { current: Some(version) };
                    return Outcome::Refused { reason, message: "it is there" };
                }
                Request::Put { condition: Condition::VersionIs(_), expiry: ExpiryChange::Clear, .. } => {
                    panic!("comparing keeps the expiry")
                }
                Request::Put { .. } | Request::Expire { .. } => Reply::Written { version },
                Request::Remove { .. } => Reply::Removed { existed: true },
                Request::Increment { delta, .. } => Reply::Integer { version, value: delta + 1 },
                Request::Append { value, .. } => Reply::Length { version, bytes: value.len() as u64 },
                Request::Stats => {
                    let operation = OperationStats {
                        name: "get",
                        count: 1,
                        errors: 0,
                        p50_ns: 2,
                        p90_ns: 3,
                        p99_ns: 4,
                        p999_ns: 5,
                        max_ns: 6,
                    };
                    Reply::Stats(Stats { counters: Vec::new(), operations: vec![operation] })
                }
                other => panic!("not expected: {other:?}"),
            })
        });
    });
    let mut client = Client::connect(address).unwrap();
    client.ping().unwrap();
    assert_eq!(client.get(b"absent").unwrap(), None);
    let entry = Entry { version: VERSION, expires_at: Some(WallTime(9)), value: b"whole".to_vec() };
    assert_eq!(client.get(b"k").unwrap(), Some(entry));
    assert_eq!(client.get_range(b"k", 1, -2).unwrap().unwrap().value, b"hol");
    assert_eq!(client.put(b"k", b"v").unwrap(), VERSION);
    assert_eq!(client.put_if_absent(b"k", b"v").unwrap(), Conditional::NotWritten { current: Some(VERSION) });
    assert_eq!(client.compare_and_set(b"k", VERSION, b"v").unwrap(), Conditional::Written(VERSION));
    assert!(client.remove(b"k").unwrap());
    assert_eq!(client.increment(b"k", 41).unwrap(), 42);
    assert_eq!(client.append(b"k", b"1234").unwrap(), 4);
    assert_eq!(client.expire(b"k", ExpiryChange::AfterMs(1)).unwrap(), Some(VERSION));
    assert_eq!(client.expire(b"absent", ExpiryChange::Clear).unwrap(), None);
    assert_eq!(client.stats().unwrap().operations[0].max_ns, 6);
    drop(client);
    node.join().unwrap();
}

#[test]
fn requests_carry_the_level() {
    let (address, node) = node(|stream| {
        for level in [Some(Level::All), None] {
            let frame = read_frame(stream).unwrap();
            let envelope = decode(&frame);
            assert_eq!(envelope.level, level);
            answer(stream, envelope.id, &Outcome::Done(Reply::Pong));
        }
    });
    let mut client = Client::connect(address).unwrap().with_level(Level::All);
    client.ping().unwrap();
    client.set_level(None);
    client.ping().unwrap();
    node.join().unwrap();
}

#[test]
fn a_password_goes_first() {
    let (address, node) = node(|stream| {
        serve(stream, |request| match request {
            Request::Authenticate { password: b"right" } => Outcome::Done(Reply::Authenticated),
            _ => Outcome::Refused { reason: Refusal::AuthenticationFailed, message: "" },
        });
    });
    let options = Options { password: Some(b"right".to_vec()), ..Options::default() };
    drop(Client::connect_with(address, options).unwrap());
    node.join().unwrap();

    let (address, node) = self::node(|stream| {
        serve(stream, |_| Outcome::Refused { reason: Refusal::AuthenticationFailed, message: "" });
    });
    let options = Options { password: Some(b"wrong".to_vec()), ..Options::default() };
    let error = Client::connect_with(address, options).unwrap_err();
    assert!(matches!(error, Error::Refused { reason: Refusal::AuthenticationFailed, .. }));
    node.join().unwrap();
}

#[test]
fn a_node_may_turn_a_connection_away() {
    let (address, node) = greeting_node(encode_greeting(Greeting::Overloaded), |_| ());
    let error = Client::connect(address).unwrap_err();
    assert!(matches!(error, Error::Refused { reason: Refusal::Overloaded, .. }));
    node.join().unwrap();

    let (address, node) = greeting_node(encode_greeting(Greeting::VersionUnsupported { spoken: 9 }), |_| ());
    assert!(matches!(Client::connect(address).unwrap_err(), Error::VersionUnsupported { spoken: 9 }));
    node.join().unwrap();

    let (address, node) = greeting_node(*b"-ERR wha", |_| ());
    assert!(matches!(Client::connect(address).unwrap_err(), Error::Protocol(_)));
    node.join().unwrap();
}

#[test]
fn a_missing_node_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Client::connect(address).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && !error.may_have_applied());
}

#[test]
fn a_scan_turns_pages() {
    let (address, node) = node(|stream| {
        for (cursor, keys, next) in [(0, &["a", "b"][..], 3), (3, &[], 4), (4, &["c"], 0)] {
            let frame = read_frame(stream).unwrap();
            let envelope = decode(&frame);
            assert!(matches!(envelope.request, Request::Scan { cursor: asked, .. } if asked == cursor));
            let mut out = Vec::new();
            let mut page = PageWriter::begin(envelope.id, &mut out);
            for key in keys {
                page.push(key.as_bytes(), &mut out);
            }
            page.finish(next, &mut out);
            stream.write_all(&out).unwrap();
        }
    });
    let mut client = Client::connect(address).unwrap();
    let keys: Vec<_> = client.scan().map(Result::unwrap).collect();
    assert_eq!(keys, [b"a", b"b", b"c"]);
    node.join().unwrap();
}

#[test]
fn a_pipeline_is_answered_in_any_order_and_read_in_its_own() {
    const COUNT: usize = 10;
    let (address, node) = node(|stream| {
        let frames: Vec<_> = (0..COUNT).map(|_| read_frame(stream).unwrap()).collect();
        for frame in frames.iter().rev() {
            let envelope = decode(frame);
            let Request::Append { key, .. } = envelope.request else { panic!("not an append") };
            let bytes = u64::from(key[0]);
            answer(stream, envelope.id, &Outcome::Done(Reply::Length { version: VERSION, bytes }));
        }
    });
    let mut client = Client::connect(address).unwrap();
    // Ids wrap in the middle.
    client.next_id = u32::MAX - 4;
    let mut pipeline = client.pipeline();
    for index in 0..10 {
        pipeline.push(Request::Append { key: &[index], value: b"" }).unwrap();
    }
    let answers = pipeline.run().unwrap();
    assert!(answers.interruption().is_none());
    let expected: Vec<_> =
        (0..10).map(|bytes| Outcome::Done(Reply::Length { version: VERSION, bytes })).collect();
    assert_eq!(answers.iter().collect::<Vec<_>>(), expected);
    assert_eq!((answers.len(), answers.outcome(10)), (10, None));
    node.join().unwrap();
}

#[test]
fn a_large_pipeline_cannot_deadlock_on_full_sockets() {
    // The node answers each request before it reads the next, and no buffer holds all the answers.
    const VALUE: &[u8] = &[b'v'; 64 << 10];
    let (address, node) = node(|stream| {
        serve(stream, |request| {
            assert!(matches!(request, Request::Append { .. }));
            Outcome::Done(Reply::Value { version: VERSION, expires_at: None, value: VALUE })
        });
    });
    let mut client = Client::connect(address).unwrap();
    let mut pipeline = client.pipeline();
    for _ in 0..400 {
        pipeline.push(Request::Append { key: b"k", value: VALUE }).unwrap();
    }
    let answers = pipeline.run().unwrap();
    assert!(answers.interruption().is_none());
    assert!(answers.iter().all(|outcome| matches!(outcome, Outcome::Done(Reply::Value { .. }))));
    drop(client);
    node.join().unwrap();
}

#[test]
fn a_silent_node_leaves_the_outcome_unknown() {
    let (address, node) = node(|stream| while read_frame(stream).is_some() {});
    let mut client = Client::connect_with(address, impatient()).unwrap();
    let error = client.put(b"k", b"v").unwrap_err();
    assert!(matches!(error, Error::TimedOut) && error.may_have_applied());
    assert!(!client.is_connected());
    let error = client.put(b"k", b"v").unwrap_err();
    assert!(matches!(error, Error::NotConnected) && !error.may_have_applied());
    node.join().unwrap();
}

#[test]
fn a_node_that_stops_reading_times_a_large_pipeline_out() {
    let (given_up, until_given_up) = mpsc::channel();
    let (address, node) = node(move |stream| {
        let frame = read_frame(stream).unwrap();
        answer(stream, decode(&frame).id, &Outcome::Done(Reply::Written { version: VERSION }));
        until_given_up.recv().unwrap();
    });
    let mut client = Client::connect_with(address, impatient()).unwrap();
    let mut pipeline = client.pipeline();
    // More than the sockets' buffers hold, so that the sending thread is stuck when the reading one gives up.
    for _ in 0..1000 {
        pipeline.push(put(&[b'k'; 64 << 10])).unwrap();
    }
    let answers = pipeline.run().unwrap();
    given_up.send(()).unwrap();
    assert!(matches!(answers.interruption(), Some(Error::TimedOut)));
    assert_eq!(answers.outcome(0), Some(Outcome::Done(Reply::Written { version: VERSION })));
    assert!(matches!(answers.outcome(999), Some(Outcome::Unknown { .. })));
    assert!(!client.is_connected());
    node.join().unwrap();
}

#[test]
fn a_node_that_closes_half_way_leaves_the_rest_unknown() {
    let (address, node) = node(|stream| {
        let frames: Vec<_> = (0..3).map(|_| read_frame(stream).unwrap()).collect();
        answer(stream, decode(&frames[1]).id, &Outcome::Done(Reply::Written { version: VERSION }));
        // Half an answer.
        stream.write_all(&[20, 0, 0, 0, 0]).unwrap();
    });
    let mut client = Client::connect(address).unwrap();
    let mut pipeline = client.pipeline();
    for key in [b"a", b"b", b"c"] {
        pipeline.push(put(key)).unwrap();
    }
    let answers = pipeline.run().unwrap();
    node.join().unwrap();
    assert!(matches!(answers.interruption(), Some(Error::Disconnected { .. })));
    let outcomes: Vec<_> = answers.iter().collect();
    assert!(matches!(outcomes[0], Outcome::Unknown { .. }));
    assert_eq!(outcomes[1], Outcome::Done(Reply::Written { version: VERSION }));
    assert!(matches!(outcomes[2], Outcome::Unknown { .. }));
    assert!(matches!(client.pipeline().run(), Err(Error::NotConnected)));
}

#[test]
fn garbage_is_a_protocol_error() {
    for garbage in [
        &[255; 64][..],
        b"-ERR what is this\r\n",
        &[8, 0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0],
        &[8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0],
        // To a Put, Pong.
        &[8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    ] {
        let (address, node) = node(move |stream| {
            read_frame(stream).unwrap();
            stream.write_all(garbage).unwrap();
        });
        let mut client = Client::connect(address).unwrap();
        let error = client.put(b"k", b"v").unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error:?} after {garbage:?}");
        assert!(error.may_have_applied() && !client.is_connected());
        node.join().unwrap();
    }
}

#[test]
fn an_answer_to_nothing_is_an_error() {
    for ids in [&[77][..], &[0, 0]] {
        let (address, node) = node(move |stream| {
            read_frame(stream).unwrap();
            let mut out = Vec::new();
            for id in ids {
                encode_response(RequestId(*id), &Outcome::Done(Reply::Pong), &mut out);
            }
            stream.write_all(&out).unwrap();
        });
        let mut client = Client::connect(address).unwrap();
        assert!(matches!(client.ping().unwrap_err(), Error::UnexpectedAnswer));
        node.join().unwrap();
    }
}

#[test]
fn refused_and_unknown_are_told_apart() {
    let (address, node) = node(|stream| {
        serve(stream, |request| match request {
            Request::Put { .. } => Outcome::Refused { reason: Refusal::OutOfMemory, message: "full" },
            _ => Outcome::Unknown { message: "a replica is gone" },
        });
    });
    let mut client = Client::connect(address).unwrap();
    let refused = client.put(b"k", b"v").unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Refusal::OutOfMemory, .. }));
    assert!(!refused.may_have_applied());
    let unknown = client.remove(b"k").unwrap_err();
    assert!(matches!(unknown, Error::Unknown { .. }) && unknown.may_have_applied());
    assert!(client.is_connected());
    drop(client);
    node.join().unwrap();
}

#[test]
fn a_batch_is_one_frame_each_way() {
    let (address, node) = node(|stream| {
        let frame = read_frame(stream).unwrap();
        let envelope = decode(&frame);
        let Request::Batch(batch) = envelope.request else { panic!("not a batch") };
        let mut out = Vec::new();
        let writer = BatchWriter::begin(envelope.id, batch.count(), &mut out);
        for (item, reply) in batch.requests(Limits::default()).zip([Reply::Pong, Reply::Absent]) {
            encode_response(item.unwrap().id, &Outcome::Done(reply), &mut out);
        }
        writer.finish(&mut out);
        stream.write_all(&out).unwrap();
        let frame = read_frame(stream).unwrap();
        let refused = Outcome::Refused { reason: Refusal::Overloaded, message: "" };
        answer(stream, decode(&frame).id, &refused);
    });
    let mut client = Client::connect(address).unwrap();
    let mut batch = client.batch();
    batch.push(Request::Ping).unwrap().push(Request::Get { key: b"k" }).unwrap();
    let answers = batch.run().unwrap();
    let outcomes: Vec<_> = answers.iter().collect();
    assert_eq!(outcomes, [Outcome::Done(Reply::Pong), Outcome::Done(Reply::Absent)]);
    assert!(matches!(client.batch().run(), Err(Error::Refused { reason: Refusal::Overloaded, .. })));
    assert!(client.is_connected());
    node.join().unwrap();
}

#[test]
fn what_is_too_large_is_not_sent() {
    let (address, node) = node(|stream| assert!(read_frame(stream).is_none()));
    let limits = Limits { key_bytes_max: 4, value_bytes_max: 8, frame_bytes_max: 100, batch_count_max: 2 };
    let options = Options { limits, ..Options::default() };
    let mut client = Client::connect_with(address, options).unwrap();
    assert!(matches!(client.get(b"12345"), Err(Error::TooLarge { field: Field::Key })));
    assert!(matches!(client.put(b"1", b"123456789"), Err(Error::TooLarge { field: Field::Value })));
    let error = client.pipeline().push(Request::Get { key: b"12345" }).unwrap_err();
    assert!(matches!(error, Error::TooLarge { field: Field::Key }) && !error.may_have_applied());
    let mut batch = client.batch();
    batch.push(Request::Ping).unwrap().push(Request::Ping).unwrap();
    assert!(matches!(batch.push(Request::Ping), Err(Error::TooLarge { field: Field::BatchCount })));
    drop(client);
    node.join().unwrap();
}

#[test]
fn a_client_can_reconnect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let node = thread::spawn(move || {
        for answers in [false, true] {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 8]).unwrap();
            let welcome = Greeting::Welcome { authentication_required: false };
            stream.write_all(&encode_greeting(welcome)).unwrap();
            if answers {
                serve(&mut stream, |_| Outcome::Done(Reply::Pong));
            }
        }
    });
    let mut client = Client::connect(address).unwrap();
    assert!(matches!(client.ping().unwrap_err(), Error::Disconnected { .. }));
    client.reconnect().unwrap();
    client.ping().unwrap();
    drop(client);
    node.join().unwrap();
}
