//! Histories of an atomic store are accepted; such with one thing changed are rejected whenever they must be.

use annulus::history::linearizability::{self, Budget};
use annulus::history::{
    Answer, Ask, ClientId, Key, KeyHistory, Operation, Outcome, Value, Verdict, regularity,
};
use fastrand::Rng;

use crate::atomic::{self, Mix, Plan};
use crate::reference;

pub(crate) const MIXES: [(&str, Mix); 4] = [
    ("register", Mix { reads: 5, writes: 5, removals: 0, conditions: 0, increments: 0, appends: 0 }),
    ("conditions", Mix { reads: 4, writes: 2, removals: 1, conditions: 3, increments: 0, appends: 0 }),
    ("counter", Mix { reads: 4, writes: 0, removals: 0, conditions: 0, increments: 6, appends: 0 }),
    ("list", Mix { reads: 4, writes: 0, removals: 0, conditions: 0, increments: 0, appends: 6 }),
];

const FAR: Budget = Budget { bytes_max: 1 << 30, steps_max: 1 << 30 };

fn plan(mix: Mix, operations: u32) -> Plan {
    Plan { clients: 12, operations, keys: 5, mix, tells_versions: false, unknown_permille: 30 }
}

#[test]
fn histories_of_an_atomic_store_are_accepted() {
    for (name, mix) in MIXES {
        for tells_versions in [false, true] {
            for seed in 0..60 {
                let plan = Plan { tells_versions, ..plan(mix, 300 + seed as u32 * 12) };
                let history = atomic::history(&mut Rng::with_seed(seed), &plan);
                for key in history.keys() {
                    let verdict = linearizability::check(&key, &FAR);
                    assert_eq!(verdict, Verdict::Holds, "{name}, {plan:?}, seed {seed}, {:?}", key.key);
                    let verdict = regularity::check(&key);
                    assert_eq!(verdict, Verdict::Holds, "{name}, {plan:?}, seed {seed}, {:?}", key.key);
                }
            }
        }
    }
}

/// What is done to a history to spoil it, perhaps.
#[derive(Clone, Copy, Debug)]
enum Spoil {
    SwapAnswers,
    ReturnEarlier,
    InvokeLater,
    DropAWrite,
}

const SPOILS: [Spoil; 4] = [Spoil::SwapAnswers, Spoil::ReturnEarlier, Spoil::InvokeLater, Spoil::DropAWrite];

/// The operations of a key, one of them changed; `None` if there is none that can be changed so.
fn spoilt(rng: &mut Rng, key: &KeyHistory<'_>, spoil: Spoil) -> Option<Vec<Operation>> {
    let mut operations = key.operations.to_vec();
    let places = |test: &dyn Fn(&Operation) -> bool| -> Vec<usize> {
        (0..operations.len()).filter(|&place| test(&operations[place])).collect()
    };
    let done = |operation: &Operation| matches!(operation.outcome, Outcome::Done { .. });
    let read = |operation: &Operation| operation.ask == Ask::Read && done(operation);
    match spoil {
        Spoil::SwapAnswers => {
            let reads = places(&read);
            let (one, other) = (*rng.choice(&reads)?, *rng.choice(&reads)?);
            let outcome = operations[one].outcome;
            operations[one].outcome = operations[other].outcome;
            operations[other].outcome = outcome;
        }
        Spoil::ReturnEarlier => {
            let place = rng.choice(places(&done))?;
            let operation = &mut operations[place];
            operation.returned_at = rng.u64(operation.invoked_at..=operation.returned_at);
        }
        Spoil::InvokeLater => {
            let place = rng.choice(places(&done))?;
            let operation = &mut operations[place];
            operation.invoked_at = rng.u64(operation.invoked_at..=operation.returned_at);
        }
        Spoil::DropAWrite => {
            let writes = places(&|operation| operation.ask != Ask::Read);
            operations.remove(rng.choice(writes)?);
        }
    }
    Some(operations)
}

#[test]
fn spoilt_histories_are_rejected_when_they_must_be() {
    for (name, mix) in MIXES {
        let mut rejected = [0_usize; SPOILS.len()];
        for seed in 0..4_000 {
            let mut rng = Rng::with_seed(seed);
            let operations = rng.u32(3..8);
            let tells_versions = rng.bool();
            let plan =
                Plan { clients: 4, keys: 1, tells_versions, unknown_permille: 100, ..plan(mix, operations) };
            let history = atomic::history(&mut rng, &plan);
            for (spoil, rejected) in SPOILS.into_iter().zip(&mut rejected) {
                let key = history.key(Key(0));
                let Some(operations) = spoilt(&mut rng, &key, spoil) else { continue };
                let key = KeyHistory { operations: &operations, ..key };
                let expected = reference::is_linearizable(&key, &vec![true; operations.len()]);
                let holds = linearizability::check(&key, &FAR) == Verdict::Holds;
                assert_eq!(holds, expected, "{name}, {spoil:?}, seed {seed}: {operations:#?}");
                *rejected += usize::from(!holds);
            }
        }
        println!("{name}: of 4000 each, rejected after {SPOILS:?}: {rejected:?}");
        assert!(rejected.iter().all(|&rejected| rejected > 40), "{name} tests one side only: {rejected:?}");
    }
}

/// In a long history, one read of what was overwritten long before: found, and proved by few operations.
#[test]
fn one_stale_read_among_hundreds_is_found_and_proved() {
    for (name, mix) in MIXES {
        for seed in 0..8 {
            let plan = Plan { keys: 1, unknown_permille: 10, ..plan(mix, 300) };
            let mut history = atomic::history(&mut Rng::with_seed(seed), &plan);
            let operations = history.key(Key(0)).operations;
            let end = operations.iter().map(|operation| operation.invoked_at).max().expect("there are some");
            let mut early = operations.iter().filter_map(|operation| match operation.outcome {
                Outcome::Done { answer: Answer::Holds(value), .. } if operation.returned_at < end / 3 => {
                    Some(value)
                }
                _ => None,
            });
            let stale = early.rfind(|&value| value != Value::ABSENT).expect("something was read early");
            let at = end + 10_000;
            let client = ClientId(99);
            let id = history.invoke(client, Key(0), annulus::types::Level::Linearizable, Ask::Read, at);
            history.done(id, Answer::Holds(stale), None, at + 1);
            let verdict = linearizability::check(&history.key(Key(0)), &Budget::default());
            let violation = verdict.violation().unwrap_or_else(|| panic!("{name}, seed {seed}: {verdict:?}"));
            assert!(
                violation.operations.iter().any(|operation| operation.client == client),
                "{name}, seed {seed}: {violation}"
            );
            assert!(violation.operations.len() <= 12, "{name}, seed {seed}: {violation}");
        }
    }
}
