//! What the workers of a node allocate while clients pipeline requests over sockets.
//!
//! A cell and a table are told apart by what they ask for: a cell of these lengths is 96 bytes aligned to 8, a table
//! of n buckets is 9n + 16 bytes aligned to 16. Anything else that a worker allocates fails the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use annulus::config::{Config, ShardCount, WorkerCount};
use annulus::message::{Condition, Envelope, ExpiryChange, Request, RequestId};
use annulus::protocol::client::{encode_request, encode_value, encode_written};
use annulus::protocol::preamble::{PREAMBLE_BYTES, Preamble, encode_preamble};
use annulus::server::Node;
use annulus::types::Version;

use crate::counting_allocator::{Counts, SIZES};

const CONNECTIONS: usize = 4;
/// Requests that one connection has on their way.
const PIPELINE: u64 = 250;
const ROUND: u64 = CONNECTIONS as u64 * PIPELINE;

const GETS: u64 = 1_000_000;
const SETS: u64 = 200_000;
/// Keys that are there before anything is counted.
const KEYS: u64 = 200_000;

const KEY_BYTES: usize = 16;
const VALUE: [u8; 64] = [b'v'; 64];
/// Header, key and value, already a size class.
const CELL_BYTES: usize = 16 + KEY_BYTES + VALUE.len();

const SHARDS: u64 = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    Resp,
    Native,
}

#[derive(Clone, Copy)]
enum Kind {
    Get,
    Set,
}

fn key(number: u64) -> [u8; KEY_BYTES] {
    let text = format!("key:{number:012}");
    text.as_bytes().try_into().expect("as long as it says")
}

impl Dialect {
    fn encode(self, kind: Kind, number: u64, out: &mut Vec<u8>) {
        let key = key(number);
        match (self, kind) {
            (Self::Resp, Kind::Get) => {
                out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$16\r\n");
                out.extend_from_slice(&key);
            }
            (Self::Resp, Kind::Set) => {
                out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$16\r\n");
                out.extend_from_slice(&key);
                out.extend_from_slice(b"\r\n$64\r\n");
                out.extend_from_slice(&VALUE);
            }
            (Self::Native, kind) => {
                let request = match kind {
                    Kind::Get => Request::Get { key: &key },
                    Kind::Set => Request::Put {
                        key: &key,
                        value: &VALUE,
                        condition: Condition::Always,
                        expiry: ExpiryChange::Clear,
                    },
                };
                encode_request(&Envelope { id: RequestId(number as u32), level: None, request }, out);
                return;
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// How long the answer of a request is that found its key, and was not refused.
    fn answer_bytes(self, kind: Kind) -> usize {
        let mut out = Vec::new();
        match (self, kind) {
            (Self::Resp, Kind::Get) => return b"$64\r\n\r\n".len() + VALUE.len(),
            (Self::Resp, Kind::Set) => return b"+OK\r\n".len(),
            (Self::Native, Kind::Get) => {
                encode_value(RequestId(0), Version::default(), None, &VALUE, &mut out);
            }
            (Self::Native, Kind::Set) => encode_written(RequestId(0), Version::default(), &mut out),
        }
        out.len()
    }
}

struct Clients {
    dialect: Dialect,
    streams: Vec<TcpStream>,
    requests: Vec<Vec<u8>>,
    answers: Vec<u8>,
}

impl Clients {
    fn connect(address: SocketAddr, dialect: Dialect) -> Self {
        let connect = |_| {
            let mut stream = TcpStream::connect(address).expect("the node listens");
            stream.set_nodelay(true).expect("a socket");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
            if dialect == Dialect::Native {
                stream.write_all(&encode_preamble(Preamble::default())).expect("connected");
                stream.read_exact(&mut [0; PREAMBLE_BYTES]).expect("greeted");
            }
            stream
        };
        let streams = (0..CONNECTIONS).map(connect).collect();
        Self { dialect, streams, requests: vec![Vec::new(); CONNECTIONS], answers: Vec::new() }
    }

    /// Sends `count` requests for the keys from `first` on, modulo `keys`: all connections send, then all receive.
    ///
    /// Every other batch goes in two parts that cut a request in half, so that halves are kept and taken up.
    fn run(&mut self, kind: Kind, first: u64, count: u64, keys: u64) {
        assert_eq!(count % ROUND, 0);
        let answer_bytes = self.dialect.answer_bytes(kind);
        for round in 0..count / ROUND {
            for (index, requests) in self.requests.iter_mut().enumerate() {
                requests.clear();
                let start = first + round * ROUND + index as u64 * PIPELINE;
                for number in start..start + PIPELINE {
                    self.dialect.encode(kind, number % keys, requests);
                }
            }
            // All halves are on the nodes' side, unfinished, before any is completed.
            let halves = if round % 2 == 0 { 0 } else { PIPELINE as usize / 2 };
            let cut = |requests: &[u8]| {
                if halves == 0 { 0 } else { requests.len() / PIPELINE as usize * halves + 5 }
            };
            for part in 0..2 {
                let answers = if part == 0 { halves } else { PIPELINE as usize - halves };
                for (stream, requests) in self.streams.iter_mut().zip(&self.requests) {
                    let (head, tail) = requests.split_at(cut(requests));
                    stream.write_all(if part == 0 { head } else { tail }).expect("sent");
                }
                self.answers.resize(answers * answer_bytes, 0);
                for stream in &mut self.streams {
                    stream.read_exact(&mut self.answers).expect("answered");
                    assert!(
                        is_done(self.dialect, kind, &self.answers),
                        "the answers are as long as expected"
                    );
                }
            }
        }
    }
}

/// Whether the last answer is what it should be.
fn is_done(dialect: Dialect, kind: Kind, answers: &[u8]) -> bool {
    match (dialect, kind) {
        _ if answers.is_empty() => true,
        (Dialect::Resp, Kind::Get) => answers.ends_with(b"vvvv\r\n"),
        (Dialect::Resp, Kind::Set) => answers.ends_with(b"+OK\r\n"),
        (Dialect::Native, Kind::Get) => answers.ends_with(b"vvvv"),
        // The writer of the version, which a worker's number and incarnation make up.
        (Dialect::Native, Kind::Set) => !answers.ends_with(&[0; 4]),
    }
}

/// Bytes of a table of `buckets` buckets: slots, control bytes, and a group of those that wraps around.
fn table_bytes(buckets: usize) -> usize {
    buckets * 8 + buckets + 16
}

/// What was counted since `before`, but for the table of waiting threads that the locks' library makes when a thread
/// first has to wait for another: once a process, whenever that happens, or twice if two threads make it at a time.
fn since(before: &Counts) -> Counts {
    const QUEUES_BYTES: usize = 1024;
    const TABLE_BYTES: usize = 32;
    let mut counts = before.since();
    if let (1, 1) | (2, 2) = (counts.aligned[QUEUES_BYTES], counts.narrow[TABLE_BYTES]) {
        (counts.aligned[QUEUES_BYTES], counts.narrow[TABLE_BYTES]) = (0, 0);
    }
    counts
}

pub(crate) fn workers_allocate_only_cells_and_tables(workers: usize, dialect: Dialect) {
    let mut config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    config.workers = WorkerCount::new(workers).expect("a number of workers");
    config.store.shards = ShardCount::new(SHARDS as usize).expect("a power of two");
    let node = Node::start(&config).expect("a node");
    let mut clients = Clients::connect(node.address(), dialect);
    clients.run(Kind::Set, 0, KEYS, KEYS);
    clients.run(Kind::Get, 0, 50 * ROUND, KEYS);
    let what = |counts: &Counts| format!("{workers} workers, {dialect:?}: {}", counts.describe());

    let before = Counts::now();
    clients.run(Kind::Get, 0, GETS, KEYS);
    let gets = since(&before);
    println!("{GETS} GETs, {}", what(&gets));
    assert_eq!(gets.total(), 0, "{}", what(&gets));

    let before = Counts::now();
    clients.run(Kind::Set, 0, SETS, KEYS);
    let sets = since(&before);
    println!("{SETS} SETs of keys that are there, {}", what(&sets));
    assert_eq!(sets.total(), 0, "values of the same length lie where they lay: {}", what(&sets));

    let before = Counts::now();
    clients.run(Kind::Set, KEYS, SETS, u64::MAX);
    let mut news = since(&before);
    println!("{SETS} SETs of new keys, {}", what(&news));
    assert_eq!(news.narrow[CELL_BYTES], SETS, "one cell each: {}", what(&news));
    news.narrow[CELL_BYTES] = 0;
    // The keys doubled, so each shard's table doubled once; one that was about to, or is ahead of the others, twice.
    let mut tables = 0;
    for buckets in (2..).map(|power| 1 << power).take_while(|&buckets| table_bytes(buckets) < SIZES - 1) {
        tables += std::mem::take(&mut news.aligned[table_bytes(buckets)]);
    }
    assert!((1..=2 * SHARDS).contains(&tables), "{tables} tables of {SHARDS} shards grew");
    assert_eq!(news.total(), 0, "neither cells nor tables: {}", what(&news));
    drop(clients);
    node.stop().expect("a clean stop");
}
