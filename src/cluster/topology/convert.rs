//! Between the Raft library's types and ours.
//!
//! Invariant: what the library reads as protobuf was written as protobuf by this process, from types of ours: bytes of
//! another node or of the disk never reach that parser. A snapshot's data and an entry's are our own encoding.
//! The library's number of a node is the node's.

use protobuf::Message as _;
use raft::eraftpb::{self, ConfChangeSingle, ConfChangeType, ConfChangeV2, EntryType, MessageType};

use crate::message::consensus::{Change, Electorate, Entry, Kind, Message, Role, Snapshot};
use crate::types::NodeNumber;

const KINDS: [(Kind, MessageType); 10] = [
    (Kind::Append, MessageType::MsgAppend),
    (Kind::Appended, MessageType::MsgAppendResponse),
    (Kind::RequestPreVote, MessageType::MsgRequestPreVote),
    (Kind::PreVote, MessageType::MsgRequestPreVoteResponse),
    (Kind::RequestVote, MessageType::MsgRequestVote),
    (Kind::Vote, MessageType::MsgRequestVoteResponse),
    (Kind::Heartbeat, MessageType::MsgHeartbeat),
    (Kind::HeartbeatHeard, MessageType::MsgHeartbeatResponse),
    (Kind::Snapshot, MessageType::MsgSnapshot),
    (Kind::CampaignNow, MessageType::MsgTimeoutNow),
];

const ROLES: [(Role, ConfChangeType); 3] = [
    (Role::Voter, ConfChangeType::AddNode),
    (Role::Learner, ConfChangeType::AddLearnerNode),
    (Role::Gone, ConfChangeType::RemoveNode),
];

pub(super) fn id(node: NodeNumber) -> u64 {
    u64::from(node.0)
}

/// The node of a number of the library's; `None` for its "nobody".
pub(super) fn node(id: u64) -> Option<NodeNumber> {
    u16::try_from(id).ok().filter(|&number| number > 0).map(NodeNumber)
}

fn nodes(ids: &[u64]) -> Vec<NodeNumber> {
    ids.iter().copied().filter_map(node).collect()
}

fn ids(nodes: &[NodeNumber]) -> Vec<u64> {
    nodes.iter().copied().map(id).collect()
}

pub(super) fn to_conf_state(electorate: &Electorate) -> eraftpb::ConfState {
    let mut state = eraftpb::ConfState::default();
    state.set_voters(ids(&electorate.voters));
    state.set_learners(ids(&electorate.learners));
    state.set_voters_outgoing(ids(&electorate.voters_outgoing));
    state.set_learners_next(ids(&electorate.learners_next));
    state.auto_leave = electorate.auto_leave;
    state
}

pub(super) fn from_conf_state(state: &eraftpb::ConfState) -> Electorate {
    Electorate {
        voters: nodes(state.get_voters()),
        learners: nodes(state.get_learners()),
        voters_outgoing: nodes(state.get_voters_outgoing()),
        learners_next: nodes(state.get_learners_next()),
        auto_leave: state.auto_leave,
    }
}

/// The library's form of a change of voters.
pub(super) fn to_conf_change(roles: &[(Role, NodeNumber)]) -> ConfChangeV2 {
    let change = |&(role, node): &(Role, NodeNumber)| {
        let (_, kind) = ROLES[role as usize];
        let mut single = ConfChangeSingle::default();
        single.set_change_type(kind);
        single.node_id = id(node);
        single
    };
    let mut change_of_all = ConfChangeV2::default();
    change_of_all.set_changes(roles.iter().map(change).collect::<Vec<_>>().into());
    change_of_all
}

/// The command that an entry of this process carries.
pub(super) fn command_bytes(change: &Change) -> Vec<u8> {
    postcard::to_stdvec(change).expect("what is in memory can be written")
}

pub(super) fn to_entry(entry: &Entry) -> eraftpb::Entry {
    let mut mirrored = eraftpb::Entry::default();
    (mirrored.term, mirrored.index) = (entry.term, entry.index);
    match &entry.change {
        Change::Nothing => {}
        Change::Topology(_) => mirrored.data = command_bytes(&entry.change).into(),
        Change::Voters(roles) => {
            mirrored.set_entry_type(EntryType::EntryConfChangeV2);
            let bytes = to_conf_change(roles).write_to_bytes().expect("what is in memory can be written");
            mirrored.data = bytes.into();
        }
    }
    mirrored
}

/// Our form of an entry that this process made, from ours or as the leader.
pub(super) fn from_own_entry(entry: &eraftpb::Entry) -> Entry {
    let change = if entry.get_entry_type() == EntryType::EntryNormal {
        if entry.data.is_empty() { Change::Nothing } else { command(&entry.data) }
    } else {
        let change = conf_change(entry);
        let role = |single: &ConfChangeSingle| {
            let (role, _) = ROLES.iter().find(|(_, kind)| *kind == single.get_change_type())?;
            Some((*role, node(single.node_id)?))
        };
        Change::Voters(change.get_changes().iter().filter_map(role).collect())
    };
    Entry { term: entry.term, index: entry.index, change }
}

/// What an entry that this process made changes about who votes.
pub(super) fn conf_change(entry: &eraftpb::Entry) -> ConfChangeV2 {
    ConfChangeV2::parse_from_bytes(&entry.data).expect("this process wrote it")
}

fn command(bytes: &[u8]) -> Change {
    postcard::from_bytes(bytes).expect("this process wrote it")
}

pub(super) fn to_snapshot(snapshot: &Snapshot) -> eraftpb::Snapshot {
    let data = postcard::to_stdvec(snapshot).expect("what is in memory can be written");
    let mut mirrored = eraftpb::Snapshot { data: data.into(), ..eraftpb::Snapshot::default() };
    let metadata = mirrored.mut_metadata();
    (metadata.index, metadata.term) = (snapshot.index, snapshot.term);
    metadata.set_conf_state(to_conf_state(&snapshot.electorate));
    mirrored
}

/// Our form of a snapshot that this process made from ours.
pub(super) fn from_own_snapshot(snapshot: &eraftpb::Snapshot) -> Snapshot {
    postcard::from_bytes(&snapshot.data).expect("this process wrote it")
}

pub(super) fn to_message(message: &Message) -> eraftpb::Message {
    let mut mirrored = eraftpb::Message::default();
    let kind = KINDS.iter().find(|(kind, _)| *kind == message.kind);
    mirrored.set_msg_type(kind.expect("each kind has its row").1);
    (mirrored.from, mirrored.to, mirrored.term) = (id(message.from), id(message.to), message.term);
    (mirrored.index, mirrored.log_term) = (message.index, message.log_term);
    (mirrored.commit, mirrored.commit_term) = (message.commit, message.commit_term);
    (mirrored.reject, mirrored.reject_hint) = (message.reject, message.reject_hint);
    (mirrored.request_snapshot, mirrored.priority) = (message.request_snapshot, message.priority);
    mirrored.context = message.context.clone().into();
    mirrored.set_entries(message.entries.iter().map(to_entry).collect::<Vec<_>>().into());
    if let Some(snapshot) = &message.snapshot {
        mirrored.set_snapshot(to_snapshot(snapshot));
    }
    mirrored
}

/// Our form of a message that the library wants to send; `None` for one that is not for another node.
pub(super) fn from_message(message: &eraftpb::Message) -> Option<Message> {
    let (kind, _) = KINDS.iter().find(|(_, kind)| *kind == message.get_msg_type())?;
    let snapshot = message.get_snapshot();
    Some(Message {
        kind: *kind,
        from: node(message.from)?,
        to: node(message.to)?,
        term: message.term,
        index: message.index,
        log_term: message.log_term,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        request_snapshot: message.request_snapshot,
        priority: message.priority,
        context: message.context.to_vec(),
        entries: message.get_entries().iter().map(from_own_entry).collect(),
        snapshot: (!snapshot.data.is_empty()).then(|| from_own_snapshot(snapshot)),
    })
}
