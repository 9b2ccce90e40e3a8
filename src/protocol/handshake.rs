//! How a link between nodes opens: 32 bytes from the node that connects, 32 from the other.
//!
//! Invariant: nothing else is said on a link before both know that the other is a node of the same cluster, which one,
//! in which life of it, and that both speak one version. The first byte is none that a client opens with, so that a
//! link to the wrong port is refused by either side.

use super::{Fault, Field, ProtocolError};
use crate::types::{ClusterId, NodeNumber, RunId};
use std::num::NonZeroU64;

/// Bytes of either side's introduction.
pub const HANDSHAKE_BYTES: usize = 32;

/// What both begin with.
pub const PEER_MAGIC: [u8; 4] = [0x8B, b'A', b'N', b'P'];

/// The version of what nodes say to each other.
pub const PEER_PROTOCOL_VERSION: u8 = 6;

/// Who speaks, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// What for.
    pub purpose: Purpose,
    /// The cluster of the one who speaks.
    pub cluster: ClusterId,
    /// Its number there.
    pub node: NodeNumber,
    /// Its present life.
    pub run: RunId,
}

/// What is said with an introduction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// "I send inquiries, you answer them": from the node that connects.
    Hello,
    /// "I speak of the cluster itself: who lives, and the topology log": from the node that connects.
    Control,
    /// "I want to be a node of your cluster, which I do not know yet": from a process without metadata.
    Join,
    /// "Do": the answer.
    Welcome,
    /// "No, and I close": the answer.
    Refused(LinkRefusal),
}

/// Why a link is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkRefusal {
    /// The versions of the protocol differ.
    #[error("it speaks another version of the protocol between nodes: run one version of annulus")]
    Version,
    /// It is another cluster.
    #[error("it belongs to another cluster: look at --join of both, and at whose metadata they were given")]
    Cluster,
    /// No node of that number belongs to the cluster, as far as is known, or it is the one that is spoken to.
    #[error("it is no other node of the cluster, as far as is known")]
    Node,
    /// The node is known in another life.
    #[error("the topology log knows another life of it: one of both has yet to hear of the latest")]
    Life,
}

/// The numbers of purposes.
mod purpose {
    pub(super) const HELLO: u8 = 0;
    pub(super) const WELCOME: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const CLUSTER: u8 = 3;
    pub(super) const NODE: u8 = 4;
    pub(super) const LIFE: u8 = 5;
    pub(super) const CONTROL: u8 = 6;
    pub(super) const JOIN: u8 = 7;
}

/// The bytes of an introduction.
#[must_use]
pub fn encode_handshake(handshake: &Handshake) -> [u8; HANDSHAKE_BYTES] {
    let mut bytes = [0; HANDSHAKE_BYTES];
    bytes[..4].copy_from_slice(&PEER_MAGIC);
    bytes[4] = PEER_PROTOCOL_VERSION;
    bytes[5] = match handshake.purpose {
        Purpose::Hello => purpose::HELLO,
        Purpose::Control => purpose::CONTROL,
        Purpose::Join => purpose::JOIN,
        Purpose::Welcome => purpose::WELCOME,
        Purpose::Refused(LinkRefusal::Version) => purpose::VERSION,
        Purpose::Refused(LinkRefusal::Cluster) => purpose::CLUSTER,
        Purpose::Refused(LinkRefusal::Node) => purpose::NODE,
        Purpose::Refused(LinkRefusal::Life) => purpose::LIFE,
    };
    bytes[6..8].copy_from_slice(&handshake.node.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&handshake.cluster.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&handshake.run.0.get().to_le_bytes());
    bytes
}

/// Reads an introduction.
///
/// # Errors
///
/// All end the link; one in [`Field::ProtocolVersion`] deserves [`LinkRefusal::Version`] first.
pub fn decode_handshake(bytes: &[u8; HANDSHAKE_BYTES]) -> Result<Handshake, ProtocolError> {
    let broken = |field, fault| Err(ProtocolError { field, fault, id: None, ends_connection: true });
    if bytes[..4] != PEER_MAGIC {
        return broken(Field::Magic, Fault::Undefined);
    }
    if bytes[4] != PEER_PROTOCOL_VERSION {
        return broken(Field::ProtocolVersion, Fault::Undefined);
    }
    let purpose = match bytes[5] {
        purpose::HELLO => Purpose::Hello,
        purpose::CONTROL => Purpose::Control,
        purpose::JOIN => Purpose::Join,
        purpose::WELCOME => Purpose::Welcome,
        purpose::VERSION => Purpose::Refused(LinkRefusal::Version),
        purpose::CLUSTER => Purpose::Refused(LinkRefusal::Cluster),
        purpose::NODE => Purpose::Refused(LinkRefusal::Node),
        purpose::LIFE => Purpose::Refused(LinkRefusal::Life),
        _ => return broken(Field::Opcode, Fault::Undefined),
    };
    if bytes[24..] != [0; 8] {
        return broken(Field::Reserved, Fault::Undefined);
    }
    let number = |at: usize| {
        let bytes = bytes[at..].first_chunk().expect("the introduction is longer");
        u64::from_le_bytes(*bytes)
    };
    let Some(run) = NonZeroU64::new(number(16)) else { return broken(Field::Header, Fault::Undefined) };
    Ok(Handshake {
        purpose,
        cluster: ClusterId(number(8)),
        node: NodeNumber(u16::from_le_bytes([bytes[6], bytes[7]])),
        run: RunId(run),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_introduction_comes_back_as_it_was_and_any_other_byte_is_refused() {
        let refusals = [LinkRefusal::Version, LinkRefusal::Cluster, LinkRefusal::Node, LinkRefusal::Life];
        let said = [Purpose::Hello, Purpose::Control, Purpose::Join, Purpose::Welcome];
        let purposes = said.into_iter().chain(refusals.map(Purpose::Refused));
        for purpose in purposes {
            let handshake = Handshake {
                purpose,
                cluster: ClusterId(0x0102_0304_0506_0708),
                node: NodeNumber(0x1122),
                run: RunId(NonZeroU64::MAX),
            };
            let bytes = encode_handshake(&handshake);
            assert_eq!(decode_handshake(&bytes), Ok(handshake));
            for (at, field) in [(0, Field::Magic), (4, Field::ProtocolVersion), (5, Field::Opcode)] {
                let mut wrong = bytes;
                wrong[at] ^= 0x40;
                assert_eq!(decode_handshake(&wrong).unwrap_err().field, field);
            }
            let mut wrong = bytes;
            wrong[31] = 1;
            assert_eq!(decode_handshake(&wrong).unwrap_err().field, Field::Reserved);
        }
    }
}
