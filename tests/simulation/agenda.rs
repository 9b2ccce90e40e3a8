//! What is going to happen, in the order in which it happens.
//!
//! Invariant: what is planned for one time happens in the order in which it was planned.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use annulus::types::Epoch;

/// Something that is going to happen.
pub(crate) enum Event {
    /// Bytes of a node's process arrive at another's: what was said to a process that has ended is lost.
    Deliver { to: usize, to_life: u32, from: usize, from_life: u32, arrives_ns: u64, bytes: Vec<u8> },
    /// A node's coordinator is to be looked at.
    Timer { node: usize, life: u32 },
    /// A node that recovers is to be looked at.
    Recover { node: usize, life: u32 },
    /// A process that has what it lost, or what a movement brings it, says so.
    Report { node: usize, life: u32, filling: Option<Epoch> },
    /// A client goes on.
    Client { client: usize },
    /// A client has waited long for this operation of its.
    Impatient { client: usize, begun: u64 },
    /// A node finds that it can reach another, or that it cannot.
    Link { node: usize, other: usize },
    /// Bytes of a node's log arrive at another's.
    Hear { to: usize, to_life: u32, bytes: Vec<u8> },
    /// A node's log is to be looked at.
    Look { node: usize, life: u32 },
    /// A process asks to be let in.
    Enter { node: usize, life: u32 },
    /// A node's workers go by what its log has come to.
    Adopt { node: usize, life: u32 },
    /// A walker looks whether it can go on.
    Walk { walker: usize },
    /// A fault begins.
    Begin { fault: usize },
    /// A fault ends.
    End { fault: usize },
}

/// Everything that is planned.
#[derive(Default)]
pub(crate) struct Agenda {
    planned: BinaryHeap<Reverse<Planned>>,
    sequence: u64,
}

impl Agenda {
    pub(crate) fn plan(&mut self, at_ns: u64, event: Event) {
        self.sequence += 1;
        self.planned.push(Reverse(Planned { at_ns, sequence: self.sequence, event }));
    }

    /// When something happens next.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.planned.peek().map(|Reverse(next)| next.at_ns)
    }

    /// Takes out what happens next, and when.
    pub(crate) fn take(&mut self) -> Option<(u64, Event)> {
        self.planned.pop().map(|Reverse(next)| (next.at_ns, next.event))
    }
}

struct Planned {
    at_ns: u64,
    sequence: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_ns, self.sequence).cmp(&(other.at_ns, other.sequence))
    }
}
