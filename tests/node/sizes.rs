//! Keys and values from nothing to their limits and one byte beyond, any bytes in them, over both protocols.

use annulus::client::{Client as NativeClient, Error, Operations, Options};
use annulus::config::{KEY_BYTES_MAX, ShardCount, VALUE_BYTES_MAX_DEFAULT};
use annulus::message::Refusal;
use annulus::protocol::Limits;

use crate::harness::{Client, Reply, assert_serves, node};

/// A client that sends what the node will refuse.
fn unlimited(address: std::net::SocketAddr) -> NativeClient {
    let limits = Limits { key_bytes_max: 1 << 20, ..Limits::default() };
    NativeClient::connect_with(address, Options { limits, ..Options::default() }).unwrap()
}

/// Bytes that repeat late, so that a piece at the wrong place shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ (at >> 16) as u8).collect()
}

#[test]
fn resp_values_from_nothing_to_the_limit() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    for length in [0, 1, 1023, 1024, 1025, 65_535, 65_536, 1 << 20, VALUE_BYTES_MAX_DEFAULT] {
        let value = pattern(length);
        assert_eq!(client.call(&[&b"SET"[..], b"k", &value]), Reply::ok(), "{length}");
        assert!(client.call(&["GET", "k"]) == Reply::Bulk(value), "{length}");
        assert_eq!(client.call(&["STRLEN", "k"]), Reply::Integer(length as i64));
    }
    let beyond = pattern(VALUE_BYTES_MAX_DEFAULT + 1);
    for command in
        [&[&b"SET"[..], b"k", &beyond][..], &[b"SETNX", b"k2", &beyond], &[b"APPEND", b"k2", &beyond]]
    {
        let error = client.call(command).error();
        assert!(error.contains("maximum allowed size (proto-max-bulk-len)"), "{error}");
    }
    assert!(client.call(&["APPEND", "k", "!"]).error().contains("maximum allowed size"));
    assert_eq!(client.call(&["STRLEN", "k"]), Reply::Integer(VALUE_BYTES_MAX_DEFAULT as i64));
    assert_eq!(client.call(&["EXISTS", "k2"]), Reply::Integer(0));
}

#[test]
fn native_values_from_nothing_to_the_limit() {
    let node = node(|_| {});
    let mut client = unlimited(node.address());
    for length in [0, 1, 1024, 1025, 1 << 20, VALUE_BYTES_MAX_DEFAULT] {
        let value = pattern(length);
        let version = client.put(b"k", &value).unwrap();
        let entry = client.get(b"k").unwrap().unwrap();
        assert!(entry.value == value && entry.version == version, "{length}");
    }
    let refused = client.put(b"k", &pattern(VALUE_BYTES_MAX_DEFAULT + 1)).unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Refusal::ValueTooLarge, .. }), "{refused}");
    let refused = client.append(b"k", b"!").unwrap_err();
    assert!(matches!(refused, Error::Refused { reason: Refusal::ValueTooLarge, .. }), "{refused}");
    assert_eq!(client.get_range(b"k", -3, -1).unwrap().unwrap().value.len(), 3);
}

#[test]
fn keys_to_the_limit_and_one_byte_more() {
    let node = node(|_| {});
    let mut resp = Client::connect(node.address());
    let mut native = unlimited(node.address());
    for length in [0, 1, 255, 256, KEY_BYTES_MAX] {
        let key = pattern(length);
        assert_eq!(resp.call(&[&b"SET"[..], &key, b"resp"]), Reply::ok(), "{length}");
        assert_eq!(native.get(&key).unwrap().unwrap().value, b"resp", "{length}");
        native.put(&key, b"native").unwrap();
        assert_eq!(resp.call(&[&b"GET"[..], &key]), Reply::bulk("native"), "{length}");
        assert_eq!(resp.call(&[&b"DEL"[..], &key]), Reply::Integer(1));
    }
    let key = pattern(KEY_BYTES_MAX + 1);
    let writes: [&[&[u8]]; 6] = [
        &[b"SET", &key, b"v"],
        &[b"SETNX", &key, b"v"],
        &[b"APPEND", &key, b"v"],
        &[b"INCR", &key],
        &[b"DECRBY", &key, b"5"],
        &[b"MSET", b"other", b"v", &key, b"v"],
    ];
    for write in writes {
        let error = resp.call(write).error();
        assert_eq!(error, "ERR key is longer than the limit of 65536 bytes", "{}", write[0].escape_ascii());
    }
    assert_eq!(resp.call(&[&b"GET"[..], &key]), Reply::Null);
    let refused = [native.put(&key, b"v").unwrap_err(), native.get(&key).unwrap_err()];
    for error in refused {
        assert!(matches!(error, Error::Refused { reason: Refusal::KeyTooLarge, .. }), "{error}");
    }
    assert_eq!(resp.call(&["DBSIZE"]), Reply::Integer(0));
}

#[test]
fn any_byte_may_stand_in_a_key_and_a_value() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    for byte in 0..=255_u8 {
        let (key, value) = ([byte, b'\r', b'\n', byte], [b'$', byte, 0, byte]);
        assert_eq!(client.call(&[&b"SET"[..], &key, &value]), Reply::ok());
        assert_eq!(client.call(&[&b"GET"[..], &key]), Reply::bulk(value));
    }
    assert_eq!(client.call(&["DBSIZE"]), Reply::Integer(256));
}

#[test]
fn a_request_beyond_all_limits_is_refused_and_its_sender_learns_why() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67436545\r\n");
    // Clients that send all before they read: the node must not cut them off before they know.
    client.try_send(&vec![b'v'; 30 << 20]);
    let error = client.reply().error();
    assert!(error.starts_with("ERR Protocol error: the request is longer than the limit"), "{error}");
    drop(client);
    assert_serves(node.address());
}

#[test]
fn an_answer_beyond_the_limit_is_refused() {
    let node = node(|config| config.limits.output_bytes_max = 1 << 20);
    let mut client = Client::connect(node.address());
    assert_eq!(client.call(&["SET", "k", &"v".repeat(1000)]), Reply::ok());
    let mget = |count: usize| [vec!["MGET"], vec!["k"; count]].concat();
    assert!(matches!(client.call(&mget(1000)), Reply::List(items) if items.len() == 1000));
    let error = client.call(&mget(100_000)).error();
    assert!(error.contains("limit"), "{error}");
    assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
}

/// Long keys make long pages: a page ends when it is long, not when it has as many keys as were asked for.
#[test]
fn pages_of_long_keys_stay_short() {
    let node = node(|config| config.store.shards = ShardCount::new(2).unwrap());
    let mut client = Client::connect(node.address());
    for number in 0..300_u16 {
        let mut key = vec![b'k'; KEY_BYTES_MAX];
        key[..2].copy_from_slice(&number.to_be_bytes());
        assert_eq!(client.call(&[&b"SET"[..], &key, b""]), Reply::ok());
    }
    let (mut cursor, mut seen) = (b"0".to_vec(), 0);
    loop {
        let reply = client.call(&[&b"SCAN"[..], &cursor, b"COUNT", b"1000000"]);
        let Reply::List(parts) = reply else { panic!("{reply:?}") };
        let [Reply::Bulk(next), Reply::List(keys)] = &parts[..] else { panic!("{parts:?}") };
        assert!(keys.len() <= 192, "a page of {} keys", keys.len());
        seen += keys.len();
        if next == b"0" {
            break;
        }
        cursor.clone_from(next);
    }
    assert_eq!(seen, 300);
}

/// A batch of scans would answer with the whole keyspace for each of its requests.
#[test]
fn a_batch_of_scans_is_bounded_by_its_frame() {
    let node = node(|config| config.store.shards = ShardCount::new(2).unwrap());
    let mut resp = Client::connect(node.address());
    for number in 0..200_u16 {
        let mut key = vec![b'k'; KEY_BYTES_MAX];
        key[..2].copy_from_slice(&number.to_be_bytes());
        assert_eq!(resp.call(&[&b"SET"[..], &key, b""]), Reply::ok());
    }
    let limits = Limits { frame_bytes_max: 1 << 30, ..Limits::default() };
    let options = Options { limits, ..Options::default() };
    let mut client = NativeClient::connect_with(node.address(), options).unwrap();
    let mut batch = client.batch();
    for _ in 0..100 {
        batch.push(annulus::message::Request::Scan { cursor: 0, count: u32::MAX }).unwrap();
    }
    let answers = batch.run().unwrap();
    let refused = answers.iter().filter(|outcome| {
        matches!(outcome, annulus::message::Outcome::Refused { reason: Refusal::AnswerTooLarge, .. })
    });
    let refused = refused.count();
    assert!((80..100).contains(&refused), "{refused} of 100 did not fit a frame of 64 MiB");
}
