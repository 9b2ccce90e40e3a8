//! A coordinator's put and get at quorum with three replicas, every message of them, beside a DashMap get; and what
//! messages take to become bytes and come back. Machines only: no socket, no store. Times are per operation; only
//! ratios of one run mean anything.
#![allow(clippy::disallowed_methods, missing_docs)]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use annulus::cluster::coordinator::{
    Action, Ask, ClientTag, Coordinator, Decided, Decision, Order, Orders, Question,
};
use annulus::cluster::ring::{Member, Ring};
use annulus::cluster::view::View;
use annulus::config::CoordinatorConfig;
use annulus::hybrid_clock::HybridClock;
use annulus::message::peer::{Answer, Cell, Content, Inquiry, Kind, OperationId, Task, Verdict};
use annulus::protocol::Limits;
use annulus::protocol::frame::{Split, split_frame};
use annulus::protocol::peer::{decode_peer, encode_answer, encode_inquiry};
use annulus::types::{Epoch, KeyHash, Level, NodeNumber, Timestamp, Version, WallTime, WriterId, Zone};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dashmap::DashMap;

const SEED: u64 = 3;
const ENTRIES: u64 = 1_000_000;
/// The number of a key that node 0 proposes for.
const PROPOSED: u64 = 1;
const VALUE: [u8; 64] = [b'v'; 64];

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    key[4..12].copy_from_slice(&number.to_le_bytes());
    key
}

/// What is to be answered: to whom, what, and whether with a cell or a version.
#[derive(Default)]
struct Replicas {
    asked: Vec<(NodeNumber, OperationId, Asked)>,
    replies: u64,
}

#[derive(Clone, Copy)]
enum Asked {
    Cell,
    Version,
    Write,
    Promise,
    Acceptance,
}

impl Orders for Replicas {
    fn order(&mut self, order: Order<'_>) {
        match order {
            Order::Send { to, inquiry } => {
                let asked = match inquiry.task {
                    Task::Read => Asked::Cell,
                    Task::ReadVersion => Asked::Version,
                    Task::Write(_) | Task::Repair(_) => Asked::Write,
                    Task::Prepare { .. } => Asked::Promise,
                    Task::Accept { .. } => Asked::Acceptance,
                };
                self.asked.push((to, inquiry.operation, asked));
            }
            Order::Reply { outcome, .. } => {
                black_box(outcome);
                self.replies += 1;
            }
            Order::Told { reply, .. } => {
                black_box(reply);
                self.replies += 1;
            }
            Order::Propose { .. } => unreachable!("this node proposes"),
        }
    }

    fn decide(&mut self, question: &Question<'_>, decision: &mut Decision) -> Decided {
        decision.value.extend_from_slice(question.change);
        Decided::Store(Kind::Value { expires_at: None })
    }
}

fn coordinator() -> Coordinator {
    let nodes = || (0..3).map(NodeNumber);
    let member = |node| Member { node, seat: node, zone: Zone(0), virtual_nodes: 256 };
    let members: Vec<Member> = nodes().map(member).collect();
    let ring = Arc::new(Ring::new(&members, NonZeroUsize::new(3).expect("not zero"), SEED));
    let view = View::new(Epoch(1), ring, NodeNumber(0), nodes());
    let mut coordinator =
        Coordinator::new(Arc::new(view), HybridClock::new(WriterId(1)), CoordinatorConfig::default(), SEED);
    coordinator.observe(Timestamp::default(), WallTime(1_700_000_000_000));
    coordinator
}

/// Begins an operation and answers everything that is asked, until nothing is.
fn carry_out(coordinator: &mut Coordinator, replicas: &mut Replicas, now: u64, action: Action<'_>) {
    let cell =
        Cell { version: Version::default(), content: Content::Value { value: &VALUE, expires_at: None } };
    // What is agreed on is one key that this node proposes for.
    let number = if matches!(action, Action::Change { .. }) { PROPOSED } else { now % ENTRIES };
    let key = key(number);
    let hash = KeyHash::of(&key, SEED);
    let ask = Ask { client: ClientTag(now), key: &key, hash, level: Level::Quorum, action };
    coordinator.begin(Timestamp(now * 1000), &ask, replicas);
    while !replicas.asked.is_empty() {
        for (node, operation, asked) in std::mem::take(&mut replicas.asked) {
            let verdict = match asked {
                Asked::Cell => Verdict::Cell(Some(cell)),
                Asked::Version => Verdict::Summary(Some(cell.summary())),
                Asked::Write => Verdict::Applied { existed: true },
                Asked::Promise => Verdict::Summary(None),
                Asked::Acceptance => Verdict::Accepted { rides: true },
            };
            coordinator.answer(node, &Answer { operation, verdict }, replicas);
        }
    }
    coordinator.handle_timeout(Timestamp(now * 1000), replicas);
}

fn operations(criterion: &mut Criterion) {
    let map: DashMap<Box<[u8]>, [u8; 64]> = (0..ENTRIES).map(|number| (key(number).into(), VALUE)).collect();
    let mut group = criterion.benchmark_group("coordinator");
    group.throughput(Throughput::Elements(1));
    group.bench_function("DashMap get among a million", |bencher| {
        let mut random = fastrand::Rng::with_seed(1);
        bencher.iter(|| map.get(&key(random.u64(..ENTRIES))[..]).map(|found| found[0]));
    });
    for (name, action) in [
        ("get at quorum", Action::Get),
        ("put at quorum", Action::Put { value: &VALUE, expires_at: None }),
        ("change by agreement of an undisturbed key", Action::Change { change: &VALUE }),
    ] {
        group.bench_function(format!("{name}, three replicas"), |bencher| {
            let (mut coordinator, mut replicas, mut now) = (coordinator(), Replicas::default(), 0);
            bencher.iter(|| {
                now += 1;
                carry_out(&mut coordinator, &mut replicas, now, action);
            });
            assert_eq!(replicas.replies, now);
        });
    }
    group.finish();
}

fn codec(criterion: &mut Criterion) {
    let operation = OperationId { slot: 7, round: 11 };
    let cell =
        Cell { version: Version::default(), content: Content::Value { value: &VALUE, expires_at: None } };
    let key = key(7);
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("messages between nodes");
    group.throughput(Throughput::Elements(1));
    let tasks = [
        ("read", Task::Read),
        ("read version", Task::ReadVersion),
        ("write of 64 bytes", Task::Write(cell)),
        ("repair of 64 bytes", Task::Repair(cell)),
        ("prepare", Task::Prepare { ballot: Version::default(), whole: true }),
        ("accept of 64 bytes", Task::Accept { cell, next: None }),
    ];
    let verdicts = [
        ("cell of 64 bytes", Verdict::Cell(Some(cell))),
        ("summary", Verdict::Summary(Some(cell.summary()))),
        ("applied", Verdict::Applied { existed: true }),
        ("accepted", Verdict::Accepted { rides: true }),
        ("superseded", Verdict::Superseded { by: Version::default() }),
    ];
    let mut bytes = Vec::new();
    let mut there_and_back = |name: &str, encode: &dyn Fn(&mut Vec<u8>)| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                bytes.clear();
                encode(&mut bytes);
                let Ok(Split::Frame(frame)) = split_frame(black_box(&bytes), &limits) else { unreachable!() };
                black_box(decode_peer(frame, &limits).is_ok())
            });
        });
    };
    for (name, task) in tasks {
        let inquiry = Inquiry { operation, epoch: Epoch(1), remaining_ms: 1000, key: &key, task };
        there_and_back(name, &|bytes| encode_inquiry(&inquiry, bytes));
    }
    for (name, verdict) in verdicts {
        there_and_back(name, &|bytes| encode_answer(&Answer { operation, verdict }, bytes));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = operations, codec
}
criterion_main!(benches);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
