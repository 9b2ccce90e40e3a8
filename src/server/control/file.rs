//! The file of a node's metadata, in two copies, and never without the disk having confirmed both.
//!
//! Invariant: one process has the directory; whatever happens to one copy, the other holds what was written last, or
//! before that if nobody was told yet. They are overwritten in place, one after the other: that needs no room and no
//! change of the directory, so the file system's journal, and who else waits for it, is left out. A write that fails is
//! not tried again: what the disk holds is not known then, and the node stops. After a failed fsync, later ones may
//! report success without the data: Rebello et al., "Can Applications Recover from fsync Failures?" (2020).

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use crate::message::metadata::Metadata;
use crate::protocol::metadata::{MetadataError, decode_metadata, encode_metadata};

/// The names of the copies, in the order in which they are written.
const COPIES: [&str; 2] = ["metadata", "metadata.copy"];

/// The metadata of a node.
pub(crate) struct MetadataFile {
    copies: [File; 2],
    /// How often they were written.
    sequence: u64,
    /// Held for as long as the node runs.
    _lock: File,
}

/// Why metadata cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataFileError {
    /// The directory cannot be made or read.
    #[error("--data-dir {path}: {source}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "--data-dir {0} is in use by another process: stop that one, or give this node another directory or --id"
    )]
    InUse(String),
    /// What is there is no metadata.
    #[error("{path}: {source}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong.
        source: MetadataError,
    },
}

impl MetadataFile {
    /// Takes the directory, which is made if need be, and reads what is there.
    ///
    /// # Errors
    /// [`MetadataFileError`].
    pub(crate) fn open(directory: &Path) -> Result<(Self, Option<Metadata>), MetadataFileError> {
        let path = directory.display().to_string();
        let failed = |source| MetadataFileError::Directory { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let lock = File::create(directory.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(MetadataFileError::InUse(path)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let open = |name| {
            File::options().read(true).write(true).create(true).truncate(false).open(directory.join(name))
        };
        let [first, second] = COPIES.map(open);
        let mut copies = [first.map_err(failed)?, second.map_err(failed)?];
        // The names are in the directory, which is to be on disk too.
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        let mut read = |copy: usize| {
            let mut bytes = Vec::new();
            copies[copy].read_to_end(&mut bytes).map_err(failed)?;
            Ok::<_, MetadataFileError>((!bytes.is_empty()).then(|| (decode_metadata(&bytes), bytes)))
        };
        let found = [read(0)?, read(1)?];
        let sequence_in = |copy: usize| match &found[copy] {
            Some((Ok((_, sequence)), _)) => Some(*sequence),
            _ => None,
        };
        let first = usize::from(sequence_in(1) > sequence_in(0));
        let Some((Ok((metadata, sequence)), bytes)) = &found[first] else {
            let wrong = found.iter().zip(COPIES).find_map(|(found, name)| match found {
                Some((Err(error), _)) => Some((*error, name)),
                _ => None,
            });
            let Some((source, name)) = wrong else {
                return Ok((Self { copies, sequence: 0, _lock: lock }, None));
            };
            let path = directory.join(name).display().to_string();
            return Err(MetadataFileError::Content { path, source });
        };
        if sequence_in(0) != sequence_in(1) {
            tracing::warn!("a copy of the metadata in {path} was lost or left behind: it is made anew");
        }
        // Whoever wrote them may have ended before the disk had them, or because it failed: they are written once more
        // before anything relies on them. Where they stand that changes nothing, and so tears nothing; then the other.
        for copy in [first, 1 - first] {
            overwrite(&mut copies[copy], bytes).map_err(failed)?;
        }
        Ok((Self { copies, sequence: *sequence, _lock: lock }, Some(metadata.clone())))
    }

    /// Puts metadata in place of those that are there, and returns when the disk has them.
    ///
    /// # Errors
    /// The system's. What the disk holds is not known then.
    pub(crate) fn write(&mut self, metadata: &Metadata) -> io::Result<()> {
        self.sequence += 1;
        let bytes = encode_metadata(metadata, self.sequence);
        self.copies.iter_mut().try_for_each(|copy| overwrite(copy, &bytes))
    }
}

/// Writes over what a file begins with, and waits until the disk has it.
fn overwrite(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.rewind()?;
    file.write_all(bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::consensus::{Electorate, Image, Snapshot};
    use crate::message::topology::{Settings, Topology};
    use crate::types::{ClusterId, NodeNumber, WallTime};

    fn metadata(ceiling: u64) -> Metadata {
        let settings =
            Settings { replication_factor: 3, opens_with: 3, drift_max_ms: 500, operation_timeout_ms: 1000 };
        let topology = Topology::new(ClusterId(7), 8, settings);
        let snapshot = Snapshot { index: 1, term: 1, electorate: Electorate::default(), topology };
        let image = Image { term: 3, vote: None, commit: 1, snapshot, entries: Vec::new() };
        Metadata {
            name: "n1".parse().expect("a name"),
            number: NodeNumber(1),
            ceiling: WallTime(ceiling),
            image,
        }
    }

    /// Does something to a directory in which these were written, and returns whose ceiling is found then.
    fn found(
        name: &str,
        written: &[u64],
        harm: impl FnOnce(&Path),
    ) -> Result<Option<u64>, MetadataFileError> {
        let directory = std::env::temp_dir().join(format!("annulus-metadata-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let (mut file, nothing) = MetadataFile::open(&directory).expect("there is room");
        assert_eq!(nothing, None);
        written.iter().for_each(|&ceiling| file.write(&metadata(ceiling)).expect("there is room"));
        drop(file);
        harm(&directory);
        let found = MetadataFile::open(&directory).map(|(_, found)| found.map(|found| found.ceiling.0));
        // Whatever was harmed is whole again.
        if let Ok(Some(ceiling)) = found {
            for copy in COPIES {
                let bytes = fs::read(directory.join(copy)).expect("it is there");
                assert_eq!(decode_metadata(&bytes).expect("it is whole").0.ceiling.0, ceiling);
            }
        }
        fs::remove_dir_all(&directory).expect("it is there");
        found
    }

    fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).expect("it is there");
        change(&mut bytes);
        fs::write(path, bytes).expect("there is room");
    }

    #[test]
    fn what_was_written_last_is_found() {
        assert_eq!(found("last", &[], |_| {}).expect("nothing is wrong"), None);
        // The longer leaves something behind the shorter.
        assert_eq!(found("last", &[u64::MAX, 2], |_| {}).expect("nothing is wrong"), Some(2));
    }

    #[test]
    fn one_copy_is_enough_whatever_happens_to_the_other() {
        for copy in COPIES {
            let damaged = |directory: &Path| change(&directory.join(copy), |bytes| bytes[40] ^= 1);
            assert_eq!(found("damaged", &[1, 2], damaged).expect("one is left"), Some(2));
            let cut = |directory: &Path| change(&directory.join(copy), |bytes| bytes.truncate(35));
            assert_eq!(found("cut", &[1, 2], cut).expect("one is left"), Some(2));
            let gone = |directory: &Path| fs::remove_file(directory.join(copy)).expect("it is there");
            assert_eq!(found("gone", &[1, 2], gone).expect("one is left"), Some(2));
        }
    }

    #[test]
    fn a_write_that_ended_between_the_copies_is_found_and_one_that_was_torn_is_not() {
        let between = |directory: &Path| {
            fs::write(directory.join(COPIES[0]), encode_metadata(&metadata(3), 3)).expect("there is room");
        };
        assert_eq!(found("between", &[1, 2], between).expect("one is newer"), Some(3));
        let torn = |directory: &Path| {
            let next = encode_metadata(&metadata(3), 3);
            change(&directory.join(COPIES[0]), |bytes| bytes[..34].copy_from_slice(&next[..34]));
        };
        assert_eq!(found("torn", &[1, 2], torn).expect("one is as before"), Some(2));
    }

    #[test]
    fn two_damaged_copies_are_an_error() {
        let damaged = |directory: &Path| {
            COPIES.iter().for_each(|copy| change(&directory.join(copy), |bytes| bytes[40] ^= 1));
        };
        let error = found("both", &[1], damaged).expect_err("nothing is left");
        assert!(
            matches!(error, MetadataFileError::Content { source: MetadataError::Damaged, .. }),
            "{error}"
        );
    }
}
