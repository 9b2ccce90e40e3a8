//! Expired cells: never shown, swept in bounded steps.

use super::{Writer, get, store};
use crate::message::ExpiryChange;
use crate::operation;
use crate::store::Sweeper;
use crate::types::WallTime;

const KEYS: u64 = if cfg!(miri) { 40 } else { 20_000 };

fn key(number: u64) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

#[test]
fn nothing_is_shown_at_its_expiry_or_after() {
    let store = store(2, None);
    let mut writer = Writer::new(&store, 0);
    writer.clock.observe(WallTime(10));
    writer.put_expiring(b"k", b"1", ExpiryChange::At(WallTime(20))).unwrap();
    assert!(get(&store, b"k", WallTime(19)).is_some());
    assert_eq!(get(&store, b"k", WallTime(20)), None);
    assert_eq!(get(&store, b"k", WallTime(u64::MAX)), None);
    let visited = |now| store.scan(0, 100, now, |_| true).visited;
    assert_eq!((visited(WallTime(19)), visited(WallTime(20))), (1, 0));
    // The write that comes after does not see it either, but its version is above the dead one's.
    let dead = get(&store, b"k", WallTime(19)).unwrap().version;
    writer.clock.observe(WallTime(20));
    assert!(!writer.remove(b"k"));
    assert_eq!(store.len(), 1, "it is there until it is swept");
    let mut other = Writer::new(&store, 1);
    other.clock.observe(WallTime(20));
    assert_eq!(other.increment(b"k", 5), Ok(5));
    let entry = get(&store, b"k", WallTime(20)).unwrap();
    assert!(entry.version > dead);
    assert_eq!((entry.value, entry.expires_at), (b"5".to_vec(), None));
}

#[test]
fn a_sweep_takes_what_expired_and_nothing_else() {
    let store = store(16, None);
    let mut writer = Writer::new(&store, 0);
    for number in 0..KEYS {
        let expiry = match number % 4 {
            0 => ExpiryChange::Clear,
            1 => ExpiryChange::At(WallTime(10)),
            2 => ExpiryChange::At(WallTime(20)),
            _ => ExpiryChange::At(WallTime(30)),
        };
        writer.put_expiring(&key(number), b"value", expiry).unwrap();
    }
    let mut sweeper = Sweeper::new(0, 1);
    let mut sweep = |now| store.sweep(&mut sweeper, WallTime(now), usize::MAX);
    assert_eq!(sweep(9), 0);
    assert_eq!(sweep(10), KEYS / 4);
    assert_eq!(sweep(10), 0);
    assert_eq!(sweep(25), KEYS / 4);
    let left: Vec<_> = (0..KEYS).filter(|&number| get(&store, &key(number), WallTime(0)).is_some()).collect();
    let expected: Vec<_> = (0..KEYS).filter(|number| matches!(number % 4, 0 | 3)).collect();
    assert_eq!(left, expected);
    assert_eq!(sweep(1000), KEYS / 4);
    for number in (0..KEYS).step_by(4) {
        assert!(writer.remove(&key(number)));
    }
    assert!(store.is_empty());
}

#[test]
fn a_step_of_a_sweep_is_bounded_and_the_steps_reach_all() {
    let shards = 16;
    let store = store(shards, None);
    let mut writer = Writer::new(&store, 0);
    for number in 0..KEYS {
        writer.put_expiring(&key(number), b"value", ExpiryChange::At(WallTime(10))).unwrap();
    }
    let table_slots = |store: &super::Store| {
        let cells = store.len() * super::super::cell::allocated_bytes(key(0).len(), 5, true);
        (store.used_bytes() as usize).saturating_sub(cells) / 9
    };
    // Keys spread evenly, so no shard has more than four times its share of all slots.
    let shard_slots_max = table_slots(&store) * 4 / shards;
    let mut sweepers = [Sweeper::new(0, 2), Sweeper::new(1, 2)];
    let mut steps = 0;
    while !store.is_empty() {
        let before = store.len();
        let swept = store.sweep(&mut sweepers[steps % 2], WallTime(10), 1);
        assert_eq!(before - store.len(), swept as usize);
        assert!(swept as usize <= shard_slots_max, "one slot was asked for: at most one shard is swept");
        steps += 1;
        assert!(steps <= 2 * shards, "each sweeper comes to a new shard at each step");
    }
    assert!(store.used_bytes() <= (shards * 64 * 9) as u64, "sparse tables give their memory back");
}

#[test]
fn an_expiry_that_changes_is_counted_once() {
    let store = store(2, None);
    let mut writer = Writer::new(&store, 0);
    writer.put(b"k", b"value").unwrap();
    for at in [Some(5), None, Some(7), Some(9), None, Some(3)] {
        let change = at.map_or(ExpiryChange::Clear, |at| ExpiryChange::At(WallTime(at)));
        writer.update(b"k", |current, now| (operation::expire(current, change, now), ())).unwrap();
        assert_eq!(get(&store, b"k", WallTime(0)).unwrap().expires_at, at.map(WallTime));
        assert_eq!(get(&store, b"k", WallTime(0)).unwrap().value, b"value");
    }
    assert_eq!(store.sweep(&mut Sweeper::new(0, 1), WallTime(3), usize::MAX), 1);
    assert!(store.is_empty());
}
