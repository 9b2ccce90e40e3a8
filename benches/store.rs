//! The store beside a bare DashMap of boxed slices: one key at a time, in prefetched batches, on one and on two
//! threads. A million keys drawn uniformly, each thread from its own seed, so that the processor's cache does not
//! answer instead. Times are per operation; only ratios of one run mean anything.
#![allow(clippy::disallowed_methods, missing_docs)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use annulus::config::{ShardCount, StoreConfig};
use annulus::hybrid_clock::HybridClock;
use annulus::message::{Condition, ExpiryChange};
use annulus::operation;
use annulus::store::{Store, View};
use annulus::types::{KeyHash, WallTime, WriterId};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dashmap::DashMap;

const KEYS: u64 = 1_000_000;
const VALUE: [u8; 64] = [b'v'; 64];
const NOW: WallTime = WallTime(1);

type Bare = DashMap<Box<[u8]>, Box<[u8]>, Xxh3>;

/// The same hash for the bare map, so that what differs is the map.
#[derive(Clone, Default)]
struct Xxh3;

struct Xxh3Hasher(u64);

impl std::hash::BuildHasher for Xxh3 {
    type Hasher = Xxh3Hasher;
    fn build_hasher(&self) -> Xxh3Hasher {
        Xxh3Hasher(0)
    }
}

impl std::hash::Hasher for Xxh3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = KeyHash::of(bytes, self.0).0;
    }
    fn write_usize(&mut self, _length: usize) {}
    fn finish(&self) -> u64 {
        self.0
    }
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

struct Random(u64);

impl Random {
    fn key(&mut self) -> [u8; 16] {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        key((self.0 >> 33) % KEYS)
    }
}

fn filled_store() -> Store {
    let shards = std::env::var("ANNULUS_BENCH_SHARDS").ok().and_then(|text| text.parse().ok());
    let shards = shards.and_then(ShardCount::new).unwrap_or_default();
    let store = Store::new(&StoreConfig { shards, ..StoreConfig::default() });
    let mut clock = HybridClock::new(WriterId(0));
    for number in 0..KEYS {
        put(&store, &mut clock, &key(number));
    }
    store
}

fn filled_bare() -> Bare {
    let bare = Bare::default();
    for number in 0..KEYS {
        bare.insert(Box::from(key(number)), Box::from(VALUE));
    }
    bare
}

fn put(store: &Store, clock: &mut HybridClock, key: &[u8]) {
    let hash = store.hash(key);
    let done = store.update(hash, key, clock, |view| {
        let current = view.map(View::current);
        let effect = operation::put(current, &VALUE, Condition::Always, ExpiryChange::Clear, NOW);
        (effect.expect("no condition"), ())
    });
    done.expect("no limit");
}

fn get(store: &Store, key: &[u8], out: &mut [u8; 64]) {
    store.get(store.hash(key), key, NOW, |view| out.copy_from_slice(view.expect("stored").value()));
}

fn get_batch<const N: usize>(store: &Store, random: &mut Random, out: &mut [u8; 64]) {
    let keys: [_; N] = std::array::from_fn(|_| random.key());
    let hashes = keys.map(|key| {
        let hash = store.hash(&key);
        store.prefetch_slot(hash);
        hash
    });
    for hash in hashes {
        store.prefetch_cell(hash);
    }
    for (hash, key) in hashes.into_iter().zip(&keys) {
        store.get(hash, key, NOW, |view| out.copy_from_slice(view.expect("stored").value()));
        black_box(&out);
    }
}

fn get_bare(bare: &Bare, key: &[u8], out: &mut [u8; 64]) {
    out.copy_from_slice(&bare.get(key).expect("stored"));
}

/// The time that one of `threads` threads takes for `operations` of its own, all of them at work.
fn timed(threads: u64, operations: u64, work: impl Fn(u64, u64) + Sync) -> Duration {
    let barrier = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        let run = |thread| {
            let (barrier, work) = (&barrier, &work);
            move || {
                barrier.wait();
                let start = Instant::now();
                work(thread, operations);
                start.elapsed()
            }
        };
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(run(thread))).collect();
        let total: Duration = handles.into_iter().map(|handle| handle.join().expect("ran")).sum();
        total / threads as u32
    })
}

fn reads(criterion: &mut Criterion) {
    let (store, bare) = (filled_store(), filled_bare());
    let mut group = criterion.benchmark_group("get");
    group.throughput(Throughput::Elements(1));
    for threads in [1, 2] {
        group.bench_function(format!("bare dashmap, {threads} threads"), |bencher| {
            bencher.iter_custom(|operations| {
                timed(threads, operations, |thread, operations| {
                    let (mut random, mut out) = (Random(thread), [0; 64]);
                    for _ in 0..operations {
                        get_bare(&bare, &random.key(), black_box(&mut out));
                    }
                })
            });
        });
        group.bench_function(format!("store, {threads} threads"), |bencher| {
            bencher.iter_custom(|operations| {
                timed(threads, operations, |thread, operations| {
                    let (mut random, mut out) = (Random(thread), [0; 64]);
                    for _ in 0..operations {
                        get(&store, &random.key(), black_box(&mut out));
                    }
                })
            });
        });
        group.bench_function(format!("store, batches of 16, {threads} threads"), |bencher| {
            bencher.iter_custom(|operations| {
                timed(threads, operations, |thread, operations| {
                    let (mut random, mut out) = (Random(thread), [0; 64]);
                    for _ in 0..operations.div_ceil(16) {
                        get_batch::<16>(&store, &mut random, &mut out);
                    }
                })
            });
        });
    }
    group.finish();
}

fn writes(criterion: &mut Criterion) {
    let (store, bare) = (filled_store(), filled_bare());
    let mut group = criterion.benchmark_group("put");
    group.throughput(Throughput::Elements(1));
    group.bench_function("bare dashmap", |bencher| {
        let mut random = Random(1);
        bencher.iter(|| bare.insert(Box::from(random.key()), Box::from(VALUE)));
    });
    group.bench_function("store", |bencher| {
        let (mut random, mut clock) = (Random(1), HybridClock::new(WriterId(0)));
        bencher.iter(|| put(&store, &mut clock, &random.key()));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = reads, writes
}
criterion_main!(benches);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
