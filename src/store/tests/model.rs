//! Random operations of two writers, against a map that holds what the store should.
//!
//! The model says what the cells are, those that expired but were not swept among them, since a wall clock that
//! steps back shows them again. It computes answers by itself: it shares no code with `operation`.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::{Entry, VALUE_BYTES_MAX, Writer, get, store};
use crate::message::{Condition, ExpiryChange};
use crate::operation::{self, Effect, Rejection};
use crate::store::{OutOfMemory, Store, Sweeper, cell};
use crate::types::{Stamp, Version, WallTime, WriterId};

/// The slot and control byte of a bucket.
const SLOT_BYTES: u64 = 9;

#[derive(Clone, Debug)]
enum When {
    Always,
    Absent,
    Present,
    /// The version that is there.
    Same,
    /// A version that nothing has.
    Other,
}

#[derive(Clone, Debug)]
enum Step {
    Get,
    Put(Vec<u8>, When, ExpiryChange),
    Increment(i64),
    Append(Vec<u8>),
    Expire(ExpiryChange),
    Remove(When),
    /// The writer's wall clock goes to this time, forwards or backwards.
    Time(u64),
    Sweep,
    Clear,
}

/// What an operation answered: a number where there is one.
type Answer = Result<Option<i64>, Rejection>;

fn keys() -> [Vec<u8>; 9] {
    let wide = |bytes: usize, fill: u8| vec![fill; bytes];
    [
        vec![],
        b"a".to_vec(),
        b"\x00\xff\r\n\x80".to_vec(),
        b"counter".to_vec(),
        b"counter2".to_vec(),
        wide(255, b'n'),
        wide(256, b'w'),
        wide(4000, 0),
        wide(16, b'k'),
    ]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![0usize..80, 1020usize..1030, Just(5000usize)];
    prop_oneof![
        (lengths, any::<u8>()).prop_map(|(length, fill)| vec![fill; length]),
        any::<i8>().prop_map(|number| number.to_string().into_bytes()),
        Just(i64::MAX.to_string().into_bytes()),
    ]
}

fn whens() -> impl Strategy<Value = When> {
    prop_oneof![
        4 => Just(When::Always),
        1 => Just(When::Absent),
        1 => Just(When::Present),
        1 => Just(When::Same),
        1 => Just(When::Other),
    ]
}

fn expiries() -> impl Strategy<Value = ExpiryChange> {
    prop_oneof![
        Just(ExpiryChange::Clear),
        Just(ExpiryChange::Keep),
        (0u64..200).prop_map(|at| ExpiryChange::At(WallTime(at))),
        prop_oneof![0u64..50, Just(u64::MAX)].prop_map(ExpiryChange::AfterMs),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Get),
        6 => (values(), whens(), expiries()).prop_map(|(value, when, expiry)| Step::Put(value, when, expiry)),
        3 => prop_oneof![any::<i8>().prop_map(i64::from), Just(i64::MIN)].prop_map(Step::Increment),
        3 => values().prop_map(Step::Append),
        3 => expiries().prop_map(Step::Expire),
        3 => whens().prop_map(Step::Remove),
        3 => (0u64..200).prop_map(Step::Time),
        1 => Just(Step::Sweep),
    ]
}

/// Mostly steps that build up, now and then one that clears all.
fn histories() -> impl Strategy<Value = Vec<(usize, usize, Step)>> {
    let step = prop_oneof![60 => steps(), 1 => Just(Step::Clear)];
    vec((0usize..2, 0..keys().len(), step), 1..if cfg!(miri) { 20 } else { 120 })
}

fn condition(when: &When, present: Option<Version>) -> Condition {
    match when {
        When::Always => Condition::Always,
        When::Absent => Condition::Absent,
        When::Present => Condition::Present,
        When::Same => Condition::VersionIs(present.unwrap_or_default()),
        When::Other => Condition::VersionIs(Version { stamp: Stamp(1), writer: WriterId(9) }),
    }
}

fn met(when: &When, is_there: bool) -> bool {
    match when {
        When::Always => true,
        When::Absent => !is_there,
        When::Present | When::Same => is_there,
        When::Other => false,
    }
}

fn changed(change: ExpiryChange, before: Option<u64>, now: u64) -> Option<u64> {
    match change {
        ExpiryChange::Clear => None,
        ExpiryChange::Keep => before,
        ExpiryChange::At(at) => Some(at.0),
        ExpiryChange::AfterMs(delay_ms) => Some(now.saturating_add(delay_ms)),
    }
}

/// What the model expects of a key after a step.
enum Expected {
    Same,
    Gone,
    Stores(Vec<u8>, Option<u64>),
}

fn stores(value: Vec<u8>, expires_at: Option<u64>, now: u64) -> Expected {
    if expires_at.is_some_and(|at| at <= now) { Expected::Gone } else { Expected::Stores(value, expires_at) }
}

fn expect(step: &Step, live: Option<&Entry>, now: u64) -> (Expected, Answer) {
    let before = live.and_then(|entry| entry.expires_at).map(|at| at.0);
    match step {
        Step::Put(_, when, _) | Step::Remove(when) if !met(when, live.is_some()) => {
            (Expected::Same, Err(Rejection::ConditionFailed))
        }
        Step::Put(value, _, change) => (stores(value.clone(), changed(*change, before, now), now), Ok(None)),
        Step::Remove(_) if live.is_none() => (Expected::Same, Ok(None)),
        Step::Remove(_) => (Expected::Gone, Ok(None)),
        Step::Increment(delta) => {
            let text = live.map_or("0", |entry| std::str::from_utf8(&entry.value).unwrap_or("?"));
            let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
            match number.map(|number| number.checked_add(*delta)) {
                None => (Expected::Same, Err(Rejection::NotAnInteger)),
                Some(None) => (Expected::Same, Err(Rejection::Overflow)),
                Some(Some(sum)) => (Expected::Stores(sum.to_string().into_bytes(), before), Ok(Some(sum))),
            }
        }
        Step::Append(suffix) => {
            let value = [live.map_or(&[][..], |entry| &entry.value), suffix].concat();
            let length = Ok(Some(value.len() as i64));
            let nothing = live.is_some() && suffix.is_empty();
            (if nothing { Expected::Same } else { Expected::Stores(value, before) }, length)
        }
        Step::Expire(change) => match (live, changed(*change, before, now)) {
            (Some(entry), after) if after != before => (stores(entry.value.clone(), after, now), Ok(None)),
            _ => (Expected::Same, Ok(None)),
        },
        Step::Get | Step::Time(_) | Step::Sweep | Step::Clear => (Expected::Same, Ok(None)),
    }
}

/// Runs a step that may change a key; returns its answer and the version it left.
fn run(writer: &mut Writer<'_>, key: &[u8], step: &Step) -> Result<(Answer, Option<Version>), OutOfMemory> {
    let updated = writer.update(key, |current, now| {
        let present = current.map(|current| current.version);
        let kept = |rejection| (Effect::Keep, Err(rejection));
        let done = |effect| (effect, Ok(None));
        match step {
            Step::Put(value, when, expiry) => {
                operation::put(current, value, condition(when, present), *expiry, now).map_or_else(kept, done)
            }
            Step::Remove(when) => {
                operation::remove(current, condition(when, present)).map_or_else(kept, done)
            }
            Step::Increment(delta) => operation::increment(current, *delta)
                .map_or_else(kept, |(effect, sum)| (effect, Ok(Some(sum)))),
            Step::Append(suffix) => operation::append(current, suffix, VALUE_BYTES_MAX)
                .map_or_else(kept, |(effect, bytes)| (effect, Ok(Some(bytes as i64)))),
            Step::Expire(change) => done(operation::expire(current, *change, now)),
            Step::Get | Step::Time(_) | Step::Sweep | Step::Clear => done(Effect::Keep),
        }
    })?;
    Ok((updated.answer, updated.version))
}

struct Model {
    cells: BTreeMap<Vec<u8>, Entry>,
    /// The version of the last change of each key, whether or not it is still there.
    last: BTreeMap<Vec<u8>, Version>,
    /// The last version that each writer issued.
    issued: [Version; 2],
    /// What the tables took after the step before.
    table_bytes: u64,
}

impl Model {
    fn live(&self, key: &[u8], now: WallTime) -> Option<&Entry> {
        self.cells.get(key).filter(|entry| entry.expires_at.is_none_or(|at| at > now))
    }

    fn cell_bytes(&self) -> u64 {
        let bytes = |(key, entry): (&Vec<u8>, &Entry)| {
            cell::allocated_bytes(key.len(), entry.value.len(), entry.expires_at.is_some()) as u64
        };
        self.cells.iter().map(bytes).sum()
    }

    /// Runs a step that is about one key in both, and compares.
    fn step(&mut self, writer: &mut Writer<'_>, number: usize, key: &[u8], step: &Step) {
        let now = writer.now();
        let (expected, answer) = expect(step, self.live(key, now), now.0);
        let (answered, version) = run(writer, key, step).expect("no limit");
        assert_eq!(answered, answer);
        match expected {
            Expected::Same => assert_eq!(version, self.live(key, now).map(|entry| entry.version)),
            Expected::Gone => {
                self.judge(number, key, now, version.expect("a removal has a version"));
                self.cells.remove(key);
            }
            Expected::Stores(value, expires_at) => {
                let version = version.expect("something was stored");
                self.judge(number, key, now, version);
                let expires_at = expires_at.map(WallTime);
                self.cells.insert(key.to_vec(), Entry { version, expires_at, value });
            }
        }
    }

    /// Judges the version of a change.
    fn judge(&mut self, number: usize, key: &[u8], now: WallTime, version: Version) {
        assert_eq!(version.writer.0 as usize, number);
        assert!(version > self.issued[number], "no version is issued twice");
        assert!(version.stamp >= Stamp::at(now), "a version is not before its time");
        self.issued[number] = version;
        let before = self.last.insert(key.to_vec(), version);
        assert!(before.is_none_or(|before| version > before), "a key's versions only rise, gone or not");
    }

    /// Compares what is there, and the account of it.
    fn check(&mut self, store: &Store, now: WallTime, may_grow: bool) {
        for key in keys() {
            assert_eq!(get(store, &key, now).as_ref(), self.live(&key, now), "{key:?} at {now:?}");
        }
        assert_eq!(store.len(), self.cells.len());
        let table_bytes = store.used_bytes().checked_sub(self.cell_bytes()).expect("all cells are charged");
        assert_eq!(table_bytes % SLOT_BYTES, 0, "what is left is the tables'");
        assert!(may_grow || table_bytes <= self.table_bytes, "tables grow for a new key only");
        self.table_bytes = table_bytes;
    }
}

fn cases() -> ProptestConfig {
    let persistence = FileFailurePersistence::SourceParallel("proptest-regressions");
    ProptestConfig {
        cases: if cfg!(miri) { 3 } else { 300 },
        // Miri isolates the test from files.
        failure_persistence: if cfg!(miri) { None } else { Some(Box::new(persistence)) },
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn the_store_agrees_with_a_map(history in histories()) {
        let store = store(2, None);
        let mut writers = [Writer::new(&store, 0), Writer::new(&store, 1)];
        let mut sweeper = Sweeper::new(0, 1);
        let (cells, last) = (BTreeMap::new(), BTreeMap::new());
        let mut model = Model { cells, last, issued: Default::default(), table_bytes: 0 };
        for (number, key, step) in &history {
            let writer = &mut writers[*number];
            let (now, cells) = (writer.now(), model.cells.len());
            match step {
                Step::Time(wall) => writer.clock.observe(WallTime(*wall)),
                Step::Sweep => {
                    let gone = |entry: &Entry| entry.expires_at.is_some_and(|at| at <= now);
                    model.cells.retain(|_, entry| !gone(entry));
                    let swept = store.sweep(&mut sweeper, now, usize::MAX);
                    prop_assert_eq!(swept as usize, cells - model.cells.len());
                }
                Step::Clear => {
                    let bytes = store.used_bytes();
                    let garbage = store.clear();
                    prop_assert!(store.is_empty());
                    prop_assert_eq!(store.used_bytes(), bytes, "garbage is charged until it is dropped");
                    drop(garbage);
                    prop_assert_eq!(store.used_bytes(), 0);
                    model.cells.clear();
                }
                step => model.step(writer, *number, &keys()[*key], step),
            }
            let now = writer.now();
            model.check(&store, now, model.cells.len() > cells);
        }
        // An expired cell is not there to be removed; at time 0 none has expired, since none was stored that had.
        writers[0].clock.observe(WallTime(0));
        let tables_bytes = model.table_bytes;
        for key in keys() {
            writers[0].remove(&key);
        }
        prop_assert!(store.is_empty());
        prop_assert_eq!(store.used_bytes(), tables_bytes);
    }
}
