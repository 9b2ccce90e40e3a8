//! One operation on one key: what was asked and when, what was answered and when.
//!
//! Invariant: an outcome is what the client knows, never what the cluster did. A condition that did not hold is an
//! answer ([`Answer::NotMet`]), not a refusal: a refusal says that surely nothing was applied and nothing was looked
//! at. Times are in any one monotone unit; equal times count as concurrent.

use std::fmt;
use std::num::NonZero;

use crate::history::value::Value;
use crate::types::{Level, Version};

/// The key an operation is about, by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(pub u64);

/// Who asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientId(pub u32);

/// A version as one ordered number, so that a mark of expiry can stand just above the value it ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rank(NonZero<u128>);

impl Rank {
    /// The rank of a cell: `expired` if it is a mark of expiry, which has the version of the value it ends.
    #[must_use]
    pub fn of(version: Version, expired: bool) -> Self {
        let number = (u128::from(version.stamp.0) << 32) | u128::from(version.writer.0);
        Self(NonZero::<u128>::MIN.saturating_add((number << 1) | u128::from(expired)))
    }

    /// The rank that is this number; 0 is none.
    #[must_use]
    pub const fn new(number: u128) -> Option<Self> {
        match NonZero::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number, above 0.
    #[must_use]
    pub const fn number(self) -> u128 {
        self.0.get()
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "@{:x}", self.0)
    }
}

/// What must hold of a key for a write or a removal to be done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// The key is there in exactly this version.
    VersionIs(Rank),
    /// The key holds exactly this number.
    ValueIs(u64),
}

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ask {
    /// To read what the key holds.
    Read,
    /// To store a number. Values that no other write stores tell the checkers most.
    Write {
        /// The number.
        value: u64,
        /// Only if this holds.
        when: Condition,
    },
    /// To remove the key. One that tells whether the key was there is a removal [`Condition::Present`].
    Remove {
        /// Only if this holds.
        when: Condition,
    },
    /// To add to the number that the key holds; an absent key counts as 0. Wraps.
    Increment(i64),
    /// To append a token to what the key holds; an absent key counts as empty.
    Append(u64),
}

impl Ask {
    /// To store `value`, whatever is there.
    #[must_use]
    pub const fn write(value: u64) -> Self {
        Self::Write { value, when: Condition::Always }
    }

    /// To store `value` if the key is not there.
    #[must_use]
    pub const fn put_if_absent(value: u64) -> Self {
        Self::Write { value, when: Condition::Absent }
    }

    /// To store `value` if the key is there in the version `expected`.
    #[must_use]
    pub const fn compare_version(expected: Rank, value: u64) -> Self {
        Self::Write { value, when: Condition::VersionIs(expected) }
    }

    /// To store `value` if the key holds `expected`.
    #[must_use]
    pub const fn compare_value(expected: u64, value: u64) -> Self {
        Self::Write { value, when: Condition::ValueIs(expected) }
    }

    /// To remove the key, whether it is there or not.
    #[must_use]
    pub const fn remove() -> Self {
        Self::Remove { when: Condition::Always }
    }

    /// Its condition; those that have none are always done.
    #[must_use]
    pub const fn condition(self) -> Condition {
        match self {
            Self::Write { when, .. } | Self::Remove { when } => when,
            Self::Read | Self::Increment(_) | Self::Append(_) => Condition::Always,
        }
    }

    /// Whether what it leaves behind does not depend on what was there.
    pub(super) fn overwrites(self) -> bool {
        matches!(self, Self::Write { .. } | Self::Remove { .. }) && self.condition() == Condition::Always
    }

    /// Whether `answer` is one that this can have.
    pub(super) fn admits(self, answer: Answer) -> bool {
        match answer {
            Answer::Applied => self != Self::Read,
            Answer::NotMet => self.condition() != Condition::Always,
            Answer::Holds(Value::ABSENT) => self == Self::Read,
            Answer::Holds(_) => matches!(self, Self::Read | Self::Increment(_) | Self::Append(_)),
            Answer::Length(_) => matches!(self, Self::Append(_)),
        }
    }
}

/// What an operation that was done brought back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// It took effect; no more was told.
    Applied,
    /// Its condition did not hold, and nothing was changed.
    NotMet,
    /// What the key holds: as read, or after an increment or an append.
    Holds(Value),
    /// Tokens that the key holds after an append.
    Length(u32),
}

/// What became of an operation, as far as its client knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It was done.
    Done {
        /// What was answered.
        answer: Answer,
        /// The version that was written, or that was seen by what wrote nothing; `None` if it was not told.
        version: Option<Rank>,
    },
    /// Surely nothing was applied anywhere, ever.
    Refused,
    /// It may take effect at any time after it was asked, or never.
    Unknown,
    /// No answer came before the history ended: for a judge, the same as unknown.
    Pending,
}

/// An operation of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Who asked.
    pub client: ClientId,
    /// How many replicas it waited for.
    pub level: Level,
    /// When it was asked.
    pub invoked_at: u64,
    /// When its outcome was known; the end of time while it is pending.
    pub returned_at: u64,
    /// What was asked.
    pub ask: Ask,
    /// What became of it.
    pub outcome: Outcome,
}

impl Operation {
    /// Whether it surely had no effect, or has none that anybody could see: refused, a read, a condition not met.
    pub(super) fn is_effectless(&self) -> bool {
        let not_met = matches!(self.outcome, Outcome::Done { answer: Answer::NotMet, .. });
        not_met || self.outcome == Outcome::Refused || self.ask == Ask::Read
    }

    /// What was answered, if it was done at a level that binds what comes after: any but [`Level::One`].
    pub(super) fn binding_answer(&self) -> Option<(Answer, Option<Rank>)> {
        match self.outcome {
            Outcome::Done { answer, version } if self.level != Level::One => Some((answer, version)),
            _ => None,
        }
    }
}
