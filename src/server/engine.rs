//! What requests run in: the store, the clock and the counters of one worker, and what all workers share.
//!
//! Invariant: an engine belongs to one thread; `Shared` is reached from all and holds only what is lock-free or
//! never changes. It runs no request by itself: `commands` and `native` do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::config::Limits;
use crate::hybrid_clock::HybridClock;
use crate::metrics::Recorder;
use crate::server::commands::COMMANDS;
use crate::server::mailbox::Mailbox;
use crate::server::native;
use crate::server::worker::Message;
use crate::store::Store;
use crate::types::Timestamp;

/// What all workers of a node share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) memory_bytes_max: Option<u64>,
    pub(crate) address: SocketAddr,
    pub(crate) mailboxes: Box<[Mailbox<Message>]>,
    /// Connections that each worker serves or was handed.
    pub(crate) loads: Box<[AtomicUsize]>,
    /// The node was told to stop.
    pub(crate) stopping: AtomicBool,
    /// The id of the next connection.
    pub(crate) next_connection: AtomicU64,
}

impl Shared {
    /// Connections of the node.
    pub(crate) fn connections(&self) -> usize {
        self.loads.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }
}

/// One worker's means.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: HybridClock,
    pub(crate) recorder: Recorder,
    /// The time of this turn.
    pub(crate) now: Timestamp,
    /// The request that was run last took so long that those behind it on its connection wait for another turn.
    pub(crate) ends_turn: bool,
    /// Whose request is being run.
    pub(crate) peer: Option<SocketAddr>,
}

/// Operations that are counted: the commands of the table, then those of the native protocol.
pub(crate) const OPERATIONS: usize = COMMANDS.len() + native::OPERATIONS.len();

/// The name of an operation in reports.
pub(crate) fn operation_name(number: usize) -> &'static str {
    match COMMANDS.get(number) {
        Some(command) => command.name,
        None => native::OPERATIONS[number - COMMANDS.len()],
    }
}
