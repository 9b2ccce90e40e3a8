//! Lies, halves and noise: an error or the right answer, never a panic, and everyone else is served on.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};

use annulus::message::Request;
use annulus::protocol::preamble::{Greeting, Preamble, encode_preamble};

use crate::harness::{Client, Process, Reply, assert_serves, frame, node, request, wait_until};

#[test]
fn lies_in_resp_are_told_and_end_the_connection() {
    let node = node(|_| {});
    let cases: [(&[u8], &str); 9] = [
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*12x\r\n", "invalid multibulk length"),
        (b"*999999999999999999999999\r\n", "invalid multibulk length"),
        (b"*2\r\n$3\r\nGET\r\n$999999999999\r\n", "longer than the limit"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n$4\r\nPINGPONG\r\n", "does not end with CRLF"),
        (b"GET \"open\n", "unbalanced quotes"),
        (b"*1\r\n$4\r\nPING\r\n*x\r\n", "invalid multibulk length"),
    ];
    for (lie, expected) in cases {
        let mut client = Client::connect(node.address());
        client.send(lie);
        let told = String::from_utf8(client.rest()).unwrap();
        assert!(told.contains("-ERR Protocol error: ") && told.contains(expected), "{told}");
        assert_eq!(
            told.starts_with("+PONG"),
            lie.windows(4).any(|word| word == b"PING") && lie[1] == b'1' && told.contains("multibulk")
        );
        assert_serves(node.address());
    }
}

#[test]
fn what_a_browser_sends_is_not_carried_out() {
    let node = node(|_| {});
    for request in
        ["POST / HTTP/1.1\r\n\r\nSET web yes\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\nSET web yes\r\n"]
    {
        let mut client = Client::connect(node.address());
        client.send(request.as_bytes());
        client.rest();
    }
    assert_eq!(Client::connect(node.address()).call(&["GET", "web"]), Reply::Null);
}

#[test]
fn a_line_without_an_end_is_given_up() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    client.try_send(&vec![b'a'; 1 << 20]);
    let told = client.rest();
    assert!(told.starts_with(b"-ERR Protocol error: too big inline request"), "{}", told.escape_ascii());
    assert_serves(node.address());
}

#[test]
fn lies_in_native_frames_end_the_connection() {
    let node = node(|_| {});
    // (bytes after the preamble, whether there is an answer before the end)
    let cases: [(&[u8], bool); 4] = [
        (&[0, 0, 0, 0, 1, 2, 3, 4], false),
        (&[7, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7], false),
        (&[0xff, 0xff, 0xff, 0xff, 9, 0, 0, 0], true),
        (&[0, 0, 0, 0x20, 9, 0, 0, 0, 1, 1, 1, 1], true),
    ];
    for (lie, answered) in cases {
        let mut client = Client::native(node.address());
        client.send(&[frame(3, Request::Ping), lie.to_vec()].concat());
        assert_eq!(client.frame()[4], 3, "what came before is answered");
        assert_eq!(client.rest().len() > 8, answered);
        assert_serves(node.address());
    }
    // A frame of sound length that is no request is refused by itself.
    let mut client = Client::native(node.address());
    client.send(&[12, 0, 0, 0, 5, 0, 0, 0, 0xee, 0, 0, 0, 0, 0, 0, 0]);
    let refused = client.frame();
    assert_eq!((refused[4], refused[8], refused[9]), (5, 1, 1), "refused: a bad request");
    client.send(&frame(6, Request::Ping));
    assert_eq!(client.frame()[4], 6);
}

#[test]
fn preambles_that_are_none() {
    let node = node(|_| {});
    let mut newer = encode_preamble(Preamble::default());
    newer[4] = 2;
    let mut client = Client::connect(node.address());
    client.send(&[&newer[..], &frame(1, Request::Ping)].concat());
    assert_eq!(client.greeting(), Greeting::VersionUnsupported { spoken: 1 });
    assert_eq!(client.rest(), b"");
    for wrong in
        [[0x80; 8], [0xff; 8], [0x8A, b'A', b'N', b'L', 1, 9, 0, 0], [0x8A, b'A', b'N', b'L', 1, 0, 0, 1]]
    {
        let mut client = Client::connect(node.address());
        client.send(&wrong);
        assert_eq!(client.rest(), b"", "closed without an answer");
    }
    assert_serves(node.address());
}

/// Bytes that look like requests more often than chance would have it.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        vec(any::<u8>(), 0..40),
        Just(request(&["SET", "k", "v"])),
        Just(request(&["MGET", "k", "k"])),
        Just(request(&["INFO"])),
        Just(b"*3\r\n$3\r\nSET\r\n".to_vec()),
        Just(b"$5\r\n".to_vec()),
        Just(b"PING\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"*0\r\n*-1\r\n".to_vec()),
        Just(encode_preamble(Preamble::default()).to_vec()),
        Just(frame(1, Request::Get { key: b"k" })),
        Just(frame(2, Request::Stats)),
        any::<u32>().prop_map(|length| length.to_le_bytes().to_vec()),
    ];
    vec(word, 1..12).prop_map(|words| words.concat())
}

#[test]
fn noise_harms_nobody() {
    let node = node(|_| {});
    // Prints what failed, shrunk, and the seed of it.
    let mut runner = TestRunner::new(ProptestConfig { cases: 400, ..ProptestConfig::default() });
    let healthy = std::cell::RefCell::new(Client::connect(node.address()));
    let outcome = runner.run(&(noise(), any::<bool>()), |(bytes, native)| {
        let mut client = Client::connect(node.address());
        if native {
            client.try_send(&encode_preamble(Preamble::default()));
        }
        client.try_send(&bytes);
        // It may have closed already.
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        client.rest();
        prop_assert_eq!(healthy.borrow_mut().call(&["SET", "healthy", "yes"]), Reply::ok());
        Ok(())
    });
    outcome.unwrap();
    let mut healthy = healthy.into_inner();
    wait_until("all are gone", || healthy.info("connected_clients") == 1);
}

/// Declared lengths and half requests cost the node what was sent, not what was promised.
#[test]
fn promises_take_no_memory() {
    let process = Process::start(&[]);
    assert_serves(process.address);
    let before = process.resident_bytes();
    let mut half_native = encode_preamble(Preamble::default()).to_vec();
    half_native.extend((60_u32 << 20).to_le_bytes());
    let halves: [&[u8]; 4] = [
        b"*1048576\r\n$1\r\n",
        b"*2\r\n$3\r\nGET\r\n$60000000\r\nabc",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16777216\r\n",
        &half_native,
    ];
    let mut clients = Vec::new();
    for number in 0..800 {
        let mut client = Client::connect(process.address);
        client.send(halves[number % 4]);
        clients.push(client);
    }
    let mut healthy = Client::connect(process.address);
    wait_until("all are connected", || healthy.info("connected_clients") == 801);
    let grown = process.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "800 promises took {grown} bytes");
    drop(clients);
    wait_until("all are gone", || healthy.info("connected_clients") == 1);
}

/// A request of a million arguments is allowed, and costs in proportion to its bytes, however often it comes.
#[test]
fn a_million_arguments_are_bounded() {
    let process = Process::start(&[]);
    assert_serves(process.address);
    let before = process.resident_bytes();
    let mut bytes = b"*1000000\r\n$3\r\nDEL\r\n".to_vec();
    bytes.extend(b"$1\r\nk\r\n".repeat(999_999));
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(process.address)).collect();
    for client in &mut clients {
        client.send(&bytes);
    }
    for client in &mut clients {
        assert_eq!(client.reply(), Reply::Integer(0));
    }
    let grown = process.resident_bytes().saturating_sub(before);
    assert!(grown < 150 << 20, "four requests of 7 MB took {grown} bytes");
}
