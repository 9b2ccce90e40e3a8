//! Whoever has applied the log up to one place has the same topology there, and an epoch has one ring.

use std::collections::BTreeMap;

use annulus::message::topology::{Command, Topology};
use annulus::types::Epoch;

/// What was seen at each place of the log, and in each epoch.
#[derive(Default)]
pub(crate) struct Agreed {
    places: BTreeMap<u64, Topology>,
    epochs: BTreeMap<Epoch, Topology>,
}

impl Agreed {
    pub(crate) fn see(&mut self, index: u64, topology: &Topology) -> Option<String> {
        let at_place = self.places.entry(index).or_insert_with(|| topology.clone());
        if at_place != topology {
            return Some(format!("at {index}: {at_place:?} and {topology:?}"));
        }
        let in_epoch = self.epochs.entry(topology.epoch).or_insert_with(|| topology.clone());
        let same = in_epoch.open == topology.open && in_epoch.ring() == topology.ring();
        (!same).then(|| format!("in {:?}: {in_epoch:?} and {topology:?}", topology.epoch))
    }

    /// Whether a command was carried out at some place.
    pub(crate) fn ever(&self, command: &Command) -> bool {
        self.places.values().any(|topology| topology.has(command))
    }

    /// The furthest place that anybody has applied.
    pub(crate) fn furthest(&self) -> Option<(u64, &Topology)> {
        self.places.last_key_value().map(|(&index, topology)| (index, topology))
    }
}
