//! What the search works on: the operations that count, in order of invocation, and what can be told of them
//! beforehand.
//!
//! Invariant: what is derived here only ever rules out what no order could contain, so it speeds the search up and
//! never changes its answer.

use std::collections::HashMap;

use crate::history::operation::{Answer, Ask, Condition, Operation, Outcome, Rank};
use crate::history::record::KeyHistory;
use crate::history::value::{Translation, Value, Values};

/// What an order of operations owes to one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// To contain it.
    Must,
    /// It may contain it.
    May,
    /// It does not contain it.
    Out,
}

impl Role {
    /// What the outcome alone says.
    pub(super) fn of(_place: usize, operation: &Operation) -> Self {
        if operation.outcome == Outcome::Refused {
            Self::Out
        } else if operation.binding_answer().is_some() {
            Self::Must
        } else {
            Self::perhaps(operation)
        }
    }

    /// For an operation that need not be contained: what has no effect can be left out.
    pub(super) fn perhaps(operation: &Operation) -> Self {
        if operation.is_effectless() { Self::Out } else { Self::May }
    }
}

/// An operation to put in order.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) ask: Ask,
    /// `None` if nothing was answered that binds.
    pub(super) answer: Option<Answer>,
    pub(super) version: Option<Rank>,
    pub(super) invoked_at: u64,
    /// It takes effect by then: the end of time if nobody knows.
    pub(super) returned_at: u64,
    /// What a write or removal leaves behind.
    pub(super) leaves: Value,
    pub(super) is_required: bool,
    pub(super) is_effectless: bool,
    /// What the key must hold right before it, if that is one value.
    pub(super) needs: Option<Value>,
    /// One that asks the same and was invoked earlier, both of them free to take effect at any time or never: if one of
    /// the two is in an order, it might as well be the other.
    pub(super) twin: Option<u32>,
}

/// All there is to know before the search begins.
pub(super) struct Problem {
    /// In order of invocation.
    pub(super) candidates: Vec<Candidate>,
    /// Places of the required ones, in order of return.
    pub(super) by_return: Vec<u32>,
    /// Places of the optional ones that take effect by a known time or never, in order of that time.
    pub(super) by_deadline: Vec<u32>,
    /// Versions told by the required ones, ascending. They must come in this order, as versions never fall.
    pub(super) versions: Vec<Rank>,
    pub(super) values: Values,
    /// For each value, how many required operations need it right before them.
    pub(super) needed: Vec<u32>,
    /// For each value, whether at most one moment brings it about: once gone, it does not return.
    pub(super) comes_once: Vec<bool>,
    /// The longest value needed, if values only ever grow: then the key grows towards it until nobody needs it any
    /// more.
    pub(super) grows_to: Option<Value>,
    /// For each value, whether it is that one or a beginning of it.
    pub(super) is_on_the_way: Vec<bool>,
    /// Whether some required operation needs a value that nothing brings about.
    pub(super) is_hopeless: bool,
}

impl Problem {
    pub(super) fn new(key: &KeyHistory<'_>, role: impl Fn(usize, &Operation) -> Role) -> Self {
        let mut values = Values::default();
        let mut translation = Translation::from(key.values);
        let mut candidates: Vec<Candidate> = key
            .operations
            .iter()
            .enumerate()
            .map(|(place, operation)| (role(place, operation), operation))
            .filter(|&(role, _)| role != Role::Out)
            .map(|(role, operation)| {
                let mut candidate = Candidate::new(operation, role, &mut values);
                if let Some(Answer::Holds(value)) = &mut candidate.answer {
                    *value = translation.of(*value, &mut values);
                }
                candidate.needs = candidate.is_required.then(|| candidate.needs(&mut values)).flatten();
                candidate
            })
            .collect();
        candidates.sort_by_key(|candidate| (candidate.invoked_at, candidate.returned_at));
        find_twins(&mut candidates);
        let by_return = places_by_return(&candidates, |candidate| candidate.is_required);
        let by_deadline = places_by_return(&candidates, |candidate| {
            !candidate.is_required && candidate.returned_at != u64::MAX
        });
        let told = |&place: &u32| candidates[place as usize].version;
        let mut versions: Vec<Rank> = by_return.iter().filter_map(told).collect();
        versions.sort_unstable();
        let mut needed = vec![0; values.count()];
        for value in candidates.iter().filter_map(|candidate| candidate.needs) {
            needed[value.index()] += 1;
        }
        let sources = sources(&candidates, &values);
        let comes_once = sources.iter().map(|&sources| sources <= 1).collect();
        let is_hopeless = needed.iter().zip(&sources).any(|(&needed, &sources)| needed > 0 && sources == 0);
        let only_grows = candidates
            .iter()
            .all(|candidate| candidate.is_effectless || matches!(candidate.ask, Ask::Append(_)));
        let needs = candidates.iter().filter_map(|candidate| candidate.needs);
        let grows_to = needs.max_by_key(|&value| values.length(value)).filter(|_| only_grows);
        let is_on_the_way = beginnings(grows_to, &values);
        Self {
            candidates,
            by_return,
            by_deadline,
            versions,
            values,
            needed,
            comes_once,
            grows_to,
            is_on_the_way,
            is_hopeless,
        }
    }
}

impl Candidate {
    fn new(operation: &Operation, role: Role, values: &mut Values) -> Self {
        let binding = operation.binding_answer();
        let leaves = match operation.ask {
            Ask::Write { value, .. } => values.number(value),
            Ask::Read | Ask::Remove { .. } | Ask::Increment(_) | Ask::Append(_) => Value::ABSENT,
        };
        Self {
            ask: operation.ask,
            answer: binding.map(|(answer, _)| answer),
            version: binding.and_then(|(_, version)| version),
            invoked_at: operation.invoked_at,
            returned_at: binding.map_or(u64::MAX, |_| operation.returned_at),
            leaves,
            is_required: role == Role::Must,
            is_effectless: operation.is_effectless(),
            needs: None,
            twin: None,
        }
    }

    fn needs(&self, values: &mut Values) -> Option<Value> {
        match (self.ask, self.answer?) {
            (Ask::Read, Answer::Holds(value)) => Some(value),
            (Ask::Increment(delta), Answer::Holds(value)) => {
                let before = values.as_number(value)?.wrapping_sub(delta.cast_unsigned());
                // An absent key counts as 0 too.
                (before != 0).then(|| values.number(before))
            }
            (Ask::Append(_), Answer::Holds(value)) => values.pop(value).map(|(before, _)| before),
            (ask, Answer::Applied) => match ask.condition() {
                Condition::Absent => Some(Value::ABSENT),
                Condition::ValueIs(expected) => Some(values.number(expected)),
                Condition::Always | Condition::Present | Condition::VersionIs(_) => None,
            },
            (ask, Answer::NotMet) => (ask.condition() == Condition::Present).then_some(Value::ABSENT),
            _ => None,
        }
    }
}

fn places_by_return(candidates: &[Candidate], filter: impl Fn(&Candidate) -> bool) -> Vec<u32> {
    let mut places: Vec<u32> =
        (0..).zip(candidates).filter(|(_, candidate)| filter(candidate)).map(|(place, _)| place).collect();
    places.sort_by_key(|&place| candidates[place as usize].returned_at);
    places
}

fn find_twins(candidates: &mut [Candidate]) {
    let mut latest: HashMap<Ask, u32> = HashMap::new();
    for (place, candidate) in (0..).zip(candidates) {
        if !candidate.is_required && candidate.returned_at == u64::MAX {
            candidate.twin = latest.insert(candidate.ask, place);
        }
    }
}

/// For each value, whether it is `whole` or a beginning of it.
fn beginnings(whole: Option<Value>, values: &Values) -> Vec<bool> {
    let mut is_beginning = vec![false; values.count()];
    let mut rest = whole;
    while let Some(value) = rest {
        is_beginning[value.index()] = true;
        rest = values.pop(value).map(|(before, _)| before);
    }
    is_beginning
}

/// For each value that is named, at how many moments at most it can come about; the beginning is one.
fn sources(candidates: &[Candidate], values: &Values) -> Vec<u32> {
    let mut sources = vec![0_u32; values.count()];
    sources[Value::ABSENT.index()] = 1;
    let mut unanswered_increments = 0;
    let mut unanswered_appends: HashMap<u64, u32> = HashMap::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.is_effectless) {
        match (candidate.ask, candidate.answer) {
            (_, Some(Answer::Holds(value))) => sources[value.index()] += 1,
            (Ask::Increment(_), _) => unanswered_increments += 1,
            (Ask::Append(token), _) => *unanswered_appends.entry(token).or_default() += 1,
            _ => sources[candidate.leaves.index()] += 1,
        }
    }
    for value in values.all() {
        let Some((before, token)) = values.pop(value) else { continue };
        let increments = if before == Value::ABSENT { unanswered_increments } else { 0 };
        sources[value.index()] += increments + unanswered_appends.get(&token).copied().unwrap_or(0);
    }
    sources
}
