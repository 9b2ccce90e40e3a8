//! Draws a few operations of a key as a time line for people.
//!
//! Invariant: bars show what preceded what, not how long it took: moments are spaced evenly, in order. Beside the
//! operations asked for come, marked as context, those that tried to write what they speak of, and the last changes
//! before the end of it all.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::history::operation::{Answer, Ask, Condition, Operation, Outcome};
use crate::history::record::KeyHistory;
use crate::history::value::{Value, Values};

/// Columns that bars take at most.
const COLUMNS_MAX: usize = 48;

/// Operations shown at most because they tried to write what is spoken of.
const WRITERS_MAX: usize = 8;

/// Changes shown at most because they were the last.
const CHANGES_MAX: usize = 4;

/// One line for each of the operations at `places`, and for each of their context.
pub(super) fn draw(key: &KeyHistory<'_>, places: &[usize]) -> String {
    let mut shown = context(key, places);
    shown.extend(places);
    shown.sort_by_key(|&place| (key.operations[place].invoked_at, place));
    let moments: BTreeSet<u64> = shown
        .iter()
        .map(|&place| &key.operations[place])
        .flat_map(|operation| [operation.invoked_at, operation.returned_at])
        .collect();
    let column = |at: u64| {
        let before = moments.range(..at).count();
        if 2 * moments.len() <= COLUMNS_MAX { 2 * before } else { before * COLUMNS_MAX / moments.len() }
    };
    let width = moments.last().map_or(0, |&last| column(last)) + 2;
    let mut text = String::new();
    for &place in &shown {
        let operation = &key.operations[place];
        let bar = bar(operation, column(operation.invoked_at), column(operation.returned_at));
        let role = if places.contains(&place) { ' ' } else { '.' };
        let client = operation.client.0;
        let what = describe(operation, key.values);
        let (from, to) = (operation.invoked_at, ending(operation));
        let _ = writeln!(text, "{role} client {client:<4} {bar:<width$} {what}   [{from}, {to}]");
    }
    if shown.len() > places.len() {
        text.push_str(". marks what is shown for context\n");
    }
    text
}

/// Places of a few others: operations that tried to write what those at `places` saw or left, and the last changes.
fn context(key: &KeyHistory<'_>, places: &[usize]) -> Vec<usize> {
    let tokens: BTreeSet<u64> = places
        .iter()
        .flat_map(|&place| match key.operations[place].outcome {
            Outcome::Done { answer: Answer::Holds(value), .. } => key.values.tokens(value),
            _ => Vec::new(),
        })
        .collect();
    let wrote = |operation: &Operation| match operation.ask {
        Ask::Write { value, .. } => tokens.contains(&value),
        Ask::Append(token) => tokens.contains(&token),
        Ask::Read | Ask::Remove { .. } | Ask::Increment(_) => false,
    };
    let others = (0..key.operations.len()).filter(|place| !places.contains(place));
    let mut shown: BTreeSet<usize> =
        others.clone().filter(|&place| wrote(&key.operations[place])).take(WRITERS_MAX).collect();
    let end = places.iter().map(|&place| key.operations[place].returned_at).max().unwrap_or_default();
    let is_change = |operation: &Operation| !operation.is_effectless() && operation.invoked_at <= end;
    let mut changes: Vec<usize> = others.filter(|&place| is_change(&key.operations[place])).collect();
    changes.sort_by_key(|&place| key.operations[place].invoked_at);
    shown.extend(changes.into_iter().rev().take(CHANGES_MAX));
    shown.into_iter().collect()
}

fn is_open(operation: &Operation) -> bool {
    matches!(operation.outcome, Outcome::Unknown | Outcome::Pending)
}

fn ending(operation: &Operation) -> String {
    match operation.outcome {
        Outcome::Pending => "never".to_owned(),
        _ => operation.returned_at.to_string(),
    }
}

fn bar(operation: &Operation, from: usize, to: usize) -> String {
    let end = if is_open(operation) { '>' } else { '|' };
    let dashes = "-".repeat((to - from).saturating_sub(1));
    format!("{}|{dashes}{end}", " ".repeat(from))
}

fn describe(operation: &Operation, values: &Values) -> String {
    let asked = match operation.ask {
        Ask::Read => "read".to_owned(),
        Ask::Write { value, when } => format!("write {value}{}", condition(when)),
        Ask::Remove { when } => format!("remove{}", condition(when)),
        Ask::Increment(delta) => format!("increment by {delta}"),
        Ask::Append(token) => format!("append {token}"),
    };
    let told = match operation.outcome {
        Outcome::Refused => "refused".to_owned(),
        Outcome::Unknown => "unknown".to_owned(),
        Outcome::Pending => "pending".to_owned(),
        Outcome::Done { answer, version } => {
            let answer = match answer {
                Answer::Applied => "applied".to_owned(),
                Answer::NotMet => "condition not met".to_owned(),
                Answer::Holds(Value::ABSENT) => "absent".to_owned(),
                Answer::Holds(value) => values.text(value),
                Answer::Length(tokens) => format!("{tokens} tokens now"),
            };
            version.map_or(answer.clone(), |version| format!("{answer} {version}"))
        }
    };
    let level = format!("{:?}", operation.level).to_lowercase();
    format!("{asked} -> {told}, {level}")
}

fn condition(when: Condition) -> String {
    match when {
        Condition::Always => String::new(),
        Condition::Absent => " if absent".to_owned(),
        Condition::Present => " if present".to_owned(),
        Condition::VersionIs(version) => format!(" if {version}"),
        Condition::ValueIs(value) => format!(" if it is {value}"),
    }
}
