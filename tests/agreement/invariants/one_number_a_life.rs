//! An incarnation belongs to one process's life, and a number to one node, for ever.

use std::collections::BTreeMap;

use annulus::message::topology::{Name, Topology};
use annulus::types::{Incarnation, NodeNumber, RunId};

/// Who was given what.
#[derive(Default)]
pub(crate) struct Given {
    incarnations: BTreeMap<Incarnation, RunId>,
    numbers: BTreeMap<NodeNumber, Name>,
}

impl Given {
    pub(crate) fn see(&mut self, topology: &Topology) -> Option<String> {
        topology.nodes.iter().find_map(|(number, node)| {
            let run = *self.incarnations.entry(node.incarnation).or_insert(node.run);
            let name = self.numbers.entry(*number).or_insert_with(|| node.name.clone());
            let twice = run != node.run || *name != node.name;
            twice.then(|| format!("{number:?} {node:?} was given to {run:?} {name}"))
        })
    }
}
