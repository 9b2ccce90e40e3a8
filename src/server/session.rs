//! What a client has said about itself: protocol, names, level.
//!
//! Invariant: a session outlives no connection and is touched by one worker only.

use crate::protocol::resp::RespVersion;
use crate::server::commands::CommandId;
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

/// What becomes of replies, as CLIENT REPLY chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Replies {
    /// They are sent.
    All,
    /// The next one is not.
    SkipOne,
    /// They are not.
    None,
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
    /// Whether it may do anything: it gave the password, or there is none.
    authenticated: bool,
    /// What it asked for last.
    pub(crate) command: Option<CommandId>,
    /// What becomes of replies.
    replies: Replies,
    /// Whether what it asks is carried out at several nodes.
    replicated: bool,
    /// Whether requests are run as they come: follows from the three above.
    plain: bool,
    /// Answer what came before, then close.
    pub(crate) closing: bool,
    /// An answer is being gathered elsewhere; what follows waits for it.
    pub(crate) waiting: bool,
}

impl Session {
    pub(crate) fn new(id: u64, connected_at: Timestamp, authenticated: bool, replicated: bool) -> Self {
        Self {
            id,
            protocol: Protocol::Unknown,
            resp: RespVersion::Two,
            level: Level::default(),
            name: Box::default(),
            library_name: Box::default(),
            library_version: Box::default(),
            connected_at,
            authenticated,
            command: None,
            replies: Replies::All,
            replicated,
            plain: authenticated && !replicated,
            closing: false,
            waiting: false,
        }
    }

    /// Whether requests are run as they come: no gate before them, nothing behind them.
    #[inline]
    pub(crate) const fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether it may do anything: it gave the password, or there is none.
    pub(crate) const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Lets it do anything.
    pub(crate) fn authenticate(&mut self) {
        self.authenticated = true;
        self.set_replies(self.replies);
    }

    /// What becomes of replies.
    pub(crate) const fn replies(&self) -> Replies {
        self.replies
    }

    /// Chooses what becomes of replies.
    pub(crate) fn set_replies(&mut self, replies: Replies) {
        self.replies = replies;
        self.plain = self.authenticated && !self.replicated && replies == Replies::All;
    }

    /// Back to what a new connection has, but for its id.
    pub(crate) fn reset(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
        self.set_replies(Replies::All);
        self.resp = RespVersion::Two;
        self.level = Level::default();
        self.name = Box::default();
    }
}
