//! What makes a worker part of a cluster: its coordinator, its links to the other nodes, theirs to it, and the replica
//! that this node is.
//!
//! Invariant: every worker has a link of its own to every node and coordinates what its own clients ask; a request
//! never changes thread. Nothing here decides what a level means: that is [`Coordinator`] and [`Replica`].
//!
//! ```text
//! client ─► requests ─► Coordinator ─► outbox ─┬─► link ───────► guest ─► Replica ─► store   (another node)
//!    ▲                      ▲                  └─► own Replica ─► store
//!    └── conversation ◄─────┴── answers ◄─────────────────────────┘
//! ```

mod batch;
mod conversation;
mod errands;
mod guest;
mod guests;
mod judge;
mod links;
mod lookahead;
mod outbox;
mod requests;
mod streaming;
mod walks;

use std::io;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Registry, Token};
use slab::Slab;

use crate::cluster::coordinator::Coordinator;
use crate::cluster::replica::{Replica, Standing};
use crate::cluster::ring::Ring;
use crate::cluster::view::View;
use crate::config::{
    CoordinatorConfig, DRIFT_MAX_DEFAULT, Limits,
    recovery::{PAGE_BYTES, PAUSE},
};
use crate::hybrid_clock::HybridClock;
use crate::protocol::Limits as FrameLimits;
use crate::protocol::peer::{PEER_OVERHEAD_BYTES_MAX, PeerMessage, decode_peer, encode_answer};
use crate::server::clock::Clock;
use crate::server::engine::Shared;
use crate::server::link::{Change, Link};
use crate::server::roster::{Outlook, Roster};
use crate::slewed_clock::SlewedClock;
use crate::store::Store;
use crate::types::{Epoch, NodeNumber, RunId, Stamp, Timestamp, WallTime, WriterId};

pub(crate) use conversation::Conversation;
pub(crate) use errands::Errand;
pub(crate) use outbox::{Finished, OperationResult, Waiter};
pub(crate) use requests::{Begun, Client, begin, begin_native, begin_other};
pub(crate) use walks::Purpose;

use guest::{Host, Inquiries};
use guests::{Guests, Heard};
use judge::{CHANGE_OVERHEAD_BYTES_MAX, Judge};
use lookahead::Lookahead;
use outbox::{Outbox, Waiting};
use streaming::Recovering;
use walks::Walks;

/// Tokens from here on are of links to other nodes, by number.
pub(crate) const LINKS: usize = 1 << 62;
/// Tokens from here on are of links that other nodes have to this one, by slot.
const GUESTS: usize = LINKS + (1 << 60);
/// The token of the listener for other nodes.
const PEER_LISTENER: Token = Token(GUESTS + (1 << 60));

/// How often links are looked at that nothing happens on.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// A life's number, which nobody else has.
pub(crate) fn new_run(random: u64) -> RunId {
    RunId(NonZeroU64::new(random).unwrap_or(NonZeroU64::MIN))
}

/// One worker's part in the cluster.
pub(crate) struct Replication {
    roster: Arc<Roster>,
    /// Which worker's.
    index: u32,
    coordinator: Coordinator,
    outbox: Outbox,
    replica: Replica,
    clock: SlewedClock,
    view: View,
    /// By the number of the node; none to the own one, and to those that have gone.
    links: Vec<Option<Link>>,
    guests: Guests,
    /// What they want that is not theirs to do.
    heard: Heard,
    /// How it gets back what it lost, if it did and this worker sees to it.
    recovery: Option<Recovering>,
    /// What is about all keys.
    walks: Walks,
    /// Who waits for what other workers propose.
    tickets: Slab<Waiting>,
    /// An answer of the own replica, on its way to the coordinator.
    answer: Vec<u8>,
    limits: FrameLimits,
    look_around_at: Timestamp,
    /// When it had its last turn, and the one before.
    turns_at: [Timestamp; 2],
}

impl Replication {
    /// The part of the worker `index`, before anything is known of the cluster.
    pub(crate) fn new(
        config: &CoordinatorConfig,
        roster: Arc<Roster>,
        listener: TcpListener,
        index: u32,
        limits: &Limits,
        seed: u64,
    ) -> Self {
        let own = roster.own.node;
        let nobody = Arc::new(Ring::new(&[], NonZeroUsize::MIN, 0));
        let view = View::new(Epoch(0), nobody, own, []);
        let clock = HybridClock::new(WriterId::default());
        let coordinator = Coordinator::new(Arc::new(view.clone()), clock, config.clone(), seed);
        let bounded = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let frame_limits = FrameLimits {
            key_bytes_max: bounded(limits.key_bytes_max),
            value_bytes_max: bounded(limits.value_bytes_max),
            // A change has its key twice, beside it and in it; a page is full before its last cell.
            frame_bytes_max: bounded(2 * limits.key_bytes_max + limits.value_bytes_max + PAGE_BYTES)
                .saturating_add(PEER_OVERHEAD_BYTES_MAX + CHANGE_OVERHEAD_BYTES_MAX),
            batch_count_max: 0,
        };
        let judge = Judge::new(limits, frame_limits);
        Self {
            outbox: Outbox::new(usize::from(own.0) + 1, judge),
            roster,
            index,
            coordinator,
            replica: Replica {
                epoch: Epoch(0),
                standing: Standing::Absent,
                drift_max: DRIFT_MAX_DEFAULT,
                ceiling: WallTime(0),
                stopped_ms: 0,
            },
            clock: SlewedClock::default(),
            view,
            links: Vec::new(),
            guests: Guests::new(listener),
            heard: Heard::default(),
            recovery: None,
            walks: Walks::default(),
            tickets: Slab::new(),
            answer: Vec::new(),
            limits: frame_limits,
            look_around_at: Timestamp::default(),
            turns_at: [Timestamp::default(); 2],
        }
    }

    /// Goes by another view of the cluster from now on.
    pub(crate) fn adopt(&mut self, now: Timestamp, outlook: &Outlook, store: &Store) {
        if let Some(fence) = outlook.fence.filter(|_| outlook.standing == Standing::Active) {
            store.raise_fence(Stamp::last_of(fence));
        }
        if let Some(incarnation) = outlook.incarnation {
            let writer = WriterId::new(incarnation.0, self.index);
            self.coordinator.become_writer(writer.expect("the log gives no incarnation beyond the bound"));
        }
        self.coordinator.set_timeout(outlook.operation_timeout);
        let Outlook { epoch, standing, drift_max, .. } = *outlook;
        self.replica = Replica { epoch, standing, drift_max, ..self.replica };
        let numbers = outlook.addresses.keys().chain([&self.roster.own.node]);
        let numbers =
            numbers.map(|number| usize::from(number.0) + 1).max().unwrap_or(0).max(self.links.len());
        self.links.resize_with(numbers, || None);
        self.outbox.make_room(numbers);
        for number in 0..numbers {
            let node = NodeNumber(number as u16);
            let address = outlook.addresses.get(&node).copied();
            if self.links[number].as_ref().map(|link| link.address) != address {
                let lost = self.links[number].take().is_some_and(|link| link.is_up());
                self.links[number] = address.map(|address| Link::new(address, Token(LINKS + number), true));
                if lost {
                    self.note_change(node, Change::Lost);
                }
            }
        }
        // What changed may be that somebody is back.
        self.links.iter_mut().flatten().for_each(Link::try_now);
        let links = self.links.iter().enumerate();
        let up = links.filter(|(_, link)| link.as_ref().is_some_and(Link::is_up));
        let up = up.map(|(number, _)| NodeNumber(number as u16)).filter(|node| !outlook.dead.contains(node));
        self.view = View::new(outlook.epoch, Arc::clone(&outlook.ring), self.roster.own.node, up);
        self.view.set_recovering(outlook.recovering.iter().copied());
        self.view.set_hearsay(outlook.hearsay.iter().copied());
        self.view.next_ring = outlook.next_ring.clone();
        let outbox = &mut self.outbox;
        self.coordinator.adopt(Arc::new(self.view.clone()), outbox);
        self.look_around_at = now;
        self.consider_recovery(now, outlook.filling);
    }

    /// Starts to listen for other nodes.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        self.guests.register(registry)
    }

    /// Operations under way.
    pub(crate) fn under_way(&self) -> usize {
        self.coordinator.under_way()
    }

    /// Shows it the machine's time at the beginning of a turn; returns the cluster's, which does not jump.
    pub(crate) fn observe(&mut self, now: Timestamp, machine: WallTime) -> WallTime {
        let wall = self.clock.show(now, machine);
        self.coordinator.observe(now, wall);
        (self.outbox.wall_ms, self.outbox.now) = (wall.0, now);
        self.roster.want(self.coordinator.latest());
        self.replica.ceiling = self.roster.ceiling();
        self.coordinator.set_ceiling(self.replica.ceiling);
        wall
    }

    /// Remembers what an event says.
    pub(crate) fn note(&mut self, event: &Event) {
        match event.token() {
            PEER_LISTENER => self.guests.note_listener(),
            Token(token) if token >= GUESTS => self.guests.note(token - GUESTS, event),
            Token(token) => {
                if let Some(Some(link)) = self.links.get_mut(token - LINKS) {
                    link.note(event);
                }
            }
        }
    }

    /// How long there is nothing to do unless an event comes, `now` being the time.
    pub(crate) fn idle_for(&self, now: Timestamp) -> Duration {
        let to_send = self.outbox.staged.iter().any(|staged| !staged.is_empty());
        let to_read = !self.outbox.answers.is_empty()
            || !self.outbox.finished.is_empty()
            || self.guests.has_more()
            || self.walks.is_ready()
            || !self.outbox.removed.is_empty()
            || self.links.iter().flatten().any(Link::has_more);
        if to_send || to_read {
            return Duration::ZERO;
        }
        let next =
            self.coordinator.next_timeout().map_or(self.look_around_at, |at| at.min(self.look_around_at));
        let recovers = self.recovery.as_ref().and_then(|recovering| recovering.machine.next_timeout());
        // A source that cannot be reached is no reason to look all the time.
        let next = recovers.map_or(next, |at| at.max(now.after(PAUSE)).min(next));
        Duration::from_nanos(next.nanos_since(now))
    }

    /// Has its turn: answers other nodes, takes in their answers, sends what is to be sent. `now` is the turn's time;
    /// `time` tells what parts of it take.
    pub(crate) fn attend(
        &mut self,
        now: Timestamp,
        time: Clock,
        wall: WallTime,
        registry: &Registry,
        shared: &Shared,
    ) {
        let store = &shared.store;
        // A turn comes when something does, and after a while in any case: beyond that, the process was stopped. What
        // came meanwhile is heard of in the first turn after that, or in the second.
        let [last, before] = self.turns_at;
        self.replica.stopped_ms = now.nanos_since(before.after(LOOK_AROUND * 2)) / 1_000_000;
        self.turns_at = [now, last];
        self.attend_guests(now, wall, registry, store);
        self.take_proposals(shared);
        // What it asks itself has not waited.
        self.replica.stopped_ms = 0;
        self.outbox.now = time.now();
        self.attend_links(now, registry, store, wall);
        let outbox = &mut self.outbox;
        self.coordinator.handle_timeout(now, outbox);
        self.go_on_walking(shared, now, wall);
        self.ask_own(time, wall, store);
        self.send(now);
        self.tell_askers(now, shared);
        self.roster.note_adopted(self.index as usize, self.replica.epoch);
        if now >= self.look_around_at {
            self.look_around_at = now.after(LOOK_AROUND);
            self.guests.dismiss_late(now);
            self.walks.look_at_all();
        }
        if self.recovery.as_ref().is_some_and(|recovering| recovering.is_due(now)) {
            self.fetch(now);
        }
    }

    /// What it counts by itself.
    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        let replica = [
            ("inquiries", self.guests.inquiries.served),
            ("inquiries_refused", self.guests.inquiries.refused),
        ];
        self.coordinator.counts().named().into_iter().chain(replica).collect()
    }

    /// Begins to count anew.
    pub(crate) fn forget_counts(&mut self) {
        self.coordinator.forget_counts();
        self.guests.inquiries = Inquiries::default();
    }

    /// Takes out the replies that have come, and their bytes.
    pub(crate) fn take_finished(&mut self) -> (Vec<Finished>, Vec<u8>) {
        (std::mem::take(&mut self.outbox.finished), std::mem::take(&mut self.outbox.bytes))
    }

    /// Gives the buffers back.
    pub(crate) fn give_back(&mut self, mut finished: Vec<Finished>, mut bytes: Vec<u8>) {
        finished.clear();
        bytes.clear();
        bytes.shrink_to(crate::config::link::KEPT_BYTES_MAX);
        (self.outbox.finished, self.outbox.bytes) = (finished, bytes);
    }

    fn attend_guests(&mut self, now: Timestamp, wall: WallTime, registry: &Registry, store: &Store) {
        self.guests.accept(now, registry);
        let Self { roster, replica, view, limits, .. } = self;
        let host = Host { roster, replica, view, store, wall, limits };
        self.guests.attend(now, &host, registry, &mut self.heard);
        // Who reaches this node can be reached.
        for node in self.heard.newcomers.drain(..) {
            let link = self.links.get_mut(usize::from(node.0)).and_then(Option::as_mut);
            link.into_iter().for_each(Link::try_now);
        }
    }

    fn serve_own_inquiry(&mut self, message: &PeerMessage<'_>, wall: WallTime, store: &Store) {
        let PeerMessage::Inquiry(inquiry) = message else { return };
        inquiry.task.version().into_iter().for_each(|version| self.roster.want(version.stamp.wall()));
        self.outbox.served.extend(self.coordinator.client_of(inquiry.operation));
        self.answer.clear();
        let answer = &mut self.answer;
        // Encoded, because what it borrows is under a lock that nothing may be sent under.
        self.replica.serve(inquiry, store, wall, |verdict| encode_answer(&verdict, answer));
        if let Some((PeerMessage::Answer(answer), _)) = next_message(&self.answer, &self.limits) {
            let outbox = &mut self.outbox;
            self.coordinator.answer(self.roster.own.node, &answer, outbox);
        }
    }

    /// Lets the own replica answer until nothing is asked of it: an answer may lead to more.
    fn ask_own(&mut self, time: Clock, wall: WallTime, store: &Store) {
        if self.outbox.staged[usize::from(self.roster.own.node.0)].is_empty() {
            return;
        }
        let (before, begun) = (self.outbox.finished.len(), time.now());
        while self.serve_own(wall, store) {}
        self.outbox.now = time.now();
        let local_ns = self.outbox.now.nanos_since(begun);
        self.outbox.note_local(before, local_ns);
    }

    /// Lets the own replica answer what the coordinator asked of it; `false` if it asked nothing.
    fn serve_own(&mut self, wall: WallTime, store: &Store) -> bool {
        let own = self.roster.own.node;
        let asked = std::mem::take(&mut self.outbox.staged[usize::from(own.0)]);
        if asked.is_empty() {
            self.outbox.staged[usize::from(own.0)] = asked;
            return false;
        }
        let mut rest = asked.as_slice();
        loop {
            let mut ahead = Lookahead::default();
            while let Some((message, bytes)) = next_message(rest, &self.limits).filter(|_| !ahead.is_full()) {
                rest = &rest[bytes..];
                ahead.add(message, store);
            }
            if ahead.is_empty() {
                break;
            }
            for message in ahead.messages(store) {
                self.serve_own_inquiry(message, wall, store);
            }
        }
        // What was ordered meanwhile stands in a new buffer; the old one is kept for the time after.
        if self.outbox.staged[usize::from(own.0)].is_empty() {
            let mut asked = asked;
            asked.clear();
            self.outbox.staged[usize::from(own.0)] = asked;
            return false;
        }
        true
    }
}

/// The message at the beginning of `bytes`, which this node encoded itself, and how long it is.
fn next_message<'a>(bytes: &'a [u8], limits: &FrameLimits) -> Option<(PeerMessage<'a>, usize)> {
    use crate::protocol::frame::{Split, split_frame};
    let Ok(Split::Frame(frame)) = split_frame(bytes, limits) else { return None };
    let message = decode_peer(frame, limits).expect("the coordinator's limits are the replica's");
    Some((message, frame.bytes_total()))
}
