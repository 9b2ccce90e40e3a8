//! Many seeds on all cores: those that are the same each time, fresh ones, and as many as one likes.
//!
//! Invariant: a seed that breaks something is named, with how to see what happened; which seeds were fresh is printed.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What happened in several runs.
pub(crate) trait Total: Default + Send {
    /// Adds what happened in another.
    fn add(&mut self, other: &Self);
}

/// A number that somebody has set.
pub(crate) fn number_in_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// So many seeds that are always the same, and as many that are new.
pub(crate) fn fixed_and_fresh(count: u64) -> impl Iterator<Item = u64> + Send {
    let fresh = fastrand::u64(1 << 32..u64::MAX / 2);
    println!("fresh seeds from {fresh} on");
    (0..count).chain(fresh..fresh + count)
}

/// As many seeds as `NAME_SEEDS` says, from `NAME_FIRST` on; `None` if it is not set.
pub(crate) fn many(name: &str) -> Option<Range<u64>> {
    let seeds = number_in_environment(&format!("{name}_SEEDS"))?;
    let first = number_in_environment(&format!("{name}_FIRST")).unwrap_or(1 << 20);
    Some(first..first + seeds)
}

/// Runs seeds on all cores; returns how many, and what happened in them. `name` is how its variables begin.
///
/// # Panics
/// If a run says that something broke.
pub(crate) fn hold<T: Total>(
    name: &str,
    seeds: impl Iterator<Item = u64> + Send,
    run: impl Fn(u64) -> (T, Option<String>) + Sync,
) -> (u64, T) {
    let (seeds, total) = (Mutex::new(seeds), Mutex::new((0, T::default())));
    let (broken, stop) = (Mutex::new(None), AtomicBool::new(false));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let Some(seed) = seeds.lock().expect("no thread panics with it").next() else { break };
            let (counted, why) = run(seed);
            let mut total = total.lock().expect("no thread panics with it");
            total.0 += 1;
            total.1.add(&counted);
            if let Some(why) = why {
                stop.store(true, Ordering::Relaxed);
                *broken.lock().expect("no thread panics with it") = Some((seed, why));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    if let Some((seed, why)) = broken.into_inner().expect("all have ended") {
        panic!("seed {seed} breaks {why}\n{name}_SEED={seed} shows what happened");
    }
    total.into_inner().expect("all have ended")
}
