//! Histories of what clients asked of a store and were told, and the checkers that judge them.
//!
//! A simulator or a load generator records a [`History`]; a checker takes what happened to one key and gives a
//! [`Verdict`]. [`linearizability`] judges keys whose every operation was linearizable, [`regularity`] what quorum
//! reads and writes promise. Invariant: a history holds nothing but what clients saw, and a checker never raises a
//! false alarm: where the history does not tell, it says nothing, or that it cannot decide. Nothing here knows how a
//! store works.

pub mod linearizability;
mod operation;
mod record;
pub mod regularity;
mod timeline;
mod value;
mod verdict;

pub use operation::{Answer, Ask, ClientId, Condition, Key, Operation, Outcome, Rank};
pub use record::{History, KeyHistory, OperationId};
pub use value::{Value, Values};
pub use verdict::{Promise, Undecided, Verdict, Violation};
