//! Linearizability by its definition: all permutations of all choices, for histories of a few operations.
//!
//! It shares no code with the checker: its store is a list of tokens and the least version the key can have.

use annulus::history::{Answer, Ask, Condition, KeyHistory, Operation, Outcome};
use annulus::types::Level;

/// What is demanded of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    In,
    Perhaps,
    Out,
}

/// Whether some order explains `key`, where those that are not `kept` are left out of the proof: reads are forgotten,
/// and changes happened in their time or not at all.
pub(crate) fn is_linearizable(key: &KeyHistory<'_>, kept: &[bool]) -> bool {
    let parts: Vec<Part> =
        key.operations.iter().zip(kept).map(|(operation, &kept)| part(operation, kept)).collect();
    let perhaps: Vec<usize> = (0..parts.len()).filter(|&place| parts[place] == Part::Perhaps).collect();
    (0..1_u32 << perhaps.len()).any(|choice| {
        let chosen = |place: usize| match parts[place] {
            Part::In => true,
            Part::Out => false,
            Part::Perhaps => {
                let bit = perhaps.iter().position(|&other| other == place).expect("it is one of them");
                choice >> bit & 1 == 1
            }
        };
        let mut places: Vec<usize> = (0..parts.len()).filter(|&place| chosen(place)).collect();
        any_permutation(&mut places, 0, &|places| explains(key, places))
    })
}

fn is_certain(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Done { .. }) && operation.level != Level::One
}

fn part(operation: &Operation, kept: bool) -> Part {
    let changes_nothing = operation.ask == Ask::Read
        || matches!(operation.outcome, Outcome::Done { answer: Answer::NotMet, .. });
    if operation.outcome == Outcome::Refused {
        Part::Out
    } else if is_certain(operation) && kept {
        Part::In
    } else if changes_nothing {
        Part::Out
    } else {
        Part::Perhaps
    }
}

fn any_permutation(places: &mut [usize], from: usize, test: &impl Fn(&[usize]) -> bool) -> bool {
    if from == places.len() {
        return test(places);
    }
    for index in from..places.len() {
        places.swap(from, index);
        if any_permutation(places, from + 1, test) {
            return true;
        }
        places.swap(from, index);
    }
    false
}

fn explains(key: &KeyHistory<'_>, order: &[usize]) -> bool {
    let ended = |place: usize| {
        let operation = &key.operations[place];
        if is_certain(operation) { operation.returned_at } else { u64::MAX }
    };
    let in_real_time = order.iter().enumerate().all(|(index, &earlier)| {
        order[index + 1..].iter().all(|&later| ended(later) >= key.operations[earlier].invoked_at)
    });
    let mut store = Store::default();
    in_real_time && order.iter().all(|&place| store.takes(&key.operations[place], key))
}

#[derive(Default)]
struct Store {
    tokens: Vec<u64>,
    version_min: u128,
}

impl Store {
    /// Does what was asked; whether it could be answered as it was.
    fn takes(&mut self, operation: &Operation, key: &KeyHistory<'_>) -> bool {
        let (answer, version) = match operation.outcome {
            Outcome::Done { answer, version } if is_certain(operation) => (Some(answer), version),
            _ => (None, None),
        };
        let told = version.map(annulus::history::Rank::number);
        let (when, is_read) = match operation.ask {
            Ask::Write { when, .. } | Ask::Remove { when } => (when, false),
            Ask::Read => (Condition::Always, true),
            Ask::Increment(_) | Ask::Append(_) => (Condition::Always, false),
        };
        let fails = answer == Some(Answer::NotMet);
        if !self.condition(when, fails, told) {
            return false;
        }
        let was_absent = self.tokens.is_empty();
        if !fails {
            match operation.ask {
                Ask::Read => {}
                Ask::Write { value, .. } => self.tokens = vec![value],
                Ask::Remove { .. } => self.tokens.clear(),
                Ask::Append(token) => self.tokens.push(token),
                Ask::Increment(delta) => match self.tokens[..] {
                    [] => self.tokens = vec![delta as u64],
                    [number] => self.tokens = vec![number.wrapping_add(delta as u64)],
                    _ => return false,
                },
            }
        }
        let answered_so = match answer {
            Some(Answer::Holds(value)) => key.values.tokens(value) == self.tokens,
            Some(Answer::Length(length)) => length as usize == self.tokens.len(),
            Some(Answer::Applied | Answer::NotMet) | None => true,
        };
        let stays = fails || is_read || (was_absent && self.tokens.is_empty());
        let least = self.version_min + u128::from(!stays);
        self.version_min = told.unwrap_or(least);
        answered_so && self.version_min >= least
    }

    fn condition(&mut self, when: Condition, fails: bool, told: Option<u128>) -> bool {
        let holds = match when {
            Condition::Always => true,
            Condition::Absent => self.tokens.is_empty(),
            Condition::Present => !self.tokens.is_empty(),
            Condition::ValueIs(value) => self.tokens == [value],
            Condition::VersionIs(version) if fails => {
                return self.tokens.is_empty() || told != Some(version.number());
            }
            Condition::VersionIs(version) => {
                let possible = !self.tokens.is_empty() && self.version_min <= version.number();
                if possible {
                    self.version_min = version.number();
                }
                possible
            }
        };
        holds != fails
    }
}
