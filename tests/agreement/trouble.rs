//! What goes wrong, when, and where; and what it does to the world.
//!
//! Invariant: a plan is drawn from the seed before anything runs; every fault ends before healing begins, but for disks
//! that were lost, of which there are never so many that what was agreed on could be lost with them.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use annulus::cluster::topology::TopologyLog;
use annulus::message::consensus::Electorate;
use annulus::types::{NodeNumber, RunId};

use crate::process::Process;
use crate::world::{Event, MS, TOLD_OF_NS, World};

/// Kinds of fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Messages are lost at random.
    Loss,
    /// Messages arrive twice.
    Duplication,
    /// Messages take long, and overtake each other.
    Delay,
    /// Some processes hear nothing of the others.
    Partition,
    /// Two processes hear nothing of each other.
    PartialPartition,
    /// One process hears nothing of another, which hears it.
    OneWay,
    /// A process does nothing for a while.
    Pause,
    /// A process ends and is started anew.
    Crash,
    /// The next time that a process has orders, it ends in the midst of them.
    CrashMidway,
    /// A process ends, and its disk is gone: it comes back in its own place.
    DiskLost,
    /// Messages take long, and for a while processes that put something on disk end in the midst of their orders, one
    /// time in three, and are started anew at once.
    Upheaval,
    /// Somebody takes a process for dead that is not.
    FalseDeath,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = [
        Self::Loss,
        Self::Duplication,
        Self::Delay,
        Self::Partition,
        Self::PartialPartition,
        Self::OneWay,
        Self::Pause,
        Self::Crash,
        Self::CrashMidway,
        Self::DiskLost,
        Self::Upheaval,
        Self::FalseDeath,
    ];
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) begins_ns: u64,
    pub(crate) ends_ns: u64,
    pub(crate) place: usize,
    pub(crate) other: usize,
    /// How much of it, in a thousand.
    pub(crate) permille: u32,
}

/// Draws what goes wrong among so many processes from one time to another.
///
/// In a turbulent world voters end again and again while they vote.
pub(crate) fn plan(
    random: &mut fastrand::Rng,
    processes: usize,
    turbulent: bool,
    from_ns: u64,
    until_ns: u64,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut disks_lost = 0;
    let upheavals = if turbulent { 3 } else { 0 };
    for number in 0..random.usize(4..16) {
        let drawn = Kind::ALL[random.usize(..Kind::ALL.len())];
        let kind = if number < upheavals { Kind::Upheaval } else { drawn };
        if kind == Kind::DiskLost {
            disks_lost += 1;
            if disks_lost > 1 {
                continue;
            }
        }
        let begins_ns = random.u64(from_ns..until_ns - 2_000_000);
        let place = random.usize(..processes);
        faults.push(Fault {
            kind,
            begins_ns,
            ends_ns: random.u64(begins_ns + 1_000_000..until_ns),
            place,
            other: (place + random.usize(1..processes)) % processes,
            permille: random.u32(10..400),
        });
    }
    faults.sort_by_key(|fault| fault.begins_ns);
    faults
}

impl<const BUG: usize> World<BUG> {
    pub(crate) fn fault(&mut self, index: usize, begins: bool) {
        let Fault { kind, place, other, permille, .. } = self.faults[index];
        self.note(&[8, index as u64, u64::from(begins)], || {
            format!("{kind:?} {} at {place} (and {other})", if begins { "begins" } else { "ends" })
        });
        self.count.faults[kind as usize] += u64::from(begins);
        let amount = if begins { permille } else { 0 };
        match kind {
            Kind::Loss => self.network.lost_permille = amount,
            Kind::Duplication => self.network.doubled_permille = amount,
            Kind::Delay => self.network.late_permille = amount,
            Kind::Partition => {
                let processes = self.processes.len();
                let apart = |one: usize| one == place || (processes > 4 && one == other);
                for (one, two) in (0..processes).flat_map(|one| (0..processes).map(move |two| (one, two))) {
                    if apart(one) != apart(two) {
                        self.network.block(one, two, begins);
                    }
                }
            }
            Kind::PartialPartition => {
                self.network.block(place, other, begins);
                self.network.block(other, place, begins);
            }
            Kind::OneWay => self.network.block(place, other, begins),
            Kind::Pause => self.pause(place, begins),
            Kind::Crash | Kind::DiskLost if begins => self.crash(place, kind == Kind::DiskLost),
            Kind::CrashMidway if begins => self.crash_midway = Some(place),
            Kind::Crash | Kind::DiskLost | Kind::CrashMidway => {
                self.crash_midway = self.crash_midway.filter(|&crashing| crashing != place);
                self.restart(place);
            }
            Kind::Upheaval => {
                self.upheaval = begins;
                self.network.late_permille = if begins { 1000 } else { 0 };
                if begins {
                    self.plan(self.now_ns, Event::Upset);
                }
            }
            Kind::FalseDeath => self.tell_of(place, !begins),
        }
        self.network_changed();
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

    /// The leader ends, again and again while the upheaval lasts.
    pub(crate) fn crash_leader(&mut self) {
        if self.upheaval {
            self.plan(self.now_ns + 700 * MS, Event::Upset);
        }
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
    pub(crate) fn tell_all(&mut self) {
        let known = self.processes.iter().filter_map(|process| process.machine.as_ref());
        let numbers: BTreeSet<NodeNumber> =
            known.flat_map(|machine| machine.topology().nodes.keys().copied()).collect();
        for number in numbers {
            let alive = self.place_of(number).is_some_and(|place| self.processes[place].runs());
            self.tell_of_node(number, alive);
        }
    }

    pub(crate) fn tell_of_node(&mut self, number: NodeNumber, alive: bool) {
        for other in 0..self.processes.len() {
            if self.processes[other].number() != Some(number) && self.processes[other].runs() {
                self.act(other, |machine, now, out| machine.set_alive(now, number, alive, out));
            }
        }
    }

    /// Whether everybody knows of three voters at least: whoever knows of one alone needs that one for an election.
    pub(crate) fn can_spare_a_disk(&self) -> bool {
        let settled =
            |electorate: &Electorate| electorate.voters.len() >= 3 && electorate.voters_outgoing.is_empty();
        let mut machines = self.processes.iter().map(|process| process.machine.as_ref());
        machines.all(|machine| machine.is_some_and(|machine| settled(machine.electorate())))
    }
}
