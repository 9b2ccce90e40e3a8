//! Small random histories, judged by the checker and by the bare definition: they must agree on every one.

use annulus::history::linearizability::{self, Budget};
use annulus::history::{Answer, Ask, ClientId, Condition, History, Key, KeyHistory, Rank, Verdict};
use annulus::types::Level;
use fastrand::Rng;

use crate::reference;
use crate::script::{KEY, rank};

/// Beyond this, trying all permutations takes too long.
const OPERATIONS_MAX: usize = 6;

/// Times are few, so that operations overlap, touch and tie.
const TIME_MAX: u64 = 12;

/// What kind of operations a history has beside reads.
#[derive(Clone, Copy, Debug)]
enum Flavour {
    Register,
    Conditions,
    Numbers,
    Lists,
    Everything,
}

const FLAVOURS: [Flavour; 5] =
    [Flavour::Register, Flavour::Conditions, Flavour::Numbers, Flavour::Lists, Flavour::Everything];

fn ask(rng: &mut Rng, flavour: Flavour) -> Ask {
    let value = rng.u64(1..4);
    let when = match rng.u8(0..6) {
        0 => Condition::Absent,
        1 => Condition::Present,
        2 | 3 => Condition::ValueIs(rng.u64(1..4)),
        _ => Condition::VersionIs(rank(rng.u128(1..6))),
    };
    match (flavour, rng.u8(0..10)) {
        (_, 0..4) => Ask::Read,
        (Flavour::Register, 4..9) | (Flavour::Everything | Flavour::Conditions, 4) => Ask::write(value),
        (Flavour::Register | Flavour::Numbers | Flavour::Everything, 9) => Ask::remove(),
        (Flavour::Conditions, 5..9) | (Flavour::Everything, 5 | 6) => Ask::Write { value, when },
        (Flavour::Conditions, _) => Ask::Remove { when },
        (Flavour::Numbers, _) | (Flavour::Everything, 7) => Ask::Increment(rng.i64(0..3)),
        (Flavour::Lists | Flavour::Everything, _) | (Flavour::Register, _) => Ask::Append(value),
    }
}

/// Any answer that could be one, right or wrong.
fn answer(rng: &mut Rng, ask: Ask, history: &mut History) -> Answer {
    let mut some_value = |rng: &mut Rng, least: usize| {
        let is_list = matches!(ask, Ask::Append(_)) || rng.u8(0..4) == 0;
        let length = if is_list { rng.usize(least..3) } else { rng.usize(least..2) };
        let tokens: Vec<u64> = (0..length).map(|_| rng.u64(1..4)).collect();
        Answer::Holds(history.list(&tokens))
    };
    match ask {
        Ask::Read => some_value(rng, 0),
        Ask::Increment(_) | Ask::Append(_) => match rng.u8(0..4) {
            0 => Answer::Applied,
            1 if matches!(ask, Ask::Append(_)) => Answer::Length(rng.u32(1..3)),
            _ => some_value(rng, 1),
        },
        Ask::Write { .. } | Ask::Remove { .. } => {
            if ask.condition() != Condition::Always && rng.bool() {
                Answer::NotMet
            } else {
                Answer::Applied
            }
        }
    }
}

fn random_history(rng: &mut Rng, flavour: Flavour) -> History {
    let mut history = History::new();
    let tells_versions = rng.u8(0..3) == 0;
    for client in 0..rng.u32(1..=OPERATIONS_MAX as u32) {
        let (one, other) = (rng.u64(0..TIME_MAX), rng.u64(0..TIME_MAX));
        let (from, to) = (one.min(other), one.max(other));
        let level = if rng.u8(0..10) == 0 { Level::One } else { Level::Linearizable };
        let ask = ask(rng, flavour);
        let id = history.invoke(ClientId(client), KEY, level, ask, from);
        match rng.u8(0..12) {
            0 => history.unknown(id, to),
            1 => {}
            2 => history.refused(id, to),
            _ => {
                let answer = answer(rng, ask, &mut history);
                let version = Rank::new(if tells_versions { rng.u128(0..6) } else { 0 });
                history.done(id, answer, version, to);
            }
        }
    }
    history
}

fn all_kept(key: &KeyHistory<'_>) -> Vec<bool> {
    vec![true; key.operations.len()]
}

/// The proof is one by the definition too, and none of it can be spared.
fn check_proof(key: &KeyHistory<'_>, verdict: &Verdict, context: &str) {
    let violation = verdict.violation().expect("it is one");
    let mut proof = violation.operations.clone();
    let mut kept: Vec<bool> = Vec::new();
    for operation in key.operations {
        let found = proof.iter().position(|other| other == operation);
        kept.push(found.is_some());
        found.map(|index| proof.remove(index));
    }
    assert!(proof.is_empty(), "{context}: the proof is made of other operations: {violation}");
    assert!(!reference::is_linearizable(key, &kept), "{context}: this proves nothing: {violation}");
    assert!(violation.is_minimal, "{context}: {violation}");
    for place in (0..kept.len()).filter(|&place| kept[place]) {
        let mut fewer = kept.clone();
        fewer[place] = false;
        assert!(reference::is_linearizable(key, &fewer), "{context}: one can be spared: {violation}");
    }
}

#[test]
fn the_checker_agrees_with_the_definition() {
    /// Histories of each flavour.
    const HISTORIES: u64 = 6_000;
    for flavour in FLAVOURS {
        let mut linearizable = 0;
        for seed in 0..HISTORIES {
            let context = format!("{flavour:?}, seed {seed}");
            let history = random_history(&mut Rng::with_seed(seed), flavour);
            let key = history.key(KEY);
            let expected = reference::is_linearizable(&key, &all_kept(&key));
            let verdict = linearizability::check(&key, &Budget::default());
            assert_eq!(verdict == Verdict::Holds, expected, "{context}: {verdict:?}\n{:#?}", key.operations);
            if expected {
                linearizable += 1;
            } else {
                check_proof(&key, &verdict, &context);
            }
        }
        println!("{flavour:?}: {linearizable} of {HISTORIES} linearizable");
        assert!(
            (HISTORIES / 10..HISTORIES * 9 / 10).contains(&linearizable),
            "{flavour:?} tests one side only"
        );
    }
}

#[test]
fn keys_are_judged_one_by_one() {
    let mut history = History::new();
    for key in [1, 2] {
        let id = history.invoke(ClientId(0), Key(key), Level::Linearizable, Ask::write(key), 0);
        history.done(id, Answer::Applied, None, 1);
        let id = history.invoke(ClientId(0), Key(key), Level::Linearizable, Ask::Read, 2);
        let value = history.number(1);
        history.done(id, Answer::Holds(value), None, 3);
    }
    let verdicts: Vec<bool> = history
        .keys()
        .map(|key| linearizability::check(&key, &Budget::default()) == Verdict::Holds)
        .collect();
    assert_eq!(verdicts, [true, false]);
}
