//! Knobs of membership, and bounds of gossip.
//!
//! Invariant: the bounds are fixed, because nodes that disagree about them would not understand each other.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// Bytes of a message: what a packet of most networks holds.
pub const MESSAGE_BYTES_MAX: NonZeroUsize = NonZeroUsize::new(1400).expect("it is not 0");
/// Members that are asked to probe another, and that are told news at once.
pub const HELPERS: NonZeroUsize = NonZeroUsize::new(3).expect("it is not 0");
/// How often each node passes a piece of news on: above log2 of the nodes of a cluster.
pub const TRANSMISSIONS_MAX: NonZeroU8 = NonZeroU8::new(10).expect("it is not 0");
/// Dead members that are looked for at once.
pub const SOUGHT_MAX: usize = 3;
/// How many times as long as usual a node that doubts itself is patient with others.
pub const PATIENCE_MAX: u32 = 4;

/// When members are suspected and declared dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MembershipConfig {
    /// How often a member is probed: each in turn, in an order that is drawn anew every round.
    pub probe_period: Duration,
    /// How long a member may take to answer before others are asked to try; below half the period.
    pub probe_round_trip: Duration,
    /// How long a suspected member has to answer before it is declared dead.
    pub suspicion: Duration,
    /// How much later than planned the machine may be looked at before it takes itself to have been asleep.
    pub late_max: Duration,
}

impl Default for MembershipConfig {
    /// A killed node is dead within two seconds, and one that is starved of its cores for one is not.
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(200),
            probe_round_trip: Duration::from_millis(80),
            suspicion: Duration::from_millis(1400),
            late_max: Duration::from_millis(100),
        }
    }
}
