//! A node that crashed while nothing else goes wrong is dead at all others within a bound.

use annulus::cluster::membership::Liveness;

/// How long after the crash, in nanoseconds of virtual time.
pub(crate) const WITHIN_NS: u64 = 3_000_000_000;

pub(crate) fn judge(node: usize, crashed: u16, liveness: Option<Liveness>) -> Option<String> {
    (liveness != Some(Liveness::Dead))
        .then(|| format!("node {node} takes node {crashed}, which crashed, for {liveness:?}"))
}
