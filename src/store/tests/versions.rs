//! Versions of one key rise for ever, whoever writes and whatever happened to the key in between.

use super::{Writer, store};
use crate::message::ExpiryChange;
use crate::store::Sweeper;
use crate::types::WallTime;

const NOW: WallTime = WallTime(1_000);
const LATER: WallTime = WallTime(2_000);

/// Two writers at one time, the first far ahead in its counter.
fn writers(store: &crate::store::Store) -> (Writer<'_>, Writer<'_>) {
    let (mut ahead, mut behind) = (Writer::new(store, 0), Writer::new(store, 1));
    ahead.clock.observe(NOW);
    behind.clock.observe(NOW);
    for _ in 0..100 {
        ahead.put(b"other", b"").unwrap();
    }
    (ahead, behind)
}

#[test]
fn a_key_that_was_removed_returns_above_its_removal() {
    let store = store(16, None);
    let (mut ahead, mut behind) = writers(&store);
    let before = ahead.put(b"key", b"a").unwrap();
    assert!(behind.remove(b"key"));
    assert!(behind.put(b"key", b"b").unwrap() > before);
    let before = ahead.put(b"key", b"c").unwrap();
    assert!(ahead.remove(b"key"));
    assert!(behind.put(b"key", b"d").unwrap() > before);
}

#[test]
fn a_key_that_was_swept_returns_above_what_it_was() {
    let store = store(16, None);
    let (mut ahead, mut behind) = writers(&store);
    ahead.clock.observe(LATER);
    let before = ahead.put_expiring(b"key", b"a", ExpiryChange::AfterMs(1)).unwrap();
    let swept = store.sweep(&mut Sweeper::new(0, 1), WallTime(LATER.0 + 1), usize::MAX);
    assert_eq!(swept, 1);
    assert!(Some(behind.put(b"key", b"b").unwrap()) > before, "though its clock reads less");
}

#[test]
fn a_key_that_was_cleared_returns_above_what_it_was() {
    let store = store(16, None);
    let (mut ahead, mut behind) = writers(&store);
    let before = ahead.put(b"key", b"a").unwrap();
    drop(store.clear());
    assert!(behind.put(b"key", b"b").unwrap() > before);
}

#[test]
fn a_write_that_expires_at_once_has_a_version_above_what_it_replaced() {
    let store = store(16, None);
    let (mut ahead, mut behind) = writers(&store);
    let before = ahead.put(b"key", b"a").unwrap();
    let gone = behind.put_expiring(b"key", b"b", ExpiryChange::At(WallTime(1))).unwrap();
    assert!(gone > Some(before));
    assert!(Some(behind.put(b"key", b"c").unwrap()) > gone);
}
