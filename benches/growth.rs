//! How long one put takes at worst while the store grows from nothing: a table that doubles must not stall a worker.
//!
//! `cargo bench --bench growth` puts 20 million small entries (`-- COUNT` another number), timing each put by the
//! thread's CPU time and by the wall. As part of `cargo test --benches` it puts a few thousand, to see that it runs.
//! It needs some 3 GB. It judges nothing: what the control shows decides what the figures of a machine are worth.
#![allow(clippy::disallowed_methods, missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use annulus::config::StoreConfig;
use annulus::hybrid_clock::HybridClock;
use annulus::message::{Condition, ExpiryChange};
use annulus::operation;
use annulus::store::{Store, View};
use annulus::types::{KeyHash, WallTime, WriterId};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COUNT_DEFAULT: u64 = 20_000_000;
const COUNT_IN_TESTS: u64 = 10_000;
const VALUE: [u8; 64] = [b'v'; 64];
const NOW: WallTime = WallTime(1);

/// No put should take more of its thread's CPU time than this, in nanoseconds.
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
        let current = view.map(View::current);
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

/// Times of the puts, or of what stands in for them.
struct Times {
    cpu: Histogram<u64>,
    wall: Histogram<u64>,
    cpu_before: u64,
    wall_before: Instant,
}

impl Times {
    fn start() -> Self {
        let histogram = || Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds");
        let (cpu_before, wall_before) = (thread_cpu_ns(), Instant::now());
        Self { cpu: histogram(), wall: histogram(), cpu_before, wall_before }
    }

    /// Ends one put and begins the next; returns the CPU time it took. The reading is part of what is timed.
    fn lap(&mut self) -> u64 {
        let (cpu, wall) = (thread_cpu_ns(), Instant::now());
        let taken_ns = cpu - self.cpu_before;
        self.cpu.saturating_record(taken_ns);
        self.wall.saturating_record((wall - self.wall_before).as_nanos() as u64);
        (self.cpu_before, self.wall_before) = (cpu, wall);
        taken_ns
    }

    fn report(&self, name: &str) {
        report(&format!("{name}, thread CPU time"), &self.cpu);
        report(&format!("{name}, wall time"), &self.wall);
    }
}

/// The same readings of the clocks around work that touches no memory: what the machine adds by itself, such as the
/// time it takes from a virtual processor, which that one's clocks count as its own.
fn control(count: u64) {
    let mut times = Times::start();
    for number in 0..count {
        for step in 0..20 {
            black_box(KeyHash::of(&VALUE, number + step));
        }
        times.lap();
    }
    times.report("control");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let in_bench = arguments.iter().any(|argument| argument == "--bench");
    let asked = arguments.iter().find_map(|argument| argument.parse().ok());
    let count = asked.unwrap_or(if in_bench { COUNT_DEFAULT } else { COUNT_IN_TESTS });
    if !arguments.iter().any(|argument| argument == "--huge-pages") {
        // As the node does unless it is told otherwise.
        rustix::thread::disable_transparent_huge_pages(true).expect("Linux since 3.15 lets a process choose");
    }
    control(count);
    let store = Store::new(&StoreConfig::default());
    let mut clock = HybridClock::new(WriterId(0));
    clock.observe(NOW);
    let mut times = Times::start();
    let (mut used_bytes, mut growths, mut slow_growths, mut slow_others) = (0, 0, 0, 0);
    for number in 0..count {
        put(&store, &mut clock, number);
        let slow = times.lap() > CPU_NS_MAX;
        let grew = store.used_bytes() - used_bytes > 2 * VALUE.len() as u64;
        used_bytes = store.used_bytes();
        growths += u64::from(grew);
        slow_growths += u64::from(grew && slow);
        slow_others += u64::from(!grew && slow);
    }
    assert_eq!(store.len() as u64, count);
    println!("{count} puts into an empty store, {} MB charged", used_bytes >> 20);
    times.report("put");
    println!(
        "above 2 ms of CPU time: {slow_growths} of {growths} puts that grew a table, {slow_others} others"
    );
}
