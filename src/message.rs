//! What clients and nodes say to each other: types only. What nodes say among themselves is in [`peer`],
//! and what they agree on in [`topology`] and [`consensus`].
//!
//! Invariant: an [`Outcome`] is one of three and they are never confused: done, refused (surely nothing was
//! applied anywhere), unknown (it may or may not take effect). Everything borrows from the bytes it was read
//! from; lists stay encoded and are walked in place. How any of it looks as bytes is the business of
//! [`crate::protocol`]; what is done about it, of the server.

pub mod consensus;
pub mod control;
pub mod description;
pub mod gossip;
pub mod metadata;
pub mod peer;
pub mod topology;

use crate::types::{Level, Version, WallTime};

/// Chosen by the client to match an answer with its request; a node only echoes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RequestId(pub u32);

/// A request as it arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope<'a> {
    /// What its answer will carry.
    pub id: RequestId,
    /// How many replicas it waits for; `None` for the default of the connection, or inside a batch, of the batch.
    pub level: Option<Level>,
    /// What is asked.
    pub request: Request<'a>,
}

/// What a client asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// Nothing but an answer.
    Ping,
    /// To be let in.
    Authenticate {
        /// The cluster's password.
        password: &'a [u8],
    },
    /// The node's counters and latencies.
    Stats,
    /// The cluster, as the node knows it.
    Cluster,
    /// Some keys, from a place in the ring on.
    Scan {
        /// 0 to begin; else the cursor of the page before.
        cursor: u64,
        /// About how many keys; a hint.
        count: u32,
    },
    /// A value.
    Get {
        /// Of this key.
        key: &'a [u8],
    },
    /// A part of a value. Both ends are inclusive, and count from the value's end if negative.
    GetRange {
        /// Of this key.
        key: &'a [u8],
        /// The first byte.
        start: i64,
        /// The last byte.
        end: i64,
    },
    /// To store a value.
    Put {
        /// Under this key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
        /// Only if this holds.
        condition: Condition,
        /// What becomes of the expiry.
        expiry: ExpiryChange,
    },
    /// To remove a key.
    Remove {
        /// The key.
        key: &'a [u8],
        /// Only if this holds.
        condition: Condition,
    },
    /// To add to a decimal number. An absent key counts as 0; the expiry stays.
    Increment {
        /// The key.
        key: &'a [u8],
        /// What to add.
        delta: i64,
    },
    /// To lengthen a value. An absent key counts as empty; the expiry stays.
    Append {
        /// The key.
        key: &'a [u8],
        /// What to append.
        value: &'a [u8],
    },
    /// To change the expiry of a key that is there.
    Expire {
        /// The key.
        key: &'a [u8],
        /// What becomes of the expiry.
        expiry: ExpiryChange,
    },
    /// Several requests, answered together.
    Batch(Batch<'a>),
}

impl<'a> Request<'a> {
    /// The one key that it is about, if it is about one.
    #[inline]
    #[must_use]
    pub const fn key(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Get { key }
            | Self::GetRange { key, .. }
            | Self::Put { key, .. }
            | Self::Remove { key, .. }
            | Self::Increment { key, .. }
            | Self::Append { key, .. }
            | Self::Expire { key, .. } => Some(key),
            Self::Ping
            | Self::Authenticate { .. }
            | Self::Stats
            | Self::Cluster
            | Self::Scan { .. }
            | Self::Batch(_) => None,
        }
    }
}

/// Requests that share a frame. They are framed soundly; each is decoded, and may prove wrong, on its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch<'a> {
    pub(crate) count: u32,
    pub(crate) frames: &'a [u8],
}

/// What must hold of a key for a write to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// The key is there in exactly this version.
    VersionIs(Version),
}

/// What a write does to a key's expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExpiryChange {
    /// The key no longer expires.
    #[default]
    Clear,
    /// The key expires when it did before.
    Keep,
    /// The key expires at this moment.
    At(WallTime),
    /// The key expires so many milliseconds after the write.
    AfterMs(u64),
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome<'a> {
    /// It was done.
    Done(Reply<'a>),
    /// It was not: surely nothing was applied anywhere.
    Refused {
        /// Why, for programs.
        reason: Refusal,
        /// Why, for people. May be empty.
        message: &'a str,
    },
    /// It may or may not take effect, now or later.
    Unknown {
        /// Why, for people. May be empty.
        message: &'a str,
    },
}

/// What a request that was done brings back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply<'a> {
    /// To `Ping`.
    Pong,
    /// To `Authenticate`.
    Authenticated,
    /// To `Stats`.
    Stats(Stats<'a>),
    /// To `Cluster`.
    Cluster {
        /// A [`description::Cluster`] as JSON.
        json: &'a str,
    },
    /// To `Scan`.
    Page {
        /// Where to go on; 0 when every key was returned.
        cursor: u64,
        /// Some keys; may be empty before the end.
        keys: Keys<'a>,
    },
    /// To `Get`, `GetRange` and `Expire`: the key is not there.
    Absent,
    /// To `Get` and `GetRange`.
    Value {
        /// The version that was read.
        version: Version,
        /// When the key expires, if ever.
        expires_at: Option<WallTime>,
        /// The value, or the part of it asked for.
        value: &'a [u8],
    },
    /// To `Put` and `Expire`.
    Written {
        /// The version that was written.
        version: Version,
    },
    /// To `Remove`.
    Removed {
        /// Whether the key was there.
        existed: bool,
    },
    /// To `Increment`.
    Integer {
        /// The version that was written.
        version: Version,
        /// The sum.
        value: i64,
    },
    /// To `Append`.
    Length {
        /// The version that was written.
        version: Version,
        /// The value's length now.
        bytes: u64,
    },
    /// To `Batch`: one outcome for each request, in order.
    Batch(Outcomes<'a>),
}

/// The outcomes of a batch, still encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcomes<'a> {
    pub(crate) count: u32,
    pub(crate) frames: &'a [u8],
}

/// The keys of a page, still encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys<'a> {
    pub(crate) count: u32,
    pub(crate) encoded: &'a [u8],
}

/// Why nothing was done. Grouped by fault: the request's (1 on), the key's state (32 on), the node's (64 on).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The request is not one.
    BadRequest,
    /// The key is longer than the limit.
    KeyTooLarge,
    /// The value is, or would become, longer than the limit.
    ValueTooLarge,
    /// What was asked for does not fit a frame.
    AnswerTooLarge,
    /// The connection has not authenticated.
    AuthenticationRequired,
    /// The password is wrong.
    AuthenticationFailed,
    /// The node is alone: it has no cluster.
    Alone,
    /// The condition does not hold.
    ConditionFailed {
        /// The version that is there, if any.
        current: Option<Version>,
    },
    /// The value is not a 64-bit signed decimal number.
    NotAnInteger,
    /// The sum does not fit 64 bits.
    Overflow,
    /// The node's memory limit is reached.
    OutOfMemory,
    /// A queue of the node is full.
    Overloaded,
    /// Too few replicas can be reached.
    Unavailable,
    /// The node is loading its data.
    Loading,
    /// The node is going down.
    ShuttingDown,
}

impl Refusal {
    /// Its number on the wire, never given to another.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::BadRequest => 1,
            Self::KeyTooLarge => 2,
            Self::ValueTooLarge => 3,
            Self::AnswerTooLarge => 4,
            Self::AuthenticationRequired => 5,
            Self::AuthenticationFailed => 6,
            Self::Alone => 7,
            Self::ConditionFailed { .. } => 32,
            Self::NotAnInteger => 33,
            Self::Overflow => 34,
            Self::OutOfMemory => 64,
            Self::Overloaded => 65,
            Self::Unavailable => 66,
            Self::Loading => 67,
            Self::ShuttingDown => 68,
        }
    }

    /// The refusal with this number; `current` is what a failed condition met, and no other refusal has one.
    #[must_use]
    pub const fn from_number(number: u8, current: Option<Version>) -> Option<Self> {
        let refusal = match number {
            1 => Self::BadRequest,
            2 => Self::KeyTooLarge,
            3 => Self::ValueTooLarge,
            4 => Self::AnswerTooLarge,
            5 => Self::AuthenticationRequired,
            6 => Self::AuthenticationFailed,
            7 => Self::Alone,
            32 => return Some(Self::ConditionFailed { current }),
            33 => Self::NotAnInteger,
            34 => Self::Overflow,
            64 => Self::OutOfMemory,
            65 => Self::Overloaded,
            66 => Self::Unavailable,
            67 => Self::Loading,
            68 => Self::ShuttingDown,
            _ => return None,
        };
        if current.is_some() { None } else { Some(refusal) }
    }

    /// Whether the same request may be done later, here or at another node.
    #[must_use]
    pub const fn is_the_nodes_state(self) -> bool {
        self.number() >= 64
    }
}

/// What a node has counted and timed since it started.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats<'a> {
    /// Totals and gauges.
    pub counters: Vec<Counter<'a>>,
    /// Latencies.
    pub operations: Vec<OperationStats<'a>>,
}

/// A total or a gauge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counter<'a> {
    /// Its name, with the unit last.
    pub name: &'a str,
    /// Its value.
    pub value: u64,
}

/// How often an operation was asked for, and how long it took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OperationStats<'a> {
    /// The operation.
    pub name: &'a str,
    /// How many were answered.
    pub count: u64,
    /// How many of those were refused or of unknown outcome.
    pub errors: u64,
    /// Half took at most this, in nanoseconds.
    pub p50_ns: u64,
    /// Nine in ten took at most this, in nanoseconds.
    pub p90_ns: u64,
    /// 99% took at most this, in nanoseconds.
    pub p99_ns: u64,
    /// 99.9% took at most this, in nanoseconds.
    pub p999_ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
}
