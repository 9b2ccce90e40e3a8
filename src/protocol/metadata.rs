//! A node's metadata, to bytes and back: a magic number, a version, a length, a checksum, how often they were written,
//! then the content as Postcard lays it out.
//!
//! Invariant: bytes that were cut short, changed or written by something else are told from sound ones, and each such
//! case says what to do; none panics. What stands behind the content is of no matter: what was there before may have
//! been longer.

use xxhash_rust::xxh3::xxh3_64;

use super::codec::wire_length;
use crate::message::metadata::Metadata;

/// What the bytes begin with.
const MAGIC: [u8; 8] = *b"ANNULUSM";

/// The version of the layout.
const VERSION: u32 = 4;

/// Bytes before the content: magic number, version, length, checksum, sequence.
pub const METADATA_HEADER_BYTES: usize = 32;

/// Where what the checksum is of begins.
const SUMMED_FROM: usize = 24;

/// Why bytes are no metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MetadataError {
    /// They begin otherwise.
    #[error("it is not a metadata file of annulus")]
    Foreign,
    /// They are of another version.
    #[error("it was written by another version of annulus (layout {0}, this one reads {VERSION})")]
    Version(u32),
    /// They are not what was written.
    #[error(
        "it is damaged, and there is no sound copy beside it: remove metadata and metadata.copy, and let the node join \
         anew, with --join and --replace"
    )]
    Damaged,
}

/// The bytes of `metadata` that are written for the `sequence`-th time.
#[must_use]
pub fn encode_metadata(metadata: &Metadata, sequence: u64) -> Vec<u8> {
    seal(&postcard::to_stdvec(metadata).expect("what is in memory can be written"), sequence)
}

/// Puts a sound header in front of `content`, whatever that is.
#[must_use]
pub fn seal(content: &[u8], sequence: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(METADATA_HEADER_BYTES + content.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&wire_length(content.len()).to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(content);
    let checksum = xxh3_64(&bytes[SUMMED_FROM..]);
    bytes[16..SUMMED_FROM].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Reads metadata, and how often they had been written.
///
/// # Errors
/// [`MetadataError`].
pub fn decode_metadata(bytes: &[u8]) -> Result<(Metadata, u64), MetadataError> {
    let Some((header, rest)) = bytes.split_first_chunk::<METADATA_HEADER_BYTES>() else {
        return Err(if MAGIC.starts_with(bytes) { MetadataError::Damaged } else { MetadataError::Foreign });
    };
    if header[..8] != MAGIC {
        return Err(MetadataError::Foreign);
    }
    let short = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().expect("the header is longer"));
    let long = |at: usize| u64::from_le_bytes(*header[at..].first_chunk().expect("the header is longer"));
    let version = short(8);
    if version != VERSION {
        return Err(MetadataError::Version(version));
    }
    let content = rest.get(..short(12) as usize).ok_or(MetadataError::Damaged)?;
    if long(16) != xxh3_64(&bytes[SUMMED_FROM..METADATA_HEADER_BYTES + content.len()]) {
        return Err(MetadataError::Damaged);
    }
    let metadata = postcard::from_bytes(content).map_err(|_| MetadataError::Damaged)?;
    Ok((metadata, long(24)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::consensus::{Electorate, Image, Snapshot};
    use crate::message::topology::{Settings, Topology};
    use crate::types::{ClusterId, NodeNumber, WallTime};

    #[test]
    fn metadata_come_back_as_they_were_and_any_changed_byte_is_noticed() {
        let settings =
            Settings { replication_factor: 3, opens_with: 3, drift_max_ms: 500, operation_timeout_ms: 1000 };
        let topology = Topology::new(ClusterId(7), 8, settings);
        let snapshot = Snapshot { index: 1, term: 1, electorate: Electorate::default(), topology };
        let image = Image { term: 3, vote: Some(NodeNumber(2)), commit: 1, snapshot, entries: Vec::new() };
        let name = "n1".parse().unwrap();
        let metadata = Metadata { name, number: NodeNumber(1), ceiling: WallTime(5), image };
        let bytes = encode_metadata(&metadata, 9);
        assert_eq!(decode_metadata(&bytes), Ok((metadata.clone(), 9)));
        assert_eq!(decode_metadata(&[&bytes[..], b"left of before"].concat()), Ok((metadata, 9)));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(decode_metadata(&changed).is_err(), "byte {at}");
            assert!(decode_metadata(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(decode_metadata(b"ANNU"), Err(MetadataError::Damaged));
        assert_eq!(decode_metadata(b"something else altogether"), Err(MetadataError::Foreign));
    }
}
