//! What a checker says: the promise holds, it is broken and here is the proof, or this cannot be told.
//!
//! Invariant: a violation carries the operations that prove it by themselves, and a checker that gave up says so: no
//! verdict is ever a guess.

use std::fmt;

use crate::history::operation::{Key, Operation};
use crate::history::record::KeyHistory;
use crate::history::timeline;

/// What is promised of a key's history.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Promise {
    /// All operations took effect one by one, each at some moment between its invocation and its return.
    Linearizable,
    /// Whoever begins after a write was acknowledged sees that write or a later one.
    AcknowledgedWritesStay,
    /// Whoever begins after a read ended sees what it saw or something later.
    ReadsNeverGoBack,
    /// Nothing that a removal acknowledged since has removed is seen again.
    RemovedStaysRemoved,
    /// What is read was written, by a write that had begun and was not refused.
    ReadsWereWritten,
    /// A version is issued once and stands for one value.
    OneValueAVersion,
}

impl Promise {
    const fn breach(self) -> &'static str {
        match self {
            Self::Linearizable => "not linearizable: no order of these operations explains their answers",
            Self::AcknowledgedWritesStay => "an acknowledged write is lost",
            Self::ReadsNeverGoBack => "a read goes back in time",
            Self::RemovedStaysRemoved => "what was removed comes back",
            Self::ReadsWereWritten => "a value is read that nobody can have written",
            Self::OneValueAVersion => "one version stands for two values or two writes",
        }
    }
}

/// What a checker found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The promise holds of all that was recorded.
    Holds,
    /// It is broken.
    Violation(Box<Violation>),
    /// The checker's budget was spent before it knew.
    Undecided(Undecided),
}

impl Verdict {
    /// The violation, if it is one.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        match self {
            Self::Violation(violation) => Some(violation),
            Self::Holds | Self::Undecided(_) => None,
        }
    }
}

/// Why there is no verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undecided {
    /// More states were met than may be remembered.
    Memory {
        /// Bytes that were allowed.
        bytes_max: usize,
    },
    /// More steps were tried than may be.
    Steps {
        /// Steps that were allowed.
        steps_max: u64,
    },
}

impl fmt::Display for Undecided {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { bytes_max } => write!(formatter, "undecided within {bytes_max} bytes"),
            Self::Steps { steps_max } => write!(formatter, "undecided within {steps_max} steps"),
        }
    }
}

/// A broken promise, and the operations that prove it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// What was promised.
    pub promise: Promise,
    /// Of which key.
    pub key: Key,
    /// The proof: whatever the other operations did in their time, these cannot be explained. In order of invocation.
    pub operations: Vec<Operation>,
    /// Whether every operation of the proof is known to be needed for it.
    pub is_minimal: bool,
    timeline: String,
}

impl Violation {
    /// The violation that the operations of `key` at these places prove.
    pub(super) fn new(
        promise: Promise,
        key: &KeyHistory<'_>,
        mut places: Vec<usize>,
        is_minimal: bool,
    ) -> Self {
        places.sort_by_key(|&place| (key.operations[place].invoked_at, place));
        places.dedup();
        let timeline = timeline::draw(key, &places);
        let operations = places.iter().map(|&place| key.operations[place]).collect();
        Self { promise, key: key.key, operations, is_minimal, timeline }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let perhaps = if self.is_minimal { "" } else { " (fewer might do)" };
        write!(formatter, "key {}: {}{perhaps}\n{}", self.key.0, self.promise.breach(), self.timeline)
    }
}
