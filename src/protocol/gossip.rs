//! What nodes say to each other about who is alive, to bytes and back.
//!
//! Invariant: every number has a fixed place and is little-endian; there is one way to write a message; nothing is
//! allocated here. The membership library frames members: after a header, how many follow, as a big-endian `u16`.

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message, State};

use super::codec::{Malformed, Reader};
use super::{Fault, Field, ProtocolError};
use crate::message::gossip::Peer;
use crate::types::{Incarnation, NodeNumber};

/// Bytes of an identity.
const PEER_BYTES: usize = 8;

/// Bytes of what is said of a member.
pub const MEMBER_BYTES: usize = PEER_BYTES + 4;

/// Bytes of a header without a third party, and with one.
pub const HEADER_BYTES: [usize; 2] = [4 + 2 * PEER_BYTES, 4 + 3 * PEER_BYTES];

/// The numbers of messages.
mod kind {
    pub(super) const PING: u8 = 1;
    pub(super) const ACK: u8 = 2;
    pub(super) const PING_REQUEST: u8 = 3;
    pub(super) const INDIRECT_PING: u8 = 4;
    pub(super) const INDIRECT_ACK: u8 = 5;
    pub(super) const FORWARDED_ACK: u8 = 6;
    pub(super) const ANNOUNCE: u8 = 7;
    pub(super) const FEED: u8 = 8;
    pub(super) const GOSSIP: u8 = 9;
    pub(super) const DECLARED_DEAD: u8 = 10;
}

/// The numbers of states.
mod state {
    pub(super) const ALIVE: u8 = 0;
    pub(super) const SUSPECTED: u8 = 1;
    pub(super) const DEAD: u8 = 2;
}

/// The codec of gossip.
#[derive(Clone, Copy, Debug, Default)]
pub struct GossipCodec;

impl Codec<Peer> for GossipCodec {
    type Error = ProtocolError;

    fn encode_header(&mut self, header: &Header<Peer>, mut buf: impl BufMut) -> Result<(), ProtocolError> {
        let (kind, probe, third) = match header.message {
            Message::Ping(probe) => (kind::PING, probe, None),
            Message::Ack(probe) => (kind::ACK, probe, None),
            Message::PingReq { target, probe_number } => (kind::PING_REQUEST, probe_number, Some(target)),
            Message::IndirectPing { origin, probe_number } => {
                (kind::INDIRECT_PING, probe_number, Some(origin))
            }
            Message::IndirectAck { target, probe_number } => (kind::INDIRECT_ACK, probe_number, Some(target)),
            Message::ForwardedAck { origin, probe_number } => {
                (kind::FORWARDED_ACK, probe_number, Some(origin))
            }
            Message::Announce => (kind::ANNOUNCE, 0, None),
            Message::Feed => (kind::FEED, 0, None),
            Message::Gossip => (kind::GOSSIP, 0, None),
            Message::TurnUndead => (kind::DECLARED_DEAD, 0, None),
            // Nothing here sends it.
            Message::Broadcast => return Err(error(Malformed::new(Field::Opcode, Fault::Undefined))),
        };
        if buf.remaining_mut() < HEADER_BYTES[usize::from(third.is_some())] {
            return Err(error(Malformed::new(Field::Header, Fault::TooLarge)));
        }
        buf.put_slice(&[kind, probe]);
        buf.put_u16_le(header.src_incarnation);
        put_peer(header.src, &mut buf);
        put_peer(header.dst, &mut buf);
        if let Some(peer) = third {
            put_peer(peer, &mut buf);
        }
        Ok(())
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Peer>, ProtocolError> {
        decode(buf, |reader| {
            let (kind, probe) = (reader.u8(Field::Header)?, reader.u8(Field::Header)?);
            let src_incarnation = reader.u16(Field::Header)?;
            let (src, dst) = (peer(reader)?, peer(reader)?);
            let message = match (kind, probe) {
                (kind::PING, _) => Message::Ping(probe),
                (kind::ACK, _) => Message::Ack(probe),
                (kind::PING_REQUEST, _) => Message::PingReq { target: peer(reader)?, probe_number: probe },
                (kind::INDIRECT_PING, _) => {
                    Message::IndirectPing { origin: peer(reader)?, probe_number: probe }
                }
                (kind::INDIRECT_ACK, _) => {
                    Message::IndirectAck { target: peer(reader)?, probe_number: probe }
                }
                (kind::FORWARDED_ACK, _) => {
                    Message::ForwardedAck { origin: peer(reader)?, probe_number: probe }
                }
                (kind::ANNOUNCE, 0) => Message::Announce,
                (kind::FEED, 0) => Message::Feed,
                (kind::GOSSIP, 0) => Message::Gossip,
                (kind::DECLARED_DEAD, 0) => Message::TurnUndead,
                _ => return Err(Malformed::new(Field::Opcode, Fault::Undefined)),
            };
            Ok(Header { src, src_incarnation, dst, message })
        })
    }

    fn encode_member(&mut self, member: &Member<Peer>, mut buf: impl BufMut) -> Result<(), ProtocolError> {
        if buf.remaining_mut() < MEMBER_BYTES {
            return Err(error(Malformed::new(Field::End, Fault::TooLarge)));
        }
        put_peer(*member.id(), &mut buf);
        buf.put_u16_le(member.incarnation());
        let state = match member.state() {
            State::Alive => state::ALIVE,
            State::Suspect => state::SUSPECTED,
            State::Down => state::DEAD,
        };
        buf.put_slice(&[state, 0]);
        Ok(())
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Peer>, ProtocolError> {
        decode(buf, |reader| {
            let (id, incarnation) = (peer(reader)?, reader.u16(Field::Operands)?);
            let state = match reader.u8(Field::Operands)? {
                state::ALIVE => State::Alive,
                state::SUSPECTED => State::Suspect,
                state::DEAD => State::Down,
                _ => return Err(Malformed::new(Field::Operands, Fault::Undefined)),
            };
            match reader.u8(Field::Reserved)? {
                0 => Ok(Member::new(id, incarnation, state)),
                _ => Err(Malformed::new(Field::Reserved, Fault::Undefined)),
            }
        })
    }
}

/// Reads with `read` from the front of `buf`, which is in one piece, and takes away what was read.
fn decode<T>(
    mut buf: impl Buf,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, ProtocolError> {
    let mut reader = Reader::new(buf.chunk());
    let read = read(&mut reader).map_err(error)?;
    let left = reader.rest().len();
    buf.advance(buf.chunk().len() - left);
    Ok(read)
}

fn error(malformed: Malformed) -> ProtocolError {
    ProtocolError { field: malformed.field, fault: malformed.fault, id: None, ends_connection: true }
}

fn put_peer(peer: Peer, buf: &mut impl BufMut) {
    buf.put_u16_le(peer.node.0);
    buf.put_u16_le(peer.renewal);
    buf.put_u32_le(peer.incarnation.0);
}

fn peer(reader: &mut Reader<'_>) -> Result<Peer, Malformed> {
    let (node, renewal) = (NodeNumber(reader.u16(Field::Header)?), reader.u16(Field::Header)?);
    Ok(Peer { node, incarnation: Incarnation(reader.u32(Field::Header)?), renewal })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn someone(node: u16) -> Peer {
        Peer { node: NodeNumber(node), incarnation: Incarnation(0x0102_0304), renewal: 7 }
    }

    fn messages() -> Vec<Message<Peer>> {
        let (peer, probe_number) = (someone(3), 9);
        vec![
            Message::Ping(probe_number),
            Message::Ack(probe_number),
            Message::PingReq { target: peer, probe_number },
            Message::IndirectPing { origin: peer, probe_number },
            Message::IndirectAck { target: peer, probe_number },
            Message::ForwardedAck { origin: peer, probe_number },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::TurnUndead,
        ]
    }

    #[test]
    fn every_header_comes_back_as_it_was_and_no_part_of_it_does() {
        for message in messages() {
            let header = Header { src: someone(1), src_incarnation: 0x0506, dst: someone(2), message };
            let mut bytes = Vec::new();
            GossipCodec.encode_header(&header, &mut bytes).expect("a vector has room");
            assert!(HEADER_BYTES.contains(&bytes.len()));
            let mut left = &[bytes.as_slice(), b"rest"].concat()[..];
            assert_eq!(GossipCodec.decode_header(&mut left), Ok(header.clone()));
            assert_eq!(left, b"rest");
            for end in 0..bytes.len() {
                let cut = GossipCodec.decode_header(&bytes[..end]).expect_err("it is cut short");
                assert_eq!(cut.fault, Fault::Truncated);
                let mut room = vec![0; end];
                GossipCodec.encode_header(&header, &mut room[..]).expect_err("there is no room");
                assert_eq!(room, vec![0; end], "nothing is left behind");
            }
        }
    }

    #[test]
    fn every_member_comes_back_as_it_was_and_no_part_of_it_does() {
        for state in [State::Alive, State::Suspect, State::Down] {
            let member = Member::new(someone(1), 0x0506, state);
            let mut bytes = Vec::new();
            GossipCodec.encode_member(&member, &mut bytes).expect("a vector has room");
            assert_eq!(bytes.len(), MEMBER_BYTES);
            assert_eq!(GossipCodec.decode_member(&bytes[..]), Ok(member.clone()));
            for end in 0..bytes.len() {
                GossipCodec.decode_member(&bytes[..end]).expect_err("it is cut short");
                let mut room = vec![0; end];
                GossipCodec.encode_member(&member, &mut room[..]).expect_err("there is no room");
                assert_eq!(room, vec![0; end], "nothing is left behind");
            }
        }
    }

    #[test]
    fn what_is_not_defined_is_an_error() {
        let mut broadcast = [0; HEADER_BYTES[0]];
        for kind in [0, 11, 255] {
            broadcast[0] = kind;
            let error = GossipCodec.decode_header(&broadcast[..]).unwrap_err();
            assert_eq!((error.field, error.fault), (Field::Opcode, Fault::Undefined));
        }
        for (at, field) in [(10, Field::Operands), (11, Field::Reserved)] {
            let mut member = [0; MEMBER_BYTES];
            member[at] = 3;
            assert_eq!(GossipCodec.decode_member(&member[..]).unwrap_err().field, field);
        }
    }
}
