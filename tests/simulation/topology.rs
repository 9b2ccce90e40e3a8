//! The topology log in the world: every node has its part in it, and serves keys by what it has come to.
//!
//! Invariant: a node's disk holds what its log ordered to be there; a process serves nothing before the log, as far as
//! it knows it, has its life. Its workers adopt what the log has come to a moment later, each node in its own time.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use annulus::cluster::coordinator::Orders;
use annulus::cluster::deviation::Deviation;
use annulus::cluster::recovery::{Received, Recovery};
use annulus::cluster::replica::Standing;
use annulus::cluster::ring::Ring;
use annulus::cluster::topology::{Output, TopologyLog, Verdict};
use annulus::message::consensus::{Electorate, Image, Snapshot};
use annulus::message::control::Control;
use annulus::message::peer::{Answer, Fetch, Verdict as Said};
use annulus::message::topology::{Command, Entrance, NodeState, Settings, Topology};
use annulus::protocol::Limits;
use annulus::protocol::control::{decode_control, encode_control};
use annulus::protocol::frame::{Split, split_frame};
use annulus::protocol::page::{Page, PageWriter, encode_fetch};
use annulus::protocol::peer::encode_answer;
use annulus::types::{ClusterId, Epoch, NodeNumber, RunId, Stamp, Timestamp, WallTime, WriterId};

use crate::agenda::Event;
use crate::network::REPEATED_WITHIN_NS;
use crate::node::{HASH_SEED, Sink};
use crate::world::{MS, World};

/// Bytes of a page: so few that a recovery takes several.
const PAGE_BYTES: usize = 200;

/// How often a process asks to be let in.
const ASK_PAUSE_NS: u64 = 100 * MS;

/// The rings that epochs had: each is computed once.
#[derive(Default)]
pub(crate) struct Rings(BTreeMap<Epoch, (Arc<Ring>, Option<Arc<Ring>>)>);

impl Rings {
    /// Who holds what, and who is to.
    fn of(&mut self, topology: &Topology) -> (Arc<Ring>, Option<Arc<Ring>>) {
        let both = || (Arc::new(topology.ring()), topology.next_ring().map(Arc::new));
        self.0.entry(topology.epoch).or_insert_with(both).clone()
    }
}

/// How the process of a node enters the log.
pub(crate) fn entrance(node: usize, run: u64, was: Option<NodeNumber>, keeps_data: bool) -> Entrance {
    let address = "127.0.0.1:1".parse().expect("an address");
    Entrance {
        name: format!("n{node}").parse().expect("a name"),
        run: RunId(NonZeroU64::new(run).unwrap_or(NonZeroU64::MIN)),
        was,
        keeps_data,
        replaces: false,
        peer_address: address,
        client_address: address,
        zone: "z".parse().expect("a name"),
        virtual_nodes: 4,
    }
}

/// What the disks of so many nodes hold when the world begins: a cluster that has just opened.
pub(crate) fn founded(nodes: usize, owners: usize) -> Image {
    let settings = Settings {
        replication_factor: 3,
        opens_with: owners as u16,
        drift_max_ms: 500,
        operation_timeout_ms: 1000,
    };
    let mut topology = Topology::new(ClusterId(1), HASH_SEED, settings);
    for node in 0..nodes {
        topology.apply(&Command::Enter(entrance(node, node as u64 + 1, None, true))).expect("it may enter");
    }
    let voters = topology.nodes.keys().copied().collect();
    let electorate = Electorate { voters, ..Electorate::default() };
    let snapshot = Snapshot { index: 1, term: 1, electorate, topology };
    Image { term: 1, vote: None, commit: 1, snapshot, entries: Vec::new() }
}

impl<const BUG: usize> World<BUG> {
    /// Which node has a number.
    pub(crate) fn index_of(&self, number: NodeNumber) -> Option<usize> {
        self.nodes.iter().position(|node| node.number == number)
    }

    /// A message of another node's log arrives.
    pub(crate) fn hear(&mut self, to: usize, bytes: &[u8]) {
        let Ok(Split::Frame(frame)) = split_frame(bytes, &Limits::default()) else {
            panic!("it was encoded")
        };
        let Ok(Control::Consensus(message)) = decode_control(frame) else { panic!("it was encoded") };
        self.trace.note_bytes(bytes);
        self.consult(to, |log, now, out| log.handle(now, &message, out));
    }

    /// Lets a node's part in the log act, and carries out what it orders.
    pub(crate) fn consult<R>(
        &mut self,
        number: usize,
        act: impl FnOnce(&mut TopologyLog, Timestamp, &mut Vec<Output>) -> R,
    ) -> R {
        let mut orders = Vec::new();
        let result = act(&mut self.nodes[number].log, Timestamp(self.now_ns), &mut orders);
        for order in orders {
            match order {
                Output::Persist(image) => self.nodes[number].image = *image,
                Output::Send(message) => {
                    let Some(to) = self.index_of(message.to) else { continue };
                    let mut bytes = Vec::new();
                    encode_control(&Control::Consensus(message), &mut bytes);
                    self.send_control(number, to, &bytes);
                }
                Output::Changed => {
                    // Workers may be in the midst of something long.
                    let longest_ns = if self.random.u8(..4) == 0 { 100 * MS } else { 2 * MS };
                    let (life, later_ns) = (self.nodes[number].life, self.random.u64(..longest_ns));
                    self.plan(self.now_ns + later_ns, Event::Adopt { node: number, life });
                }
                Output::Elected(leadership) => {
                    let leader = leadership.leader.map_or(0, |leader| u64::from(leader.0));
                    self.trace.note(self.now_ns, &[10, number as u64, leader, leadership.term], || {
                        format!("node {number} finds {leader} to lead in term {}", leadership.term)
                    });
                }
            }
        }
        let node = &self.nodes[number];
        if node.log.leads() {
            let (term, leader) = (node.log.leadership().term, node.number);
            if let Some(why) = self.leaders.see(term, leader) {
                self.two_leaders.get_or_insert(why);
            }
        }
        let (at_ns, life) = (node.log.next_timeout().0.max(self.now_ns), node.life);
        if node.look_ns.is_none_or(|planned_ns| at_ns < planned_ns) {
            self.nodes[number].look_ns = Some(at_ns);
            self.plan(at_ns, Event::Look { node: number, life });
        }
        result
    }

    fn send_control(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let (random, traffic) = (&mut self.random, &mut self.count.traffic);
        let fate = self.network.send(random, self.now_ns, from, to, Some(REPEATED_WITHIN_NS), traffic);
        let to_life = self.nodes[to].life;
        for at_ns in fate.arrives_ns.into_iter().flatten() {
            self.plan(at_ns, Event::Hear { to, to_life, bytes: bytes.to_vec() });
        }
    }

    /// A process asks whoever it reaches, and whom that names, to be let in; and again until it knows that it is.
    pub(crate) fn enter(&mut self, number: usize) {
        let node = &self.nodes[number];
        let entrance = entrance(number, node.run, Some(node.number), node.keeps_data);
        let life = node.life;
        if !self.pursue(number, &Command::Enter(entrance)) {
            self.plan(self.now_ns + ASK_PAUSE_NS, Event::Enter { node: number, life });
        }
    }

    /// A node that has got back what it lost wants to count again.
    pub(crate) fn report(&mut self, number: usize, filling: Option<Epoch>) {
        let node = &self.nodes[number];
        let Some(recovery) = node.recovery.as_ref().filter(|_| node.filling == filling) else { return };
        let heard = recovery.heard().max(node.fence);
        let (life, node, topology) = (node.life, node.number, node.log.topology());
        let own = topology.nodes.get(&node).filter(|own| own.run.0.get() == self.nodes[number].run);
        let command = own.map(|own| own.incarnation).map(|incarnation| match filling {
            Some(since) => Command::Filled { node, incarnation, since, heard },
            None => Command::Recovered { node, incarnation, heard },
        });
        if command.is_none_or(|command| !self.pursue(number, &command)) {
            self.plan(self.now_ns + ASK_PAUSE_NS, Event::Report { node: number, life, filling });
        }
    }

    /// Asks somebody to have a command carried out, and whom that names; `true` if the node knows that it is.
    pub(crate) fn pursue(&mut self, number: usize, command: &Command) -> bool {
        if self.nodes[number].log.topology().has(command) {
            return true;
        }
        let mut place = self.random.usize(..self.nodes.len());
        for _ in 0..2 {
            let asked = &self.nodes[place];
            let reached = number == place || self.network.is_whole(number, place);
            if !reached || !asked.up || asked.paused + asked.disk_stalled > 0 {
                break;
            }
            let verdict = self.consult(place, |log, now, out| log.ask(now, command, out));
            self.trace.note(self.now_ns, &[11, number as u64, place as u64], || {
                format!("node {number} asks node {place} for {command:?}: {verdict:?}")
            });
            match verdict {
                Verdict::Elsewhere(Some(leader)) => place = self.index_of(leader).expect("nobody has gone"),
                Verdict::Denied(denial) => {
                    self.complain(format!("node {number} is denied: {denial}"));
                    return true;
                }
                Verdict::Done | Verdict::UnderWay | Verdict::Elsewhere(None) => break,
            }
        }
        false
    }

    /// A node's workers go by what its log has come to.
    pub(crate) fn adopt(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let topology = node.log.topology();
        let own = topology.nodes.get(&node.number).filter(|own| own.run.0.get() == node.run);
        let Some(own) = own else { return };
        if node.view.epoch == topology.epoch && node.entered {
            return;
        }
        let epoch = topology.epoch;
        self.trace.note(self.now_ns, &[7, number as u64, epoch.0], || {
            let (copies, movement) = (topology.copies, &topology.movement);
            let states: Vec<String> =
                topology.nodes.iter().map(|(number, node)| format!("{} {}", number.0, node.state)).collect();
            format!("node {number} adopts {epoch:?}: {copies} copies, {}, {movement:?}", states.join(", "))
        });
        self.count.epochs += 1;
        let reused = Sink::<BUG>::DEVIATION == Deviation::ClockReused;
        let incarnation = if reused { u32::from(node.number.0) } else { own.incarnation.0 };
        node.coordinator.become_writer(WriterId::new(incarnation, 0).expect("few are started"));
        node.entered = true;
        node.view.epoch = epoch;
        let moved = node.view.next_ring.is_some();
        (node.view.ring, node.view.next_ring) = self.rings.of(topology);
        self.count.moves += u64::from(moved && topology.movement.is_none());
        node.replica.epoch = epoch;
        let counts = Sink::<BUG>::DEVIATION == Deviation::RecoveringCounted;
        let recovers = |node: &&NodeNumber| topology.nodes[*node].state == NodeState::Recovering && !counts;
        let recovering: Vec<NodeNumber> = topology.nodes.keys().filter(recovers).copied().collect();
        let own_recovers = recovering.contains(&node.number);
        node.view.set_recovering(recovering);
        node.view.set_hearsay(topology.hearsay());
        node.replica.standing = match own.state {
            NodeState::Joined => Standing::Absent,
            _ if own_recovers => Standing::Recovering,
            _ => Standing::Active,
        };
        if own.state == NodeState::Active && node.fence.0 > 0 {
            node.store.raise_fence(Stamp::last_of(node.fence));
        }
        let moves = topology.movement.as_ref().filter(|movement| movement.awaited.contains(&node.number));
        let filling = moves.map(|movement| movement.since).filter(|_| !own_recovers);
        if topology.movement.is_none() && self.random.bool() {
            // Sooner or later a node drops what is not its own any more.
            let (ring, number) = (Arc::clone(&node.view.ring), node.number);
            node.store.drop_foreign(0, usize::MAX / 2, |token| ring.preference_list(token).contains(&number));
        }
        if filling != node.filling || !own_recovers && filling.is_none() {
            node.recovery = None;
        }
        node.filling = filling;
        if (own_recovers || filling.is_some()) && node.recovery.is_none() {
            node.reports = false;
            node.recovery = Some(Recovery::new(Duration::from_millis(100), Duration::from_millis(1)));
        }
        node.coordinator.adopt(Arc::new(node.view.clone()), &mut self.sink);
        self.carry_out(number);
        self.recover(number);
    }

    /// Lets a node that recovers ask for what it lacks, and say so when it lacks nothing.
    pub(crate) fn recover(&mut self, number: usize) {
        let now = Timestamp(self.now_ns);
        let node = &mut self.nodes[number];
        node.observe(self.now_ns);
        let Some(recovery) = &mut node.recovery else { return };
        let mut asked = Vec::new();
        recovery.go_on(now, &node.view, |to, fetch| asked.push((to, fetch)));
        let one = match Sink::<BUG>::DEVIATION {
            Deviation::RecoveredFromOne => node.filling.is_none() && recovery.finished() > 0,
            Deviation::FilledFromOne => node.filling.is_some() && recovery.finished() > 0,
            Deviation::BarrierSkipped => node.filling.is_some(),
            _ => false,
        };
        let (whole, life) = (one || recovery.is_whole(&node.view), node.life);
        let fence = node.fence.max(recovery.heard());
        let early = node.wall <= fence;
        if whole && !early {
            // What was promised to others binds it too, from before it counts alone.
            node.fence = fence;
            node.store.raise_fence(Stamp::last_of(fence));
        }
        let again_ns = match recovery.next_timeout() {
            _ if whole && early => self.now_ns + 10 * MS,
            Some(Timestamp(at_ns)) if !whole => at_ns.max(self.now_ns + MS),
            _ => u64::MAX,
        };
        if node.recover_ns <= self.now_ns {
            node.recover_ns = u64::MAX;
        }
        let reports = whole && !early && !std::mem::replace(&mut node.reports, whole && !early);
        let (filling, planned_ns) = (node.filling, node.recover_ns);
        node.recover_ns = planned_ns.min(again_ns);
        if again_ns < planned_ns {
            self.plan(again_ns, Event::Recover { node: number, life });
        }
        if reports {
            self.plan(self.now_ns, Event::Report { node: number, life, filling });
        }
        for (to, fetch) in asked {
            let to = self.index_of(to).expect("it is in the topology");
            let mut bytes = Vec::new();
            encode_fetch(&fetch, &mut bytes);
            let to_life = self.nodes[to].life;
            self.send(number, to, to_life, bytes, Some(0));
        }
    }

    /// Hands a page over to a node that recovers, or says why not.
    pub(crate) fn hand_over(&mut self, number: usize, asker: usize, asker_life: u32, fetch: &Fetch) {
        let (node, wants) = (&self.nodes[number], self.nodes[asker].number);
        let mut bytes = Vec::new();
        if let Some(obstacle) = node.replica.refuses(fetch.epoch, None) {
            let verdict = Said::Refused(obstacle);
            encode_answer(&Answer { operation: fetch.operation, verdict }, &mut bytes);
        } else {
            let mut page = PageWriter::begin(fetch.operation, node.wanted, &mut bytes);
            let wanted = |token| node.view.holds(wants, token);
            let next = node.store.stream(fetch.from, wanted, |key, cell| {
                page.push(key, &cell);
                page.bytes() < PAGE_BYTES
            });
            page.finish(next);
        }
        self.send(number, asker, asker_life, bytes, Some(REPEATED_WITHIN_NS));
    }

    /// Merges a page that has come.
    pub(crate) fn take_page(&mut self, number: usize, from: usize, page: &Page<'_>) {
        let from = self.nodes[from].number;
        let node = &mut self.nodes[number];
        let Some(recovery) = &mut node.recovery else { return };
        let latest = page.cells.iter().map(|(_, cell)| cell.version.stamp.wall()).max().unwrap_or_default();
        node.wanted = node.wanted.max(latest);
        if !recovery.awaits(from, page.operation) || latest > node.ceiling {
            return;
        }
        let now = WallTime(0);
        let take = |(key, cell)| {
            let hash = node.store.hash(key);
            if Sink::<BUG>::DEVIATION == Deviation::PromisesBindStreams {
                return node.store.merge(hash, key, cell, now).is_ok();
            }
            node.store.take_over(hash, key, cell, now).is_ok()
        };
        if page.cells.iter().all(take) {
            let Page { operation, next, latest, .. } = *page;
            node.wanted = node.wanted.max(latest);
            recovery.page(Timestamp(self.now_ns), from, &Received { operation, next, latest });
            self.count.pages += 1;
        }
        self.recover(number);
    }
}
