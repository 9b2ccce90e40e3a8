//! What nodes say to each other to agree on the topology: the messages, entries and snapshots of a Raft log.
//!
//! Invariant: these mirror what the Raft library speaks of, in types of our own, so that bytes from the network are
//! read by our own bounded codec alone. What they mean is the library's business; whether they are plausible is judged
//! in [`crate::cluster::topology`] before the library sees them.
//!
//! Source: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014); PreVote, CheckQuorum
//! and leadership transfer: Ongaro's dissertation (2014), sections 3.10, 6.2 and 9.6.

use serde::{Deserialize, Serialize};

use crate::message::topology::{Command, Topology};
use crate::types::NodeNumber;

/// A number that rises with each election.
pub type Term = u64;

/// A place in the log.
pub type Index = u64;

/// What a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Entries to append.
    Append,
    /// Its answer.
    Appended,
    /// Whether a vote would be given.
    RequestPreVote,
    /// Its answer.
    PreVote,
    /// A vote is asked for.
    RequestVote,
    /// Its answer.
    Vote,
    /// The leader is there.
    Heartbeat,
    /// Its answer.
    HeartbeatHeard,
    /// A whole state instead of entries.
    Snapshot,
    /// A voter is to call an election at once.
    CampaignNow,
}

/// A message from one node to another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// What for.
    pub kind: Kind,
    /// The sender.
    pub from: NodeNumber,
    /// The receiver.
    pub to: NodeNumber,
    /// The sender's term, or the one it asks about.
    pub term: Term,
    /// The place in the log that it is about.
    pub index: Index,
    /// The term of the entry there.
    pub log_term: Term,
    /// How far the sender knows the log to be committed.
    pub commit: Index,
    /// The term of the entry there.
    pub commit_term: Term,
    /// The answer is no.
    pub reject: bool,
    /// Where the leader may try again.
    pub reject_hint: Index,
    /// The receiver is to send a snapshot of at least this index.
    pub request_snapshot: Index,
    /// The sender's priority in elections.
    pub priority: i64,
    /// Bytes that come back with the answer.
    pub context: Vec<u8>,
    /// Entries of the log.
    pub entries: Vec<Entry>,
    /// A whole state.
    pub snapshot: Option<Snapshot>,
}

/// An entry of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The term in which it was proposed.
    pub term: Term,
    /// Its place.
    pub index: Index,
    /// What it says.
    pub change: Change,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// Nothing: a leader's first.
    Nothing,
    /// The topology changes.
    Topology(Command),
    /// Who votes changes; an empty list ends a change of several.
    Voters(Vec<(Role, NodeNumber)>),
}

/// What a node becomes in the log's own membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Role {
    /// It votes.
    Voter,
    /// It only learns.
    Learner,
    /// It gets nothing.
    Gone,
}

/// Who votes on the log, and who only learns.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Electorate {
    /// They vote.
    pub voters: Vec<NodeNumber>,
    /// They learn.
    pub learners: Vec<NodeNumber>,
    /// They voted before a change that has not ended, and still count.
    pub voters_outgoing: Vec<NodeNumber>,
    /// They become learners when it ends.
    pub learners_next: Vec<NodeNumber>,
    /// The change ends by itself.
    pub auto_leave: bool,
}

/// The state up to a place in the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last place that it includes.
    pub index: Index,
    /// The term of the entry there.
    pub term: Term,
    /// Who votes.
    pub electorate: Electorate,
    /// What was agreed on.
    pub topology: Topology,
}

/// What a node must remember of the log, whatever happens to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Image {
    /// The latest term that it knows of.
    pub term: Term,
    /// Whom it voted for in it.
    pub vote: Option<NodeNumber>,
    /// How far the log was known to be committed.
    pub commit: Index,
    /// The state at which the entries begin.
    pub snapshot: Snapshot,
    /// The entries after it.
    pub entries: Vec<Entry>,
}
