//! What judging costs an operation: histories of a simulated atomic store, 12 clients on 5 contended keys, 300 and
//! 1,000 operations, 3% of them of unknown outcome. Criterion's elements are operations, so its rate is operations that
//! one core judges in a second.
#![allow(missing_docs)]

#[path = "../tests/history/atomic.rs"]
mod atomic;

use std::hint::black_box;
use std::time::Duration;

use annulus::history::linearizability::{self, Budget};
use annulus::history::{History, Verdict, regularity};
use atomic::{Mix, Plan};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fastrand::Rng;

/// Histories judged in turn, so that no single one decides.
const HISTORIES: u64 = 20;

const MIXES: [(&str, Mix); 3] = [
    ("register", Mix { reads: 5, writes: 4, removals: 1, conditions: 0, increments: 0, appends: 0 }),
    ("conditions", Mix { reads: 4, writes: 2, removals: 1, conditions: 3, increments: 0, appends: 0 }),
    ("counter", Mix { reads: 4, writes: 0, removals: 0, conditions: 0, increments: 6, appends: 0 }),
];

fn judged(criterion: &mut Criterion) {
    for (name, mix) in MIXES {
        for (operations, tells_versions) in [(300, true), (300, false), (1_000, true), (1_000, false)] {
            let plan = Plan { clients: 12, operations, keys: 5, mix, tells_versions, unknown_permille: 30 };
            let histories: Vec<_> =
                (0..HISTORIES).map(|seed| atomic::history(&mut Rng::with_seed(seed), &plan)).collect();
            let told = if tells_versions { "versions told" } else { "no versions" };
            let mut group = criterion.benchmark_group(format!("{name}, {operations} operations, {told}"));
            group.throughput(Throughput::Elements(HISTORIES * u64::from(operations)));
            group.bench_function("linearizability", |bencher| {
                bencher.iter(|| {
                    for key in histories.iter().flat_map(History::keys) {
                        let verdict = linearizability::check(black_box(&key), &Budget::default());
                        assert_eq!(verdict, Verdict::Holds);
                    }
                });
            });
            group.bench_function("regularity", |bencher| {
                bencher.iter(|| {
                    for key in histories.iter().flat_map(History::keys) {
                        assert_eq!(regularity::check(black_box(&key)), Verdict::Holds);
                    }
                });
            });
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = judged
}
criterion_main!(benches);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
