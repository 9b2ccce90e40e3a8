//! A node that was declared dead and lives on is alive again once faults have ended, in the same incarnation: nobody
//! had to start it anew or to decide anything.

use annulus::cluster::membership::Liveness;

pub(crate) fn judge(node: usize, of: u16, seen: Option<Liveness>, was_falsely_dead: bool) -> Option<String> {
    (was_falsely_dead && seen != Some(Liveness::Alive))
        .then(|| format!("node {of} was declared dead and lives, and node {node} takes it for {seen:?}"))
}
