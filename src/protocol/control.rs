//! What nodes say outside of clients' requests, to bytes and back: a kind, then the content as Postcard lays it out.
//!
//! Invariant: a frame is bounded before it gets here, and nothing is allocated by a length that its content declares
//! beyond what the content can hold; bytes that are no message end the link. These messages are rare, so they are read
//! into types of their own instead of in place.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{Frame, begin_frame, finish_frame};
use super::{Fault, Field, ProtocolError};
use crate::message::control::Control;

/// Bytes of a control frame at most.
pub const CONTROL_BYTES_MAX: u32 = 4 << 20;

/// The numbers of kinds.
mod kind {
    pub(super) const GOSSIP: u8 = 64;
    pub(super) const CONSENSUS: u8 = 65;
    pub(super) const ASK: u8 = 66;
    pub(super) const TOLD: u8 = 67;
    pub(super) const TIME: u8 = 68;
}

/// Bytes before the content: the kind, and zeros up to what every frame has at least.
const HEADER_BYTES: usize = 8;

/// Appends a frame with `control` to `out`.
pub fn encode_control(control: &Control, out: &mut Vec<u8>) {
    let start = begin_frame(out);
    let kind = match control {
        Control::Gossip(_) => kind::GOSSIP,
        Control::Consensus(_) => kind::CONSENSUS,
        Control::Ask(_) => kind::ASK,
        Control::Told(_) => kind::TOLD,
        Control::Time(_) => kind::TIME,
    };
    out.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
    match control {
        Control::Gossip(bytes) => out.extend_from_slice(bytes),
        Control::Consensus(message) => write(message, out),
        Control::Ask(command) => write(command, out),
        Control::Told(told) => write(told, out),
        Control::Time(time) => write(time, out),
    }
    finish_frame(start, 0, out);
}

/// Reads a frame.
///
/// # Errors
///
/// It is none. The link is to be closed.
pub fn decode_control(frame: Frame<'_>) -> Result<Control, ProtocolError> {
    let Some((header, content)) = frame.body().split_first_chunk::<HEADER_BYTES>() else {
        return Err(broken(Field::Header, Fault::Truncated));
    };
    if header[1..] != [0; HEADER_BYTES - 1] {
        return Err(broken(Field::Reserved, Fault::Undefined));
    }
    match header[0] {
        kind::GOSSIP => Ok(Control::Gossip(content.to_vec())),
        kind::CONSENSUS => read(content).map(Control::Consensus),
        kind::ASK => read(content).map(Control::Ask),
        kind::TOLD => read(content).map(Control::Told),
        kind::TIME => read(content).map(Control::Time),
        _ => Err(broken(Field::Opcode, Fault::Undefined)),
    }
}

fn write(content: &impl Serialize, out: &mut Vec<u8>) {
    let bytes = postcard::to_stdvec(content).expect("what is in memory can be written");
    out.extend_from_slice(&bytes);
}

fn read<T: DeserializeOwned>(content: &[u8]) -> Result<T, ProtocolError> {
    let (message, rest) =
        postcard::take_from_bytes(content).map_err(|_| broken(Field::Operands, Fault::Undefined))?;
    if rest.is_empty() { Ok(message) } else { Err(broken(Field::End, Fault::Misplaced)) }
}

const fn broken(field: Field, fault: Fault) -> ProtocolError {
    ProtocolError { field, fault, id: None, ends_connection: true }
}
