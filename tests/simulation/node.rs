//! A node of the simulated cluster: the real store, replica, coordinator and clocks, and what becomes of them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use annulus::cluster::coordinator::{ClientTag, Coordinator, Decided, Decision, Order, Orders, Question};
use annulus::cluster::deviation::Deviation;
use annulus::cluster::recovery::Recovery;
use annulus::cluster::replica::{Replica, Standing};
use annulus::cluster::ring::Ring;
use annulus::cluster::topology::TopologyLog;
use annulus::cluster::view::View;
use annulus::config::{CoordinatorConfig, ShardCount, StoreConfig};
use annulus::hybrid_clock::HybridClock;
use annulus::message::consensus::Image;
use annulus::message::peer::{Answer, OperationId};
use annulus::message::{Outcome, Reply};
use annulus::protocol::peer::{encode_answer, encode_inquiry, encode_proposal};
use annulus::slewed_clock::SlewedClock;
use annulus::store::Store;
use annulus::types::{Epoch, NodeNumber, Timestamp, Version, WallTime, WriterId};

use crate::agenda::Event;
use crate::changes::{self, Changed};

/// What every run of the simulator may get wrong, in the order of the numbers that choose it.
pub(crate) const DEVIATIONS: [Deviation; 28] = [
    Deviation::None,
    Deviation::WriteBackSkipped,
    Deviation::SupersededAcknowledged,
    Deviation::UnknownReportedAsRefused,
    Deviation::OldRoundsCounted,
    Deviation::ReadsOne,
    Deviation::OldEpochAccepted,
    Deviation::ClockReused,
    Deviation::CopiesForgotten,
    Deviation::CeilingIgnored,
    Deviation::DeadlineIgnored,
    Deviation::LostRoundsForgotten,
    Deviation::LastRoundRemembered,
    Deviation::SettlingSkipped,
    Deviation::PromisedCountsAsRepaired,
    Deviation::ChangesRepeated,
    Deviation::NewerCountsAsRepaired,
    Deviation::RecoveringCounted,
    Deviation::RecoveredFromOne,
    Deviation::OldOwnersSuffice,
    Deviation::FilledFromOne,
    Deviation::BarrierSkipped,
    Deviation::PromisesBindStreams,
    Deviation::MarkSkipped,
    Deviation::ExpiryByTwoClocks,
    Deviation::WalkOfOneNode,
    Deviation::WalkToTheLast,
    Deviation::RefusalOfOneSuffices,
];

/// The hash seed of every store and ring.
pub(crate) const HASH_SEED: u64 = 7;

/// How far ahead of the latest version the ceiling is put on disk, and how near a version may come: less than in
/// production, so that a disk that stalls for a moment is felt.
const CEILING_AHEAD_MS: u64 = 150;
const CEILING_NEAR_MS: u64 = 100;
const CEILING_INTERVAL_NS: u64 = 5_000_000;

/// When the simulation begins, in wall time.
const START_MS: u64 = 1_700_000_000_000;

/// What a client is told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Written(Version),
    Changed(Changed),
    Value(Vec<u64>, Version),
    Nothing,
    Refused,
    Unknown,
}

/// Keeps what a coordinator orders until it has returned.
#[derive(Default)]
pub(crate) struct Sink<const BUG: usize> {
    /// Messages, to whom, and whether it does no harm if they arrive twice.
    pub(crate) sent: Vec<(NodeNumber, Vec<u8>, bool)>,
    pub(crate) replies: Vec<(ClientTag, Told)>,
    /// Which nodes asked for what on behalf of their clients.
    pub(crate) guests: Vec<Guest>,
    /// What those are told.
    pub(crate) answers: Vec<(Guest, Vec<u8>)>,
}

/// A node that asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest {
    pub(crate) node: usize,
    pub(crate) life: u32,
    pub(crate) operation: OperationId,
}

/// Tags from here on are of guests.
pub(crate) const GUESTS: u64 = 1 << 63;

impl<const BUG: usize> Orders for Sink<BUG> {
    const DEVIATION: Deviation = DEVIATIONS[BUG];

    fn decide(&mut self, question: &Question<'_>, decision: &mut Decision) -> Decided {
        changes::decide(question, decision)
    }

    fn order(&mut self, order: Order<'_>) {
        if let Some((ClientTag(tag), verdict)) = order.as_answer()
            && tag >= GUESTS
        {
            let guest = self.guests[(tag - GUESTS) as usize];
            let mut bytes = Vec::new();
            encode_answer(&Answer { operation: guest.operation, verdict }, &mut bytes);
            return self.answers.push((guest, bytes));
        }
        match order {
            Order::Send { to, inquiry } => {
                let mut bytes = Vec::new();
                encode_inquiry(&inquiry, &mut bytes);
                self.sent.push((to, bytes, true));
            }
            Order::Propose { to, proposal } => {
                let mut bytes = Vec::new();
                encode_proposal(&proposal, &mut bytes);
                self.sent.push((to, bytes, false));
            }
            Order::Told { client, reply } => {
                self.replies.push((client, Told::Changed(changes::read(reply))));
            }
            Order::Reply { client, outcome } => {
                let told = match outcome {
                    Outcome::Done(Reply::Written { version }) => Told::Written(version),
                    Outcome::Done(Reply::Value { version, value, .. }) => {
                        Told::Value(changes::tokens(value), version)
                    }
                    Outcome::Done(_) => Told::Nothing,
                    Outcome::Refused { .. } => Told::Refused,
                    Outcome::Unknown { .. } => Told::Unknown,
                };
                self.replies.push((client, told));
            }
        }
    }
}

/// A node.
pub(crate) struct Node {
    pub(crate) number: NodeNumber,
    /// Which of its processes: how often it was started.
    pub(crate) life: u32,
    /// The same, as the log knows it.
    pub(crate) run: u64,
    /// The log has that, as far as the node knows it.
    pub(crate) entered: bool,
    pub(crate) log: TopologyLog,
    /// What its disk holds of the log.
    pub(crate) image: Image,
    /// Its wall time, when it was last looked at.
    pub(crate) wall: WallTime,
    /// Up to when it may have promised what it has forgotten.
    pub(crate) fence: WallTime,
    /// It has what it had in its life before.
    pub(crate) keeps_data: bool,
    /// The movement that it lacks something of.
    pub(crate) filling: Option<Epoch>,
    /// How it gets back what it lost, or what is new to it.
    pub(crate) recovery: Option<Recovery>,
    /// When that is to be looked at next.
    pub(crate) recover_ns: u64,
    /// It has what it lacked, and says so until the log has that.
    pub(crate) reports: bool,
    /// When its log is to be looked at next.
    pub(crate) look_ns: Option<u64>,
    pub(crate) up: bool,
    /// Since when it is down.
    pub(crate) down_since_ns: u64,
    /// How many faults pause it.
    pub(crate) paused: u32,
    /// Since when it is paused, or was last.
    pub(crate) paused_ns: u64,
    /// When it went on after that.
    pub(crate) resumed_ns: u64,
    /// What happened to it while it was paused.
    pub(crate) deferred: Vec<Event>,
    pub(crate) store: Store,
    pub(crate) replica: Replica,
    pub(crate) coordinator: Coordinator,
    pub(crate) view: View,
    clock: SlewedClock,
    /// No version beyond this time may be issued or stored: so much is on its disk.
    pub(crate) ceiling: WallTime,
    /// When it is looked at next: not between two copies of one message, which no connection delivers.
    ceiling_at_ns: u64,
    /// The latest time that a version was wanted for.
    pub(crate) wanted: WallTime,
    /// How many faults keep its disk from taking anything.
    pub(crate) disk_stalled: u32,
    /// How wrong the machine's clock is.
    pub(crate) clock_error_ms: i64,
    pub(crate) clock_drift_ppm: i64,
    /// When it is to be looked at next.
    pub(crate) timer_ns: Option<u64>,
}

impl Node {
    pub(crate) fn new(index: usize, image: &Image, seed: u64) -> Self {
        let number = NodeNumber(index as u16 + 1);
        let numbers = image.snapshot.topology.nodes.keys().copied();
        let view = View::new(Epoch(0), Arc::new(nobody()), number, numbers);
        let coordinator = new_coordinator(&view, seed);
        Self {
            number,
            life: 0,
            run: index as u64 + 1,
            entered: false,
            log: TopologyLog::new(image, number, seed + index as u64, Timestamp(0)),
            image: image.clone(),
            look_ns: None,
            wall: WallTime(0),
            fence: WallTime(0),
            keeps_data: true,
            filling: None,
            recovery: None,
            recover_ns: u64::MAX,
            reports: false,
            up: true,
            down_since_ns: 0,
            paused: 0,
            paused_ns: 0,
            resumed_ns: 0,
            deferred: Vec::new(),
            store: new_store(),
            replica: Replica {
                epoch: Epoch(0),
                standing: Standing::Absent,
                drift_max: Duration::from_millis(500),
                ceiling: WallTime(u64::MAX),
                stopped_ms: 0,
            },
            coordinator,
            view,
            clock: SlewedClock::default(),
            ceiling: WallTime(0),
            ceiling_at_ns: 0,
            wanted: WallTime(0),
            disk_stalled: 0,
            clock_error_ms: 0,
            clock_drift_ppm: 0,
            timer_ns: None,
        }
    }

    /// Starts it anew with the data that it had: a new process, which the log does not have yet.
    pub(crate) fn restart(&mut self, run: u64, seed: u64, now: Timestamp) {
        self.life += 1;
        self.up = true;
        (self.run, self.entered) = (run, false);
        self.log = TopologyLog::new(&self.image, self.number, seed, now);
        self.look_ns = None;
        (self.view.epoch, self.view.ring) = (Epoch(0), Arc::new(nobody()));
        (self.replica.epoch, self.replica.standing) = (Epoch(0), Standing::Absent);
        (self.recovery, self.filling) = (None, None);
        (self.recover_ns, self.reports) = (u64::MAX, false);
        self.view.next_ring = None;
        if !self.keeps_data {
            self.fence = self.ceiling;
            self.store = new_store();
        }
        self.coordinator = new_coordinator(&self.view, seed);
        self.clock = SlewedClock::default();
        self.timer_ns = None;
    }

    /// The node's wall time, at `now_ns` of the simulation; its coordinator sees it too.
    pub(crate) fn observe(&mut self, now_ns: u64) -> WallTime {
        let drift_ms = (now_ns as i64 / 1_000_000) * self.clock_drift_ppm / 1_000_000;
        let machine_ms =
            (START_MS + now_ns / 1_000_000).saturating_add_signed(self.clock_error_ms + drift_ms);
        let wall = self.clock.show(Timestamp(now_ns), WallTime(machine_ms));
        self.wall = wall;
        self.coordinator.observe(Timestamp(now_ns), wall);
        // What comes at the moment at which it goes on may have come all the while.
        let stopped_ns = if now_ns == self.resumed_ns { now_ns - self.paused_ns } else { 0 };
        self.replica.stopped_ms = stopped_ns / 1_000_000;
        self.wanted = self.wanted.max(self.coordinator.latest());
        if now_ns >= self.ceiling_at_ns {
            self.ceiling_at_ns = now_ns + CEILING_INTERVAL_NS;
            if self.disk_stalled == 0 && self.ceiling.0 < self.wanted.0 + CEILING_NEAR_MS {
                self.ceiling = WallTime(self.wanted.0 + CEILING_AHEAD_MS);
            }
        }
        self.replica.ceiling = self.ceiling;
        self.coordinator.set_ceiling(self.ceiling);
        wall
    }
}

fn new_store() -> Store {
    let shards = ShardCount::new(2).expect("a power of two");
    let config = StoreConfig { shards, hash_seed: HASH_SEED, memory_bytes_max: None };
    // So few that some are forgotten.
    Store::new(&config).with_promises_max(8)
}

/// A ring that nobody has a place on.
fn nobody() -> Ring {
    Ring::new(&[], NonZeroUsize::MIN, 0)
}

fn new_coordinator(view: &View, seed: u64) -> Coordinator {
    let config = CoordinatorConfig { proposers_max: 6, ..CoordinatorConfig::default() };
    Coordinator::new(Arc::new(view.clone()), HybridClock::new(WriterId::default()), config, seed)
}
