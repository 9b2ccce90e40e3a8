//! Where a message begins and ends: a length, then so many bytes, the first four of which are its id.
//!
//! Invariant: a frame's length is judged before anything but its id is read for it. What is in a
//! frame is not looked at but for its id, so that even a refusal of nonsense can name its request.

use super::codec::wire_length;
use super::{Fault, Field, Limits, ProtocolError};
use crate::message::RequestId;

/// Bytes of the length field that every frame begins with.
pub const LENGTH_BYTES: usize = 4;

/// Bytes after the length field that no frame has fewer of.
pub const FRAME_BYTES_MIN: u32 = 8;

/// Bytes of a request frame, after its length field, that are neither key nor value: at most.
pub const REQUEST_OVERHEAD_BYTES_MAX: u32 = 48;

/// One message, as bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// What follows the length field; at least [`FRAME_BYTES_MIN`].
    body: &'a [u8],
}

/// What a buffer holds at its front.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Split<'a> {
    /// A whole frame; the next begins [`Frame::bytes_total`] further on.
    Frame(Frame<'a>),
    /// The beginning of one.
    Incomplete {
        /// Bytes that the buffer must hold before there is any use in trying again.
        needed_bytes_total: usize,
    },
}

impl<'a> Frame<'a> {
    /// Bytes that the frame takes up in the buffer, its length field included.
    #[inline]
    #[must_use]
    pub const fn bytes_total(self) -> usize {
        LENGTH_BYTES + self.body.len()
    }

    /// The id that it carries.
    #[inline]
    #[must_use]
    pub fn id(self) -> RequestId {
        let id = self.body.first_chunk().expect("a frame is never shorter than its minimum");
        RequestId(u32::from_le_bytes(*id))
    }

    #[inline]
    pub(super) const fn body(self) -> &'a [u8] {
        self.body
    }
}

/// Takes the first frame off `bytes`.
///
/// # Errors
///
/// A length that no frame may have. It ends the connection; if it is too large, its `id` was waited for, so that
/// the refusal can name its request.
#[inline]
pub fn split_frame<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Split<'a>, ProtocolError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(Split::Incomplete { needed_bytes_total: LENGTH_BYTES + FRAME_BYTES_MIN as usize });
    };
    let length = u32::from_le_bytes(*length);
    if length < FRAME_BYTES_MIN || length > limits.frame_bytes_max {
        return bad_length(length, rest);
    }
    match rest.get(..length as usize) {
        Some(body) => Ok(Split::Frame(Frame { body })),
        None => Ok(Split::Incomplete { needed_bytes_total: LENGTH_BYTES + length as usize }),
    }
}

#[cold]
fn bad_length<'a>(length: u32, rest: &[u8]) -> Result<Split<'a>, ProtocolError> {
    let error = |fault, id| ProtocolError { field: Field::FrameLength, fault, id, ends_connection: true };
    if length < FRAME_BYTES_MIN {
        return Err(error(Fault::Truncated, None));
    }
    match rest.first_chunk() {
        Some(id) => Err(error(Fault::TooLarge, Some(RequestId(u32::from_le_bytes(*id))))),
        None => Ok(Split::Incomplete { needed_bytes_total: LENGTH_BYTES + size_of::<RequestId>() }),
    }
}

/// Takes a frame off the front of frames that stand in another; `None` if there is no whole one.
#[inline]
pub(super) fn split_inner(frames: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (length, rest) = frames.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_le_bytes(*length);
    if length < FRAME_BYTES_MIN {
        return None;
    }
    let (body, rest) = rest.split_at_checked(length as usize)?;
    Some((Frame { body }, rest))
}

/// Whether `frames` is exactly `count` whole frames.
pub(super) fn holds_frames(count: u32, mut frames: &[u8]) -> bool {
    for _ in 0..count {
        let Some((_, rest)) = split_inner(frames) else {
            return false;
        };
        frames = rest;
    }
    frames.is_empty()
}

/// Leaves room for a length; returns where.
#[inline]
pub(super) fn begin_frame(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    start
}

/// Writes the length of the frame that began at `start`, of which `elsewhere_bytes` do not stand in `out`.
#[inline]
pub(super) fn finish_frame(start: usize, elsewhere_bytes: usize, out: &mut [u8]) {
    let length = wire_length(out.len() - start - LENGTH_BYTES + elsewhere_bytes);
    patch_u32(start, length, out);
}

#[inline]
pub(super) fn patch_u32(at: usize, number: u32, out: &mut [u8]) {
    out[at..at + 4].copy_from_slice(&number.to_le_bytes());
}
