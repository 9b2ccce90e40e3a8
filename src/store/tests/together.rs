//! Several keys held together: nobody sees half of a change, nobody waits for ever, a refusal leaves nothing behind.

use std::collections::BTreeMap;

use super::{Writer, store};
use crate::operation::{Effect, NewValue};
use crate::store::{OutOfMemory, Store, Together};
use crate::types::{KeyHash, WallTime};

const NOW: WallTime = WallTime(1);

type Pair = (Vec<u8>, Vec<u8>);

fn put_all_if_none(writer: &mut Writer<'_>, pairs: &[Pair]) -> Result<bool, OutOfMemory> {
    let store = writer.store;
    let mut keys = store.together(pairs.iter().map(|(key, _)| store.hash(key)));
    let pairs = pairs.iter().map(|(key, value)| (store.hash(key), key.as_slice(), value.as_slice()));
    keys.put_all_if_none(pairs, &mut writer.clock)
}

/// All that is there, without the versions.
fn content(store: &Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut content = BTreeMap::new();
    let page = store.scan(0, usize::MAX, NOW, |view| {
        content.insert(view.key().to_vec(), view.value().to_vec());
        true
    });
    assert_eq!(page.next, 0, "few shards fit one page");
    content
}

#[test]
fn all_keys_are_put_or_none_whatever_the_memory() {
    const LIMIT_BYTES: u64 = 30_000;
    let rounds = if cfg!(miri) { 100 } else { 20_000 };
    for seed in 0..4 {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let store = store(4, Some(LIMIT_BYTES));
        let mut writer = Writer::new(&store, 0);
        writer.clock.observe(NOW);
        let mut model = BTreeMap::new();
        let (mut refused, mut done, mut present) = (0, 0, 0);
        for _ in 0..rounds {
            let mut key = || format!("key {}", random.u8(..200)).into_bytes();
            let gone: Vec<_> = (0..3).map(|_| key()).collect();
            for key in gone {
                assert_eq!(writer.remove(&key), model.remove(&key).is_some());
            }
            let pairs: Vec<Pair> = (0..random.usize(1..8))
                .map(|_| {
                    let key = format!("key {}", random.u8(..200)).into_bytes();
                    (key, vec![random.u8(..); random.usize(..1_500)])
                })
                .collect();
            let taken = pairs.iter().any(|(key, _)| model.contains_key(key));
            match put_all_if_none(&mut writer, &pairs) {
                Ok(put) => {
                    assert_eq!(put, !taken);
                    (done, present) = (done + u64::from(put), present + u64::from(taken));
                    if put {
                        model.extend(pairs);
                    }
                }
                Err(OutOfMemory) => {
                    assert!(!taken, "what is there needs no memory to be seen");
                    refused += 1;
                }
            }
            assert_eq!(content(&store), model);
            assert!(store.used_bytes() <= LIMIT_BYTES);
        }
        let least = rounds / 20;
        assert!(refused > least && done > least && present > least, "{refused} {done} {present} of {rounds}");
        drop(store.clear());
        assert_eq!(store.used_bytes(), 0, "every charge was given back");
    }
}

/// What an account holds.
fn balance(keys: &mut Together<'_>, hash: KeyHash, key: &[u8]) -> i64 {
    keys.get(hash, key, NOW, |view| {
        let value = view.expect("accounts stay").value();
        std::str::from_utf8(value).unwrap().parse().unwrap()
    })
}

const ACCOUNTS: [&[u8]; 5] = [b"", b"a", b"b", b"c", b"d"];

/// What all accounts hold at one moment.
fn sum(store: &Store) -> i64 {
    let mut keys = store.together(ACCOUNTS.iter().map(|key| store.hash(key)));
    ACCOUNTS.iter().map(|key| balance(&mut keys, store.hash(key), key)).sum()
}

#[test]
fn nobody_sees_half_of_a_change_and_nobody_waits_for_ever() {
    const EACH: i64 = 1_000;
    let rounds = if cfg!(miri) { 20 } else { 20_000 };
    let store = store(4, None);
    for key in ACCOUNTS {
        Writer::new(&store, 0).put(key, EACH.to_string().as_bytes()).unwrap();
    }
    std::thread::scope(|scope| {
        for number in 0..4 {
            let store = &store;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(u64::from(number));
                let mut writer = Writer::new(store, number);
                for _ in 0..rounds {
                    let left = random.usize(..ACCOUNTS.len());
                    let right = (left + random.usize(1..ACCOUNTS.len())) % ACCOUNTS.len();
                    let amount = random.i64(-50..50);
                    let (left, right) = (ACCOUNTS[left], ACCOUNTS[right]);
                    let mut pair = store.together([left, right].into_iter().map(|key| store.hash(key)));
                    for (key, change) in [(left, -amount), (right, amount)] {
                        let hash = store.hash(key);
                        let after = balance(&mut pair, hash, key) + change;
                        let effect = Effect::Store { value: NewValue::Integer(after), expires_at: None };
                        pair.update(hash, key, &mut writer.clock, |_| (effect, ())).unwrap();
                    }
                    drop(pair);
                    assert_eq!(sum(store), EACH * ACCOUNTS.len() as i64);
                }
            });
        }
    });
    assert_eq!(sum(&store), EACH * ACCOUNTS.len() as i64);
}
