//! Where nothing goes wrong, nobody is suspected, let alone declared dead.

use annulus::cluster::membership::Liveness;

pub(crate) fn judge(calm: bool, node: usize, of: u16, liveness: Liveness) -> Option<String> {
    (calm && liveness != Liveness::Alive).then(|| format!("node {node} takes node {of} for {liveness:?}"))
}
