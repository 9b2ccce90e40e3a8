//! What can go wrong between a client and a node, by fault.
//!
//! Invariant: each error says whether the request may have been applied; [`Error::may_have_applied`] sums it
//! up. Nothing is retried here: only the caller knows whether a write may be repeated.

use std::io;

use crate::message::Refusal;
use crate::protocol::{Field, ProtocolError};

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No node was reached, or it did not greet in time. Nothing was applied.
    #[error("cannot connect: {source}")]
    Connect {
        /// Of the last address that was tried.
        source: io::Error,
    },
    /// The node speaks another version of the protocol. Nothing was applied.
    #[error("the node speaks version {spoken} of the protocol")]
    VersionUnsupported {
        /// The version that it speaks.
        spoken: u8,
    },
    /// An earlier error ended the connection; [`Client::reconnect`](super::Client::reconnect) opens another.
    /// Nothing was sent.
    #[error("not connected")]
    NotConnected,
    /// The request is beyond the client's limits. Nothing was sent.
    #[error("{field} is too large")]
    TooLarge {
        /// What is.
        field: Field,
    },
    /// The thread that sends a large pipeline could not be started. Nothing was sent.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
    /// The node refused. Surely nothing was applied.
    #[error("refused ({reason:?}): {message}")]
    Refused {
        /// Why, for programs.
        reason: Refusal,
        /// Why, for people.
        message: String,
    },
    /// The node does not know whether the request takes effect.
    #[error("outcome unknown: {message}")]
    Unknown {
        /// Why, for people.
        message: String,
    },
    /// No answer in time. A write may or may not take effect; the connection is closed.
    #[error("timed out; a write may or may not take effect")]
    TimedOut,
    /// The connection broke. A write may or may not take effect.
    #[error("disconnected ({source}); a write may or may not take effect")]
    Disconnected {
        /// What the system says.
        source: io::Error,
    },
    /// The node broke the protocol; the connection is closed. A write may or may not take effect.
    #[error("the node broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The node answered what was not asked; the connection is closed. A write may or may not take effect.
    #[error("the node answered a request that it was not sent")]
    UnexpectedAnswer,
}

impl Error {
    /// Whether a write that ended so may take effect, now or later.
    #[must_use]
    pub const fn may_have_applied(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::VersionUnsupported { .. }
            | Self::NotConnected
            | Self::TooLarge { .. }
            | Self::Thread { .. }
            | Self::Refused { .. } => false,
            Self::Unknown { .. }
            | Self::TimedOut
            | Self::Disconnected { .. }
            | Self::Protocol(_)
            | Self::UnexpectedAnswer => true,
        }
    }

    /// An error of a socket that is in use.
    pub(super) fn of_socket(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Disconnected { source },
        }
    }
}
