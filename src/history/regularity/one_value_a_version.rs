//! A version is issued once and stands for one value, whoever sees it at whatever level.
//!
//! Increments and appends count as far as they tell what they left. A removal may tell the version of an absence that
//! it found, so two of them may tell the same.

use std::collections::HashMap;

use crate::history::operation::{Ask, Outcome, Rank};
use crate::history::record::KeyHistory;
use crate::history::regularity::sighting::Content;
use crate::history::verdict::{Promise, Verdict, Violation};

/// Judges one key.
#[must_use]
pub fn check(key: &KeyHistory<'_>) -> Verdict {
    let mut issued: HashMap<Rank, usize> = HashMap::new();
    let mut seen: HashMap<Rank, (Content, usize)> = HashMap::new();
    for (place, operation) in key.operations.iter().enumerate() {
        let Outcome::Done { version: Some(version), .. } = operation.outcome else { continue };
        let issues = !operation.is_effectless() && !matches!(operation.ask, Ask::Remove { .. });
        let other_issue = issues.then(|| issued.insert(version, place)).flatten();
        let other_content = Content::after(operation, key.values).and_then(|content| {
            let &mut (known, other) = seen.entry(version).or_insert((content, place));
            (known != content).then_some(other)
        });
        if let Some(other) = other_issue.or(other_content) {
            let violation = Violation::new(Promise::OneValueAVersion, key, vec![other, place], true);
            return Verdict::Violation(Box::new(violation));
        }
    }
    Verdict::Holds
}
