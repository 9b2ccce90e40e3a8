//! Messages to bytes and back, without sockets. `docs/protocol.md` specifies the bytes.
//!
//! Invariant: bytes from outside never panic here, and nothing is allocated by a length that they declare;
//! decoding borrows from the bytes it is given. [`frame`] finds where a message ends, [`preamble`] opens a
//! connection and [`handshake`] a link between nodes, [`client`] lays out requests and responses, [`peer`] what nodes
//! say among themselves, and `codec` holds the primitives. None of it knows what a message does.

pub mod acknowledgement;
pub mod client;
mod codec;
pub mod control;
pub mod frame;
pub mod gossip;
pub mod handshake;
pub mod metadata;
pub mod page;
pub mod peer;
pub mod preamble;
pub mod resp;

use crate::message::{Refusal, RequestId};

/// How large a peer's words may be. Whatever exceeds one is refused, not stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a key.
    pub key_bytes_max: u32,
    /// Bytes of a value.
    pub value_bytes_max: u32,
    /// Bytes of a frame after its length field. A frame beyond it ends the connection, so it should hold the
    /// largest key and value, and [`frame::REQUEST_OVERHEAD_BYTES_MAX`] more.
    pub frame_bytes_max: u32,
    /// Requests in a batch.
    pub batch_count_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_bytes_max: 65_536,
            value_bytes_max: 64 << 20,
            frame_bytes_max: 65 << 20,
            batch_count_max: 4096,
        }
    }
}

/// The peer's bytes are not what the protocol says. Nothing of the message was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} {fault}")]
pub struct ProtocolError {
    /// Which part of the message.
    pub field: Field,
    /// What is wrong with it.
    pub fault: Fault,
    /// The message it was in, as far as that could be told.
    pub id: Option<RequestId>,
    /// Whether the connection must be closed: where the next message begins is not known, or not to be trusted.
    pub ends_connection: bool,
}

impl ProtocolError {
    /// The refusal to answer with, if [`id`](Self::id) is known.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match (self.field, self.fault) {
            (Field::Key, Fault::TooLarge) => Refusal::KeyTooLarge,
            (Field::Value | Field::FrameLength, Fault::TooLarge) => Refusal::ValueTooLarge,
            _ => Refusal::BadRequest,
        }
    }
}

/// A part of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// The first bytes of a connection.
    Magic,
    /// The protocol version.
    ProtocolVersion,
    /// What a node says to a new connection.
    Greeting,
    /// Bytes that must be zero.
    Reserved,
    /// The length of a frame.
    FrameLength,
    /// The fixed part of a frame.
    Header,
    /// What is asked.
    Opcode,
    /// The consistency level.
    Level,
    /// Which optional fields follow.
    Flags,
    /// The fixed fields of an opcode or of a kind of reply.
    Operands,
    /// The condition of a write.
    Condition,
    /// When a key expires.
    Expiry,
    /// A version.
    Version,
    /// A key.
    Key,
    /// A value.
    Value,
    /// How many requests or outcomes a batch holds.
    BatchCount,
    /// A request or an outcome in a batch.
    BatchItem,
    /// Done, refused or unknown.
    Outcome,
    /// The kind of a reply.
    ReplyKind,
    /// The reason of a refusal.
    Reason,
    /// Text for people.
    Message,
    /// A counter or a latency.
    Stats,
    /// A cluster as JSON.
    Description,
    /// What follows the last field.
    End,
}

impl std::fmt::Display for Field {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Magic => "the magic number",
            Self::ProtocolVersion => "the protocol version",
            Self::Greeting => "the greeting",
            Self::Reserved => "the reserved bytes",
            Self::FrameLength => "the frame length",
            Self::Header => "the header",
            Self::Opcode => "the opcode",
            Self::Level => "the level",
            Self::Flags => "the flags",
            Self::Operands => "the operands",
            Self::Condition => "the condition",
            Self::Expiry => "the expiry",
            Self::Version => "the version",
            Self::Key => "the key",
            Self::Value => "the value",
            Self::BatchCount => "the batch count",
            Self::BatchItem => "the batch item",
            Self::Outcome => "the outcome",
            Self::ReplyKind => "the reply kind",
            Self::Reason => "the reason",
            Self::Message => "the message",
            Self::Stats => "the stats",
            Self::Description => "the description of the cluster",
            Self::End => "the end of the frame",
        })
    }
}

/// What is wrong with a part of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The bytes end before it does.
    Truncated,
    /// It is larger than the limit.
    TooLarge,
    /// No such number is defined, or reserved bits are set.
    Undefined,
    /// It does not go with the rest of the message.
    Misplaced,
    /// It is not UTF-8.
    NotText,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Truncated => "is cut short",
            Self::TooLarge => "is too large",
            Self::Undefined => "is not defined",
            Self::Misplaced => "does not belong here",
            Self::NotText => "is not UTF-8",
        })
    }
}
