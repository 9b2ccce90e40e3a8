//! Short ways to write a history of one key down: client, times, what happened.

use std::ops::RangeInclusive;

use annulus::history::linearizability::{self, Budget};
use annulus::history::{
    Answer, Ask, ClientId, History, Key, KeyHistory, Operation, OperationId, Promise, Rank, Verdict,
    regularity,
};
use annulus::types::Level;

pub(crate) const KEY: Key = Key(7);

/// A history of one key in the making, all at one level.
pub(crate) struct Script {
    history: History,
    pub(crate) level: Level,
}

pub(crate) fn rank(number: u128) -> Rank {
    Rank::new(number).expect("not 0")
}

impl Script {
    pub(crate) fn new() -> Self {
        Self { history: History::new(), level: Level::Quorum }
    }

    fn invoke(&mut self, client: u32, at: u64, ask: Ask) -> OperationId {
        self.history.invoke(ClientId(client), KEY, self.level, ask, at)
    }

    fn done(
        &mut self,
        client: u32,
        time: RangeInclusive<u64>,
        ask: Ask,
        answer: Answer,
        version: u128,
    ) -> &mut Self {
        let id = self.invoke(client, *time.start(), ask);
        self.history.done(id, answer, Rank::new(version), *time.end());
        self
    }

    /// Took effect; version 0 was not told, here and below.
    pub(crate) fn applied(
        &mut self,
        client: u32,
        time: RangeInclusive<u64>,
        ask: Ask,
        version: u128,
    ) -> &mut Self {
        self.done(client, time, ask, Answer::Applied, version)
    }

    pub(crate) fn write(&mut self, client: u32, time: RangeInclusive<u64>, value: u64) -> &mut Self {
        self.applied(client, time, Ask::write(value), 0)
    }

    pub(crate) fn remove(&mut self, client: u32, time: RangeInclusive<u64>) -> &mut Self {
        self.applied(client, time, Ask::remove(), 0)
    }

    pub(crate) fn not_met(
        &mut self,
        client: u32,
        time: RangeInclusive<u64>,
        ask: Ask,
        version: u128,
    ) -> &mut Self {
        self.done(client, time, ask, Answer::NotMet, version)
    }

    /// Answered with what the key holds: nothing, a number or a list.
    pub(crate) fn holds(
        &mut self,
        client: u32,
        time: RangeInclusive<u64>,
        ask: Ask,
        tokens: &[u64],
        version: u128,
    ) -> &mut Self {
        let value = self.history.list(tokens);
        self.done(client, time, ask, Answer::Holds(value), version)
    }

    pub(crate) fn read(&mut self, client: u32, time: RangeInclusive<u64>, value: u64) -> &mut Self {
        self.holds(client, time, Ask::Read, &[value], 0)
    }

    pub(crate) fn read_absent(&mut self, client: u32, time: RangeInclusive<u64>) -> &mut Self {
        self.holds(client, time, Ask::Read, &[], 0)
    }

    pub(crate) fn refused(&mut self, client: u32, time: RangeInclusive<u64>, ask: Ask) -> &mut Self {
        let id = self.invoke(client, *time.start(), ask);
        self.history.refused(id, *time.end());
        self
    }

    pub(crate) fn unknown(&mut self, client: u32, time: RangeInclusive<u64>, ask: Ask) -> &mut Self {
        let id = self.invoke(client, *time.start(), ask);
        self.history.unknown(id, *time.end());
        self
    }

    pub(crate) fn pending(&mut self, client: u32, from: u64, ask: Ask) -> &mut Self {
        self.invoke(client, from, ask);
        self
    }

    pub(crate) fn key(&self) -> KeyHistory<'_> {
        self.history.key(KEY)
    }

    pub(crate) fn linearizability(&self) -> Verdict {
        linearizability::check(&self.key(), &Budget::default())
    }

    #[track_caller]
    pub(crate) fn is_linearizable(&self) {
        assert_eq!(self.linearizability(), Verdict::Holds);
    }

    /// Proved not linearizable by these operations alone, by their places in the script.
    #[track_caller]
    pub(crate) fn is_not_linearizable(&self, proof: &[usize]) {
        let verdict = self.linearizability();
        let violation = verdict.violation().expect("not linearizable");
        assert_eq!(violation.operations, self.at(proof), "{violation}");
        assert!(violation.is_minimal);
    }

    #[track_caller]
    pub(crate) fn is_regular(&self) {
        assert_eq!(regularity::check(&self.key()), Verdict::Holds);
    }

    /// Breaks `promise`, as these operations prove, by their places in the script.
    #[track_caller]
    pub(crate) fn breaks(&self, promise: Promise, proof: &[usize]) {
        let verdicts: Vec<Verdict> = regularity::CHECKS.iter().map(|check| check(&self.key())).collect();
        let violation = verdicts
            .iter()
            .filter_map(Verdict::violation)
            .find(|violation| violation.promise == promise)
            .unwrap_or_else(|| panic!("{promise:?} is not found broken: {verdicts:#?}"));
        assert_eq!(violation.operations, self.at(proof), "{violation}");
    }

    fn at(&self, places: &[usize]) -> Vec<Operation> {
        let mut operations: Vec<Operation> =
            places.iter().map(|&place| self.key().operations[place]).collect();
        operations.sort_by_key(|operation| operation.invoked_at);
        operations
    }
}
