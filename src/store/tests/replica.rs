//! Merging: the order and the number of times in which cells come make no difference.

use super::{Writer, get, store};
use crate::cluster::replica::{Accepted, Cells, Merged};
use crate::message::peer::{Cell, Content};
use crate::store::{OutOfMemory, Store};
use crate::types::{Stamp, Version, WallTime, WriterId};

const NOW: WallTime = WallTime(50);

fn version(stamp: u64, writer: u32) -> Version {
    Version { stamp: Stamp(stamp), writer: WriterId(writer) }
}

fn value(stamp: u64, value: &[u8]) -> Cell<'_> {
    Cell { version: version(stamp, 1), content: Content::Value { value, expires_at: None } }
}

fn tombstone(stamp: u64) -> Cell<'static> {
    Cell { version: version(stamp, 1), content: Content::Tombstone }
}

fn merge(store: &Store, cell: Cell<'_>) -> Merged {
    store.merge(store.hash(b"k"), b"k", cell, NOW).unwrap()
}

#[test]
fn the_higher_rank_stays_and_says_what_it_replaced() {
    let store = store(2, None);
    let mark = Cell { version: version(5, 1), content: Content::Expired };
    assert_eq!(merge(&store, value(5, b"five")), Merged::Stored { existed: false });
    assert_eq!(merge(&store, value(5, b"five")), Merged::Stored { existed: false });
    assert_eq!(merge(&store, value(4, b"four")), Merged::Superseded { by: value(5, b"").rank() });
    assert_eq!(merge(&store, mark), Merged::Stored { existed: true });
    assert_eq!(merge(&store, value(5, b"five")), Merged::Superseded { by: mark.rank() });
    assert_eq!(merge(&store, tombstone(6)), Merged::Stored { existed: false });
    assert_eq!(merge(&store, value(7, b"seven")), Merged::Stored { existed: false });
    assert_eq!(merge(&store, tombstone(8)), Merged::Stored { existed: true });
    assert_eq!(get(&store, b"k", NOW), None);
    assert_eq!(store.scan(0, 10, NOW, |_| true).visited, 0, "what holds no value is not shown");
    store.inspect(store.hash(b"k"), b"k", |cell| assert_eq!(cell, Some(tombstone(8))));
}

#[test]
fn a_value_that_had_expired_did_not_exist() {
    let store = store(2, None);
    let brief = Content::Value { value: b"brief", expires_at: Some(NOW) };
    merge(&store, Cell { version: version(5, 1), content: brief });
    assert_eq!(merge(&store, tombstone(6)), Merged::Stored { existed: false });
}

#[test]
fn what_is_written_after_a_tombstone_is_above_it() {
    let store = store(2, None);
    merge(&store, tombstone(1 << 40));
    let mut writer = Writer::new(&store, 1);
    assert!(!writer.remove(b"k"));
    assert_eq!(writer.append(b"k", b"new"), Ok(3));
    assert!(get(&store, b"k", NOW).unwrap().version > version(1 << 40, u32::MAX));
}

#[test]
fn order_and_repetition_make_no_difference() {
    for seed in 0..if cfg!(miri) { 5 } else { 500 } {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut cells: Vec<Cell<'_>> = (0..8)
            .map(|_| {
                let version = version(random.u64(..6), random.u32(..2));
                // One version names one value; a mark may follow it, and a tombstone has a version of its own.
                let content = match (version.stamp.0 % 3, random.bool()) {
                    (0, _) => Content::Tombstone,
                    (_, true) => Content::Expired,
                    _ if version.writer.0 == 0 => Content::Value { value: b"short", expires_at: None },
                    _ => Content::Value {
                        value: b"long enough for a class of its own, if you please",
                        expires_at: Some(WallTime(90)),
                    },
                };
                Cell { version, content }
            })
            .collect();
        let highest = *cells.iter().max_by_key(|cell| cell.rank()).unwrap();
        for _ in 0..4 {
            let store = store(2, None);
            random.shuffle(&mut cells);
            for cell in cells.iter().chain(&cells[..3]) {
                merge(&store, *cell);
            }
            store.inspect(store.hash(b"k"), b"k", |cell| assert_eq!(cell, Some(highest), "seed {seed}"));
        }
    }
}

#[test]
fn beyond_the_limit_nothing_changes() {
    let store = store(2, Some(1000));
    merge(&store, value(1, b"small"));
    let used = store.used_bytes();
    let large = vec![b'x'; 5000];
    let hash = store.hash(b"k");
    assert_eq!(store.merge(hash, b"k", value(2, &large), NOW), Err(OutOfMemory));
    assert_eq!((store.used_bytes(), get(&store, b"k", NOW).unwrap().value), (used, b"small".to_vec()));
    assert_eq!(store.merge(hash, b"k", tombstone(3), NOW), Ok(Merged::Stored { existed: true }));
    assert!(store.used_bytes() <= used);
}

/// Prepares a ballot; what was there, or what was in the way.
fn prepare(store: &Store, stamp: u64) -> Result<Option<Version>, Version> {
    store.prepare(b"k", version(stamp, 1), |found| found.map(|cell| cell.map(|cell| cell.version)))
}

fn accept(store: &Store, cell: Cell<'_>, next: Option<u64>) -> Accepted {
    store.accept(b"k", cell, next.map(|stamp| version(stamp, 1)), NOW).unwrap()
}

#[test]
fn a_promise_binds_every_path_and_is_accepted_once() {
    let store = store(2, None);
    merge(&store, value(5, b"five"));
    assert_eq!(prepare(&store, 5), Err(version(5, 1)), "what is there is not below it");
    assert_eq!(prepare(&store, 9), Ok(Some(version(5, 1))));
    assert_eq!(prepare(&store, 9), Ok(Some(version(5, 1))), "the same again is promised again");
    assert_eq!(prepare(&store, 8), Err(version(9, 1)));
    assert_eq!(merge(&store, value(7, b"seven")), Merged::Promised { ballot: version(9, 1) });
    assert_eq!(merge(&store, value(5, b"five")), Merged::Stored { existed: false }, "it is there already");
    assert_eq!(accept(&store, value(8, b"eight"), None), Accepted::Superseded { by: version(9, 1) });
    assert_eq!(accept(&store, value(10, b"ten"), None), Accepted::NotPromised);
    assert_eq!(accept(&store, value(9, b"nine"), Some(12)), Accepted::Stored { rides: true });
    assert_eq!(accept(&store, value(9, b"nine"), Some(12)), Accepted::Stored { rides: true });
    assert_eq!(merge(&store, value(11, b"eleven")), Merged::Promised { ballot: version(12, 1) });
    assert_eq!(merge(&store, value(13, b"newer")), Merged::Stored { existed: true }, "above it, all is free");
    assert_eq!(accept(&store, value(12, b"twelve"), None), Accepted::Superseded { by: version(13, 1) });
    assert_eq!(prepare(&store, 14), Ok(Some(version(13, 1))));
    assert_eq!(accept(&store, tombstone(14), None), Accepted::Stored { rides: false });
    assert_eq!(merge(&store, value(15, b"later")), Merged::Stored { existed: false });
}

#[test]
fn behind_a_fence_nothing_is_taken_that_may_have_been_ruled_out() {
    let store = store(2, None);
    merge(&store, value(5, b"five"));
    store.raise_fence(Stamp(20));
    store.raise_fence(Stamp(10));
    assert!(prepare(&store, 20).is_err(), "up to the fence");
    assert!(matches!(merge(&store, value(6, b"six")), Merged::Promised { .. }));
    assert!(matches!(accept(&store, value(19, b"x"), None), Accepted::Superseded { .. }));
    assert_eq!(prepare(&store, 21), Ok(Some(version(5, 1))));
    assert_eq!(accept(&store, value(21, b"y"), None), Accepted::Stored { rides: false });
}

#[test]
fn what_is_accepted_beyond_the_limit_changes_nothing() {
    let store = store(2, Some(1000));
    merge(&store, value(1, b"small"));
    prepare(&store, 2).unwrap();
    let large = vec![b'x'; 5000];
    assert!(store.accept(b"k", value(2, &large), Some(version(3, 1)), NOW).is_err());
    assert_eq!(
        accept(&store, value(2, b"less"), None),
        Accepted::Stored { rides: false },
        "it is still promised"
    );
}
