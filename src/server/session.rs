//! What a client has said about itself: protocol, names, level.
//!
//! Invariant: a session outlives no connection and is touched by one worker only.

use crate::protocol::resp::RespVersion;
use crate::types::{Level, Timestamp};

/// What the first byte told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// No byte yet.
    Unknown,
    /// RESP, in the version that the session says.
    Resp,
    /// The native protocol.
    Native,
}

/// One client's session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Never given twice in a node's life.
    pub(crate) id: u64,
    pub(crate) protocol: Protocol,
    pub(crate) resp: RespVersion,
    /// The level of requests that carry none.
    pub(crate) level: Level,
    pub(crate) name: Box<[u8]>,
    pub(crate) library_name: Box<[u8]>,
    pub(crate) library_version: Box<[u8]>,
    pub(crate) connected_at: Timestamp,
    /// Answer what came before, then close.
    pub(crate) closing: bool,
    /// An answer is being gathered elsewhere; what follows waits for it.
    pub(crate) waiting: bool,
}

impl Session {
    pub(crate) fn new(id: u64, connected_at: Timestamp) -> Self {
        Self {
            id,
            protocol: Protocol::Unknown,
            resp: RespVersion::Two,
            level: Level::default(),
            name: Box::default(),
            library_name: Box::default(),
            library_version: Box::default(),
            connected_at,
            closing: false,
            waiting: false,
        }
    }

    /// Back to what a new connection has, but for its id.
    pub(crate) fn reset(&mut self) {
        self.resp = RespVersion::Two;
        self.level = Level::default();
        self.name = Box::default();
    }
}
