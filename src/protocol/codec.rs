//! The primitives: little-endian numbers, versions and counted bytes, read from a slice and put into a vector.
//!
//! Invariant: a [`Reader`] only ever shrinks what it was given; it neither copies nor allocates, and its errors
//! name the field that did not fit. It knows no message.

use super::{Fault, Field};
use crate::types::{Stamp, VERSION_BYTES, Version, WallTime, WriterId};

/// What is wrong with a message, before it is known which one and how bad that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed {
    pub(super) field: Field,
    pub(super) fault: Fault,
}

impl Malformed {
    pub(super) const fn new(field: Field, fault: Fault) -> Self {
        Self { field, fault }
    }
}

/// Takes fields off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    fn array<const BYTES: usize>(&mut self, field: Field) -> Result<[u8; BYTES], Malformed> {
        let (array, rest) =
            self.rest.split_first_chunk::<BYTES>().ok_or(Malformed::new(field, Fault::Truncated))?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    /// Whether nothing is left.
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn u8(&mut self, field: Field) -> Result<u8, Malformed> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u16(&mut self, field: Field) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_le_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self, field: Field) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_le_bytes)
    }

    #[inline]
    pub(super) fn u64(&mut self, field: Field) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_le_bytes)
    }

    #[inline]
    pub(super) fn i64(&mut self, field: Field) -> Result<i64, Malformed> {
        self.array(field).map(i64::from_le_bytes)
    }

    #[inline]
    pub(super) fn version(&mut self, field: Field) -> Result<Version, Malformed> {
        let stamp = Stamp(self.u64(field)?);
        let writer = WriterId(self.u32(field)?);
        Ok(Version { stamp, writer })
    }

    #[inline]
    pub(super) fn wall_time(&mut self, field: Field) -> Result<WallTime, Malformed> {
        self.u64(field).map(WallTime)
    }

    #[inline]
    pub(super) fn bytes(&mut self, count: u32, field: Field) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) =
            self.rest.split_at_checked(count as usize).ok_or(Malformed::new(field, Fault::Truncated))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Bytes preceded by how many they are.
    #[inline]
    pub(super) fn counted(&mut self, field: Field) -> Result<&'a [u8], Malformed> {
        let count = self.u32(field)?;
        self.bytes(count, field)
    }

    /// Text preceded by how many bytes it is.
    pub(super) fn counted_text(&mut self, field: Field) -> Result<&'a str, Malformed> {
        text(self.counted(field)?, field)
    }

    #[inline]
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) const fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::new(Field::End, Fault::Misplaced)) }
    }
}

pub(super) fn text(bytes: &[u8], field: Field) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::new(field, Fault::NotText))
}

/// A length as it stands on the wire.
///
/// # Panics
///
/// At 4 GiB, which no [`Limits`](super::Limits) allow.
#[inline]
pub(super) fn wire_length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("limits are below 4 GiB")
}

pub(super) fn put_counted(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&wire_length(bytes.len()).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// A version as it stands on the wire.
#[inline]
pub(super) const fn version_bytes(version: Version) -> [u8; VERSION_BYTES] {
    let [a, b, c, d, e, f, g, h] = version.stamp.0.to_le_bytes();
    let [i, j, k, l] = version.writer.0.to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}
