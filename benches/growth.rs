//! How long one put takes at worst while the store grows from nothing: a table that doubles must not stall a worker.
//!
//! `cargo bench --bench growth` puts 20 million small entries (`-- COUNT` another number), timing each put by the
//! thread's CPU time and by the wall. As part of `cargo test --benches` it puts a few thousand, to see that it runs.
//! It needs some 3 GB.
#![allow(clippy::disallowed_methods, missing_docs)]

use std::time::Instant;

use annulus::config::StoreConfig;
use annulus::message::{Condition, ExpiryChange};
use annulus::operation;
use annulus::store::{HybridClock, Store};
use annulus::types::{WallTime, WriterId};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COUNT_DEFAULT: u64 = 20_000_000;
const COUNT_IN_TESTS: u64 = 10_000;
const VALUE: [u8; 64] = [b'v'; 64];
const NOW: WallTime = WallTime(1);

/// No put may take more of its thread's CPU time than this, in nanoseconds.
const CPU_NS_MAX: u64 = 2_000_000;

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn put(store: &Store, clock: &mut HybridClock, number: u64) {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let done = store.update(store.hash(&key), &key, clock, |view| {
        let current = view.map(|view| view.current());
        let effect = operation::put(current, &VALUE, Condition::Always, ExpiryChange::Clear, NOW);
        (effect.expect("no condition"), ())
    });
    done.expect("no limit");
}

fn report(name: &str, times: &Histogram<u64>) {
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    let above = times.count_between(CPU_NS_MAX, u64::MAX);
    println!(
        "{name}: p50 {:.1}, p99 {:.1}, p99.9 {:.1}, p99.99 {:.1}, p99.999 {:.1}, max {:.1} us; {above} above 2 ms",
        at(0.5),
        at(0.99),
        at(0.999),
        at(0.9999),
        at(0.99999),
        times.max() as f64 / 1000.0,
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let in_bench = arguments.iter().any(|argument| argument == "--bench");
    let asked = arguments.iter().find_map(|argument| argument.parse().ok());
    let count = asked.unwrap_or(if in_bench { COUNT_DEFAULT } else { COUNT_IN_TESTS });
    let store = Store::new(&StoreConfig::default());
    let mut clock = HybridClock::new(WriterId(0));
    clock.observe(NOW);
    let histogram = || Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds");
    let (mut cpu_times, mut wall_times) = (histogram(), histogram());
    // Each reading ends one put and begins the next, so it is part of what is timed.
    let (mut cpu_before, mut wall_before) = (thread_cpu_ns(), Instant::now());
    for number in 0..count {
        put(&store, &mut clock, number);
        let (cpu, wall) = (thread_cpu_ns(), Instant::now());
        cpu_times.saturating_record(cpu - cpu_before);
        wall_times.saturating_record((wall - wall_before).as_nanos() as u64);
        (cpu_before, wall_before) = (cpu, wall);
    }
    assert_eq!(store.len() as u64, count);
    println!("{count} puts into an empty store, {} MB charged", store.used_bytes() >> 20);
    report("thread CPU time", &cpu_times);
    report("wall time", &wall_times);
    // What a test runs is not compiled to be fast, nor is its machine idle.
    assert!(!in_bench || cpu_times.max() <= CPU_NS_MAX, "a put took more than 2 ms of CPU time");
}
