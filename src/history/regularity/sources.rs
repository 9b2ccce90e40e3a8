//! Where what a key held can have come from.
//!
//! Invariant: an operation that may have left a content is among its sources, however late it takes effect; where that
//! cannot be told, because an increment or append did not tell what it left, there are no sources known at all.

use std::collections::HashMap;

use crate::history::operation::Ask;
use crate::history::record::KeyHistory;
use crate::history::regularity::sighting::Content;

/// What may have left a content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// The operation; `None` is the beginning, when the key was absent.
    pub(super) place: Option<usize>,
    pub(super) invoked_at: u64,
    /// Whether, and when, it was acknowledged by a quorum: it leaves nothing anew afterwards.
    pub(super) acknowledged: Acknowledged,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Acknowledged {
    Never,
    At(u64),
    /// Before all operations.
    Always,
}

/// The sources of every content of one key.
pub(super) struct Sources {
    /// `None` if they are not known.
    by_content: Option<HashMap<Content, Vec<Source>>>,
}

impl Sources {
    pub(super) fn of(key: &KeyHistory<'_>) -> Self {
        let beginning = Source { place: None, invoked_at: 0, acknowledged: Acknowledged::Always };
        let mut by_content = HashMap::from([(Content::Absent, vec![beginning])]);
        for (place, operation) in key.operations.iter().enumerate() {
            if operation.is_effectless() {
                continue;
            }
            let content = match operation.ask {
                Ask::Write { value, .. } => Some(Content::Number(value)),
                Ask::Remove { .. } => Some(Content::Absent),
                Ask::Read | Ask::Increment(_) | Ask::Append(_) => Content::after(operation, key.values),
            };
            let Some(content) = content else { return Self { by_content: None } };
            let acknowledged = match operation.binding_answer() {
                Some(_) => Acknowledged::At(operation.returned_at),
                None => Acknowledged::Never,
            };
            let source = Source { place: Some(place), invoked_at: operation.invoked_at, acknowledged };
            by_content.entry(content).or_default().push(source);
        }
        Self { by_content: Some(by_content) }
    }

    /// What may have left `content`; empty if nothing did, or if that is not known.
    pub(super) fn of_content(&self, content: Content) -> &[Source] {
        let known = self.by_content.as_ref().and_then(|by_content| by_content.get(&content));
        known.map_or(&[], Vec::as_slice)
    }

    /// Whether `content` has sources, and they left it for the last time when they were acknowledged.
    pub(super) fn are_all_acknowledged(&self, content: Content) -> bool {
        let sources = self.of_content(content);
        !sources.is_empty() && sources.iter().all(|source| source.acknowledged != Acknowledged::Never)
    }
}
