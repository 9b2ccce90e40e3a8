//! The sequential object: what one key does if operations come one at a time.
//!
//! Invariant: pure. The version is known as a lower bound: an observation may find it higher, since it may rise
//! without a change of value, and a change puts it higher, by an unknown amount unless the version was told.

use crate::history::linearizability::problem::Candidate;
use crate::history::operation::{Answer, Ask, Condition, Rank};
use crate::history::value::{Value, Values};

/// What the key holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) value: Value,
    /// Its version is this or higher.
    pub(super) version_min: u128,
}

impl State {
    /// Nothing was ever written.
    pub(super) const NEW: Self = Self { value: Value::ABSENT, version_min: 0 };
}

/// What `operation` leaves behind, if in this state it can take effect and be answered as it was.
pub(super) fn step(before: State, operation: &Candidate, values: &mut Values) -> Option<State> {
    let version = operation.version.map(Rank::number);
    if operation.answer == Some(Answer::NotMet) {
        may_fail(before, operation.ask.condition(), version, values).then_some(())?;
        return observed(before, version);
    }
    let version_min = met(before, operation.ask.condition(), values)?;
    let before = State { version_min, ..before };
    let value = match operation.ask {
        Ask::Read => {
            (operation.answer == Some(Answer::Holds(before.value))).then_some(())?;
            return observed(before, version);
        }
        Ask::Remove { .. } if before.value == Value::ABSENT => return observed(before, version),
        Ask::Remove { .. } | Ask::Write { .. } => operation.leaves,
        Ask::Increment(delta) => incremented(before.value, delta, operation.answer, values)?,
        Ask::Append(token) => appended(before.value, token, operation.answer, values)?,
    };
    let above = before.version_min.saturating_add(1);
    let version_min = version.map_or(Some(above), |told| (told >= above).then_some(told))?;
    Some(State { value, version_min })
}

/// The state after something saw its `version` and changed nothing.
fn observed(before: State, version: Option<u128>) -> Option<State> {
    let version_min = version.unwrap_or(before.version_min);
    (version_min >= before.version_min).then_some(State { version_min, ..before })
}

/// The least version the key can have while `when` holds; `None` if it cannot hold.
fn met(state: State, when: Condition, values: &Values) -> Option<u128> {
    let present = state.value != Value::ABSENT;
    match when {
        Condition::Always => true,
        Condition::Absent => !present,
        Condition::Present => present,
        Condition::VersionIs(expected) => {
            return (present && expected.number() >= state.version_min).then_some(expected.number());
        }
        Condition::ValueIs(expected) => values.as_number(state.value) == Some(expected),
    }
    .then_some(state.version_min)
}

/// Whether `when` may not have held of a key in this state that was seen at `version`.
fn may_fail(state: State, when: Condition, version: Option<u128>, values: &Values) -> bool {
    let present = state.value != Value::ABSENT;
    match when {
        Condition::Always => false,
        Condition::Absent => present,
        Condition::Present => !present,
        Condition::VersionIs(expected) => !present || version != Some(expected.number()),
        Condition::ValueIs(expected) => values.as_number(state.value) != Some(expected),
    }
}

fn incremented(before: Value, delta: i64, answer: Option<Answer>, values: &mut Values) -> Option<Value> {
    let now = if before == Value::ABSENT { 0 } else { values.as_number(before)? };
    let sum = now.wrapping_add_signed(delta);
    match answer {
        Some(Answer::Holds(value)) => (values.as_number(value) == Some(sum)).then_some(value),
        _ => Some(values.number(sum)),
    }
}

fn appended(before: Value, token: u64, answer: Option<Answer>, values: &mut Values) -> Option<Value> {
    match answer {
        Some(Answer::Holds(value)) => (values.pop(value) == Some((before, token))).then_some(value),
        Some(Answer::Length(length)) if length != values.length(before) + 1 => None,
        _ => Some(values.push(before, token)),
    }
}
