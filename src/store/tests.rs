//! The store as its users see it: versions, conditions, expiry, memory, scans, and threads at once.
use super::*;
