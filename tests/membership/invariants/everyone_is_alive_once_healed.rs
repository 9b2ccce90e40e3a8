//! Some time after faults have ended, every node sees every node of the topology alive.

use annulus::cluster::membership::Liveness;

/// How long after faults have ended, in nanoseconds of virtual time.
pub(crate) const WITHIN_NS: u64 = 6_000_000_000;

pub(crate) fn judge(node: usize, of: u16, liveness: Option<Liveness>) -> Option<String> {
    (liveness != Some(Liveness::Alive)).then(|| format!("node {node} takes node {of} for {liveness:?}"))
}
