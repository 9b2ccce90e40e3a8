//! No acknowledged quorum write is lost: whoever begins after it was acknowledged sees it or something later.
//!
//! A write counts as seen by its version, or by its value where the history tells which of two values is the later. A
//! write that is acknowledged with a version below one acknowledged before it is lost at once. Writes at level one and
//! of unknown outcome are not promised anything.

use crate::history::record::KeyHistory;
use crate::history::regularity::sighting::Kind;
use crate::history::regularity::supersession;
use crate::history::verdict::{Promise, Verdict};

/// Judges one key.
#[must_use]
pub fn check(key: &KeyHistory<'_>) -> Verdict {
    supersession::check(key, Kind::Write, Promise::AcknowledgedWritesStay)
}
