//! No two nodes lead in one term, not even at different times.

use std::collections::BTreeMap;

use annulus::types::NodeNumber;

/// Who led, by term.
#[derive(Default)]
pub(crate) struct Leaders(BTreeMap<u64, NodeNumber>);

impl Leaders {
    pub(crate) fn see(&mut self, term: u64, node: NodeNumber) -> Option<String> {
        let first = *self.0.entry(term).or_insert(node);
        (first != node).then(|| format!("{first:?} and {node:?} both led in term {term}"))
    }

    /// Terms that somebody led in.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }
}
