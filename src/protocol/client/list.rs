//! Lists that stand in a frame: the requests and outcomes of a batch, the keys of a page.
//!
//! Invariant: a writer leaves its frame's length, and what else is known only at the end, to `finish`; between
//! `begin` and `finish` the vector may only be appended to. Walking a list allocates nothing.

use super::request::{decode_request_in, encode_request, refused};
use super::response::{begin_batch, begin_page, decode_response_in};
use super::{Place, opcode};
use crate::message::{Batch, Envelope, Keys, Outcome, Outcomes, RequestId};
use crate::protocol::codec::{Malformed, Reader, put_counted};
use crate::protocol::frame::{LENGTH_BYTES, begin_frame, finish_frame, holds_frames, patch_u32, split_inner};
use crate::protocol::preamble::level_number;
use crate::protocol::{Fault, Field, Limits, ProtocolError};
use crate::types::Level;

/// Writes the answer to a batch around the answers to its requests.
///
/// Between [`begin`](Self::begin) and [`finish`](Self::finish), one response for each request is appended to
/// the same vector, in order.
#[must_use = "the frame is not whole before `finish`"]
#[derive(Debug)]
pub struct BatchWriter {
    start: usize,
    count: u32,
    elsewhere_bytes: usize,
}

impl BatchWriter {
    /// Begins the answer to the batch `id`, which held `count` requests.
    pub fn begin(id: RequestId, count: u32, out: &mut Vec<u8>) -> Self {
        Self { start: begin_batch(id, count, out), count, elsewhere_bytes: 0 }
    }

    /// Counts bytes of the frame that do not stand in `out`: a value after its
    /// [head](super::encode_value_head).
    pub const fn add_elsewhere(&mut self, value_bytes: usize) {
        self.elsewhere_bytes += value_bytes;
    }

    /// Bytes of the frame so far, after its length field; to be kept within
    /// [`Limits::frame_bytes_max`] by refusing what would not fit.
    #[must_use]
    pub const fn frame_bytes(&self, out: &[u8]) -> usize {
        out.len() - self.start - LENGTH_BYTES + self.elsewhere_bytes
    }

    /// Ends the answer.
    ///
    /// # Panics
    ///
    /// If it reaches 4 GiB.
    pub fn finish(self, out: &mut [u8]) {
        finish_frame(self.start, self.elsewhere_bytes, out);
        let frames_at = self.start + LENGTH_BYTES + 12;
        debug_assert!(self.elsewhere_bytes > 0 || holds_frames(self.count, &out[frames_at..]));
    }
}

/// Writes a page of keys.
#[must_use = "the frame is not whole before `finish`"]
#[derive(Debug)]
pub struct PageWriter {
    start: usize,
    count: u32,
}

impl PageWriter {
    /// Begins the answer to the scan `id`.
    pub fn begin(id: RequestId, out: &mut Vec<u8>) -> Self {
        Self { start: begin_page(id, 0, 0, out), count: 0 }
    }

    /// Adds a key.
    pub fn push(&mut self, key: &[u8], out: &mut Vec<u8>) {
        put_counted(key, out);
        self.count += 1;
    }

    /// Bytes of the frame so far, after its length field.
    #[must_use]
    pub const fn frame_bytes(&self, out: &[u8]) -> usize {
        out.len() - self.start - LENGTH_BYTES
    }

    /// Ends the page; `cursor` is where to go on, 0 at the end of the ring.
    ///
    /// # Panics
    ///
    /// If the page reaches 4 GiB.
    pub fn finish(self, cursor: u64, out: &mut [u8]) {
        let cursor_at = self.start + LENGTH_BYTES + 8;
        out[cursor_at..cursor_at + 8].copy_from_slice(&cursor.to_le_bytes());
        patch_u32(cursor_at + 8, self.count, out);
        finish_frame(self.start, 0, out);
    }
}

/// Writes a batch of requests.
#[must_use = "the frame is not whole before `finish`"]
#[derive(Clone, Debug)]
pub struct RequestBatchWriter {
    start: usize,
    count: u32,
}

impl RequestBatchWriter {
    /// Begins a batch; `level` is for those of its requests that carry none.
    pub fn begin(id: RequestId, level: Option<Level>, out: &mut Vec<u8>) -> Self {
        let start = begin_frame(out);
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&[opcode::BATCH, level_number(level)]);
        // Flags, the key's length and the count, which `finish` knows.
        out.extend_from_slice(&[0; 2 + 4 + 4]);
        Self { start, count: 0 }
    }

    /// Adds a request. Nodes refuse batches, `Authenticate` and `Stats` in a batch.
    ///
    /// # Panics
    ///
    /// If the key and value together reach 4 GiB.
    pub fn push(&mut self, envelope: &Envelope<'_>, out: &mut Vec<u8>) {
        encode_request(envelope, out);
        self.count += 1;
    }

    /// Requests so far.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the frame so far, after its length field.
    #[must_use]
    pub const fn frame_bytes(&self, out: &[u8]) -> usize {
        out.len() - self.start - LENGTH_BYTES
    }

    /// Ends the batch.
    ///
    /// # Panics
    ///
    /// If it reaches 4 GiB.
    pub fn finish(self, out: &mut [u8]) {
        patch_u32(self.start + LENGTH_BYTES + 12, self.count, out);
        finish_frame(self.start, 0, out);
    }
}

impl<'a> Batch<'a> {
    /// How many requests it holds.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Its requests, decoded one by one. A wrong one is refused by itself; the others stand.
    #[must_use]
    pub const fn requests(self, limits: Limits) -> Requests<'a> {
        Requests { frames: Frames { remaining: self.count, frames: self.frames }, limits }
    }
}

/// The requests of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Requests<'a> {
    frames: Frames<'a>,
    limits: Limits,
}

impl<'a> Iterator for Requests<'a> {
    type Item = Result<Envelope<'a>, ProtocolError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frames.next()?;
        Some(frame.and_then(|frame| decode_request_in(Place::InBatch, frame, &self.limits)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.frames.size_hint()
    }
}

impl<'a> Outcomes<'a> {
    /// How many outcomes there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The outcomes in the order of the requests, each with its request's id.
    #[must_use]
    pub const fn items(self) -> Items<'a> {
        Items { frames: Frames { remaining: self.count, frames: self.frames } }
    }
}

/// The outcomes of a batch.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    frames: Frames<'a>,
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<(RequestId, Outcome<'a>), ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frames.next()?;
        Some(frame.and_then(|frame| decode_response_in(Place::InBatch, frame)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.frames.size_hint()
    }
}

/// Frames that stand in another.
#[derive(Clone, Debug)]
struct Frames<'a> {
    remaining: u32,
    frames: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<crate::protocol::frame::Frame<'a>, ProtocolError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let Some((frame, rest)) = split_inner(self.frames) else {
            self.remaining = 0;
            let malformed = Malformed::new(Field::BatchItem, Fault::Truncated);
            return Some(Err(refused(malformed, RequestId::default())));
        };
        self.frames = rest;
        Some(Ok(frame))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.remaining as usize))
    }
}

impl<'a> Keys<'a> {
    /// How many keys there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The keys.
    #[must_use]
    pub const fn list(self) -> KeyList<'a> {
        KeyList { remaining: self.count, reader: Reader::new(self.encoded) }
    }
}

/// The keys of a page.
#[derive(Clone, Debug)]
pub struct KeyList<'a> {
    remaining: u32,
    reader: Reader<'a>,
}

impl<'a> Iterator for KeyList<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        Some(self.reader.counted(Field::Key).expect("checked when the page was decoded"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining as usize, Some(self.remaining as usize))
    }
}
