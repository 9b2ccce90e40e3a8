//! The cluster's machines: what decides where keys live and how replicas agree.
//!
//! Invariant: nothing here does I/O, reads a clock or draws randomness that it was not given, so that a simulator
//! runs the very code that production runs; no order depends on a hash seed. Nothing here stores data: what is to be
//! applied is an order to the caller, and its result comes back as an input.

pub mod coordinator;
pub mod deviation;
pub mod membership;
pub mod recovery;
pub mod replica;
pub mod ring;
pub mod topology;
pub mod view;
pub mod walk;
