//! What a mailbox is made of. It names these and not the libraries, so that `tests/mailbox.rs` can put parts of a model
//! checker in their place and run the mailbox's own code through every order in which threads can meet.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use crossbeam::queue::ArrayQueue;
pub(crate) use mio::Waker;
