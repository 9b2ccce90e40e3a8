//! What was seen of a key, when: each operation that was done at level quorum or above tells what the key held.
//!
//! Invariant: nothing that level one answered is a sighting, since it binds nobody.

use crate::history::operation::{Answer, Ask, Operation, Outcome, Rank};
use crate::history::record::KeyHistory;
use crate::history::value::{Value, Values};

/// What the key held; numbers that no answer told have no [`Value`], so they stand for themselves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Content {
    Absent,
    Number(u64),
    List(Value),
}

impl Content {
    pub(super) fn of(value: Value, values: &Values) -> Self {
        match values.as_number(value) {
            Some(number) => Self::Number(number),
            None if value == Value::ABSENT => Self::Absent,
            None => Self::List(value),
        }
    }

    /// What `operation`, which was done, saw or left behind; `None` if that was not told.
    pub(super) fn after(operation: &Operation, values: &Values) -> Option<Self> {
        let Outcome::Done { answer, .. } = operation.outcome else { return None };
        match (operation.ask, answer) {
            (_, Answer::Holds(value)) => Some(Self::of(value, values)),
            (Ask::Write { value, .. }, Answer::Applied) => Some(Self::Number(value)),
            (Ask::Remove { .. }, Answer::Applied) => Some(Self::Absent),
            _ => None,
        }
    }
}

/// What an operation is as evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Write,
    Removal,
    /// It changed nothing: a read, or a condition that did not hold.
    Read,
}

/// What an operation shows of the key, some time between its invocation and its return.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) place: usize,
    pub(super) kind: Kind,
    pub(super) invoked_at: u64,
    pub(super) returned_at: u64,
    pub(super) content: Option<Content>,
    pub(super) version: Option<Rank>,
}

/// What the operations of `key` show, in order of invocation.
pub(super) fn sightings(key: &KeyHistory<'_>) -> Vec<Sighting> {
    let mut sightings: Vec<Sighting> = key
        .operations
        .iter()
        .enumerate()
        .filter_map(|(place, operation)| {
            let (_, version) = operation.binding_answer()?;
            let kind = match operation.ask {
                _ if operation.is_effectless() => Kind::Read,
                Ask::Remove { .. } => Kind::Removal,
                Ask::Read | Ask::Write { .. } | Ask::Increment(_) | Ask::Append(_) => Kind::Write,
            };
            let content = Content::after(operation, key.values);
            let Operation { invoked_at, returned_at, .. } = *operation;
            Some(Sighting { place, kind, invoked_at, returned_at, content, version })
        })
        .collect();
    sightings.sort_by_key(|sighting| sighting.invoked_at);
    sightings
}
