//! The memory limit: a write beyond it is refused and changes nothing, reads and removals go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Writer, get, store};
use crate::message::ExpiryChange;
use crate::store::{OutOfMemory, Store};
use crate::types::WallTime;

const NOW: WallTime = WallTime(1);

fn key(number: u64) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// A random write; whether it was refused.
fn write(writer: &mut Writer<'_>, random: &mut fastrand::Rng, key: &[u8]) -> Result<(), OutOfMemory> {
    let bytes_max = if random.u8(..) < 64 { 3000 } else { 100 };
    let value = vec![b'v'; random.usize(..bytes_max)];
    match random.u8(..4) {
        0 => writer.append(key, &value).map(drop),
        1 => writer.put_expiring(key, &value, ExpiryChange::AfterMs(50)).map(drop),
        _ => writer.put(key, &value).map(drop),
    }
}

#[test]
fn a_refused_write_changes_nothing() {
    const LIMIT_BYTES: u64 = 40_000;
    let rounds = if cfg!(miri) { 200 } else { 60_000 };
    for seed in 0..4 {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let store = store(4, Some(LIMIT_BYTES));
        let mut writer = Writer::new(&store, 0);
        writer.clock.observe(NOW);
        let (mut refused, mut done, mut removed) = (0, 0, 0);
        for _ in 0..rounds {
            let key = key(random.u64(..300));
            let before = (get(&store, &key, NOW), store.used_bytes(), store.len());
            if random.u8(..4) == 0 {
                assert_eq!(writer.remove(&key), before.0.is_some());
                removed += 1;
            } else if write(&mut writer, &mut random, &key).is_err() {
                assert_eq!((get(&store, &key, NOW), store.used_bytes(), store.len()), before);
                refused += 1;
            } else {
                done += 1;
            }
            assert!(store.used_bytes() <= LIMIT_BYTES);
        }
        assert!(refused > rounds / 100 && done > rounds / 10 && removed > rounds / 10, "{refused} {done}");
    }
}

#[test]
fn the_limit_holds_for_every_growth_of_a_table() {
    let keys = if cfg!(miri) { 40 } else { 300 };
    let empty = super::super::cell::allocated_bytes(key(0).len(), 0, false) as u64;
    for limit_bytes in (empty..keys * 2 * empty).step_by(if cfg!(miri) { 500 } else { 7 }) {
        let store = store(2, Some(limit_bytes));
        let mut writer = Writer::new(&store, 0);
        let mut refused = 0;
        for number in 0..keys {
            refused += u64::from(writer.put(&key(number), b"").is_err());
            assert!(store.used_bytes() <= limit_bytes, "{} of {limit_bytes}", store.used_bytes());
            // Leaves deleted slots behind, which a table counts as taken.
            if number % 3 == 2 {
                writer.remove(&key(number - 1));
            }
        }
        assert_eq!(store.is_empty(), refused == keys);
    }
}

#[test]
fn at_the_limit_reads_and_removals_go_on_and_make_room() {
    let store = store(2, Some(20_000));
    let mut writer = Writer::new(&store, 0);
    let mut kept = 0;
    while writer.put(&key(kept), &[b'v'; 500]).is_ok() {
        kept += 1;
        assert!(kept < 40, "the limit is far below that");
    }
    assert!(kept > 20);
    for number in 0..kept {
        assert_eq!(get(&store, &key(number), NOW).unwrap().value, [b'v'; 500]);
        // What needs no more memory is not refused.
        writer.put(&key(number), &[b'w'; 500]).unwrap();
        writer.put(&key(number), b"short").unwrap();
        writer.put(&key(number), &[b'v'; 500]).unwrap();
    }
    assert_eq!(writer.put(b"one more", &[b'v'; 500]), Err(OutOfMemory));
    assert!(writer.remove(&key(0)));
    writer.put(b"one more", &[b'v'; 400]).unwrap();
    drop(store.clear());
    assert_eq!(store.used_bytes(), 0);
    writer.put(b"again", b"v").unwrap();
}

#[test]
fn memory_comes_back_when_all_is_removed() {
    let (shards, keys) = (4, if cfg!(miri) { 60 } else { 20_000 });
    let store = store(shards, None);
    let mut writer = Writer::new(&store, 0);
    for number in 0..keys {
        writer.put(&key(number), &vec![b'v'; (number % 2000) as usize]).unwrap();
    }
    for number in 0..keys {
        assert!(writer.remove(&key(number)));
    }
    assert!(store.used_bytes() <= (shards * 64 * 9) as u64, "{} bytes", store.used_bytes());
    assert_eq!(store.used_bytes() % 9, 0, "slots and their control bytes are left, no part of a cell");
}

/// Writers that fill `store` and make room again, for a number of rounds each; how many writes were refused.
fn contend(store: &Store, writers: u32, rounds: u32, watch: impl Fn() + Sync) -> u64 {
    let (refused, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                watch();
                std::thread::yield_now();
            }
        });
        let work = |number: u32| {
            let (refused, watch) = (&refused, &watch);
            move || {
                let mut random = fastrand::Rng::with_seed(u64::from(number));
                let mut writer = Writer::new(store, number);
                writer.clock.observe(NOW);
                for _ in 0..rounds {
                    let key = key(random.u64(..200));
                    if random.u8(..4) == 0 {
                        writer.remove(&key);
                    } else if write(&mut writer, &mut random, &key).is_err() {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    watch();
                }
            }
        };
        let threads: Vec<_> = (0..writers).map(|number| scope.spawn(work(number))).collect();
        let results: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        // Before any failure is passed on, or the watcher would go on for ever.
        ended.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
        for result in results {
            result.unwrap();
        }
    });
    refused.into_inner()
}

#[test]
fn the_limit_holds_while_writers_contend() {
    const LIMIT_BYTES: u64 = 30_000;
    let store = store(4, Some(LIMIT_BYTES));
    let rounds = if cfg!(miri) { 50 } else { 100_000 };
    let refused = contend(&store, 4, rounds, || {
        let used_bytes = store.used_bytes();
        assert!(used_bytes <= LIMIT_BYTES, "{used_bytes} of {LIMIT_BYTES} bytes");
    });
    assert!(refused > 0);
    drop(store.clear());
    assert_eq!(store.used_bytes(), 0, "every charge was given back");
}
