//! Where nothing goes wrong but that some nodes sleep, nobody who is awake all the time is ever declared dead: by the
//! sleepers least of all.

use annulus::cluster::membership::Liveness;

pub(crate) fn judge(sleepy: bool, node: usize, of: u16, slept: bool, liveness: Liveness) -> Option<String> {
    (sleepy && !slept && liveness == Liveness::Dead)
        .then(|| format!("node {node} declares node {of} dead, which was awake all the time"))
}
