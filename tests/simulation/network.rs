//! The network between nodes: what is on its way, and what becomes of it.
//!
//! Invariant: bytes are lost, late, doubled or overtaken, never changed (that is a connection's checksum's business).
//! A message for a process that has ended since is lost: its connection ended with it.

/// How often what became of messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) late: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.late += other.late;
    }
}

/// A message that is doubled arrives again within this time.
pub(crate) const REPEATED_WITHIN_NS: u64 = 60_000_000;

/// What the network does to messages now.
pub(crate) struct Network {
    nodes: usize,
    /// How many faults keep each node from hearing each other: by receiver, then sender.
    blocked: Vec<u32>,
    /// One message in a thousand of these.
    pub(crate) lost_permille: u32,
    pub(crate) doubled_permille: u32,
    pub(crate) late_permille: u32,
    /// How many faults slow each node down.
    pub(crate) slow: Vec<u32>,
}

/// When a message arrives, if it does, and when its double does.
pub(crate) struct Fate {
    pub(crate) arrives_ns: [Option<u64>; 2],
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        let (blocked, slow) = (vec![0; nodes * nodes], vec![0; nodes]);
        Self { nodes, blocked, lost_permille: 0, doubled_permille: 0, late_permille: 0, slow }
    }

    /// Lets one more fault keep `to` from hearing `from`, or one less.
    pub(crate) fn block(&mut self, to: usize, from: usize, more: bool) {
        let count = &mut self.blocked[to * self.nodes + from];
        *count = if more { *count + 1 } else { *count - 1 };
    }

    /// Whether `to` hears `from`.
    pub(crate) fn passes(&self, to: usize, from: usize) -> bool {
        self.blocked[to * self.nodes + from] == 0
    }

    /// Whether each hears the other.
    pub(crate) fn is_whole(&self, one: usize, other: usize) -> bool {
        self.passes(one, other) && self.passes(other, one)
    }

    /// Decides what becomes of a message that is sent now, and may arrive again within a time, or never.
    pub(crate) fn send(
        &self,
        random: &mut fastrand::Rng,
        now_ns: u64,
        from: usize,
        to: usize,
        repeats_within_ns: Option<u64>,
        count: &mut Traffic,
    ) -> Fate {
        if from == to {
            return Fate { arrives_ns: [Some(now_ns + 500), None] };
        }
        let mut happens = |permille: u32| permille > 0 && random.u32(..1000) < permille;
        let (lost, doubled, late) =
            (happens(self.lost_permille), happens(self.doubled_permille), happens(self.late_permille));
        count.messages += 1;
        if lost || !self.passes(to, from) {
            count.lost += 1;
            return Fate { arrives_ns: [None, None] };
        }
        count.doubled += u64::from(doubled);
        count.late += u64::from(late);
        let slow = if self.slow[from] + self.slow[to] > 0 { 15_000_000 } else { 0 };
        let mut arrival = || {
            let late_ns = if late { random.u64(..60_000_000) } else { 0 };
            now_ns + random.u64(40_000..160_000) + late_ns + slow
        };
        let first_ns = arrival();
        let second_ns =
            repeats_within_ns.filter(|_| doubled).map(|within_ns| first_ns + random.u64(..=within_ns));
        Fate { arrives_ns: [Some(first_ns), second_ns] }
    }
}
