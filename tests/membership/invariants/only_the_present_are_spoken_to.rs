//! No node speaks to one that its topology does not have, or to an incarnation older than there: nothing that was said
//! brings back what was removed or replaced.

use annulus::types::Incarnation;

pub(crate) fn judge(node: usize, to: u16, spoken: Incarnation, known: Option<Incarnation>) -> Option<String> {
    known
        .is_none_or(|known| spoken < known)
        .then(|| format!("node {node} speaks to {spoken:?} of node {to}, and knows {known:?}"))
}
