//! What goes wrong in a run, when, and until when.
//!
//! Invariant: a trouble is a function of the random numbers it is drawn from, and each ends: what it did is undone.

use crate::world::FAULTS_END_NS;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Messages are lost.
    Loss,
    /// Messages are late, and overtake each other.
    Late,
    /// Messages arrive twice.
    Doubled,
    /// A node stands still, and what arrives waits for it.
    Pause,
    /// Two parts of the cluster do not hear each other.
    Partition,
    /// A node does not hear another, which hears it.
    OneWay,
    /// A process ends; it is started again as a new incarnation.
    Crash,
    /// A link is reset and made again.
    Reset,
    /// A node is removed from the topology; it comes back as a new incarnation.
    Removal,
    /// All that a node sends and hears takes longer.
    Slow,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Loss,
        Self::Late,
        Self::Doubled,
        Self::Pause,
        Self::Partition,
        Self::OneWay,
        Self::Crash,
        Self::Reset,
        Self::Removal,
        Self::Slow,
    ];
}

/// What a run is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weather {
    /// Nothing goes wrong.
    Calm,
    /// Some nodes sleep now and then, fewer than half, each with a link that was just reset; nothing else goes wrong.
    Sleepy,
    /// Anything goes wrong.
    Stormy,
}

/// A fault.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: Kind,
    pub(crate) from_ns: u64,
    pub(crate) until_ns: u64,
    /// Whom it befalls.
    pub(crate) node: usize,
    /// The other end of a link.
    pub(crate) other: usize,
    /// For a partition: who is on one side.
    pub(crate) side: Vec<bool>,
    /// Whether others notice a crash by their links at once.
    pub(crate) noticed: bool,
}

/// All that goes wrong in a run.
pub(crate) fn draw(random: &mut fastrand::Rng, weather: Weather, nodes: usize) -> Vec<Trouble> {
    let (count, sleepers) = match weather {
        Weather::Calm => (0, 0),
        Weather::Sleepy => (random.usize(2..8), (nodes - 1) / 2),
        Weather::Stormy => (random.usize(3..14), nodes),
    };
    let draw = |_| {
        let kind = match weather {
            Weather::Stormy => Kind::ALL[random.usize(..Kind::ALL.len())],
            Weather::Calm | Weather::Sleepy => Kind::Pause,
        };
        let from_ns = random.u64(1_000_000_000..FAULTS_END_NS - 500_000_000);
        let lasts_ns = match kind {
            Kind::Reset => random.u64(20_000_000..600_000_000),
            _ => random.u64(100_000_000..5_000_000_000),
        };
        let node = random.usize(..sleepers.max(1));
        Trouble {
            kind,
            from_ns,
            until_ns: (from_ns + lasts_ns).min(FAULTS_END_NS),
            node,
            other: (node + random.usize(1..nodes)) % nodes,
            side: (0..nodes).map(|_| random.bool()).collect(),
            noticed: random.bool(),
        }
    };
    let mut troubles: Vec<Trouble> = (0..count).map(draw).collect();
    if weather == Weather::Sleepy {
        let reset = |sleep: &Trouble| Trouble {
            kind: Kind::Reset,
            from_ns: sleep.from_ns - 30_000_000,
            until_ns: sleep.from_ns + 100_000_000,
            ..sleep.clone()
        };
        let resets: Vec<Trouble> = troubles.iter().map(reset).collect();
        troubles.extend(resets);
    }
    troubles
}
