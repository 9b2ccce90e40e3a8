//! What a history proves.

use annulus::history::linearizability::{self, Budget};
use annulus::history::{History, Verdict, regularity};
use annulus::types::Level;
use serde::{Deserialize, Serialize};

/// What was found, in a word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Judgement {
    /// Every promise was kept.
    Kept,
    /// Not all could be judged; of what could be, every promise was kept.
    Undecided,
    /// A promise was broken.
    Broken,
}

/// What was found, key by key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub(crate) judgement: Judgement,
    /// Keys whose operations were judged by order.
    pub(crate) linearizable_keys: u64,
    /// Keys that were judged by what quorums promise.
    pub(crate) quorum_keys: u64,
    pub(crate) undecided_keys: u64,
    /// The smallest parts of the history that prove a broken promise.
    pub(crate) violations: Vec<String>,
}

/// Judges each key by the level of its operations.
pub(crate) fn judge(history: &History) -> Judged {
    let mut judged = Judged {
        judgement: Judgement::Kept,
        linearizable_keys: 0,
        quorum_keys: 0,
        undecided_keys: 0,
        violations: Vec::new(),
    };
    for key in history.keys() {
        let linearizable = key.operations.iter().all(|operation| operation.level == Level::Linearizable);
        let verdict = if linearizable {
            judged.linearizable_keys += 1;
            linearizability::check(&key, &Budget::default())
        } else {
            judged.quorum_keys += 1;
            regularity::check(&key)
        };
        match verdict {
            Verdict::Holds => {}
            Verdict::Undecided(_) => {
                judged.undecided_keys += 1;
                judged.judgement = judged.judgement.max(Judgement::Undecided);
            }
            Verdict::Violation(violation) => {
                judged.judgement = Judgement::Broken;
                judged.violations.push(violation.to_string());
            }
        }
    }
    judged
}
