//! What a key's hash costs by its length, and what follows from it: the place on the ring and the shard. Each hash
//! depends on the one before it, as a request's does on its bytes, so these are latencies and not what a loop overlaps.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use annulus::config::StoreConfig;
use annulus::store::Store;
use annulus::types::KeyHash;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The cluster's seed; any will do.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

fn hashes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash");
    group.throughput(Throughput::Elements(1));
    for key_bytes in [8, 16, 32, 256] {
        let mut key = vec![b'k'; key_bytes];
        group.bench_function(format!("key of {key_bytes} bytes"), |bencher| {
            bencher.iter(|| {
                let hash = KeyHash::of(black_box(&key), SEED);
                key[0] = hash.0 as u8;
                hash
            });
        });
    }
    group.finish();
}

fn places(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("place");
    group.throughput(Throughput::Elements(1));
    group.bench_function("token of a hash", |bencher| {
        let mut hash = KeyHash(SEED);
        bencher.iter(|| {
            hash = KeyHash(black_box(hash).token().0.wrapping_add(1));
            hash
        });
    });
    // An empty store stays in the cache, so that the choice is timed and not the memory behind it.
    let store = Store::new(&StoreConfig::default());
    group.bench_function("shard choice and prefetch of a hash", |bencher| {
        let mut number = 0_u64;
        bencher.iter(|| {
            number = number.wrapping_add(SEED);
            store.prefetch_slot(black_box(KeyHash(number)));
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
    targets = hashes, places
}
criterion_main!(benches);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
