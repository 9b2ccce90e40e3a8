//! What finding a key's replicas costs, beside what getting a value from a bare DashMap costs in the same run.
#![allow(missing_docs)]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Duration;

use annulus::cluster::ring::{Member, Ring};
use annulus::types::{KeyHash, NodeNumber, Zone};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dashmap::DashMap;

/// The cluster's seed; any will do.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const NODES: u16 = 100;
const VIRTUAL_NODES: u16 = 256;
const REPLICATION_FACTOR: NonZeroUsize = NonZeroUsize::new(3).expect("3 is not 0");
/// Entries of the map, with keys and values of usual lengths.
const ENTRIES: u64 = 1_000_000;
const KEY_BYTES: usize = 16;

fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn lookups(criterion: &mut Criterion) {
    let members: Vec<Member> = (0..NODES)
        .map(|node| Member {
            node: NodeNumber(node),
            seat: NodeNumber(node),
            zone: Zone(node % 3),
            virtual_nodes: VIRTUAL_NODES,
        })
        .collect();
    let ring = Ring::new(&members, REPLICATION_FACTOR, SEED);
    let map: DashMap<Box<[u8]>, [u8; 64]> =
        (0..ENTRIES).map(|number| (key(number).into(), [7; 64])).collect();
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    group.bench_function("DashMap get among a million", |bencher| {
        let mut random = fastrand::Rng::with_seed(1);
        bencher.iter(|| map.get(&key(random.u64(..ENTRIES))[..]).map(|found| found[0]));
    });
    group.bench_function("preference list, 100 nodes x 256", |bencher| {
        let mut random = fastrand::Rng::with_seed(1);
        bencher.iter(|| {
            let hash = KeyHash::of(&key(random.u64(..ENTRIES)), SEED);
            black_box(ring.preference_list(hash.token())[0])
        });
    });
    group.bench_function("ring of an epoch, 100 nodes x 256", |bencher| {
        bencher.iter(|| Ring::new(black_box(&members), REPLICATION_FACTOR, SEED));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = lookups
}
criterion_main!(benches);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
