//! The world: virtual time, and everything that happens in it, one thing after the other.
//!
//! Invariant: a run is a function of its seed and nothing else: no clock is read, no order depends on where things lie
//! in memory. What happens at one time happens in the order in which it was planned.

use std::sync::Arc;

use annulus::cluster::coordinator::{ClientTag, Orders};
use annulus::cluster::deviation::Deviation;
use annulus::cluster::topology::TopologyLog;
use annulus::history::{Ask, History};
use annulus::message::peer::{Answer, Verdict};
use annulus::protocol::Limits;
use annulus::protocol::frame::{Split, split_frame};
use annulus::protocol::peer::{PeerMessage, decode_peer, encode_answer};
use annulus::types::{Level, Timestamp};

use crate::agenda::{Agenda, Event};
use crate::clients::{CLIENTS, Clients, Wish};
use crate::faults::{Fault, Kind, plan};
use crate::invariants::one_leader_a_term::Leaders;
use crate::network::{Network, REPEATED_WITHIN_NS};
use crate::node::{GUESTS, Guest, Node, Sink};
use crate::topology::{Rings, founded};
use crate::trace::{Count, Trace};
use crate::walks::{self, WALKERS, Walked, Walker};

/// How long faults go on, and how many operations clients begin at least meanwhile.
const FAULTS_NS: u64 = 1_200_000_000;

/// How long nothing happens in the beginning: a leader is elected.
const PEACE_NS: u64 = 700_000_000;

/// How long it may take until all processes have been let in, once the world is whole.
const REUNION_NS: u64 = 3_000_000_000;
const OPERATIONS_MIN: u64 = 320;

/// How long everything is left alone after the faults: clocks that were set are steered back.
const QUIET_NS: u64 = 60_000_000_000;

/// How long it takes until logs that slept have come to what was waiting for them, and all nodes go by it.
const AWAKENING_NS: u64 = 600_000_000;

/// How long an operation may take once the world is whole.
pub(crate) const HEALED_NS: u64 = 2_000_000_000;

/// A client that has heard nothing for so long of a node that was never down nor paused will never hear.
pub(crate) const REPLY_NS_MAX: u64 = 8_000_000_000;

/// Messages of a run at most: a hundred times as many as most have.
const MESSAGES_MAX: u64 = 1_000_000;

pub(crate) const MS: u64 = 1_000_000;

/// What is not left to chance, so that what is looked for is met sooner.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lean {
    /// How many of ten wishes have to be agreed on.
    pub(crate) agreed_of_ten: Option<u8>,
    /// A kind of fault that happens.
    pub(crate) surely: Option<Kind>,
    /// Some clients walk round the ring.
    pub(crate) walks: bool,
}

/// A run.
pub(crate) struct World<const BUG: usize> {
    pub(crate) random: fastrand::Rng,
    pub(crate) now_ns: u64,
    agenda: Agenda,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) walkers: Vec<Walker>,
    /// What those came to.
    pub(crate) walked: Vec<Walked>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) healing: bool,
    pub(crate) rings: Rings,
    pub(crate) leaders: Leaders,
    /// Nothing happens to logs: they wait until clocks are right again.
    logs_sleep: Option<Vec<Event>>,
    /// The longest pause between two operations of a client.
    pub(crate) think_ns_max: u64,
    pub(crate) sink: Sink<BUG>,
    limits: Limits,
    pub(crate) trace: Trace,
    pub(crate) count: Count,
    /// What went wrong that no history shows.
    pub(crate) complaint: Option<String>,
    /// A version that was issued or stored beyond what was on disk.
    pub(crate) beyond_ceiling: Option<String>,
    /// What was done after nobody waited for it any more, by a node that had stopped meanwhile.
    pub(crate) overdue: Option<String>,
    /// Who led in one term.
    pub(crate) two_leaders: Option<String>,
}

impl<const BUG: usize> World<BUG> {
    /// The world of a seed, before anything happens.
    pub(crate) fn new(seed: u64, prints: bool, lean: Lean) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = if random.bool() { 3 } else { 5 };
        let owners = [count, count.min(3), 1 + count / 2][random.usize(..3)];
        let image = founded(count, owners);
        let nodes: Vec<Node> = (0..count).map(|node| Node::new(node, &image, seed)).collect();
        let faults = plan(&mut random, count, FAULTS_NS, lean.surely);
        let clocks_are_right = !faults.iter().any(Fault::touches_clocks);
        let agreed_of_ten = [1, 3, 7][random.usize(..3)];
        let agreed_of_ten = lean.agreed_of_ten.unwrap_or(agreed_of_ten);
        let think_ns_max = [2 * MS, 10 * MS, 40 * MS][random.usize(..3)];
        let mut world = Self {
            random,
            now_ns: 0,
            agenda: Agenda::default(),
            network: Network::new(count),
            nodes,
            clients: Clients::new(agreed_of_ten, clocks_are_right),
            walkers: (0..WALKERS).map(|walker| Walker::new(seed, walker)).collect(),
            walked: Vec::new(),
            faults,
            healing: false,
            rings: Rings::default(),
            leaders: Leaders::default(),
            logs_sleep: None,
            think_ns_max,
            sink: Sink::default(),
            limits: Limits::default(),
            trace: Trace::new(prints),
            count: Count::default(),
            complaint: None,
            beyond_ceiling: None,
            overdue: None,
            two_leaders: None,
        };
        for node in 0..count {
            world.adopt(node);
            world.consult(node, TopologyLog::handle_timeout);
        }
        world.run_until(PEACE_NS);
        for fault in 0..world.faults.len() {
            let Fault { begins_ns, ends_ns, .. } = world.faults[fault];
            world.plan(PEACE_NS + begins_ns, Event::Begin { fault });
            world.plan(PEACE_NS + ends_ns, Event::End { fault });
        }
        for client in 0..CLIENTS {
            let at_ns = PEACE_NS + world.random.u64(..MS);
            world.plan(at_ns, Event::Client { client });
        }
        for walker in (0..WALKERS).filter(|_| lean.walks) {
            world.plan(PEACE_NS, Event::Walk { walker });
        }
        world
    }

    /// What clients were told.
    pub(crate) fn history(&self) -> &History {
        &self.clients.history
    }

    /// Lets faults and clients go on, then heals everything, and lets each client be served once more.
    pub(crate) fn run(&mut self) {
        while let Some(next_ns) = self.agenda.next_ns() {
            let begun = self.clients.clients.iter().map(|client| client.begun).sum::<u64>();
            if next_ns > PEACE_NS + FAULTS_NS && begun >= OPERATIONS_MIN {
                break;
            }
            self.step();
        }
        self.healing = true;
        self.nodes.iter_mut().for_each(|node| node.clock_error_ms = 0);
        self.trace.note(self.now_ns, &[1], || "healing begins");
        self.run_until(self.now_ns + REUNION_NS);
        self.logs_sleep = Some(Vec::new());
        self.run_until(self.now_ns + QUIET_NS);
        for event in self.logs_sleep.take().into_iter().flatten() {
            self.plan(self.now_ns, event);
        }
        // Who waited for a clock to be right has something to say to the log.
        self.run_until(self.now_ns + AWAKENING_NS);
        for key in Clients::agreed() {
            let ask = Clients::probe(key);
            self.serve_healed(0, Wish { key, level: Level::Linearizable, ask, lives_ms: 0 });
            self.serve_healed(1, Wish { key, level: Level::Linearizable, ask: Ask::Read, lives_ms: 0 });
        }
        for key in Clients::contended() {
            for client in 0..CLIENTS {
                let ask = if client % 2 == 0 { self.clients.write() } else { Ask::Read };
                self.serve_healed(client, Wish { key, level: Level::Quorum, ask, lives_ms: 0 });
            }
        }
        // What all replicas are asked for, all replicas have afterwards.
        for key in Clients::keys() {
            self.serve_healed(0, Wish { key, level: Level::All, ask: Ask::Read, lives_ms: 0 });
        }
        self.run_until(self.now_ns + HEALED_NS);
        self.count.elected = self.leaders.count();
    }

    fn run_until(&mut self, until_ns: u64) {
        while self.agenda.next_ns().is_some_and(|next_ns| next_ns <= until_ns) {
            self.step();
        }
        // A node's clock is steered as time goes by, whether anything happens or not.
        for _ in 0..8 {
            for node in &mut self.nodes {
                node.observe(until_ns);
            }
        }
        self.now_ns = until_ns;
    }

    pub(crate) fn complain(&mut self, complaint: String) {
        self.trace.note(self.now_ns, &[2], || complaint.clone());
        self.complaint.get_or_insert(complaint);
    }

    pub(crate) fn plan(&mut self, at_ns: u64, event: Event) {
        self.agenda.plan(at_ns, event);
    }

    pub(crate) fn step(&mut self) {
        let Some((now_ns, event)) = self.agenda.take() else { return };
        self.now_ns = now_ns;
        match event {
            // The thread of the log waits for the disk.
            Event::Hear { to: node, .. }
            | Event::Look { node, .. }
            | Event::Enter { node, .. }
            | Event::Report { node, .. }
                if self.logs_sleep.is_some() || self.nodes[node].disk_stalled > 0 =>
            {
                self.logs_sleep.as_mut().unwrap_or(&mut self.nodes[node].deferred).push(event);
            }
            Event::Deliver { to: node, .. }
            | Event::Timer { node, .. }
            | Event::Hear { to: node, .. }
            | Event::Look { node, .. }
            | Event::Enter { node, .. }
            | Event::Report { node, .. }
            | Event::Recover { node, .. }
            | Event::Adopt { node, .. }
                if self.nodes[node].paused > 0 =>
            {
                self.nodes[node].deferred.push(event);
            }
            Event::Deliver { to, to_life, from, from_life, arrives_ns, bytes } => {
                if self.lives(to, to_life) {
                    self.deliver(to, from, from_life, arrives_ns, &bytes);
                }
            }
            Event::Timer { node, life } => self.look_after(node, life),
            Event::Client { client } => self.go_on(client),
            Event::Impatient { client, begun } => self.doubt(client, begun),
            Event::Link { node, other } => self.notice(node, other),
            Event::Hear { to, to_life, bytes } => {
                if self.lives(to, to_life) {
                    self.hear(to, &bytes);
                }
            }
            Event::Look { node, life } => {
                if self.lives(node, life) {
                    self.nodes[node].look_ns = None;
                    self.consult(node, TopologyLog::handle_timeout);
                }
            }
            Event::Enter { node, life } => {
                if self.lives(node, life) {
                    self.enter(node);
                }
            }
            Event::Report { node, life, filling } => {
                if self.lives(node, life) {
                    self.report(node, filling);
                }
            }
            Event::Recover { node, life } => {
                if self.lives(node, life) {
                    self.recover(node);
                }
            }
            Event::Adopt { node, life } => {
                if self.lives(node, life) {
                    self.adopt(node);
                }
            }
            Event::Walk { walker } => self.walk_on(walker),
            Event::Begin { fault } => self.fault(fault, true),
            Event::End { fault } => self.fault(fault, false),
        }
    }

    /// Whether a process of a node is the present one.
    fn lives(&self, node: usize, life: u32) -> bool {
        self.nodes[node].up && self.nodes[node].life == life
    }

    fn deliver(&mut self, to: usize, from: usize, from_life: u32, arrives_ns: u64, bytes: &[u8]) {
        let node = &mut self.nodes[to];
        let wall = node.observe(self.now_ns);
        let Ok(Split::Frame(frame)) = split_frame(bytes, &self.limits) else { panic!("it was encoded") };
        let message = decode_peer(frame, &self.limits).expect("it was encoded");
        self.trace.note(self.now_ns, &[3, from as u64, to as u64], || format!("{from} -> {to}  {message:?}"));
        self.trace.note_bytes(bytes);
        match message {
            PeerMessage::Inquiry(inquiry) => {
                let mut answer = Vec::new();
                let version = inquiry.task.version();
                node.wanted = version.map_or(node.wanted, |version| node.wanted.max(version.stamp.wall()));
                let ceiling = node.ceiling;
                let mut applied = false;
                if Sink::<BUG>::DEVIATION == Deviation::DeadlineIgnored {
                    node.replica.stopped_ms = 0;
                }
                node.replica.serve(&inquiry, &node.store, wall, |said| {
                    applied = matches!(said.verdict, Verdict::Applied { .. } | Verdict::Accepted { .. });
                    encode_answer(&said, &mut answer);
                });
                if applied && version.is_some_and(|version| version.stamp.wall() > ceiling) {
                    self.beyond_ceiling
                        .get_or_insert(format!("node {to} stored {version:?} beyond {ceiling:?}"));
                }
                let waited_ms = (self.now_ns - arrives_ns) / MS;
                if applied && waited_ms > u64::from(inquiry.remaining_ms) {
                    self.overdue.get_or_insert(format!("node {to} did {inquiry:?} after {waited_ms} ms"));
                }
                // An answer goes to the process that asked, and to none that came after it.
                self.send(to, from, from_life, answer, Some(REPEATED_WITHIN_NS));
            }
            PeerMessage::Answer(answer) if answer.operation.slot & walks::SLOT != 0 => {
                self.hear_listing(to, from, answer.operation, None);
            }
            PeerMessage::Answer(answer) => {
                let from = self.nodes[from].number;
                self.nodes[to].coordinator.answer(from, &answer, &mut self.sink);
                self.carry_out(to);
            }
            PeerMessage::Proposal(proposal) => {
                let operation = proposal.operation;
                if Sink::<BUG>::DEVIATION == Deviation::DeadlineIgnored {
                    node.replica.stopped_ms = 0;
                }
                if let Some(obstacle) = node.replica.refuses(proposal.epoch, Some(proposal.remaining_ms)) {
                    let mut answer = Vec::new();
                    let verdict = Verdict::Refused(obstacle);
                    encode_answer(&Answer { operation, verdict }, &mut answer);
                    return self.send(to, from, from_life, answer, Some(REPEATED_WITHIN_NS));
                }
                let waited_ms = (self.now_ns - arrives_ns) / MS;
                if waited_ms > u64::from(proposal.remaining_ms) {
                    self.overdue
                        .get_or_insert(format!("node {to} proposes {proposal:?} after {waited_ms} ms"));
                }
                let tag = ClientTag(GUESTS + self.sink.guests.len() as u64);
                self.sink.guests.push(Guest { node: from, life: from_life, operation });
                let hash = node.store.hash(proposal.key);
                node.coordinator.propose(tag, hash, &proposal, &mut self.sink);
                self.carry_out(to);
            }
            PeerMessage::Fetch(fetch) => self.hand_over(to, from, from_life, &fetch),
            PeerMessage::Page(page) => self.take_page(to, from, &page),
            PeerMessage::List(list) => self.list(to, from, from_life, &list),
            PeerMessage::Listing(listing) => {
                self.hear_listing(to, from, listing.operation, Some(&listing));
            }
            PeerMessage::Acknowledgement(_) => unreachable!("each answer is a packet here"),
            PeerMessage::Heartbeat(_) => unreachable!("links of the simulation are watched by nobody"),
        }
    }

    fn look_after(&mut self, number: usize, life: u32) {
        let node = &mut self.nodes[number];
        if !node.up || node.life != life {
            return;
        }
        node.timer_ns = None;
        node.observe(self.now_ns);
        node.coordinator.handle_timeout(Timestamp(self.now_ns), &mut self.sink);
        self.carry_out(number);
    }

    /// Carries out what a node's coordinator has ordered.
    pub(crate) fn carry_out(&mut self, number: usize) {
        for (to, bytes, repeatable) in std::mem::take(&mut self.sink.sent) {
            let to = self.index_of(to).expect("it is in the topology");
            assert!(repeatable || to != number, "a node hands nothing over to itself");
            let to_life = self.nodes[to].life;
            self.send(number, to, to_life, bytes, repeatable.then_some(0));
        }
        for (guest, bytes) in std::mem::take(&mut self.sink.answers) {
            self.send(number, guest.node, guest.life, bytes, Some(REPEATED_WITHIN_NS));
        }
        for (ClientTag(tag), told) in std::mem::take(&mut self.sink.replies) {
            let (client, begun) = ((tag >> 32) as usize, tag & 0xFFFF_FFFF);
            self.tell(client, begun, told);
        }
        let node = &mut self.nodes[number];
        let next = node.coordinator.next_timeout().map(|Timestamp(at_ns)| at_ns.max(self.now_ns));
        if let Some(at_ns) = next
            && node.timer_ns.is_none_or(|planned_ns| at_ns < planned_ns)
        {
            node.timer_ns = Some(at_ns);
            let life = node.life;
            self.plan(at_ns, Event::Timer { node: number, life });
        }
    }

    pub(crate) fn send(
        &mut self,
        from: usize,
        to: usize,
        to_life: u32,
        bytes: Vec<u8>,
        repeats_within_ns: Option<u64>,
    ) {
        assert!(self.count.traffic.messages < MESSAGES_MAX, "somebody asks again and again, without end");
        let fate = self.network.send(
            &mut self.random,
            self.now_ns,
            from,
            to,
            repeats_within_ns,
            &mut self.count.traffic,
        );
        let from_life = self.nodes[from].life;
        let [first, second] = fate.arrives_ns;
        if let Some(at_ns) = second {
            let bytes = bytes.clone();
            self.plan(at_ns, Event::Deliver { to, to_life, from, from_life, arrives_ns: at_ns, bytes });
        }
        if let Some(at_ns) = first {
            self.plan(at_ns, Event::Deliver { to, to_life, from, from_life, arrives_ns: at_ns, bytes });
        }
    }

    /// A node notices whether it can reach another.
    fn notice(&mut self, number: usize, other: usize) {
        let reachable = self.nodes[other].up && self.network.is_whole(number, other);
        let target = self.nodes[other].number;
        let node = &mut self.nodes[number];
        if !node.up || node.view.is_reachable(target) == reachable {
            return;
        }
        self.trace.note(self.now_ns, &[6, number as u64, other as u64, u64::from(reachable)], || {
            format!("node {number} {} node {other}", if reachable { "reaches" } else { "has lost" })
        });
        node.view.set_reachable(target, reachable);
        node.coordinator.adopt(Arc::new(node.view.clone()), &mut self.sink);
        if !reachable {
            node.coordinator.link_lost(target, &mut self.sink);
            if let Some(recovery) = &mut node.recovery {
                recovery.link_lost(target);
            }
        }
        self.carry_out(number);
        self.recover(number);
        if self.logs_sleep.is_none() {
            // Who is not reached is taken for dead at once: sooner than by any membership.
            self.consult(number, |log, now, out| log.set_alive(now, target, reachable, out));
        }
    }
}
