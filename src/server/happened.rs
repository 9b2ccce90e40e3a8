//! What has happened to a node's cluster since the node started, for whoever looks after it.
//!
//! Invariant: everything here is rare, so it is counted in atomics that all threads reach; nothing is decided by it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that happens to a cluster, as one of its nodes sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Happening {
    /// Another leader is known, or the same in another term.
    LeaderElected,
    /// No leader is known any more.
    LeaderLost,
    /// A node is suspected of being dead.
    Suspected,
    /// A node is dead, by all that is known.
    Dead,
    /// This node was thought dead, and has said that it is not.
    Renewed,
    /// A link that was up is lost: a worker's or the control thread's.
    LinkLost,
    /// A page of cells of another node was merged, in recovery or because keys move.
    PageMerged,
}

/// Names of happenings in reports, in their order.
const NAMES: [&str; 7] = [
    "leaders_elected",
    "leaders_lost",
    "nodes_suspected",
    "nodes_dead",
    "renewals",
    "links_lost",
    "recovery_pages",
];

/// How often each has happened.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    counts: [AtomicU64; NAMES.len()],
    recovery_cells: AtomicU64,
    /// How much of what is lacking has come, in thousandths; 0 if nothing ever was.
    recovery_permille: AtomicU64,
}

impl Happened {
    pub(crate) fn note(&self, happening: Happening) {
        self.counts[happening as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how far a recovery is: cells that came, and the share of what is lacking.
    pub(crate) fn note_recovery(&self, cells: u64, share: f64) {
        self.recovery_cells.store(cells, Ordering::Relaxed);
        self.recovery_permille.store((share * 1000.0) as u64, Ordering::Relaxed);
    }

    /// All of it, as reports name it.
    pub(crate) fn named(&self) -> Vec<(&'static str, u64)> {
        let counts = NAMES.into_iter().zip(&self.counts);
        let recovery =
            [("recovery_cells", &self.recovery_cells), ("recovery_permille", &self.recovery_permille)];
        counts.chain(recovery).map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect()
    }
}
