//! Histories: operations as they are asked and answered, kept by key.
//!
//! Invariant: an operation is answered at most once, not before it was asked, and with an answer that fits what was
//! asked. Nothing is judged here. Several recorders (one a thread, say) may each keep a history by the same clock and
//! be put together afterwards.

use std::collections::BTreeMap;

use crate::history::operation::{Answer, Ask, ClientId, Key, Operation, Outcome, Rank};
use crate::history::value::{Translation, Value, Values};
use crate::types::Level;

/// What clients asked of a store and were told.
#[derive(Clone, Debug, Default)]
pub struct History {
    keys: BTreeMap<Key, Vec<Operation>>,
    values: Values,
}

/// One operation of one history.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OperationId {
    key: Key,
    index: usize,
}

impl History {
    /// A history of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that `client` asks for something. Until its outcome is recorded it is pending.
    pub fn invoke(
        &mut self,
        client: ClientId,
        key: Key,
        level: Level,
        ask: Ask,
        invoked_at: u64,
    ) -> OperationId {
        let operations = self.keys.entry(key).or_default();
        let outcome = Outcome::Pending;
        operations.push(Operation { client, level, invoked_at, returned_at: u64::MAX, ask, outcome });
        OperationId { key, index: operations.len() - 1 }
    }

    /// Records that it was done: with what answer, and with what version if that was told.
    ///
    /// # Panics
    ///
    /// As [`History::refused`], and if nothing that was asked so is answered so.
    pub fn done(&mut self, id: OperationId, answer: Answer, version: Option<Rank>, returned_at: u64) {
        let ask = self.keys[&id.key][id.index].ask;
        assert!(ask.admits(answer), "{answer:?} is no answer to {ask:?}: record what was really answered");
        self.settle(id, Outcome::Done { answer, version }, returned_at);
    }

    /// Records that surely nothing was applied.
    ///
    /// # Panics
    ///
    /// If it was answered before, or is not of this history, or `returned_at` is before it was asked.
    pub fn refused(&mut self, id: OperationId, returned_at: u64) {
        self.settle(id, Outcome::Refused, returned_at);
    }

    /// Records that it may or may not take effect, now or later.
    ///
    /// # Panics
    ///
    /// As [`History::refused`].
    pub fn unknown(&mut self, id: OperationId, returned_at: u64) {
        self.settle(id, Outcome::Unknown, returned_at);
    }

    fn settle(&mut self, id: OperationId, outcome: Outcome, returned_at: u64) {
        let operations = self.keys.get_mut(&id.key).expect("the id is of this history");
        let operation = &mut operations[id.index];
        assert!(operation.outcome == Outcome::Pending, "{operation:?} is answered twice");
        assert!(operation.invoked_at <= returned_at, "{operation:?} is answered before it was asked");
        (operation.outcome, operation.returned_at) = (outcome, returned_at);
    }

    /// The value that is this number, to answer with.
    pub fn number(&mut self, number: u64) -> Value {
        self.values.number(number)
    }

    /// The value that is the list of these tokens, to answer with; of none, absence.
    pub fn list(&mut self, tokens: &[u64]) -> Value {
        self.values.list(tokens)
    }

    /// Takes in what another recorder saw, by the same clock. Ids of `other` mean nothing afterwards.
    pub fn absorb(&mut self, other: &Self) {
        let mut translation = Translation::from(&other.values);
        for (&key, operations) in &other.keys {
            let own = self.keys.entry(key).or_default();
            own.extend(operations.iter().map(|operation| {
                let mut operation = *operation;
                if let Outcome::Done { answer: Answer::Holds(value), .. } = &mut operation.outcome {
                    *value = translation.of(*value, &mut self.values);
                }
                operation
            }));
        }
    }

    /// What happened to each key, in the order of the keys.
    pub fn keys(&self) -> impl Iterator<Item = KeyHistory<'_>> {
        self.keys.iter().map(|(&key, operations)| KeyHistory { key, operations, values: &self.values })
    }

    /// What happened to `key`.
    #[must_use]
    pub fn key(&self, key: Key) -> KeyHistory<'_> {
        KeyHistory { key, operations: self.keys.get(&key).map_or(&[], Vec::as_slice), values: &self.values }
    }

    /// Operations recorded.
    #[must_use]
    pub fn operation_count(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }
}

/// What happened to one key: what the checkers judge.
#[derive(Clone, Copy, Debug)]
pub struct KeyHistory<'h> {
    /// The key.
    pub key: Key,
    /// Its operations, in no particular order.
    pub operations: &'h [Operation],
    /// What the values in them are.
    pub values: &'h Values,
}
