//! No deleted key comes back: what a removal acknowledged at quorum has removed is never read again.
//!
//! A value is read rightly after a removal if it was written again, or if a write of it was not acknowledged before the
//! removal began: that one may yet come, or have come, after the removal.

use crate::history::record::KeyHistory;
use crate::history::regularity::sighting::Kind;
use crate::history::regularity::supersession;
use crate::history::verdict::{Promise, Verdict};

/// Judges one key.
#[must_use]
pub fn check(key: &KeyHistory<'_>) -> Verdict {
    supersession::check(key, Kind::Removal, Promise::RemovedStaysRemoved)
}
