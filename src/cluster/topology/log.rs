//! What the library keeps of the log, in memory: the entries after a snapshot, and the state up to what was applied.
//!
//! Invariant: entries follow the snapshot without a gap; what was applied lies between the snapshot and the last entry.
//! An [`Image`] of it is all that a restart needs. Whether an image is durable is the caller's business.

use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::convert;
use crate::config::topology::ENTRIES_MAX;
use crate::message::consensus::{Electorate, Image, Index, Snapshot, Term};
use crate::types::NodeNumber;

/// The log of one node.
pub(super) struct Log {
    term: Term,
    vote: Option<NodeNumber>,
    commit: Index,
    /// Where the entries begin.
    snapshot: Snapshot,
    entries: Vec<eraftpb::Entry>,
    /// The state up to what was applied.
    pub(super) applied: Snapshot,
}

impl Log {
    /// The log that an image describes.
    pub(super) fn new(image: &Image) -> Self {
        Self {
            term: image.term,
            vote: image.vote,
            commit: image.commit,
            applied: image.snapshot.clone(),
            snapshot: image.snapshot.clone(),
            entries: image.entries.iter().map(convert::to_entry).collect(),
        }
    }

    /// What must outlive the process.
    pub(super) fn image(&self) -> Image {
        Image {
            term: self.term,
            vote: self.vote,
            commit: self.commit,
            snapshot: self.snapshot.clone(),
            entries: self.entries.iter().map(convert::from_own_entry).collect(),
        }
    }

    pub(super) fn set_hard_state(&mut self, state: &eraftpb::HardState) {
        (self.term, self.vote, self.commit) = (state.term, convert::node(state.vote), state.commit);
    }

    pub(super) fn set_commit(&mut self, commit: Index) {
        self.commit = commit;
    }

    /// Appends entries, in place of any that are there from the first of them on.
    pub(super) fn append(&mut self, entries: &[eraftpb::Entry]) {
        let Some(first) = entries.first() else { return };
        let kept = first.index.checked_sub(self.snapshot.index + 1).expect("nothing committed is replaced");
        self.entries.truncate(kept as usize);
        assert_eq!(self.entries.len() as u64, kept, "entries follow each other");
        self.entries.extend_from_slice(entries);
    }

    /// Takes a whole state in place of the log.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        self.entries.clear();
        self.commit = self.commit.max(snapshot.index);
        self.applied = snapshot.clone();
        self.snapshot = snapshot;
    }

    /// Forgets entries that were applied, if there are many.
    pub(super) fn compact(&mut self) {
        if self.entries.len() > ENTRIES_MAX {
            let applied = (self.applied.index - self.snapshot.index) as usize;
            self.entries.drain(..applied);
            self.snapshot = self.applied.clone();
        }
    }

    /// The term of the entry at `index`, if it is known.
    fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.snapshot.index {
            return Some(self.snapshot.term);
        }
        let place = index.checked_sub(self.snapshot.index + 1)?;
        self.entries.get(place as usize).map(|entry| entry.term)
    }

    fn last(&self) -> Index {
        self.snapshot.index + self.entries.len() as u64
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let mut hard_state = eraftpb::HardState::default();
        (hard_state.term, hard_state.commit) = (self.term, self.commit);
        hard_state.vote = self.vote.map_or(0, convert::id);
        // A node that was just let in knows no electorate before the leader sends it one.
        let electorate =
            if self.snapshot.index == 0 { &Electorate::default() } else { &self.snapshot.electorate };
        Ok(RaftState::new(hard_state, convert::to_conf_state(electorate)))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        let Some(from) = low.checked_sub(self.snapshot.index + 1) else {
            return Err(StorageError::Compacted.into());
        };
        let to = high - self.snapshot.index - 1;
        let mut entries =
            self.entries.get(from as usize..to as usize).ok_or(StorageError::Unavailable)?.to_vec();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.snapshot.index {
            return Err(StorageError::Compacted.into());
        }
        self.term_at(index).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.snapshot.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _: u64) -> raft::Result<eraftpb::Snapshot> {
        if request_index > self.applied.index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(convert::to_snapshot(&self.applied))
    }
}
