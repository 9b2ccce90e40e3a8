//! What goes wrong, when, and where; and what it does to the world.
//!
//! Invariant: a plan is drawn from the seed before anything runs; every fault ends before healing begins, but for disks
//! that were lost, of which there are never so many that what was agreed on could be lost with them.

use crate::world::World;

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
pub(crate) fn plan(random: &mut fastrand::Rng, processes: usize, from_ns: u64, until_ns: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut disks_lost = 0;
    let upheavals = if random.bool() { 3 } else { 0 };
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
                    self.crash_leader();
                }
            }
            Kind::FalseDeath => self.tell_of(place, !begins),
        }
        self.network_changed();
    }
}
