//! Histories good and bad, and what the checkers must say of them.
//!
//! Random tests print their seed with what failed. `atomic` and `replicas` make histories from a store whose promises
//! are known; `reference` judges by the bare definition.

mod atomic;
mod differential;
mod limits;
mod literature;
mod mutants;
mod quorums;
mod reference;
mod regularity;
mod replicas;
mod script;
