//! A cluster as one of its nodes describes it to clients and operators.
//!
//! Invariant: fields are only ever added, so that who reads a description ignores what it does not know. Numbers that
//! may be beyond 2^53 are texts, because many readers of JSON have no others.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What a node knows of its cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// Which cluster, in hexadecimal digits.
    pub id: String,
    /// The seed of every hash of a key, in decimal digits.
    pub hash_seed: String,
    /// The name of the node that says all this.
    pub told_by: String,
    /// The name of the node that leads, if one is known.
    pub leader: Option<String>,
    /// The leader's term.
    pub term: u64,
    /// Since when that is known, in milliseconds.
    pub leader_known_for_ms: u64,
    /// The state of ownership.
    pub epoch: u64,
    /// Whether keys are served.
    pub open: bool,
    /// Whether who votes is about to change: until then it takes a majority of those before as well.
    pub voters_changing: bool,
    /// How often a node counted again with less than every acknowledged write.
    pub losses: u32,
    /// In how many copies keys are kept, if there are so many nodes.
    pub copies: u8,
    /// What all nodes are told.
    pub settings: Settings,
    /// What moves, if something does.
    pub movement: Option<Movement>,
    /// The nodes, in the order of their numbers.
    pub nodes: Vec<Node>,
}

/// What all nodes are told to do alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Replicas of a key, if there are so many nodes.
    pub replication_factor: u8,
    /// How far ahead of a replica's clock a new version may be, in milliseconds.
    pub drift_max_ms: u32,
    /// How long an operation may take, in milliseconds.
    pub operation_timeout_ms: u32,
}

/// Keys on their way from the nodes that own them to those that are to own them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Movement {
    /// The epoch that it began with.
    pub since: u64,
    /// In how many copies keys are kept afterwards.
    pub copies: u8,
    /// The names of the nodes that have yet to get something.
    pub awaited: Vec<String>,
}

/// A node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Node {
    /// What people call it.
    pub name: String,
    /// Its number, which no other node ever had.
    pub number: u16,
    /// Whose places on the ring it has: its own, or those of the node that it replaced.
    pub seat: u16,
    /// What fails together with it.
    pub zone: String,
    /// How many places it takes on the ring.
    pub virtual_nodes: u16,
    /// What the log has it do: joined, joining, active or recovering.
    pub state: String,
    /// What gossip has of it: alive, suspected or dead.
    pub liveness: String,
    /// Whether it votes on leaders.
    pub votes: bool,
    /// Its present life.
    pub incarnation: u32,
    /// Where other nodes reach it.
    pub peers: SocketAddr,
    /// Where clients reach it.
    pub clients: SocketAddr,
    /// Links to it from the node that tells this, of all workers.
    pub links: u64,
}

impl Node {
    /// Whether it is thought to answer.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.liveness == "alive"
    }

    /// Whether it owns a part of the ring.
    #[must_use]
    pub fn owns(&self) -> bool {
        self.state == "active" || self.state == "recovering"
    }
}
