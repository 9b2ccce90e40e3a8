//! What requests run in: the store, the clock and the counters of one worker, and what all workers share.
//!
//! Invariant: an engine belongs to one thread; `Shared` is reached from all and holds only what is lock-free or
//! never changes. It runs no request by itself: `commands` and `native` do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::config::{Limits, Password};
use crate::hybrid_clock::HybridClock;
use crate::metrics::Recorder;
use crate::server::clock::Clock;
use crate::server::commands::COMMANDS;
use crate::server::mailbox::Mailbox;
use crate::server::native;
use crate::server::replication::Replication;
use crate::server::roster::Roster;
use crate::server::settings::Settings;
use crate::server::slow_log::SlowLog;
use crate::server::worker::{Forget, Message};
use crate::store::Store;
use crate::types::Timestamp;

/// What all workers of a node share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) settings: Settings,
    pub(crate) address: SocketAddr,
    pub(crate) password: Option<Password>,
    /// The cluster, unless the node is alone.
    pub(crate) roster: Option<Arc<Roster>>,
    pub(crate) mailboxes: Box<[Mailbox<Message>]>,
    /// Connections that each worker serves or was handed.
    pub(crate) loads: Box<[AtomicUsize]>,
    /// The node was told to stop.
    pub(crate) stopping: AtomicBool,
    /// The id of the next connection.
    pub(crate) next_connection: AtomicU64,
    /// The id of the next slow command.
    pub(crate) next_slow_entry: AtomicU64,
}

impl Shared {
    /// Connections of the node.
    pub(crate) fn connections(&self) -> usize {
        self.loads.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }
}

/// One worker's means.
pub(crate) struct Engine {
    /// Which worker's.
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: HybridClock,
    pub(crate) recorder: Recorder,
    /// The time of this turn.
    pub(crate) now: Timestamp,
    /// When the requests of this batch were begun, in a cluster.
    pub(crate) batch_at: Timestamp,
    /// The request that was run last took so long that those behind it on its connection wait for another turn.
    pub(crate) ends_turn: bool,
    /// Whose request is being run.
    pub(crate) peer: Option<SocketAddr>,
    /// To time single commands by.
    pub(crate) time: Clock,
    /// Whether every command is timed, because even short ones may count as slow.
    pub(crate) times_all: bool,
    pub(crate) slow_log: SlowLog,
    /// Its part in the cluster, unless the node is alone.
    pub(crate) replication: Option<Box<Replication>>,
}

/// Below this threshold every command is timed; above it, those that may take so long.
const TIMES_ALL_BELOW_US: i64 = 1_000;

impl Engine {
    /// Shows it the time at the beginning of a turn.
    #[inline]
    pub(crate) fn begin_turn(&mut self) {
        self.now = self.time.now();
        self.clock.observe(self.time.wall());
        if self.replication.is_some() {
            self.steer_clock();
        }
        self.recorder.totals.turns += 1;
        self.times_all = (0..TIMES_ALL_BELOW_US).contains(&self.shared.settings.slow_threshold_us());
    }

    /// Shows the time to who must not see it jump.
    #[cold]
    fn steer_clock(&mut self) {
        if let Some(replication) = &mut self.replication {
            self.clock.observe(replication.observe(self.now, self.clock.wall()));
        }
    }

    /// Begins to count or to log anew.
    pub(crate) fn forget(&mut self, what: Forget) {
        match what {
            Forget::Statistics => {
                self.recorder = Recorder::new(OPERATIONS);
                self.replication.iter_mut().for_each(|replication| replication.forget_counts());
            }
            Forget::SlowLog => self.slow_log.clear(),
        }
    }

    /// The same, for all workers: the others do it before they answer anything asked later.
    pub(crate) fn forget_everywhere(&mut self, what: Forget) {
        self.forget(what);
        for (_, mailbox) in self.shared.mailboxes.iter().enumerate().filter(|(index, _)| *index != self.index)
        {
            // A worker whose mailbox is full goes on as before: it has other cares.
            let _ = mailbox.send(Message::Forget(what));
        }
    }
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
