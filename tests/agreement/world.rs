//! The world: virtual time, and everything that happens in it, one thing after the other.
//!
//! Invariant: a run is a function of its seed and nothing else. What happens at one time happens in the order in which
//! it was planned. Messages travel as the bytes that nodes send to each other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Display;

use annulus::cluster::topology::{Output, TopologyLog};
use annulus::message::consensus::Electorate;
use annulus::message::control::Control;
use annulus::message::topology::Command;
use annulus::protocol::Limits;
use annulus::protocol::control::{decode_control, encode_control};
use annulus::protocol::frame::{Split, split_frame};
use annulus::types::{NodeNumber, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use crate::invariants::Invariant;
use crate::invariants::always_a_leader::{ELECTION_NS_MAX, can_elect, has_leader};
use crate::invariants::epochs_agree::Agreed;
use crate::invariants::nothing_agreed_is_lost;
use crate::invariants::one_leader_a_term::Leaders;
use crate::invariants::one_number_a_life::Given;
use crate::network::{Network, REPEATED_WITHIN_NS, Traffic};
use crate::process::{Orders, Process};
use crate::seeds::Total;
use crate::trouble::{Fault, Kind, plan};

pub(crate) const MS: u64 = 1_000_000;

/// When faults begin and end, and when all is judged.
const FAULTS_FROM_NS: u64 = 1_500 * MS;
const FAULTS_UNTIL_NS: u64 = 9_000 * MS;
const END_NS: u64 = 18_000 * MS;

/// How long it takes until others take a process for dead, or for alive.
pub(crate) const TOLD_OF_NS: u64 = 1_200 * MS;

/// Something that is going to happen.
#[derive(Clone)]
pub(crate) enum Event {
    /// Bytes arrive that were sent to a process.
    Deliver {
        place: usize,
        life: u32,
        bytes: Vec<u8>,
    },
    /// A machine is to be looked at.
    Look {
        place: usize,
        life: u32,
        at_ns: u64,
    },
    /// A process that the log does not have asks to be let in.
    Enter {
        place: usize,
        life: u32,
    },
    /// Whoever leads ends.
    Upset,
    /// A process that is down is started.
    Restart {
        place: usize,
    },
    /// Somebody wants a setting changed.
    Set {
        ms: u32,
    },
    /// Others find out whether a process lives.
    TellOf {
        place: usize,
        life: u32,
        alive: bool,
    },
    /// Everybody finds out who lives, in the end.
    TellAll,
    Begin {
        fault: usize,
    },
    End {
        fault: usize,
    },
    /// Whether somebody leads is looked at.
    Check,
}

/// How often things happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    pub(crate) traffic: Traffic,
    pub(crate) elected: u64,
    pub(crate) carried_out: u64,
    pub(crate) let_in: u64,
    pub(crate) faults: [u64; Kind::ALL.len()],
}

impl Total for Count {
    fn add(&mut self, other: &Self) {
        self.traffic.add(&other.traffic);
        self.elected += other.elected;
        self.carried_out += other.carried_out;
        self.let_in += other.let_in;
        for (ours, theirs) in self.faults.iter_mut().zip(other.faults) {
            *ours += theirs;
        }
    }
}

/// A run.
pub(crate) struct World<const BUG: usize> {
    pub(crate) random: fastrand::Rng,
    pub(crate) now_ns: u64,
    planned: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    sequence: u64,
    pub(crate) processes: Vec<Process>,
    pub(crate) network: Network,
    pub(crate) faults: Vec<Fault>,
    /// The next orders of this process are its last.
    pub(crate) crash_midway: Option<usize>,
    /// Processes end midway again and again.
    pub(crate) upheaval: bool,
    /// Since when a majority of voters could have elected a leader.
    can_elect_since_ns: Option<u64>,
    pub(crate) next_setting: u32,
    /// What somebody was told is carried out.
    pub(crate) told: Vec<Command>,
    leaders: Leaders,
    pub(crate) agreed: Agreed,
    given: Given,
    pub(crate) broken: BTreeMap<Invariant, String>,
    pub(crate) count: Count,
    digest: Xxh3,
    prints: bool,
}

impl<const BUG: usize> World<BUG> {
    /// The world of a seed, before anything happens.
    pub(crate) fn new(seed: u64, prints: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let processes = [3, 4, 5, 6][random.usize(..4)];
        // A bug is hunted where it may be met.
        let turbulent = random.bool() || BUG > 0;
        let faults = plan(&mut random, processes, turbulent, FAULTS_FROM_NS, FAULTS_UNTIL_NS);
        let mut world = Self::peaceful(processes, random, prints);
        for (fault, &Fault { begins_ns, ends_ns, .. }) in faults.iter().enumerate() {
            world.plan(begins_ns, Event::Begin { fault });
            world.plan(ends_ns, Event::End { fault });
        }
        world.faults = faults;
        for _ in 0..8 {
            let at_ns = world.random.u64(..FAULTS_UNTIL_NS);
            world.next_setting += 1;
            let ms = world.next_setting;
            world.plan(at_ns, Event::Set { ms });
        }
        world
    }

    /// A world of so many processes in which nothing goes wrong.
    pub(crate) fn peaceful(processes: usize, mut random: fastrand::Rng, prints: bool) -> Self {
        let runs = processes as u64;
        let mut world = Self {
            now_ns: 0,
            planned: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            processes: (0..processes).map(|place| Process::new(place, random.u64(1..))).collect(),
            network: Network::new(processes),
            faults: Vec::new(),
            crash_midway: None,
            upheaval: false,
            can_elect_since_ns: None,
            next_setting: 500,
            told: Vec::new(),
            leaders: Leaders::default(),
            agreed: Agreed::default(),
            given: Given::default(),
            broken: BTreeMap::new(),
            count: Count::default(),
            digest: Xxh3::new(),
            prints,
            random,
        };
        world.processes[0].found(runs.min(3) as u16);
        world.processes[0].entered = true;
        world.start(0);
        for place in 1..processes {
            let at_ns = world.random.u64(..400 * MS);
            world.plan(at_ns, Event::Enter { place, life: 0 });
        }
        world.plan(50 * MS, Event::Check);
        world
    }

    /// Lets everything happen, and judges it.
    pub(crate) fn run(&mut self) {
        self.run_until(FAULTS_UNTIL_NS);
        self.note(&[1], || "healing begins");
        self.crash_midway = None;
        (0..self.processes.len()).for_each(|place| self.restart(place));
        for later in 1..4 {
            self.plan(self.now_ns + later * TOLD_OF_NS, Event::TellAll);
        }
        self.run_until(END_NS);
        if let Some(why) = nothing_agreed_is_lost::broken(self) {
            self.broken.entry(Invariant::NothingAgreedIsLost).or_insert(why);
        }
        self.count.elected = self.leaders.count();
    }

    pub(crate) fn run_until(&mut self, until_ns: u64) {
        while let Some(&Reverse((at_ns, sequence))) = self.planned.peek()
            && at_ns <= until_ns
        {
            self.planned.pop();
            self.now_ns = at_ns;
            let event = self.events.remove(&sequence).expect("it was planned");
            self.happen(event);
        }
        self.now_ns = until_ns;
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.digest()
    }

    pub(crate) fn note<L: Display>(&mut self, numbers: &[u64], line: impl FnOnce() -> L) {
        self.digest.update(&self.now_ns.to_le_bytes());
        numbers.iter().for_each(|number| self.digest.update(&number.to_le_bytes()));
        if self.prints {
            println!("{:>10.3} ms  {}", self.now_ns as f64 / 1e6, line());
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.now_ns)
    }

    pub(crate) fn plan(&mut self, at_ns: u64, event: Event) {
        self.sequence += 1;
        self.planned.push(Reverse((at_ns, self.sequence)));
        self.events.insert(self.sequence, event);
    }

    /// Where the node of a number runs, or ran.
    pub(crate) fn place_of(&self, node: NodeNumber) -> Option<usize> {
        self.processes.iter().position(|process| process.number() == Some(node))
    }

    fn happen(&mut self, event: Event) {
        let concerned = match event {
            Event::Deliver { place, life, .. }
            | Event::Look { place, life, .. }
            | Event::Enter { place, life } => Some((place, life)),
            _ => None,
        };
        if let Some((place, life)) = concerned {
            let process = &mut self.processes[place];
            if !process.up || process.life != life {
                return;
            }
            if process.paused > 0 {
                process.deferred.push(event);
                return;
            }
        }
        match event {
            Event::Deliver { place, bytes, .. } => self.deliver(place, &bytes),
            Event::Look { place, at_ns, .. } => {
                let due = self.processes[place].machine.as_ref().map(|machine| machine.next_timeout().0);
                // One that was planned earlier for another time has been overtaken, unless the process was paused.
                if due.is_some_and(|due| due <= self.now_ns || at_ns < self.now_ns) {
                    self.act(place, TopologyLog::handle_timeout);
                }
            }
            Event::Enter { place, .. } => self.enter(place),
            Event::Upset => self.crash_leader(),
            Event::Restart { place } => self.restart(place),
            Event::Set { ms } => self.set(ms),
            Event::TellOf { place, life, alive } => {
                let process = &self.processes[place];
                if process.life == life && process.runs() == alive {
                    self.tell_of(place, alive);
                }
            }
            Event::TellAll => self.tell_all(),
            Event::Begin { fault } => self.fault(fault, true),
            Event::End { fault } => self.fault(fault, false),
            Event::Check => self.check(),
        }
    }

    fn deliver(&mut self, place: usize, bytes: &[u8]) {
        let Ok(Split::Frame(frame)) = split_frame(bytes, &Limits::default()) else {
            panic!("a frame was sent")
        };
        let Ok(Control::Consensus(message)) = decode_control(frame) else { panic!("a message was sent") };
        self.digest.update(bytes);
        self.act(place, |machine, now, out| machine.handle(now, &message, out));
    }

    /// Lets a machine act, and carries out its orders.
    pub(crate) fn act<R: Default>(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut TopologyLog, Timestamp, &mut Orders<BUG>) -> R,
    ) -> R {
        let now = self.now();
        let mut orders = Orders::<BUG>::default();
        let Some(machine) = &mut self.processes[place].machine else { return R::default() };
        let result = act(machine, now, &mut orders);
        let ends = self.crash_midway == Some(place)
            || self.upheaval
                && orders.0.iter().any(|order| matches!(order, Output::Persist(_)))
                && self.random.bool();
        let crash_at = (ends && !orders.0.is_empty()).then(|| self.random.usize(..=orders.0.len()));
        for order in orders.0.drain(..crash_at.unwrap_or(orders.0.len())) {
            self.carry_out(place, order);
        }
        if crash_at.is_some() {
            self.crash_midway = self.crash_midway.filter(|&crashing| crashing != place);
            self.crash(place, false);
            if self.upheaval {
                let at_ns = self.now_ns + self.random.u64(MS / 10..3 * MS);
                self.plan(at_ns, Event::Restart { place });
            }
            return R::default();
        }
        // What it has come to is true once its orders are carried out.
        self.look_at(place);
        self.plan_look(place);
        result
    }

    fn plan_look(&mut self, place: usize) {
        let process = &self.processes[place];
        if let Some(machine) = &process.machine {
            let at_ns = machine.next_timeout().0.max(self.now_ns);
            self.plan(at_ns, Event::Look { place, life: process.life, at_ns });
        }
    }

    fn carry_out(&mut self, place: usize, order: Output) {
        match order {
            Output::Persist(image) => {
                let disk = self.processes[place].disk.as_mut().expect("a machine runs on a disk");
                disk.1 = *image;
            }
            Output::Send(message) => {
                let Some(to) = self.place_of(message.to) else { return };
                let mut bytes = Vec::new();
                encode_control(&Control::Consensus(message), &mut bytes);
                let fate = self.network.send(
                    &mut self.random,
                    self.now_ns,
                    place,
                    to,
                    Some(REPEATED_WITHIN_NS),
                    &mut self.count.traffic,
                );
                let life = self.processes[to].life;
                for at_ns in fate.arrives_ns.into_iter().flatten() {
                    self.plan(at_ns, Event::Deliver { place: to, life, bytes: bytes.clone() });
                }
            }
            Output::Changed => {}
            Output::Elected(leadership) => {
                let leader = leadership.leader.map_or(0, |leader| u64::from(leader.0));
                self.note(&[3, place as u64, leader, leadership.term], || {
                    format!("process {place} finds {leader} to lead in term {}", leadership.term)
                });
            }
        }
    }

    /// Judges what a machine says of itself.
    fn look_at(&mut self, place: usize) {
        let process = &self.processes[place];
        let (Some(machine), Some(number)) = (&process.machine, process.number()) else { return };
        let leads = machine.leads().then(|| self.leaders.see(machine.leadership().term, number)).flatten();
        let (epoch, life) = if machine.applied() > 0 {
            (self.agreed.see(machine.applied(), machine.topology()), self.given.see(machine.topology()))
        } else {
            (None, None)
        };
        for (invariant, why) in [
            (Invariant::OneLeaderATerm, leads),
            (Invariant::EpochsAgree, epoch),
            (Invariant::OneNumberALife, life),
        ] {
            if let Some(why) = why {
                self.note(&[4], || why.clone());
                self.broken.entry(invariant).or_insert(why);
            }
        }
    }

    pub(crate) fn start(&mut self, place: usize) {
        let (seed, now) = (self.random.u64(..), self.now());
        self.processes[place].start(seed, now);
        self.act(place, TopologyLog::handle_timeout);
    }

    /// Who can talk to whom is another now: elections may take their time again.
    pub(crate) fn network_changed(&mut self) {
        self.can_elect_since_ns = None;
    }

    fn latest_electorate(&self) -> Option<Electorate> {
        let machines = self.processes.iter().filter_map(|process| process.machine.as_ref());
        machines.max_by_key(|machine| machine.applied()).map(|machine| machine.electorate().clone())
    }

    fn check(&mut self) {
        self.plan(self.now_ns + 50 * MS, Event::Check);
        let Some(electorate) = self.latest_electorate() else { return };
        let rough = self.network.lost_permille + self.network.late_permille > 0;
        if rough || self.upheaval || !can_elect(self, &electorate) || has_leader(self, &electorate) {
            self.can_elect_since_ns = None;
            return;
        }
        let since_ns = *self.can_elect_since_ns.get_or_insert(self.now_ns);
        if self.now_ns - since_ns > ELECTION_NS_MAX {
            let why = format!("{electorate:?} could have elected a leader since {} ms", since_ns / MS);
            self.broken.entry(Invariant::AlwaysALeader).or_insert(why);
            self.can_elect_since_ns = None;
        }
    }
}
