//! What the nodes of a cluster agree on: who belongs to it, in which life, who owns what, and the settings they share.
//!
//! Invariant: these are data; the rules by which a [`Command`] changes a [`Topology`] are in
//! [`crate::cluster::topology`], and every node applies the same commands in the same order. A name is valid once it
//! exists. No map here depends on a hash seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::types::{ClusterId, Epoch, Incarnation, NodeNumber, RunId, WallTime, Zone};

/// Bytes of a name at most.
pub const NAME_BYTES_MAX: usize = 64;

/// What people call a node or a zone: 1 to [`NAME_BYTES_MAX`] letters, digits, dots, hyphens and underscores.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// A text is no name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a name is 1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens and underscores")]
pub struct NotAName;

impl Name {
    /// The name.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl std::str::FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let sound = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(valid);
        if sound { Ok(Self(text.into())) } else { Err(NotAName) }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a node does in the cluster, as the log has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NodeState {
    /// It takes part, but owns nothing: the cluster is not open yet, or nothing has moved to it so far.
    Joined,
    /// It is getting what is to be its own when the movement under way ends.
    Joining,
    /// It owns its places of the ring and counts.
    Active,
    /// It owns its places of the ring and has come back without its data: it counts for nothing.
    Recovering,
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Joined => "joined",
            Self::Joining => "joining",
            Self::Active => "active",
            Self::Recovering => "recovering",
        })
    }
}

/// A node, as the log has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Node {
    /// What people call it.
    pub name: Name,
    /// Its present life, as the cluster counts them.
    pub incarnation: Incarnation,
    /// Its present life, as the process drew it.
    pub run: RunId,
    /// Where other nodes reach it.
    pub peer_address: SocketAddr,
    /// Where clients reach it.
    pub client_address: SocketAddr,
    /// What fails together with it.
    pub zone: Zone,
    /// How many places it takes on the ring.
    pub virtual_nodes: u16,
    /// Whose places on the ring it has: its own, or those of the node that it replaced.
    pub seat: NodeNumber,
    /// What it does.
    pub state: NodeState,
    /// Up to when what it holds may be what others handed over to it: that it holds such a cell proves nothing.
    pub heard_until: WallTime,
}

/// Keys on their way from the nodes that own them to those that are to own them.
///
/// Until it ends, every level is met among both.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Movement {
    /// The epoch that it began with, which tells it from others.
    pub since: Epoch,
    /// In how many copies keys are kept afterwards.
    pub copies: u8,
    /// Who has yet to get something.
    pub awaited: BTreeSet<NodeNumber>,
}

/// What all nodes are told to do alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Replicas of a key, if there are so many nodes. Set when the cluster is made.
    pub replication_factor: u8,
    /// With how many nodes the cluster opens. Set when the cluster is made.
    pub opens_with: u16,
    /// How far ahead of a replica's clock a new version may be, in milliseconds.
    pub drift_max_ms: u32,
    /// How long an operation may take, in milliseconds.
    pub operation_timeout_ms: u32,
}

/// A setting that can be changed while the cluster runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Setting {
    /// See [`Settings::drift_max_ms`].
    DriftMaxMs(u32),
    /// See [`Settings::operation_timeout_ms`].
    OperationTimeoutMs(u32),
    /// See [`Settings::replication_factor`].
    ReplicationFactor(u8),
}

/// What the nodes of a cluster agree on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Topology {
    /// Which cluster: drawn when it was made.
    pub cluster: ClusterId,
    /// The seed of every hash of a key.
    pub hash_seed: u64,
    /// The state of ownership.
    pub epoch: Epoch,
    /// Whether keys are served: once it is open, the ring changes by moves alone.
    pub open: bool,
    /// How often a node counted again though fewer other replicas of a range had kept their data than it takes to have
    /// every acknowledged write.
    pub losses: u32,
    /// What all are told.
    pub settings: Settings,
    /// In how many copies keys are kept, if there are so many nodes: what the setting was when they last moved.
    pub copies: u8,
    /// What moves.
    pub movement: Option<Movement>,
    /// The nodes, by number.
    pub nodes: BTreeMap<NodeNumber, Node>,
    /// The zones' names, in the order of their numbers.
    pub zones: Vec<Name>,
    /// The number of the next node.
    pub next_node: NodeNumber,
    /// The next life's number.
    pub next_incarnation: Incarnation,
}

/// A process that wants to be a node, or to be it again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entrance {
    /// What it is called.
    pub name: Name,
    /// Its life.
    pub run: RunId,
    /// The number that it had in its life before, by its own metadata.
    pub was: Option<NodeNumber>,
    /// It has every value and every promise that it had in its life before, so it counts as it did.
    pub keeps_data: bool,
    /// It takes the place of the node of this name, which is dead.
    pub replaces: bool,
    /// Where other nodes reach it.
    pub peer_address: SocketAddr,
    /// Where clients reach it.
    pub client_address: SocketAddr,
    /// Its zone.
    pub zone: Name,
    /// How many places it takes on the ring.
    pub virtual_nodes: u16,
}

/// What the log orders.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Command {
    /// A process becomes a node, or a node's next life.
    Enter(Entrance),
    /// A setting is changed.
    Set(Setting),
    /// A node has got back what it had lost, from the other replicas, and counts again.
    Recovered {
        /// Which.
        node: NodeNumber,
        /// In which life.
        incarnation: Incarnation,
        /// The latest time that those who handed it over had stored or promised anything for.
        heard: WallTime,
    },
    /// A node that owns nothing goes for good.
    Remove {
        /// Which.
        node: NodeNumber,
    },
    /// Keys begin to move to those that are to own them.
    Move {
        /// Who owns something afterwards that owns nothing now.
        comes: BTreeSet<NodeNumber>,
        /// In how many copies keys are kept afterwards.
        copies: u8,
    },
    /// A node has got everything that a movement brings it.
    Filled {
        /// Which.
        node: NodeNumber,
        /// In which life.
        incarnation: Incarnation,
        /// Which movement.
        since: Epoch,
        /// The latest time that those who handed it over had stored or promised anything for.
        heard: WallTime,
    },
    /// A movement ends as if it had never begun.
    CallOff {
        /// Which.
        since: Epoch,
    },
    /// Nodes that cannot be heard count for nothing until they have recovered: what only they have is given up.
    Revoke {
        /// Which: whoever leads must take them for dead too.
        nodes: BTreeSet<NodeNumber>,
    },
}

/// Why a command is not carried out. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum Denial {
    /// Another process has the name.
    #[error(
        "another node has the name {0}: choose another with --id, or, if that node is dead and its metadata is lost, \
         say --replace"
    )]
    NameTaken(Name),
    /// The node that is to be replaced is not dead.
    #[error("the node {0} is alive: stop it before it is replaced")]
    HolderAlive(Name),
    /// There is nobody to replace.
    #[error("there is no node {0} to replace: start without --replace")]
    NobodyToReplace(Name),
    /// The node's metadata speak of another node than the log.
    #[error(
        "this cluster has no node {0} of that number (it was replaced?): remove its metadata and let it join anew"
    )]
    NotThatNode(Name),
    /// There are as many nodes as there may be.
    #[error("the cluster has {0} nodes already, the most that there may be")]
    TooManyNodes(u16),
    /// Every number has been given away.
    #[error("the cluster has given away all its numbers: make a new one")]
    NumbersSpent,
    /// A setting is out of bounds.
    #[error("{0}")]
    OutOfBounds(String),
    /// The life that is spoken of is over.
    #[error("node {0:?} has begun another life since")]
    LifeOver(NodeNumber),
    /// It holds keys.
    #[error("node {0:?} owns part of the ring: it cannot be removed before that has moved")]
    OwnsRanges(NodeNumber),
    /// Nothing can begin to move.
    #[error("keys are moving already, or what they are to move to is what is so")]
    NothingToMove,
    /// A movement that is spoken of has ended.
    #[error("the movement that began with {0:?} has ended")]
    MovementOver(Epoch),
    /// The node never owned what it could have lost.
    #[error("node {0:?} owns no part of the ring: it has nothing to recover")]
    NothingToRecover(NodeNumber),
    /// What is to be given up is not lost.
    #[error("the node {0} is alive: what it has is not given up")]
    Alive(Name),
}
