//! Threads at the same few keys.

use std::sync::Barrier;

use super::{Writer, get, store};
use crate::store::{Store, View};
use crate::types::{Version, WallTime};

const NOW: WallTime = WallTime(1);
const THREADS: u32 = 4;
const KEYS: [&[u8]; 3] = [b"", b"a", b"b"];

/// Runs `work` on all threads at once; each has a writer of its own, with a wall clock of its own.
fn at_once(store: &Store, work: impl Fn(&mut Writer<'_>, u32) + Sync) {
    let barrier = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                let mut writer = Writer::new(store, number);
                writer.clock.observe(WallTime(u64::from(number) * 1_000));
                barrier.wait();
                work(&mut writer, number);
            });
        }
    });
}

#[test]
fn increments_of_all_threads_sum_up() {
    let rounds = if cfg!(miri) { 20 } else { 50_000 };
    let store = store(2, None);
    at_once(&store, |writer, number| {
        let mut seen = [(i64::MIN, Version::default()); KEYS.len()];
        for round in 0..rounds {
            let which = round % KEYS.len();
            let sum = writer.increment(KEYS[which], 1 + i64::from(number)).unwrap();
            let version = get(&store, KEYS[which], NOW).unwrap().version;
            assert!(sum > seen[which].0 && version > seen[which].1, "sums and versions only rise");
            seen[which] = (sum, version);
        }
    });
    for (which, key) in KEYS.iter().enumerate() {
        let each = (0..rounds).filter(|round| round % KEYS.len() == which).count();
        let expected = each * (1..=THREADS as usize).sum::<usize>();
        assert_eq!(get(&store, key, NOW).unwrap().value, expected.to_string().into_bytes());
    }
}

#[test]
fn appends_of_all_threads_are_whole_and_in_each_threads_order() {
    let rounds: u16 = if cfg!(miri) { 20 } else { 2_000 };
    let store = store(2, None);
    at_once(&store, |writer, number| {
        for round in 0..rounds {
            let [low, high] = round.to_le_bytes();
            writer.append(b"log", &[number as u8, low, high]).unwrap();
        }
    });
    let log = get(&store, b"log", NOW).unwrap().value;
    assert_eq!(log.len(), usize::from(rounds) * THREADS as usize * 3);
    let mut next = [0; THREADS as usize];
    for entry in log.chunks(3) {
        let round = &mut next[usize::from(entry[0])];
        assert_eq!(u16::from_le_bytes([entry[1], entry[2]]), *round);
        *round += 1;
    }
}

#[test]
fn a_shared_value_outlives_its_key_and_is_never_torn() {
    let rounds = if cfg!(miri) { 10 } else { 5_000 };
    let store = store(2, None);
    at_once(&store, |writer, number| {
        let value = vec![number as u8; 2_000];
        for round in 0..rounds {
            writer.put(b"long", &value).unwrap();
            let shared = store.get(store.hash(b"long"), b"long", NOW, |view| view.and_then(View::share));
            if round % 3 == 0 {
                writer.remove(b"long");
            }
            // Others replace and remove it meanwhile.
            if let Some(shared) = shared {
                let value = shared.value();
                assert!(value.len() == 2_000 && value.iter().all(|&byte| byte == value[0]));
            }
        }
    });
    drop(store.clear());
    assert_eq!(store.used_bytes(), 0);
}
