//! The file of a node's metadata: replaced whole, and never without the disk having confirmed it.
//!
//! Invariant: one process has the directory; the file holds what was written last or what was written before, never a
//! part of either. A write that fails is not tried again: what the disk holds is not known then, and the node stops.
//! After a failed fsync, later ones may report success without the data: Rebello et al., "Can Applications Recover
//! from fsync Failures?" (2020).

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::message::metadata::Metadata;
use crate::protocol::metadata::{MetadataError, decode_metadata, encode_metadata};

/// The metadata of a node.
pub(crate) struct MetadataFile {
    directory: PathBuf,
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
        let file = Self { directory: directory.into(), _lock: lock };
        let metadata = match fs::read(file.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
            Ok(bytes) => Some(decode_metadata(&bytes).map_err(|source| MetadataFileError::Content {
                path: file.path().display().to_string(),
                source,
            })?),
        };
        Ok((file, metadata))
    }

    /// Puts metadata in place of those that are there, and returns when the disk has them.
    ///
    /// # Errors
    /// The system's. What the disk holds is not known then.
    pub(crate) fn write(&self, metadata: &Metadata) -> io::Result<()> {
        let next = self.directory.join("metadata.next");
        let mut file = File::create(&next)?;
        file.write_all(&encode_metadata(metadata))?;
        file.sync_all()?;
        fs::rename(&next, self.path())?;
        // The name is in the directory, which is to be on disk too.
        File::open(&self.directory)?.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.directory.join("metadata")
    }
}
