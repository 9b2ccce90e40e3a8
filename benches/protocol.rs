//! What it costs to read requests and to lay down replies, over RESP and over the native protocol: bytes in memory, no
//! sockets and no store. Keys of 16 bytes, values of 64. Times are per iteration, rates per request or reply.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use annulus::message::{Condition, Envelope, ExpiryChange, Request, RequestId};
use annulus::protocol::Limits;
use annulus::protocol::client::{decode_request, encode_request, encode_value};
use annulus::protocol::frame::{Split, split_frame};
use annulus::protocol::resp::reply;
use annulus::protocol::resp::request::{Parsed, parse};
use annulus::types::Version;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const KEY: [u8; 16] = *b"key:000000012345";
const VALUE: [u8; 64] = [b'v'; 64];
const REQUEST_BYTES_MAX: usize = 1 << 20;
const PIPELINES: [usize; 2] = [1, 16];

fn resp_get() -> Vec<u8> {
    [b"*2\r\n$3\r\nGET\r\n$16\r\n", &KEY[..], b"\r\n"].concat()
}

fn resp_set() -> Vec<u8> {
    [b"*3\r\n$3\r\nSET\r\n$16\r\n", &KEY[..], b"\r\n$64\r\n", &VALUE[..], b"\r\n"].concat()
}

fn native(request: Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_request(&Envelope { id: RequestId(7), level: None, request }, &mut bytes);
    bytes
}

fn native_get() -> Vec<u8> {
    native(Request::Get { key: &KEY })
}

fn native_put() -> Vec<u8> {
    let (condition, expiry) = (Condition::Always, ExpiryChange::Clear);
    native(Request::Put { key: &KEY, value: &VALUE, condition, expiry })
}

fn resp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resp");
    let (mut arguments, mut scratch) = (Vec::new(), Vec::new());
    for (name, request) in [("GET", resp_get()), ("SET", resp_set())] {
        for pipeline in PIPELINES {
            let input = request.repeat(pipeline);
            group.throughput(Throughput::Elements(pipeline as u64));
            group.bench_function(format!("parse {name}, pipeline {pipeline}"), |bencher| {
                bencher.iter(|| {
                    arguments.clear();
                    let mut rest = black_box(&input[..]);
                    while !rest.is_empty() {
                        let parsed = parse(rest, REQUEST_BYTES_MAX, &mut arguments, &mut scratch);
                        let Ok(Parsed::Complete { consumed }) = parsed else { panic!("{parsed:?}") };
                        rest = &rest[consumed..];
                    }
                    black_box(arguments.len())
                });
            });
        }
    }
    let mut output = Vec::with_capacity(256);
    group.throughput(Throughput::Elements(1));
    group.bench_function("bulk reply of 64 bytes", |bencher| {
        bencher.iter(|| {
            output.clear();
            reply::bulk(&mut output, black_box(&VALUE));
            black_box(output.len())
        });
    });
    group.finish();
}

fn native_protocol(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("native");
    let limits = Limits::default();
    for (name, request) in [("GET", native_get()), ("PUT", native_put())] {
        for pipeline in PIPELINES {
            let input = request.repeat(pipeline);
            group.throughput(Throughput::Elements(pipeline as u64));
            group.bench_function(format!("split and decode {name}, pipeline {pipeline}"), |bencher| {
                bencher.iter(|| {
                    let mut rest = black_box(&input[..]);
                    while !rest.is_empty() {
                        let Ok(Split::Frame(frame)) = split_frame(rest, &limits) else { panic!("whole") };
                        black_box(decode_request(frame, &limits).expect("it was encoded"));
                        rest = &rest[frame.bytes_total()..];
                    }
                });
            });
        }
    }
    let mut output = Vec::with_capacity(256);
    group.throughput(Throughput::Elements(1));
    group.bench_function("value reply of 64 bytes", |bencher| {
        bencher.iter(|| {
            output.clear();
            encode_value(RequestId(7), Version::default(), None, black_box(&VALUE), &mut output);
            black_box(output.len())
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = resp, native_protocol
}
criterion_main!(benches);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
