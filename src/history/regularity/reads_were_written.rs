//! What is read was written: by an operation that was asked before the read ended, and that was not refused.
//!
//! Holds of every read at every level. Of a list, every token must have been written. The numbers that increments leave
//! are known only by their answers: while one increment of a key has none that told, no number of that key is judged.

use std::collections::HashMap;

use crate::history::operation::{Answer, Ask, Operation, Outcome};
use crate::history::record::KeyHistory;
use crate::history::verdict::{Promise, Verdict, Violation};

/// Judges one key.
#[must_use]
pub fn check(key: &KeyHistory<'_>) -> Verdict {
    let Some(written) = first_written(key) else { return Verdict::Holds };
    for (place, operation) in key.operations.iter().enumerate() {
        let (Ask::Read, Outcome::Done { answer: Answer::Holds(value), .. }) =
            (operation.ask, operation.outcome)
        else {
            continue;
        };
        let was_written =
            |token| written.get(&token).is_some_and(|&written_at| written_at <= operation.returned_at);
        if !key.values.tokens(value).into_iter().all(was_written) {
            let violation = Violation::new(Promise::ReadsWereWritten, key, vec![place], true);
            return Verdict::Violation(Box::new(violation));
        }
    }
    Verdict::Holds
}

/// For each token that may have been written, when that was first asked; `None` if it cannot be told which they are.
fn first_written(key: &KeyHistory<'_>) -> Option<HashMap<u64, u64>> {
    let mut written = HashMap::new();
    for operation in key.operations.iter().filter(|operation| !operation.is_effectless()) {
        let token = match operation.ask {
            Ask::Write { value: token, .. } | Ask::Append(token) => token,
            Ask::Increment(_) => sum(operation, key)?,
            Ask::Read | Ask::Remove { .. } => continue,
        };
        let first = written.entry(token).or_insert(operation.invoked_at);
        *first = operation.invoked_at.min(*first);
    }
    Some(written)
}

fn sum(operation: &Operation, key: &KeyHistory<'_>) -> Option<u64> {
    match operation.outcome {
        Outcome::Done { answer: Answer::Holds(value), .. } => key.values.as_number(value),
        _ => None,
    }
}
