//! How a native connection opens: eight bytes from the client, eight from the node.
//!
//! Invariant: the first byte is 0x80 or above, which no RESP client sends, so that one port can speak both.
//! Versions are not negotiated: a node speaks one, and says which when it refuses.

use super::{Fault, Field, ProtocolError};
use crate::types::Level;

/// Bytes of the client's preamble, and of the node's greeting.
pub const PREAMBLE_BYTES: usize = 8;

/// What both begin with.
pub const MAGIC: [u8; 4] = [0x8A, b'A', b'N', b'L'];

/// The version of the protocol that this code speaks.
pub const PROTOCOL_VERSION: u8 = 1;

const _: () = assert!(MAGIC[0] >= 0x80);

/// What a client opens with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Preamble {
    /// The level of requests that carry none; `None` for the node's default.
    pub level: Option<Level>,
}

/// What a node answers a preamble with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greeting {
    /// Requests may follow.
    Welcome {
        /// All but `Ping` and `Authenticate` will be refused until the client has authenticated.
        authentication_required: bool,
    },
    /// The node speaks another version of the protocol, and closes.
    VersionUnsupported {
        /// The one that it speaks.
        spoken: u8,
    },
    /// The node has too many connections, and closes.
    Overloaded,
}

const WELCOME: u8 = 0;
const VERSION_UNSUPPORTED: u8 = 1;
const OVERLOADED: u8 = 2;

const AUTHENTICATION_REQUIRED: u8 = 1;

/// The bytes of a preamble.
#[must_use]
pub fn encode_preamble(preamble: Preamble) -> [u8; PREAMBLE_BYTES] {
    let [a, b, c, d] = MAGIC;
    [a, b, c, d, PROTOCOL_VERSION, level_number(preamble.level), 0, 0]
}

/// Reads a preamble.
///
/// # Errors
///
/// All end the connection; one in [`Field::ProtocolVersion`] deserves [`Greeting::VersionUnsupported`] first.
pub fn decode_preamble(bytes: [u8; PREAMBLE_BYTES]) -> Result<Preamble, ProtocolError> {
    let [a, b, c, d, version, level, reserved @ ..] = bytes;
    if [a, b, c, d] != MAGIC {
        return Err(broken(Field::Magic));
    }
    if version != PROTOCOL_VERSION {
        return Err(broken(Field::ProtocolVersion));
    }
    if reserved != [0; 2] {
        return Err(broken(Field::Reserved));
    }
    let level = level_from_number(level).ok_or(broken(Field::Level))?;
    Ok(Preamble { level })
}

/// The bytes of a greeting.
#[must_use]
pub fn encode_greeting(greeting: Greeting) -> [u8; PREAMBLE_BYTES] {
    let [a, b, c, d] = MAGIC;
    let (version, status, flags) = match greeting {
        Greeting::Welcome { authentication_required } => {
            (PROTOCOL_VERSION, WELCOME, if authentication_required { AUTHENTICATION_REQUIRED } else { 0 })
        }
        Greeting::VersionUnsupported { spoken } => (spoken, VERSION_UNSUPPORTED, 0),
        Greeting::Overloaded => (PROTOCOL_VERSION, OVERLOADED, 0),
    };
    [a, b, c, d, version, status, flags, 0]
}

/// Reads a greeting.
///
/// # Errors
///
/// The node does not speak this protocol; the connection is of no use.
pub fn decode_greeting(bytes: [u8; PREAMBLE_BYTES]) -> Result<Greeting, ProtocolError> {
    let [a, b, c, d, version, status, flags, reserved] = bytes;
    if [a, b, c, d] != MAGIC {
        return Err(broken(Field::Magic));
    }
    if status == VERSION_UNSUPPORTED {
        return Ok(Greeting::VersionUnsupported { spoken: version });
    }
    if version != PROTOCOL_VERSION {
        return Err(broken(Field::ProtocolVersion));
    }
    match (status, flags, reserved) {
        (WELCOME, 0 | AUTHENTICATION_REQUIRED, 0) => {
            Ok(Greeting::Welcome { authentication_required: flags == AUTHENTICATION_REQUIRED })
        }
        (OVERLOADED, 0, 0) => Ok(Greeting::Overloaded),
        _ => Err(broken(Field::Greeting)),
    }
}

const fn broken(field: Field) -> ProtocolError {
    ProtocolError { field, fault: Fault::Undefined, id: None, ends_connection: true }
}

/// A level as it stands on the wire.
#[inline]
pub(super) const fn level_number(level: Option<Level>) -> u8 {
    match level {
        None => 0,
        Some(Level::One) => 1,
        Some(Level::Quorum) => 2,
        Some(Level::All) => 3,
        Some(Level::Linearizable) => 4,
    }
}

/// The level with this number; the outer `None` if there is none such.
#[inline]
#[expect(clippy::option_option, reason = "whether a number is a level, and whether that level is named")]
pub(super) const fn level_from_number(number: u8) -> Option<Option<Level>> {
    Some(match number {
        0 => None,
        1 => Some(Level::One),
        2 => Some(Level::Quorum),
        3 => Some(Level::All),
        4 => Some(Level::Linearizable),
        _ => return None,
    })
}
