//! A node that crashed while nothing else goes wrong is dead at all others within a bound.

use annulus::cluster::membership::Liveness;

/// How long after a crash that resets links, in nanoseconds of virtual time.
pub(crate) const WITHIN_NS: u64 = 2_000_000_000;
/// How long after a crash that nobody notices but by probing: whom each probes next is drawn, so that this is a
/// bound of what is likely, not of what can be.
pub(crate) const WITHIN_UNNOTICED_NS: u64 = 5_000_000_000;

pub(crate) fn judge(node: usize, crashed: u16, liveness: Option<Liveness>) -> Option<String> {
    (liveness != Some(Liveness::Dead))
        .then(|| format!("node {node} takes node {crashed}, which crashed, for {liveness:?}"))
}
