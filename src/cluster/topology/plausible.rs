//! Whether a message may be shown to the Raft library, which ends the process when what it hears cannot be.
//!
//! Invariant: a message that passes contradicts nothing that this node knows to be committed, speaks of no entries
//! that neither side has, and carries entries in order. One that does not comes from a node that lost its disk or runs
//! something else, and is dropped.

use raft::{RawNode, StateRole};

use super::convert;
use super::log::Log;
use crate::config::topology::MESSAGE_ENTRIES_MAX;
use crate::message::consensus::{Electorate, Kind, Message, Snapshot};
use crate::types::NodeNumber;

/// Whether `message` is one that a node of this log can have sent to this one.
pub(super) fn is_plausible(message: &Message, raft: &RawNode<Log>, own: NodeNumber) -> bool {
    let log = &raft.raft.raft_log;
    // The library takes a message without a term for one of this node to itself.
    let addressed = message.to == own && message.from != own && message.from.0 > 0 && message.term > 0;
    let leads = raft.raft.state == StateRole::Leader;
    // Two leaders of one term cannot be.
    let rivals = leads && message.term == raft.raft.term;
    let bounded = message.context.len() <= 64 && message.entries.len() <= MESSAGE_ENTRIES_MAX;
    let kind_fits = match message.kind {
        Kind::Append => {
            !rivals
                && follow_each_other(message)
                && agree_with_committed(message, raft)
                && message.snapshot.is_none()
        }
        Kind::Heartbeat => !rivals && message.commit <= log.last_index(),
        Kind::Snapshot => {
            !rivals && message.snapshot.as_ref().is_some_and(|snapshot| is_sound(snapshot, own))
        }
        Kind::Appended => message.index <= log.last_index() || !leads || message.term != raft.raft.term,
        // Who has heard of no leader yet has no vote.
        Kind::RequestPreVote | Kind::RequestVote => raft.raft.term > 0,
        _ => true,
    };
    let carries = matches!(message.kind, Kind::Append) || message.entries.is_empty();
    addressed && bounded && kind_fits && carries
}

fn follow_each_other(message: &Message) -> bool {
    // To the library, an entry that nobody has is of term 0.
    if message.log_term == 0 && message.index > 0 {
        return false;
    }
    let mut before = (message.index, message.log_term);
    message.entries.iter().all(|entry| {
        let follows = before.0.checked_add(1) == Some(entry.index) && before.1 <= entry.term;
        before = (entry.index, entry.term);
        follows && entry.term <= message.term
    })
}

/// Whether no entry differs from one that is known to be committed.
fn agree_with_committed(message: &Message, raft: &RawNode<Log>) -> bool {
    let log = &raft.raft.raft_log;
    let committed = message.entries.iter().take_while(|entry| entry.index <= log.committed);
    let known = |index| log.term(index).unwrap_or(0);
    let first_matches = message.index > log.committed || {
        let term = known(message.index);
        term == 0 || term == message.log_term
    };
    first_matches && committed.into_iter().all(|entry| [0, entry.term].contains(&known(entry.index)))
}

fn is_sound(snapshot: &Snapshot, own: NodeNumber) -> bool {
    let Electorate { voters, learners, voters_outgoing, learners_next, auto_leave } = &snapshot.electorate;
    let distinct = |nodes: &[NodeNumber]| {
        let mut sorted = nodes.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.len() == nodes.len() && !nodes.contains(&NodeNumber(0))
    };
    let all = [voters, learners, voters_outgoing];
    let apart = learners.iter().all(|node| !voters.contains(node) && !voters_outgoing.contains(node));
    let known = all.iter().any(|nodes| nodes.contains(&own));
    let leaves_for = |node: &NodeNumber| voters_outgoing.contains(node) && !voters.contains(node);
    let next = learners_next.iter().all(leaves_for) && (!auto_leave || !voters_outgoing.is_empty());
    let lists = all.iter().all(|nodes| distinct(nodes)) && distinct(learners_next);
    !voters.is_empty()
        && lists
        && apart
        && known
        && next
        && snapshot.index > 0
        && snapshot.term > 0
        && convert::id(own) > 0
}
