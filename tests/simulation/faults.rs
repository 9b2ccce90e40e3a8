//! What goes wrong, when, and where: drawn from a seed before anything runs.
//!
//! Invariant: a plan has a crash, with or without memory, and at least two other kinds of fault, and every fault ends
//! before healing begins.

use std::fmt;

/// Kinds of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Messages are lost at random.
    Loss,
    /// Messages arrive twice.
    Duplication,
    /// Some messages take long, so that later ones overtake them.
    Delay,
    /// Some nodes hear nothing of the others.
    Partition,
    /// Two nodes hear nothing of each other; a third hears both.
    PartialPartition,
    /// One node is heard by another and does not hear it.
    OneWay,
    /// A link is reset: what was on its way is gone.
    LinkReset,
    /// A node does nothing for a while and then goes on.
    Pause,
    /// Everything to and from a node takes long.
    Slow,
    /// A node ends and is started anew, with its data, as a new incarnation; its clock may have stood still meanwhile.
    Crash,
    /// A node ends and is started anew without its data, its promises and acknowledgements forgotten; at most one at a
    /// time, or more would be lost than replicas can make good.
    Amnesia,
    /// Somebody sets a machine's clock.
    ClockJump,
    /// A machine's clock runs fast or slow.
    ClockDrift,
    /// A node has no memory for more values.
    MemoryFull,
    /// A node's disk takes nothing: neither the ceiling of its clock nor what its log would answer with.
    DiskStall,
    /// Somebody sets the replication factor.
    OtherFactor,
}

impl Kind {
    pub(crate) const ALL: [Self; 16] = [
        Self::Loss,
        Self::Duplication,
        Self::Delay,
        Self::Partition,
        Self::PartialPartition,
        Self::OneWay,
        Self::LinkReset,
        Self::Pause,
        Self::Slow,
        Self::Crash,
        Self::Amnesia,
        Self::ClockJump,
        Self::ClockDrift,
        Self::MemoryFull,
        Self::DiskStall,
        Self::OtherFactor,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) begins_ns: u64,
    pub(crate) ends_ns: u64,
    /// Where, and towards whom if that matters.
    pub(crate) node: usize,
    pub(crate) other: usize,
    /// How much of it, -1000 to 1000; what that means is the kind's business.
    pub(crate) measure: i64,
}

impl Fault {
    /// Whether a machine's clock shows the wrong time because of it.
    pub(crate) fn touches_clocks(&self) -> bool {
        match self.kind {
            Kind::ClockJump | Kind::ClockDrift => true,
            Kind::Crash | Kind::Amnesia => self.measure < 0,
            _ => false,
        }
    }
}

/// Draws what goes wrong among so many nodes until healing begins; `surely` is among it.
pub(crate) fn plan(
    random: &mut fastrand::Rng,
    nodes: usize,
    until_ns: u64,
    surely: Option<Kind>,
) -> Vec<Fault> {
    let mut kinds = vec![if random.bool() { Kind::Crash } else { Kind::Amnesia }];
    kinds.extend(surely.filter(|kind| *kind != kinds[0]));
    let count = random.usize(3..=6);
    while kinds.len() < count {
        let kind = Kind::ALL[random.usize(..Kind::ALL.len())];
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let mut faults = Vec::new();
    for kind in kinds {
        for _ in 0..random.usize(1..=4) {
            let begins_ns = random.u64(..until_ns * 3 / 4);
            let longest_ns = until_ns - begins_ns;
            let node = random.usize(..nodes);
            faults.push(Fault {
                kind,
                begins_ns,
                ends_ns: begins_ns + random.u64(1_000_000.min(longest_ns - 1)..longest_ns),
                node,
                other: (node + random.usize(1..nodes)) % nodes,
                measure: random.i64(-1000..=1000),
            });
        }
    }
    faults.sort_by_key(|fault| fault.begins_ns);
    faults
}
