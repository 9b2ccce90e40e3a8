//! Results of runs, a line of JSON each, so that hundreds add up.
//!
//! Invariant: a line is appended when its run has ended, whole; what another version of this wrote and is not
//! understood is an error, not skipped.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::judge::{Judged, Judgement};

/// What a run came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunResult {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) nodes: u8,
    pub(crate) judged: Judged,
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) longest_gap_ms: u64,
    /// How often each kind of trouble was made.
    pub(crate) troubles: BTreeMap<String, u64>,
    /// How often a node counted again without all that was acknowledged.
    pub(crate) losses: u64,
    /// Nodes that ended by themselves.
    pub(crate) ended: Vec<String>,
}

impl RunResult {
    /// Whether nothing was found.
    pub(crate) fn judgement(&self) -> Judgement {
        if self.ended.is_empty() && self.losses == 0 { self.judged.judgement } else { Judgement::Broken }
    }
}

/// The results in a file; none if it is not there.
pub(crate) fn read(path: &Path) -> Result<Vec<RunResult>, Box<dyn Error>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display()).into()),
    };
    let wrong = |line: usize, error| format!("{}: line {}: {error}", path.display(), line + 1);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    let parsed = lines.map(|(line, text)| serde_json::from_str(text).map_err(|error| wrong(line, error)));
    Ok(parsed.collect::<Result<Vec<RunResult>, String>>()?)
}

pub(crate) fn append(path: &Path, result: &RunResult) -> Result<(), Box<dyn Error>> {
    let line = serde_json::to_string(result)? + "\n";
    let mut file = File::options().create(true).append(true).open(path)?;
    file.write_all(line.as_bytes())?;
    Ok(file.sync_all()?)
}

/// All of them in words.
pub(crate) fn summary(results: &[RunResult]) -> String {
    let sum = |of: fn(&RunResult) -> u64| results.iter().map(of).sum::<u64>();
    let count = |judgement| results.iter().filter(|result| result.judgement() == judgement).count();
    let mut troubles: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in results.iter().flat_map(|result| &result.troubles) {
        *troubles.entry(kind).or_default() += count;
    }
    let troubles: Vec<String> = troubles.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    format!(
        "{} runs, {} s of load: {} kept every promise, {} broke one, {} undecided\n\
         {} operations done, {} refused, {} of unknown outcome; longest time without one done {} ms\n\
         {} keys judged by order, {} by what quorums promise\n\
         trouble: {}",
        results.len(),
        sum(|result| result.seconds),
        count(Judgement::Kept),
        count(Judgement::Broken),
        count(Judgement::Undecided),
        sum(|result| result.done),
        sum(|result| result.refused),
        sum(|result| result.unknown),
        results.iter().map(|result| result.longest_gap_ms).max().unwrap_or(0),
        sum(|result| result.judged.linearizable_keys),
        sum(|result| result.judged.quorum_keys),
        troubles.join(", ")
    )
}
