//! A node's metadata, to bytes and back: a magic number, a version, a checksum, then the content as Postcard lays it
//! out.
//!
//! Invariant: bytes that were cut short, changed or written by something else are told from sound ones, and each such
//! case says what to do; none panics.

use xxhash_rust::xxh3::xxh3_64;

use crate::message::metadata::Metadata;

/// What the bytes begin with.
const MAGIC: [u8; 8] = *b"ANNULUSM";

/// The version of the layout.
const VERSION: u32 = 3;

/// Bytes before the content: magic number, version, zeros, checksum.
const HEADER_BYTES: usize = 24;

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
    #[error("it is damaged: remove it and let the node join anew, with --join and --replace")]
    Damaged,
}

/// The bytes of `metadata`.
#[must_use]
pub fn encode_metadata(metadata: &Metadata) -> Vec<u8> {
    let content = postcard::to_stdvec(metadata).expect("what is in memory can be written");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + content.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&xxh3_64(&content).to_le_bytes());
    bytes.extend_from_slice(&content);
    bytes
}

/// Reads metadata.
///
/// # Errors
/// [`MetadataError`].
pub fn decode_metadata(bytes: &[u8]) -> Result<Metadata, MetadataError> {
    let Some((header, content)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(if MAGIC.starts_with(bytes) { MetadataError::Damaged } else { MetadataError::Foreign });
    };
    if header[..8] != MAGIC {
        return Err(MetadataError::Foreign);
    }
    let version = u32::from_le_bytes(*header[8..].first_chunk().expect("the header is longer"));
    if version != VERSION {
        return Err(MetadataError::Version(version));
    }
    let checksum = u64::from_le_bytes(*header[16..].first_chunk().expect("the header is longer"));
    if checksum != xxh3_64(content) || header[12..16] != [0; 4] {
        return Err(MetadataError::Damaged);
    }
    postcard::from_bytes(content).map_err(|_| MetadataError::Damaged)
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
        let bytes = encode_metadata(&metadata);
        assert_eq!(decode_metadata(&bytes), Ok(metadata));
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
