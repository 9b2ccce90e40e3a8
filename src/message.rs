//! What clients and nodes say to each other: types only.
use crate::types::{Version, WallTime};

/// What must hold of a key for a write to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// The key is there in exactly this version.
    VersionIs(Version),
}

/// What a write does to a key's expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExpiryChange {
    /// The key no longer expires.
    #[default]
    Clear,
    /// The key expires when it did before.
    Keep,
    /// The key expires at this moment.
    At(WallTime),
    /// The key expires so many milliseconds after the write.
    AfterMs(u64),
}
