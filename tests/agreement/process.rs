//! One process of the simulated world, and the disk that outlives it.
//!
//! Invariant: whatever happens to the process, the disk holds what was ordered to be there before the last order that
//! was carried out, and nothing later.

use std::num::NonZeroU64;

use annulus::cluster::deviation::Deviation;
use annulus::cluster::topology::{Output, Outputs, TopologyLog};
use annulus::message::consensus::Image;
use annulus::message::topology::{Entrance, Name, Settings, Topology};
use annulus::types::{ClusterId, NodeNumber, RunId, Timestamp};

/// What a run may get wrong, in the order of the numbers that choose it.
pub(crate) const DEVIATIONS: [Deviation; 3] =
    [Deviation::None, Deviation::VoteForgotten, Deviation::AnsweredBeforePersisted];

/// Keeps a machine's orders until it has returned.
#[derive(Default)]
pub(crate) struct Orders<const BUG: usize>(pub(crate) Vec<Output>);

impl<const BUG: usize> Outputs for Orders<BUG> {
    const DEVIATION: Deviation = DEVIATIONS[BUG];

    fn put(&mut self, output: Output) {
        self.0.push(output);
    }
}

/// A process, or what is left of it.
pub(crate) struct Process {
    pub(crate) name: Name,
    /// How often it was started: what was planned for another life does not happen.
    pub(crate) life: u32,
    pub(crate) up: bool,
    /// How many faults pause it.
    pub(crate) paused: u32,
    /// What came while it was paused.
    pub(crate) deferred: Vec<crate::world::Event>,
    /// Its number and what it must remember.
    pub(crate) disk: Option<(NodeNumber, Image)>,
    pub(crate) machine: Option<TopologyLog>,
    /// The disk was lost: it enters in its own place.
    pub(crate) replaces: bool,
    pub(crate) run: RunId,
    /// The log has this life of it.
    pub(crate) entered: bool,
}

impl Process {
    pub(crate) fn new(place: usize, run: u64) -> Self {
        Self {
            name: format!("n{place}").parse().expect("a name"),
            life: 0,
            up: true,
            paused: 0,
            deferred: Vec::new(),
            disk: None,
            machine: None,
            replaces: false,
            run: RunId(NonZeroU64::new(run).unwrap_or(NonZeroU64::MIN)),
            entered: false,
        }
    }

    /// How it asks to be let in.
    pub(crate) fn entrance(&self) -> Entrance {
        let address = "127.0.0.1:1".parse().expect("an address");
        Entrance {
            name: self.name.clone(),
            run: self.run,
            was: self.disk.as_ref().map(|&(number, _)| number),
            keeps_data: false,
            replaces: self.replaces,
            peer_address: address,
            client_address: address,
            zone: "z".parse().expect("a name"),
            virtual_nodes: 4,
        }
    }

    /// Makes a new cluster.
    pub(crate) fn found(&mut self, opens_with: u16) {
        let settings =
            Settings { replication_factor: 3, opens_with, drift_max_ms: 500, operation_timeout_ms: 1000 };
        let topology = Topology::new(ClusterId(1), 1, settings);
        let image = Image::founding(topology, self.entrance()).expect("a founder that can be let in");
        self.disk = Some((NodeNumber(1), image));
    }

    /// Begins to run on what the disk holds.
    pub(crate) fn start(&mut self, seed: u64, now: Timestamp) {
        if let Some((number, image)) = &self.disk {
            self.machine = Some(TopologyLog::new(image, *number, seed, now));
        }
    }

    pub(crate) fn number(&self) -> Option<NodeNumber> {
        self.disk.as_ref().map(|&(number, _)| number)
    }

    pub(crate) fn runs(&self) -> bool {
        self.up && self.paused == 0
    }
}
