//! What people and processes ask of the cluster: to be let in, and to have settings changed.
//!
//! Invariant: whoever is not told that it is done asks again; what was told to be done is remembered, and judged.

use annulus::cluster::topology::{TopologyLog, Verdict};
use annulus::message::consensus::Image;
use annulus::message::topology::{Command, Denial, Setting};

use crate::process::Process;
use crate::world::{Event, MS, TOLD_OF_NS, World};

impl<const BUG: usize> World<BUG> {
    /// Asks somebody to have a command carried out, and whomever that one names; `true` if it is.
    pub(crate) fn ask(&mut self, from: usize, first: usize, command: &Command) -> bool {
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

    pub(crate) fn set(&mut self, ms: u32) {
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
    pub(crate) fn enter(&mut self, place: usize) {
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

    pub(crate) fn let_in(&mut self, place: usize) {
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
}
