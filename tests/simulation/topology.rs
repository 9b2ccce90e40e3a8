//! The topology log in the world: every node has its part in it, and serves keys by what it has come to.
//!
//! Invariant: a node's disk holds what its log ordered to be there; a process serves nothing before the log, as far as
//! it knows it, has its life. Its workers adopt what the log has come to a moment later, each node in its own time.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use annulus::cluster::coordinator::Orders;
use annulus::cluster::deviation::Deviation;
use annulus::cluster::ring::Ring;
use annulus::cluster::topology::{Output, TopologyLog, Verdict};
use annulus::message::consensus::{Electorate, Image, Snapshot};
use annulus::message::control::Control;
use annulus::message::topology::{Command, Entrance, NodeState, Settings, Topology};
use annulus::protocol::Limits;
use annulus::protocol::control::{decode_control, encode_control};
use annulus::protocol::frame::{Split, split_frame};
use annulus::types::{ClusterId, Epoch, NodeNumber, RunId, Timestamp, WriterId};

use crate::agenda::Event;
use crate::network::REPEATED_WITHIN_NS;
use crate::node::{HASH_SEED, Sink};
use crate::world::{MS, World};

/// How often a process asks to be let in.
const ASK_PAUSE_NS: u64 = 100 * MS;

/// The rings that epochs had: each is computed once.
#[derive(Default)]
pub(crate) struct Rings(BTreeMap<Epoch, Arc<Ring>>);

impl Rings {
    fn of(&mut self, topology: &Topology) -> Arc<Ring> {
        let ring = self.0.entry(topology.epoch).or_insert_with(|| Arc::new(topology.ring()));
        Arc::clone(ring)
    }
}

/// How the process of a node enters the log.
pub(crate) fn entrance(node: usize, run: u64, was: Option<NodeNumber>) -> Entrance {
    let address = "127.0.0.1:1".parse().expect("an address");
    Entrance {
        name: format!("n{node}").parse().expect("a name"),
        run: RunId(NonZeroU64::new(run).unwrap_or(NonZeroU64::MIN)),
        was,
        keeps_data: true,
        replaces: false,
        peer_address: address,
        client_address: address,
        zone: "z".parse().expect("a name"),
        virtual_nodes: 4,
    }
}

/// What the disks of so many nodes hold when the world begins: a cluster that has just opened.
pub(crate) fn founded(nodes: usize) -> Image {
    let settings = Settings {
        replication_factor: 3,
        opens_with: nodes as u16,
        drift_max_ms: 500,
        operation_timeout_ms: 1000,
    };
    let mut topology = Topology::new(ClusterId(1), HASH_SEED, settings);
    for node in 0..nodes {
        topology.apply(&Command::Enter(entrance(node, node as u64 + 1, None))).expect("it may enter");
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
                    let (life, later_ns) = (self.nodes[number].life, self.random.u64(..2 * MS));
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
        let life = node.life;
        let command = Command::Enter(entrance(number, node.run, Some(node.number)));
        if node.log.topology().has(&command) {
            return;
        }
        let mut place = self.random.usize(..self.nodes.len());
        for _ in 0..2 {
            let asked = &self.nodes[place];
            let reached = number == place || self.network.is_whole(number, place);
            if !reached || !asked.up || asked.paused + asked.disk_stalled > 0 {
                break;
            }
            let verdict = self.consult(place, |log, now, out| log.ask(now, &command, out));
            match verdict {
                Verdict::Elsewhere(Some(leader)) => place = self.index_of(leader).expect("nobody has gone"),
                Verdict::Denied(denial) => {
                    return self.complain(format!("node {number} is denied: {denial}"));
                }
                Verdict::Done | Verdict::UnderWay | Verdict::Elsewhere(None) => break,
            }
        }
        self.plan(self.now_ns + ASK_PAUSE_NS, Event::Enter { node: number, life });
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
        self.trace
            .note(self.now_ns, &[7, number as u64, epoch.0], || format!("node {number} adopts {epoch:?}"));
        self.count.epochs += 1;
        let reused = Sink::<BUG>::DEVIATION == Deviation::ClockReused;
        let incarnation = if reused { u32::from(node.number.0) } else { own.incarnation.0 };
        node.coordinator.become_writer(WriterId::new(incarnation, 0).expect("few are started"));
        node.entered = true;
        node.view.epoch = epoch;
        node.view.ring = self.rings.of(topology);
        node.replica.epoch = epoch;
        node.replica.serving = own.state == NodeState::Active;
        node.coordinator.adopt(Arc::new(node.view.clone()), &mut self.sink);
        self.carry_out(number);
    }
}
