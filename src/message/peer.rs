//! What nodes say to each other about cells: types only.
//!
//! Invariant: every message carries the epoch it was sent under, so that what was gathered under one epoch is never
//! counted under another; an answer names the operation it is for and nothing else. How any of it looks as bytes is
//! the business of [`crate::protocol`]; what is done about it, of the cluster's machines.

use crate::message::Refusal;
use crate::types::{Epoch, Token, Version, WallTime};

/// An operation of one coordinator, chosen by it; a replica only echoes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OperationId {
    /// Its place among those under way.
    pub slot: u32,
    /// How often that place was given away before, and how often the operation began anew.
    pub round: u32,
}

/// What a coordinator sends to a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inquiry<'a> {
    /// What the answer will carry.
    pub operation: OperationId,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// How long its operation may still take, in milliseconds: nobody waits for an answer after that.
    pub remaining_ms: u16,
    /// The key.
    pub key: &'a [u8],
    /// What is asked about it.
    pub task: Task<'a>,
}

/// What a replica is asked to do with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task<'a> {
    /// To send its cell.
    Read,
    /// To send its cell but for the value.
    ReadVersion,
    /// To store a cell for a client: refused below what is there.
    Write(Cell<'a>),
    /// To store a cell that is stored elsewhere already: dropped below what is there.
    Repair(Cell<'a>),
    /// To take nothing below a ballot from now on, and to send what is there.
    Prepare {
        /// The ballot.
        ballot: Version,
        /// Whether the value is to be sent too.
        whole: bool,
    },
    /// To store a cell whose version is the ballot that was promised to it, and still is.
    Accept {
        /// The cell.
        cell: Cell<'a>,
        /// The next ballot, to be promised at once.
        next: Option<Version>,
    },
}

/// What a node that was asked by a client sends to the node that proposes for the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proposal<'a> {
    /// What the answer will carry.
    pub operation: OperationId,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// How long the operation may still take, in milliseconds.
    pub remaining_ms: u16,
    /// The key.
    pub key: &'a [u8],
    /// What is to be done, as whoever decides on it understands it; `None`: to have most replicas agree on what is
    /// there, and to be told that.
    pub change: Option<&'a [u8]>,
}

impl Task<'_> {
    /// The latest version that is to be stored or promised, if one is.
    #[inline]
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        match self {
            Self::Read | Self::ReadVersion => None,
            Self::Write(cell) | Self::Repair(cell) | Self::Accept { cell, next: None } => Some(cell.version),
            Self::Prepare { ballot: version, .. } | Self::Accept { next: Some(version), .. } => {
                Some(*version)
            }
        }
    }
}

/// What a replica answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer<'a> {
    /// Which operation it is for.
    pub operation: OperationId,
    /// What became of the task.
    pub verdict: Verdict<'a>,
}

/// What became of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<'a> {
    /// To `Read`, and to `Prepare` if the value was wanted: what is there; `None` if nothing ever was.
    Cell(Option<Cell<'a>>),
    /// To `ReadVersion`, and to `Prepare`: what is there but for the value.
    Summary(Option<Summary>),
    /// To `Write` and `Repair`: stored, or it was already.
    Applied {
        /// Whether a value was there before that had not expired.
        existed: bool,
    },
    /// To `Write`, `Prepare`, `Accept`: nothing changed, because of what is there or was promised; to `Repair`: because
    /// of what is there.
    Superseded {
        /// The version of either.
        by: Version,
    },
    /// To `Accept`: stored, or it was already.
    Accepted {
        /// The next ballot is promised.
        rides: bool,
    },
    /// To a [`Proposal`].
    Told(Told<'a>),
    /// Nothing changed.
    Refused(Obstacle),
}

/// Why a replica did nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// The sender's epoch is not the replica's, which is this.
    Epoch(Epoch),
    /// The version is further ahead of the replica's clock than is allowed.
    Drift,
    /// The replica's memory limit is reached.
    OutOfMemory,
    /// The replica does not serve data now.
    NotServing,
    /// The replica was stopped for longer than the operation had left.
    Overdue,
    /// To `Accept`: its ballot is not promised, or no longer.
    NotPromised,
    /// To `Repair`: a higher ballot is promised.
    Promised,
}

/// What a node that recovers asks of a source: the next page of what it holds itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// What the page will carry.
    pub operation: OperationId,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// From where on the ring.
    pub from: Token,
}

/// What a node that walks round the ring for a client asks of the others: which keys they have, without what those
/// hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List {
    /// What the listing will carry.
    pub operation: OperationId,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// From where on: a cursor as clients have it.
    pub cursor: u64,
    /// About how many keys; 0: none, only how many there are.
    pub count: u32,
}

/// What became of a proposal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told<'a> {
    /// It was done; this is the reply to it.
    Done(&'a [u8]),
    /// Surely nothing was changed because of it.
    Refused(Refusal),
    /// It may or may not take effect.
    Unknown,
}

/// A cell: what a key holds in some version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell<'a> {
    /// Which version.
    pub version: Version,
    /// What it holds.
    pub content: Content<'a>,
}

/// What a cell holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// A value.
    Value {
        /// The value.
        value: &'a [u8],
        /// When it expires, if ever.
        expires_at: Option<WallTime>,
    },
    /// Nothing any more: the value of this very version has expired.
    Expired,
    /// Nothing: the key was removed.
    Tombstone,
}

/// A cell but for its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Its place in the order of the key's cells.
    pub rank: Rank,
    /// Whether it holds a value, and until when.
    pub kind: Kind,
}

/// What a cell holds, but for the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A value.
    Value {
        /// When it expires, if ever.
        expires_at: Option<WallTime>,
    },
    /// See [`Content::Expired`].
    Expired,
    /// See [`Content::Tombstone`].
    Tombstone,
}

/// The order in which cells of a key replace each other: by version, and the mark of a value's expiry just above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank {
    /// The version.
    pub version: Version,
    /// Whether it is the mark.
    pub expired: bool,
}

impl Cell<'_> {
    /// Its place in the order of the key's cells.
    #[inline]
    #[must_use]
    pub const fn rank(&self) -> Rank {
        Rank { version: self.version, expired: matches!(self.content, Content::Expired) }
    }

    /// The cell but for its value.
    #[inline]
    #[must_use]
    pub const fn summary(&self) -> Summary {
        let kind = match self.content {
            Content::Value { expires_at, .. } => Kind::Value { expires_at },
            Content::Expired => Kind::Expired,
            Content::Tombstone => Kind::Tombstone,
        };
        Summary { rank: self.rank(), kind }
    }
}

impl Kind {
    /// The content, if `value` is its value; what holds none leaves it out.
    #[inline]
    #[must_use]
    pub const fn with(self, value: &[u8]) -> Content<'_> {
        match self {
            Self::Value { expires_at } => Content::Value { value, expires_at },
            Self::Expired => Content::Expired,
            Self::Tombstone => Content::Tombstone,
        }
    }

    /// Whether there is a value that has not expired.
    #[inline]
    #[must_use]
    pub fn is_live(self, now: WallTime) -> bool {
        match self {
            Self::Value { expires_at } => expires_at.is_none_or(|at| at > now),
            Self::Expired | Self::Tombstone => false,
        }
    }
}

impl Summary {
    /// The cell, if `value` is its value.
    #[inline]
    #[must_use]
    pub const fn with(self, value: &[u8]) -> Cell<'_> {
        Cell { version: self.rank.version, content: self.kind.with(value) }
    }
}
