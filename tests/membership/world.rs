//! The simulated world: nodes, what is on its way between them, and what goes wrong, in virtual time.
//!
//! Invariant: a run is a function of its seed; whatever happens is in the digest. First faults, then none, and at last
//! one node crashes for good.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use annulus::cluster::deviation::Deviation;
use annulus::cluster::membership::{Input, Liveness, Membership, Output, Outputs};
use annulus::config::MembershipConfig;
use annulus::message::gossip::Peer;
use annulus::protocol::gossip::GossipCodec;
use annulus::types::{Incarnation, NodeNumber, Timestamp};
use foca::Codec;
use xxhash_rust::xxh3::Xxh3;

use crate::count::Count;
use crate::invariants::{
    Invariant, backlogs_are_bounded, calm_suspects_nobody, everyone_is_alive_once_healed,
    falsely_dead_return, only_the_present_are_spoken_to, sleepers_judge_nobody, the_crashed_are_dead,
};
use crate::network::Network;
use crate::network::REPEATED_WITHIN_NS;
use crate::trouble::{self, Kind, Trouble, Weather};

/// What a run may get wrong, in the order of the numbers that choose it.
pub(crate) const DEVIATIONS: [Deviation; 6] = [
    Deviation::None,
    Deviation::RenewalSkipped,
    Deviation::SleepNotDoubted,
    Deviation::StrangersBelieved,
    Deviation::VerdictSkipped,
    Deviation::DeadNotSought,
];

/// When the last fault ends.
pub(crate) const FAULTS_END_NS: u64 = 10_000_000_000;
/// When everybody must have recovered; somebody crashes a second later.
const HEALED_NS: u64 = FAULTS_END_NS + everyone_is_alive_once_healed::WITHIN_NS;
const CRASH_NS: u64 = HEALED_NS + 1_000_000_000;
const END_NS: u64 = CRASH_NS + the_crashed_are_dead::WITHIN_UNNOTICED_NS;

/// Keeps a machine's orders until it has returned.
#[derive(Default)]
struct Orders<const BUG: usize>(Vec<Output>);

impl<const BUG: usize> Outputs for Orders<BUG> {
    const DEVIATION: Deviation = DEVIATIONS[BUG];

    fn put(&mut self, output: Output) {
        self.0.push(output);
    }
}

/// What a node is shown.
#[derive(Clone, Debug)]
enum Shown {
    Message { from: usize, bytes: Rc<[u8]> },
    Topology { version: usize },
    Link { to: usize, up: bool },
}

#[derive(Debug)]
enum Event {
    Shown { to: usize, life: u32, what: Shown },
    Timer { node: usize, at_ns: u64 },
    Begins(usize),
    Ends(usize),
    Healed,
    Crash,
    CrashIsKnown,
    End,
}

struct Node {
    machine: Option<Membership<GossipCodec>>,
    /// How often it was started: what was on its way to another life does not arrive.
    life: u32,
    paused: u32,
    /// How many faults keep it down.
    down: u32,
    deferred: VecDeque<Shown>,
    armed_ns: Option<u64>,
    /// The topology it has.
    version: usize,
    /// Whether it ever slept.
    slept: bool,
    /// Whether somebody declared this life of it dead.
    falsely_dead: bool,
}

pub(crate) struct World<const BUG: usize> {
    random: fastrand::Rng,
    now_ns: u64,
    events: BTreeMap<(u64, u64), Event>,
    put: u64,
    nodes: Vec<Node>,
    network: Network,
    weather: Weather,
    troubles: Vec<Trouble>,
    /// The topology, state by state: the incarnation of each node that is in it.
    topologies: Vec<BTreeMap<usize, u32>>,
    /// Who crashed for good, and whether links told of it.
    crashed: Option<(usize, bool)>,
    digest: Xxh3,
    prints: bool,
    pub(crate) count: Count,
    pub(crate) broken: BTreeMap<Invariant, String>,
}

impl<const BUG: usize> World<BUG> {
    pub(crate) fn new(seed: u64, prints: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let weather = [Weather::Calm, Weather::Sleepy, Weather::Stormy, Weather::Stormy][(seed % 4) as usize];
        let nodes = if random.u8(..8) == 0 { random.usize(8..=50) } else { random.usize(3..=7) };
        let troubles = trouble::draw(&mut random, weather, nodes);
        let node = |_| Node {
            machine: None,
            life: 0,
            paused: 0,
            down: 0,
            deferred: VecDeque::new(),
            armed_ns: None,
            version: 0,
            slept: false,
            falsely_dead: false,
        };
        let mut world = Self {
            random,
            now_ns: 0,
            events: BTreeMap::new(),
            put: 0,
            nodes: (0..nodes).map(node).collect(),
            network: Network::new(nodes),
            weather,
            troubles,
            topologies: vec![(0..nodes).map(|node| (node, node as u32 + 1)).collect()],
            crashed: None,
            digest: Xxh3::new(),
            prints,
            count: Count::default(),
            broken: BTreeMap::new(),
        };
        for index in 0..world.troubles.len() {
            let (from_ns, until_ns) = (world.troubles[index].from_ns, world.troubles[index].until_ns);
            world.at(from_ns, Event::Begins(index));
            world.at(until_ns, Event::Ends(index));
        }
        world.at(HEALED_NS, Event::Healed);
        world.at(CRASH_NS, Event::Crash);
        world.at(END_NS, Event::End);
        for node in 0..nodes {
            world.start(node);
        }
        world
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.digest()
    }

    pub(crate) fn run(&mut self) {
        self.note(&[self.nodes.len() as u64], |world| {
            format!("{:?}, {} nodes, {:#?}", world.weather, world.nodes.len(), world.troubles)
        });
        while let Some(((at_ns, _), event)) = self.events.pop_first() {
            self.now_ns = at_ns;
            match event {
                Event::Shown { to, life, what } if self.nodes[to].life == life => self.show(to, what),
                Event::Shown { .. } => {}
                Event::Timer { node, at_ns } => self.timer(node, at_ns),
                Event::Begins(index) => self.begin(index),
                Event::Ends(index) => self.end(index),
                Event::Healed => self.healed(),
                Event::Crash => self.crash_for_good(),
                Event::CrashIsKnown => self.all_know_of_the_crash(),
                Event::End => {
                    self.all_know_of_the_crash();
                    break;
                }
            }
        }
    }

    fn at(&mut self, at_ns: u64, event: Event) {
        self.put += 1;
        self.events.insert((at_ns, self.put), event);
    }

    fn note(&mut self, numbers: &[u64], line: impl FnOnce(&Self) -> String) {
        self.digest.update(&self.now_ns.to_le_bytes());
        for number in numbers {
            self.digest.update(&number.to_le_bytes());
        }
        if self.prints {
            println!("{:>10.3} ms  {}", self.now_ns as f64 / 1e6, line(self));
        }
    }

    fn break_if(&mut self, invariant: Invariant, why: Option<String>) {
        if let Some(why) = why {
            let at_ms = self.now_ns / 1_000_000;
            self.broken.entry(invariant).or_insert_with(|| format!("at {at_ms} ms {why}"));
        }
    }

    fn topology(&self, version: usize) -> Vec<Peer> {
        let peer = |(&node, &incarnation): (&usize, &u32)| {
            Peer::new(NodeNumber(node as u16), Incarnation(incarnation))
        };
        self.topologies[version].iter().map(peer).collect()
    }

    fn last(&self) -> &BTreeMap<usize, u32> {
        self.topologies.last().expect("there is one")
    }

    /// Starts the process of a node that is in the topology.
    fn start(&mut self, node: usize) {
        let version = self.topologies.len() - 1;
        let own = Peer::new(NodeNumber(node as u16), Incarnation(self.last()[&node]));
        let seed = self.random.u64(..);
        let now = Timestamp(self.now_ns);
        let machine = Membership::new(own, MembershipConfig::default(), GossipCodec, seed, now);
        let one = &mut self.nodes[node];
        (one.machine, one.falsely_dead, one.version) = (Some(machine), false, version);
        self.show(node, Shown::Topology { version });
        for other in self.others(node) {
            self.soon(other, Shown::Link { to: node, up: true });
        }
    }

    fn stop(&mut self, node: usize, noticed: bool) {
        let one = &mut self.nodes[node];
        (one.machine, one.armed_ns) = (None, None);
        one.life += 1;
        one.deferred.clear();
        if noticed {
            for other in self.others(node) {
                self.soon(other, Shown::Link { to: node, up: false });
            }
        }
    }

    fn others(&self, node: usize) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&other| other != node).collect()
    }

    /// Shows a node something within milliseconds.
    fn soon(&mut self, to: usize, what: Shown) {
        let at_ns = self.now_ns + self.random.u64(1_000_000..40_000_000);
        let life = self.nodes[to].life;
        self.at(at_ns, Event::Shown { to, life, what });
    }

    /// The topology changes; everybody who runs hears of it, each in its time.
    fn change(&mut self, change: impl FnOnce(&mut BTreeMap<usize, u32>)) {
        let mut topology = self.last().clone();
        change(&mut topology);
        self.topologies.push(topology);
        let version = self.topologies.len() - 1;
        for node in 0..self.nodes.len() {
            self.soon(node, Shown::Topology { version });
        }
    }

    fn next_incarnation(&self) -> u32 {
        (self.nodes.len() + self.topologies.len() + 1) as u32
    }

    fn begin(&mut self, index: usize) {
        let trouble = self.troubles[index].clone();
        self.count.faults[trouble.kind as usize] += 1;
        self.note(&[1, index as u64], |_| format!("{:?} begins", trouble.kind));
        self.set(&trouble, true);
    }

    fn end(&mut self, index: usize) {
        let trouble = self.troubles[index].clone();
        self.note(&[2, index as u64], |_| format!("{:?} ends", trouble.kind));
        self.set(&trouble, false);
    }

    fn set(&mut self, trouble: &Trouble, begins: bool) {
        let Trouble { node, other, .. } = *trouble;
        let amount = |permille: u32| if begins { permille } else { 0 };
        match trouble.kind {
            Kind::Loss => self.network.lost_permille = amount(150),
            Kind::Late => self.network.late_permille = amount(300),
            Kind::Doubled => self.network.doubled_permille = amount(200),
            Kind::Slow if begins => self.network.slow[node] += 1,
            Kind::Slow => self.network.slow[node] -= 1,
            Kind::OneWay => self.network.block(node, other, begins),
            Kind::Partition => {
                let apart = |one: &usize, other: &usize| trouble.side[*one] != trouble.side[*other];
                for one in 0..self.nodes.len() {
                    for other in self.others(one).into_iter().filter(|other| apart(&one, other)) {
                        self.network.block(one, other, begins);
                    }
                }
            }
            Kind::Pause if begins => {
                self.nodes[node].paused += 1;
                self.nodes[node].slept = true;
            }
            Kind::Pause => self.wake(node),
            Kind::Reset => {
                for (one, other) in [(node, other), (other, node)] {
                    self.soon(one, Shown::Link { to: other, up: !begins });
                }
            }
            Kind::Crash | Kind::Removal if begins => {
                self.nodes[node].down += 1;
                if self.nodes[node].down == 1 {
                    self.stop(node, trouble.noticed);
                    if trouble.kind == Kind::Removal {
                        self.change(|topology| _ = topology.remove(&node));
                    }
                }
            }
            Kind::Crash | Kind::Removal => {
                self.nodes[node].down -= 1;
                if self.nodes[node].down == 0 {
                    let incarnation = self.next_incarnation();
                    self.change(|topology| _ = topology.insert(node, incarnation));
                    self.start(node);
                }
            }
        }
    }

    /// A node goes on: what arrived meanwhile and the timers come at once, either first.
    fn wake(&mut self, node: usize) {
        self.nodes[node].paused -= 1;
        if self.nodes[node].paused > 0 {
            return;
        }
        if self.random.bool() {
            self.drive(node, Membership::handle_timeout);
        }
        for what in std::mem::take(&mut self.nodes[node].deferred) {
            self.show(node, what);
        }
        self.arm(node);
    }

    fn timer(&mut self, node: usize, at_ns: u64) {
        let one = &mut self.nodes[node];
        if one.armed_ns == Some(at_ns) && one.paused == 0 {
            one.armed_ns = None;
            self.drive(node, Membership::handle_timeout);
        }
    }

    fn show(&mut self, node: usize, what: Shown) {
        if self.nodes[node].machine.is_none() {
            return;
        }
        if self.nodes[node].paused > 0 {
            self.nodes[node].deferred.push_back(what);
            return;
        }
        match what {
            Shown::Message { from, bytes } => {
                let from = NodeNumber(from as u16);
                self.drive(node, |machine, now, out| {
                    machine.handle(now, Input::Message { from, bytes: &bytes }, out);
                });
            }
            Shown::Topology { version } => {
                self.nodes[node].version = self.nodes[node].version.max(version);
                let peers = self.topology(self.nodes[node].version);
                self.drive(node, |machine, now, out| machine.handle(now, Input::Members(&peers), out));
            }
            Shown::Link { to, up } => {
                let to = NodeNumber(to as u16);
                let input = if up { Input::LinkUp(to) } else { Input::LinkLost(to) };
                self.drive(node, |machine, now, out| machine.handle(now, input, out));
            }
        }
    }

    fn drive(
        &mut self,
        node: usize,
        act: impl FnOnce(&mut Membership<GossipCodec>, Timestamp, &mut Orders<BUG>),
    ) {
        let Some(machine) = &mut self.nodes[node].machine else { return };
        let mut orders = Orders::default();
        act(machine, Timestamp(self.now_ns), &mut orders);
        let backlog = machine.backlog();
        self.count.backlog = self.count.backlog.max(backlog);
        let nodes = self.nodes.len();
        self.break_if(Invariant::BacklogsAreBounded, backlogs_are_bounded::judge(node, nodes, backlog));
        for output in orders.0 {
            match output {
                Output::Send { to, bytes } => self.send(node, usize::from(to.0), &bytes),
                Output::Changed { node: of, liveness } => self.changed(node, of.0, liveness),
                Output::Renewed(peer) => {
                    self.count.renewed += 1;
                    self.note(&[3, u64::from(peer.renewal)], |_| format!("{node} is now {peer:?}"));
                }
                Output::CloseLink(_) => panic!("nodes speak gossip"),
            }
        }
        self.arm(node);
    }

    fn arm(&mut self, node: usize) {
        let Some(machine) = &self.nodes[node].machine else { return };
        let Some(due) = machine.next_timeout() else { return };
        let at_ns = due.0.max(self.now_ns);
        if self.nodes[node].armed_ns != Some(at_ns) {
            self.nodes[node].armed_ns = Some(at_ns);
            self.at(at_ns, Event::Timer { node, at_ns });
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let header = GossipCodec.decode_header(bytes).expect("what is sent is a message");
        let known = self.topologies[self.nodes[from].version].get(&to).map(|&number| Incarnation(number));
        let wrong = only_the_present_are_spoken_to::judge(from, to as u16, header.dst.incarnation, known);
        self.break_if(Invariant::OnlyThePresentAreSpokenTo, wrong);
        self.digest.update(bytes);
        let fate = self.network.send(
            &mut self.random,
            self.now_ns,
            from,
            to,
            Some(REPEATED_WITHIN_NS),
            &mut self.count.traffic,
        );
        let (life, bytes) = (self.nodes[to].life, Rc::<[u8]>::from(bytes));
        for at_ns in fate.arrives_ns.into_iter().flatten() {
            let what = Shown::Message { from, bytes: Rc::clone(&bytes) };
            self.at(at_ns, Event::Shown { to, life, what });
        }
    }

    fn changed(&mut self, node: usize, of: u16, liveness: Liveness) {
        self.note(&[4, node as u64, u64::from(of)], |_| format!("{node} takes {of} for {liveness:?}"));
        match liveness {
            Liveness::Alive if self.crashed.is_none() && self.now_ns > FAULTS_END_NS => {
                let healed_ms = (self.now_ns - FAULTS_END_NS) / 1_000_000;
                self.count.healed_ms = self.count.healed_ms.max(healed_ms);
            }
            Liveness::Alive => {}
            Liveness::Suspected => self.count.suspected += 1,
            Liveness::Dead => self.count.dead += 1,
        }
        if let Some((_, noticed)) = self.crashed.filter(|(crashed, _)| *crashed == usize::from(of)) {
            let longest_ms = &mut self.count.crash_known_ms[usize::from(noticed)];
            *longest_ms = (self.now_ns - CRASH_NS).div_ceil(1_000_000).max(*longest_ms);
            return;
        }
        let calm = self.weather == Weather::Calm || self.now_ns > HEALED_NS;
        self.break_if(Invariant::CalmSuspectsNobody, calm_suspects_nobody::judge(calm, node, of, liveness));
        let subject = &mut self.nodes[usize::from(of)];
        subject.falsely_dead |= liveness == Liveness::Dead && subject.machine.is_some();
        let (sleepy, slept) = (self.weather == Weather::Sleepy, subject.slept);
        let wrong = sleepers_judge_nobody::judge(sleepy, node, of, slept, liveness);
        self.break_if(Invariant::SleepersJudgeNobody, wrong);
    }

    fn seen(&self, node: usize, of: usize) -> Option<Liveness> {
        let machine = self.nodes[node].machine.as_ref()?;
        machine.livenesses().find(|(number, _)| usize::from(number.0) == of).map(|(_, liveness)| liveness)
    }

    fn healed(&mut self) {
        for node in 0..self.nodes.len() {
            for of in self.others(node) {
                let (seen, falsely_dead) = (self.seen(node, of), self.nodes[of].falsely_dead);
                let wrong = falsely_dead_return::judge(node, of as u16, seen, falsely_dead);
                self.break_if(Invariant::FalselyDeadReturn, wrong);
                let wrong = everyone_is_alive_once_healed::judge(node, of as u16, seen);
                self.break_if(Invariant::EveryoneIsAliveOnceHealed, wrong);
            }
        }
    }

    fn crash_for_good(&mut self) {
        let (node, noticed) = (self.random.usize(..self.nodes.len()), self.random.bool());
        self.note(&[5, node as u64], |_| format!("{node} crashes for good, noticed: {noticed}"));
        self.crashed = Some((node, noticed));
        if noticed {
            self.at(CRASH_NS + the_crashed_are_dead::WITHIN_NS, Event::CrashIsKnown);
        }
        self.stop(node, noticed);
    }

    fn all_know_of_the_crash(&mut self) {
        let Some((crashed, _)) = self.crashed else { return };
        for node in self.others(crashed) {
            let wrong = the_crashed_are_dead::judge(node, crashed as u16, self.seen(node, crashed));
            self.break_if(Invariant::TheCrashedAreDead, wrong);
        }
    }
}
