//! The world: virtual time, and everything that happens in it, one thing after the other.
//!
//! Invariant: a run is a function of its seed and nothing else. What happens at one time happens in the order in which
//! it was planned. Messages travel as the bytes that nodes send to each other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Display;
use std::num::NonZeroU64;

use annulus::cluster::topology::{Output, TopologyLog, Verdict};
use annulus::message::consensus::{Electorate, Image};
use annulus::message::control::Control;
use annulus::message::topology::{Command, Denial, Setting};
use annulus::protocol::Limits;
use annulus::protocol::control::{decode_control, encode_control};
use annulus::protocol::frame::{Split, split_frame};
use annulus::types::{NodeNumber, RunId, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use crate::invariants::Invariant;
use crate::invariants::always_a_leader::{ELECTION_NS_MAX, can_elect, has_leader};
use crate::invariants::epochs_agree::Agreed;
use crate::invariants::nothing_agreed_is_lost;
use crate::invariants::one_leader_a_term::Leaders;
use crate::invariants::one_number_a_life::Given;
use crate::network::{Network, Traffic};
use crate::process::{Orders, Process};
use crate::trouble::{Fault, Kind, plan};

pub(crate) const MS: u64 = 1_000_000;

/// When faults begin and end, and when all is judged.
const FAULTS_FROM_NS: u64 = 1_500 * MS;
const FAULTS_UNTIL_NS: u64 = 9_000 * MS;
const END_NS: u64 = 18_000 * MS;

/// How long it takes until others take a process for dead, or for alive.
const TOLD_OF_NS: u64 = 1_200 * MS;

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

impl Count {
    pub(crate) fn add(&mut self, other: &Self) {
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
    random: fastrand::Rng,
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
    next_setting: u32,
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
        let faults = plan(&mut random, processes, FAULTS_FROM_NS, FAULTS_UNTIL_NS);
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

    fn now(&self) -> Timestamp {
        Timestamp(self.now_ns)
    }

    fn plan(&mut self, at_ns: u64, event: Event) {
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
    fn act<R: Default>(
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
                && self.random.u32(..3) == 0;
        let crash_at = (ends && !orders.0.is_empty()).then(|| self.random.usize(..=orders.0.len()));
        for order in orders.0.drain(..crash_at.unwrap_or(orders.0.len())) {
            self.carry_out(place, order);
        }
        if crash_at.is_some() {
            self.crash_midway = self.crash_midway.filter(|&crashing| crashing != place);
            self.crash(place, false);
            if self.upheaval {
                let at_ns = self.now_ns + self.random.u64(MS / 10..8 * MS);
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
                    false,
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

    /// Asks somebody to have a command carried out, and whomever that one names; `true` if it is.
    fn ask(&mut self, from: usize, first: usize, command: &Command) -> bool {
        let mut place = first;
        for _ in 0..2 {
            let reached = from == place || self.network.is_whole(from, place);
            if !reached || !self.processes[place].runs() || self.processes[place].machine.is_none() {
                return false;
            }
            let verdict = self.act(place, |machine, now, out| Some(machine.ask(now, command, out)));
            match verdict {
                Some(Verdict::Elsewhere(Some(leader))) => match self.place_of(leader) {
                    Some(next) => place = next,
                    None => return false,
                },
                Some(Verdict::Denied(Denial::NameTaken(_))) => {
                    // It was let in before and never heard of it: its operator does as the denial says.
                    self.processes[from].replaces = true;
                    return false;
                }
                Some(Verdict::Done) => {
                    self.told.push(command.clone());
                    self.count.carried_out += 1;
                    return true;
                }
                _ => return false,
            }
        }
        false
    }

    fn set(&mut self, ms: u32) {
        let first = self.random.usize(..self.processes.len());
        let command = Command::Set(Setting::DriftMaxMs(ms));
        // A later one may have been carried out before: then this one is not asked for again.
        let superseded = self
            .told
            .iter()
            .any(|other| matches!(other, Command::Set(Setting::DriftMaxMs(later)) if *later >= ms));
        let behind = |process: &Process| {
            process.machine.as_ref().is_some_and(|machine| machine.topology().settings.drift_max_ms > ms)
        };
        if superseded || self.processes.iter().any(behind) || self.ask(first, first, &command) {
            return;
        }
        let at_ns = self.now_ns + self.random.u64(20 * MS..200 * MS);
        // Only the latest is asked for, lest an older one be carried out after it.
        if ms == self.next_setting {
            self.plan(at_ns, Event::Set { ms });
        }
    }

    /// A process asks to be let in, until it is.
    fn enter(&mut self, place: usize) {
        if self.processes[place].entered {
            return;
        }
        let first = self.random.usize(..self.processes.len());
        let command = Command::Enter(self.processes[place].entrance());
        if self.ask(place, first, &command) {
            self.let_in(place);
            return;
        }
        let life = self.processes[place].life;
        let at_ns = self.now_ns + self.random.u64(50 * MS..150 * MS);
        self.plan(at_ns, Event::Enter { place, life });
    }

    fn let_in(&mut self, place: usize) {
        let name = self.processes[place].name.clone();
        let machines = || self.processes.iter().filter_map(|process| process.machine.as_ref());
        let knows = |machine: &&TopologyLog| {
            let node = machine.topology().node_named(&name);
            node.is_some_and(|(_, node)| node.run == self.processes[place].run)
        };
        let topology = machines().find(knows).expect("somebody said so").topology().clone();
        let (number, _) = topology.node_named(&name).expect("it is there");
        self.note(&[5, place as u64, u64::from(number.0)], || {
            format!("process {place} is let in as {number:?}")
        });
        self.processes[place].entered = true;
        self.count.let_in += 1;
        if self.processes[place].number() != Some(number) {
            self.processes[place].disk = Some((number, Image::admitted(topology)));
            self.start(place);
        }
        self.plan(
            self.now_ns + TOLD_OF_NS,
            Event::TellOf { place, life: self.processes[place].life, alive: true },
        );
    }

    fn start(&mut self, place: usize) {
        let (seed, now) = (self.random.u64(..), self.now());
        self.processes[place].start(seed, now);
        self.act(place, TopologyLog::handle_timeout);
    }

    pub(crate) fn crash(&mut self, place: usize, disk_lost: bool) {
        // A disk that has the only copy of what was agreed on must not be lost: nobody promises anything then.
        let disk_lost = disk_lost && self.can_spare_a_disk();
        let process = &mut self.processes[place];
        if process.up {
            (process.up, process.machine) = (false, None);
            process.life += 1;
            process.deferred.clear();
            let life = process.life;
            self.note(&[6, place as u64], || format!("process {place} ends"));
            self.plan(self.now_ns + TOLD_OF_NS, Event::TellOf { place, life, alive: false });
        }
        let process = &mut self.processes[place];
        if disk_lost && process.disk.take().is_some() {
            self.plan(self.now_ns + TOLD_OF_NS, Event::TellAll);
            let process = &mut self.processes[place];
            process.replaces = true;
        }
    }

    pub(crate) fn crash_leader(&mut self) {
        let leads = |process: &Process| process.machine.as_ref().is_some_and(TopologyLog::leads);
        if let Some(place) = self.processes.iter().position(leads) {
            self.crash(place, false);
            self.plan(self.now_ns + 20 * MS, Event::Restart { place });
        }
    }

    pub(crate) fn restart(&mut self, place: usize) {
        let run = self.random.u64(1..);
        let process = &mut self.processes[place];
        if process.up {
            return;
        }
        (process.up, process.entered) = (true, false);
        process.run = RunId(NonZeroU64::new(run).expect("drawn from one on"));
        let life = process.life;
        self.note(&[7, place as u64], || format!("process {place} is started"));
        self.start(place);
        self.plan(self.now_ns, Event::Enter { place, life });
        self.plan(self.now_ns + TOLD_OF_NS, Event::TellOf { place, life, alive: true });
    }

    pub(crate) fn pause(&mut self, place: usize, begins: bool) {
        let process = &mut self.processes[place];
        process.paused = if begins { process.paused + 1 } else { process.paused - 1 };
        if process.paused == 0 {
            for event in std::mem::take(&mut process.deferred) {
                self.plan(self.now_ns, event);
            }
        }
    }

    /// Every other process is told whether one lives.
    pub(crate) fn tell_of(&mut self, place: usize, alive: bool) {
        if let Some(number) = self.processes[place].number() {
            self.tell_of_node(number, alive);
        }
    }

    /// Every process is told of every node that it knows of.
    fn tell_all(&mut self) {
        let known = self.processes.iter().filter_map(|process| process.machine.as_ref());
        let numbers: BTreeSet<NodeNumber> =
            known.flat_map(|machine| machine.topology().nodes.keys().copied()).collect();
        for number in numbers {
            let alive = self.place_of(number).is_some_and(|place| self.processes[place].runs());
            self.tell_of_node(number, alive);
        }
    }

    fn tell_of_node(&mut self, number: NodeNumber, alive: bool) {
        for other in 0..self.processes.len() {
            if self.processes[other].number() != Some(number) && self.processes[other].runs() {
                self.act(other, |machine, now, out| machine.set_alive(now, number, alive, out));
            }
        }
    }

    /// Who can talk to whom is another now: elections may take their time again.
    pub(crate) fn network_changed(&mut self) {
        self.can_elect_since_ns = None;
    }

    /// Whether everybody knows of three voters at least: whoever knows of one alone needs that one for an election.
    fn can_spare_a_disk(&self) -> bool {
        let settled =
            |electorate: &Electorate| electorate.voters.len() >= 3 && electorate.voters_outgoing.is_empty();
        let mut machines = self.processes.iter().map(|process| process.machine.as_ref());
        machines.all(|machine| machine.is_some_and(|machine| settled(machine.electorate())))
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
