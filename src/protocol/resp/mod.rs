//! RESP, the protocol of Redis clients: requests in (`request`), replies out (`reply`). Versions 2 and 3.
//!
//! Invariant: bytes from outside never panic and never make it allocate by a length that they declare. It knows the
//! shape of a request, not its meaning: commands live in the server.

pub mod reply;
pub mod request;

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RespVersion {
    /// RESP2: what a connection starts with.
    #[default]
    Two,
    /// RESP3: after `HELLO 3`.
    Three,
}
