//! The native protocol allocates nothing to read a request, nor to answer one into a vector that has room; and
//! what a client allocates follows what it received, not what the other end declared.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use annulus::client::{Client, Operations, Options};
use annulus::message::{Condition, Envelope, ExpiryChange, Request, RequestId};
use annulus::protocol::Limits;
use annulus::protocol::client::{
    BatchWriter, RequestBatchWriter, decode_request, decode_response, encode_absent, encode_request,
    encode_value, encode_written,
};
use annulus::protocol::frame::{Split, split_frame};
use annulus::protocol::preamble::{Greeting, encode_greeting};
use annulus::types::{Version, WallTime};

use crate::counting_allocator::allocated_bytes;

pub(crate) fn serving_requests_allocates_nothing() {
    let limits = Limits::default();
    let mut input = Vec::new();
    let id = RequestId(1);
    let put = Request::Put {
        key: b"key",
        value: b"value",
        condition: Condition::VersionIs(Version::default()),
        expiry: ExpiryChange::AfterMs(1),
    };
    for request in [Request::Get { key: b"key" }, put, Request::Increment { key: b"key", delta: 1 }] {
        encode_request(&Envelope { id, level: None, request }, &mut input);
    }
    let mut writer = RequestBatchWriter::begin(id, None, &mut input);
    for _ in 0..100 {
        writer.push(&Envelope { id, level: None, request: Request::Get { key: b"key" } }, &mut input);
    }
    writer.finish(&mut input);
    let mut out = Vec::with_capacity(1 << 16);
    assert_eq!(allocated_bytes(|| drop(black_box(vec![0u8; 100]))), 100, "the allocator counts");

    let bytes = allocated_bytes(|| {
        let mut at = 0;
        while let Ok(Split::Frame(frame)) = split_frame(&input[at..], &limits) {
            at += frame.bytes_total();
            let envelope = decode_request(frame, &limits).expect("a request");
            match envelope.request {
                Request::Batch(batch) => {
                    let writer = BatchWriter::begin(envelope.id, batch.count(), &mut out);
                    for item in batch.requests(limits) {
                        encode_absent(item.expect("a request").id, &mut out);
                    }
                    writer.finish(&mut out);
                }
                Request::Get { .. } => {
                    encode_value(envelope.id, Version::default(), Some(WallTime(1)), b"value", &mut out);
                }
                _ => encode_written(envelope.id, Version::default(), &mut out),
            }
        }
        assert_eq!(at, input.len());
    });
    assert_eq!(bytes, 0);
}

pub(crate) fn declared_counts_allocate_nothing() {
    // Stats that declare four billion counters; a page of as many keys; a batch of as many outcomes.
    for kind in [3, 4, 5] {
        let mut frame = vec![24, 0, 0, 0, 7, 0, 0, 0, 0, kind, 0, 0];
        frame.resize(28, 255);
        let bytes = allocated_bytes(|| {
            let Ok(Split::Frame(frame)) = split_frame(&frame, &Limits::default()) else { panic!("a frame") };
            decode_response(frame).expect_err("nothing of it is there");
        });
        assert_eq!(bytes, 0);
    }
}

pub(crate) fn a_declared_length_is_not_allocated_by_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let node = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.read_exact(&mut [0; 8]).expect("a preamble");
        let welcome = encode_greeting(Greeting::Welcome { authentication_required: false });
        stream.write_all(&welcome).expect("greeted");
        stream.read_exact(&mut [0; 16]).expect("a ping");
        stream.write_all(&(64u32 << 20).to_le_bytes()).expect("declared");
        let _ = stream.read(&mut [0]);
    });
    let options = Options { read_timeout: Some(Duration::from_millis(500)), ..Options::default() };
    let mut client = Client::connect_with(address, options).expect("connected");
    let bytes = allocated_bytes(|| {
        client.ping().expect_err("the rest never comes");
    });
    assert!(bytes < 4096, "{bytes} bytes");
    node.join().expect("the node ends");
}
