//! Trouble of every kind, one after the other, as the seed has it.
//!
//! Invariant: a node loses its memory only while all the others have theirs and count: a majority that forgets has lost
//! what it acknowledged, and no cluster in memory promises otherwise. Anything else may come at any time. At the end
//! all is healed.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use annulus::local::{LocalError, Nodes, ask};
use rustix::process::Signal;

use crate::proxy::{Passage, Passages};

/// How long a node that forgot may take to count again.
pub(crate) const WHOLE_WITHIN: Duration = Duration::from_secs(30);

/// What can happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A node is killed, and started again a while later.
    Kill,
    /// A node is stopped cleanly, and started again.
    Restart,
    /// A node is paused.
    Pause,
    /// What a node says and is told comes late.
    Late,
    /// What a node says and is told waits.
    Stall,
    /// What one node says to another waits; the other way is open.
    OneWay,
    /// What a node says and is told is swallowed.
    Swallow,
    /// All connections of a node are reset.
    Reset,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Kill,
        Self::Restart,
        Self::Pause,
        Self::Late,
        Self::Stall,
        Self::OneWay,
        Self::Swallow,
        Self::Reset,
    ];
}

/// Makes trouble.
pub(crate) struct Trouble<'n> {
    pub(crate) nodes: &'n mut Nodes,
    pub(crate) passages: &'n Passages,
    random: fastrand::Rng,
    pub(crate) made: BTreeMap<String, u64>,
}

impl<'n> Trouble<'n> {
    pub(crate) fn new(nodes: &'n mut Nodes, passages: &'n Passages, seed: u64) -> Self {
        Self { nodes, passages, random: fastrand::Rng::with_seed(seed), made: BTreeMap::new() }
    }

    /// Makes trouble once, and heals it.
    pub(crate) fn make(&mut self) -> Result<(), LocalError> {
        let kind = Kind::ALL[self.random.usize(..Kind::ALL.len())];
        let node = self.random.usize(..self.nodes.count());
        *self.made.entry(format!("{kind:?}").to_lowercase()).or_default() += 1;
        match kind {
            Kind::Kill | Kind::Restart => self.forget(kind, node)?,
            Kind::Pause => {
                self.nodes.signal(node, Signal::STOP)?;
                self.hold(100, 4000);
                self.nodes.signal(node, Signal::CONT)?;
            }
            Kind::Late => {
                let late = Passage::Late(self.random.u64(1..100));
                self.around(node, late);
                self.hold(300, 2000);
            }
            Kind::Stall => {
                self.around(node, Passage::Stalled);
                self.hold(200, 4000);
            }
            Kind::OneWay => {
                let other = (node + self.random.usize(1..self.nodes.count())) % self.nodes.count();
                self.passages.set(node, other, Passage::Stalled);
                self.hold(200, 4000);
            }
            Kind::Swallow => {
                self.around(node, Passage::Swallowed);
                self.hold(200, 3000);
            }
            Kind::Reset => self.passages.reset(node),
        }
        self.passages.open();
        self.hold(0, 500);
        Ok(())
    }

    /// Ends a node, and lets it return without what it knew.
    fn forget(&mut self, kind: Kind, node: usize) -> Result<(), LocalError> {
        if ask(WHOLE_WITHIN, || self.nodes.whole()).is_none() {
            return Err(LocalError::Late(self.nodes.directory().to_owned()));
        }
        if kind == Kind::Kill {
            self.nodes.kill(node)?;
        } else {
            self.nodes.terminate(node)?;
        }
        self.hold(50, 3000);
        self.nodes.start(node)?;
        if self.random.bool() {
            // While it gets back what it knew, another node is hard to reach.
            let other = (node + self.random.usize(1..self.nodes.count())) % self.nodes.count();
            let late = Passage::Late(self.random.u64(1..100));
            self.around(other, late);
            self.hold(100, 1500);
        }
        Ok(())
    }

    /// Sets the passages of a node, both ways.
    fn around(&self, node: usize, passage: Passage) {
        for other in (0..self.nodes.count()).filter(|other| *other != node) {
            self.passages.set(node, other, passage);
            self.passages.set(other, node, passage);
        }
    }

    /// Lets things be for a while.
    fn hold(&mut self, ms_min: u64, ms_max: u64) {
        let ms = self.random.u64(ms_min..=ms_max);
        thread::sleep(Duration::from_millis(ms)); // The load goes on meanwhile.
    }
}
