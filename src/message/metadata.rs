//! What a node must find again when it is started anew, even if its data were in memory alone.
//!
//! Invariant: it is on disk before anything is said that depends on it.

use serde::{Deserialize, Serialize};

use crate::message::consensus::Image;
use crate::message::topology::Name;
use crate::types::{NodeNumber, WallTime};

/// A node's metadata.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Metadata {
    /// What the node is called.
    pub name: Name,
    /// Its number.
    pub number: NodeNumber,
    /// No version that it issued or stored is beyond this time.
    pub ceiling: WallTime,
    /// Its part of the topology log.
    pub image: Image,
}
