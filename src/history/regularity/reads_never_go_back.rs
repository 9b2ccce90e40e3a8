//! Quorum reads never go back in time: whoever begins after a read ended, wherever, sees what it saw or something
//! later.
//!
//! This is also what keeps a write that failed half-way: once a read returned it, it stays. A condition that did not
//! hold has read the version it tells.

use crate::history::record::KeyHistory;
use crate::history::regularity::sighting::Kind;
use crate::history::regularity::supersession;
use crate::history::verdict::{Promise, Verdict};

/// Judges one key.
#[must_use]
pub fn check(key: &KeyHistory<'_>) -> Verdict {
    supersession::check(key, Kind::Read, Promise::ReadsNeverGoBack)
}
