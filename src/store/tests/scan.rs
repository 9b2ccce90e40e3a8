//! Scans: whole, ordered by the ring, bounded, and complete while the store changes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Writer, store};
use crate::store::Store;
use crate::types::WallTime;

const NOW: WallTime = WallTime(1);
const CURSOR_MAX: u64 = (1 << 53) - 1;

fn key(kind: &str, number: u64) -> Vec<u8> {
    format!("{kind} {number}").into_bytes()
}

/// Walks the whole ring, pages of `count`; what each page gave and how many pages there were.
fn walk(store: &Store, mut count: impl FnMut() -> usize, pages_max: usize) -> (Vec<Vec<u8>>, usize) {
    let (mut found, mut cursor, mut pages) = (Vec::new(), 0, 0);
    loop {
        let page = store.scan(cursor, count(), NOW, |view| {
            found.push(view.key().to_vec());
            true
        });
        pages += 1;
        assert!(pages <= pages_max, "a scan ends");
        assert!(page.next <= CURSOR_MAX, "a double holds every cursor");
        if page.next == 0 {
            return (found, pages);
        }
        assert!(page.next > cursor, "a scan goes on");
        cursor = page.next;
    }
}

#[test]
fn a_scan_at_rest_returns_each_key_once() {
    let keys = if cfg!(miri) { 50 } else { 5_000 };
    for shards in [2, 16, if cfg!(miri) { 64 } else { 4096 }] {
        let store = store(shards, None);
        let mut writer = Writer::new(&store, 0);
        let expected: BTreeSet<_> = (0..keys).map(|number| key("key", number)).collect();
        for key in &expected {
            writer.put(key, b"").unwrap();
        }
        for count in [1, 10, usize::MAX] {
            let (found, _) = walk(&store, || count, keys as usize + shards);
            assert_eq!(found.len(), expected.len());
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }
}

#[test]
fn pages_are_in_ring_order_and_about_as_long_as_asked() {
    let store = store(8, None);
    let mut writer = Writer::new(&store, 0);
    for number in 0..if cfg!(miri) { 50 } else { 3_000 } {
        writer.put(&key("key", number), b"").unwrap();
    }
    let (mut cursor, mut reached) = (0, 0);
    loop {
        let mut tokens = Vec::new();
        let page = store.scan(cursor, 10, NOW, |view| {
            tokens.push(store.hash(view.key()).token().0);
            true
        });
        assert_eq!(page.visited, tokens.len());
        assert!(page.visited <= 11, "more than asked only for keys that share a cursor");
        assert!(page.visited >= 10 || page.next == 0);
        tokens.sort_unstable();
        for token in tokens {
            assert!(token >= reached, "each page is beyond the one before");
            reached = token;
        }
        cursor = page.next;
        if cursor == 0 {
            return;
        }
    }
}

#[test]
fn an_empty_store_is_walked_in_one_page_and_an_emptied_one_in_short_ones() {
    let shards = 4096;
    let store = store(shards, None);
    assert_eq!(walk(&store, || 10, shards), (vec![], 1));
    let mut writer = Writer::new(&store, 0);
    let mut removed = 0;
    while !cfg!(miri) && (0..shards).any(|shard| store.table.is_vacant(shard)) {
        writer.put(&key("key", removed), b"").unwrap();
        assert!(writer.remove(&key("key", removed)));
        removed += 1;
    }
    let (found, pages) = walk(&store, || 10, shards);
    assert!(found.is_empty());
    assert!(cfg!(miri) || (8..=64).contains(&pages), "{pages} pages: each locks a bounded number of shards");
    for cursor in [CURSOR_MAX, CURSOR_MAX + 1, u64::MAX] {
        assert_eq!(store.scan(cursor, 10, NOW, |_| true).next, 0);
    }
}

/// Inserts keys and removes them until told to end, so that tables grow and shrink.
fn churn(store: &Store, number: u32, ended: &AtomicBool, rounds: &AtomicU64) {
    // A page costs a look at the whole shard: few enough for short pages to end in time.
    let keys = if cfg!(miri) { 100 } else { 4_000 };
    let mut writer = Writer::new(store, number);
    let kind = format!("churn of {number}");
    while !ended.load(Ordering::Relaxed) {
        for number in 0..keys {
            writer.put(&key(&kind, number), b"comes and goes").unwrap();
        }
        for number in 0..keys {
            writer.remove(&key(&kind, number));
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_is_there_throughout_is_returned_while_the_store_changes() {
    let (stay, walks) = if cfg!(miri) { (20, 2) } else { (1_000, 20) };
    let seed = 7;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let store = store(4, None);
    let mut writer = Writer::new(&store, 0);
    let expected: BTreeSet<_> = (0..stay).map(|number| key("stays", number)).collect();
    for key in &expected {
        writer.put(key, b"").unwrap();
    }
    let (ended, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in [1, 2] {
            let (store, ended, rounds) = (&store, &ended, &rounds);
            scope.spawn(move || churn(store, number, ended, rounds));
        }
        let check = || {
            let mut walked = 0;
            // At least as many walks as asked, and churn that went through growth and shrinking meanwhile.
            while walked < walks || rounds.load(Ordering::Relaxed) < 4 {
                let count = 10 + random.usize(..500);
                let (found, _) = walk(&store, || count, 200_000);
                let found: BTreeSet<_> = found.into_iter().collect();
                let missed: Vec<_> = expected.difference(&found).collect();
                assert!(missed.is_empty(), "{} keys missed with pages of {count}", missed.len());
                walked += 1;
            }
        };
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        // Also when the check failed, or the scope would wait for ever.
        ended.store(true, Ordering::Relaxed);
        if let Err(panic) = checked {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_page_ends_when_its_reader_has_enough_and_the_next_goes_on_there() {
    let store = store(16, None);
    let mut writer = Writer::new(&store, 0);
    for number in 0..500 {
        writer.put(&key("key", number), b"").unwrap();
    }
    let (mut found, mut cursor) = (Vec::new(), 0);
    loop {
        let mut of_page = 0;
        let page = store.scan(cursor, 100, NOW, |view| {
            found.push(view.key().to_vec());
            of_page += 1;
            of_page < 7
        });
        assert!(page.visited <= 7, "seven were enough");
        cursor = page.next;
        if cursor == 0 {
            break;
        }
    }
    found.sort();
    let before = found.len();
    found.dedup();
    assert_eq!((before, found.len()), (500, 500));
}

#[test]
fn a_scan_around_the_ring_takes_what_comes_next_and_each_key_once() {
    let (many, keys_max) = if cfg!(miri) { (64, 40) } else { (4096, 500) };
    for (shards, keys) in [(2, 0), (many, 1), (many, 7), (16, 31), (16, keys_max)] {
        let store = store(shards, None);
        let mut writer = Writer::new(&store, 0);
        for number in 0..keys {
            writer.put(&key("key", number), b"").unwrap();
        }
        let mut tokens: Vec<u64> =
            (0..keys).map(|number| store.hash(&key("key", number)).token().0).collect();
        tokens.sort_unstable();
        let edges = [0, 1, u64::MAX, 1 << 63];
        let places =
            edges.into_iter().chain(tokens.iter().flat_map(|&token| [token, token.wrapping_add(1 << 11)]));
        for place in places {
            // A place is as fine as a cursor: 53 bits.
            let next = tokens.partition_point(|&token| token >> 11 < place >> 11);
            let around = tokens[next..].iter().chain(&tokens[..next]);
            let mut expected: Vec<u64> = around.copied().take(32).collect();
            let mut found = Vec::new();
            store.scan_around(place, 32, NOW, |view| found.push(store.hash(view.key()).token().0));
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "from {place:#x} with {keys} keys in {shards} shards");
        }
    }
}
