//! What faults do to the world, and how nodes find out.
//!
//! Invariant: what a fault does when it begins is undone when it ends, and faults of one kind may overlap. Nodes notice
//! what they reach late, each in its own time.

use std::sync::Arc;

use annulus::cluster::coordinator::Orders;
use annulus::cluster::deviation::Deviation;
use annulus::cluster::replica::Standing;
use annulus::cluster::topology::TopologyLog;
use annulus::message::topology::{Command, Setting};
use annulus::types::{Timestamp, WriterId};

use crate::agenda::Event;
use crate::clients::CLIENTS;
use crate::faults::{Fault, Kind};
use crate::node::{Node, Sink, Told};
use crate::world::{MS, World};

impl<const BUG: usize> World<BUG> {
    /// Lets all nodes find out, sooner or later, whom they reach.
    fn look_around(&mut self) {
        let nodes = self.nodes.len();
        for (node, other) in (0..nodes).flat_map(|node| (0..nodes).map(move |other| (node, other))) {
            if node != other {
                let longest_ns = if self.random.bool() { 5 * MS } else { 500 * MS };
                let later_ns = self.random.u64(MS / 10..longest_ns);
                self.plan(self.now_ns + later_ns, Event::Link { node, other });
            }
        }
    }

    pub(crate) fn fault(&mut self, index: usize, begins: bool) {
        let Fault { kind, node, other, measure, .. } = self.faults[index];
        self.trace.note(self.now_ns, &[8, index as u64, u64::from(begins)], || {
            let (verb, share) = (if begins { "begins" } else { "ends" }, measure);
            format!("{kind} {verb} at node {node} (and {other}), {share}")
        });
        self.count.faults[kind as usize] += u64::from(begins);
        let sign = if begins { 1 } else { -1 };
        let permille = measure.unsigned_abs() as u32 / 4;
        let onoff = if begins { permille } else { 0 };
        match kind {
            Kind::Loss => self.network.lost_permille = onoff,
            Kind::Duplication => self.network.doubled_permille = onoff,
            Kind::Delay => self.network.late_permille = onoff,
            Kind::Partition => {
                let nodes = self.nodes.len();
                let apart = |number: usize| number == node || (nodes > 3 && number == other);
                for (one, two) in (0..nodes).flat_map(|one| (0..nodes).map(move |two| (one, two))) {
                    if apart(one) != apart(two) {
                        self.network.block(one, two, begins);
                    }
                }
                self.look_around();
            }
            Kind::PartialPartition => {
                self.network.block(node, other, begins);
                self.network.block(other, node, begins);
                self.look_around();
            }
            Kind::OneWay => {
                self.network.block(node, other, begins);
                self.look_around();
            }
            Kind::LinkReset if begins => {
                let target = self.nodes[other].number;
                if self.nodes[node].up && self.nodes[node].view.is_reachable(target) {
                    self.nodes[node].coordinator.link_lost(target, &mut self.sink);
                    self.carry_out(node);
                }
            }
            Kind::LinkReset => {}
            Kind::Pause => self.pause(node, begins),
            Kind::Slow => {
                let slow = &mut self.network.slow[node];
                *slow = slow.saturating_add_signed(sign);
            }
            Kind::Crash if begins => self.crash(node),
            Kind::Amnesia if begins => {
                let whole =
                    |node: &Node| node.up && node.entered && node.replica.standing == Standing::Active;
                let loses = self.nodes.iter().all(whole);
                self.crash(node);
                self.nodes[node].keeps_data &= !loses;
            }
            Kind::Crash | Kind::Amnesia => self.restart(node, measure < 0),
            Kind::ClockJump => self.nodes[node].clock_error_ms += i64::from(sign) * measure * 2,
            Kind::ClockDrift => self.nodes[node].clock_drift_ppm += i64::from(sign) * measure,
            Kind::DiskStall => self.stall_disk(node, sign),
            Kind::OtherFactor => {
                let copies = 2 + (measure.unsigned_abs() + u64::from(begins)) % 4;
                self.pursue(node, &Command::Set(Setting::ReplicationFactor(copies as u8)));
            }
            Kind::MemoryFull => {
                let used = self.nodes[node].store.used_bytes();
                self.nodes[node].store.set_memory_bytes_max(begins.then_some(used));
            }
        }
    }

    fn stall_disk(&mut self, number: usize, sign: i32) {
        let node = &mut self.nodes[number];
        node.disk_stalled = node.disk_stalled.saturating_add_signed(sign);
        if node.disk_stalled == 0 {
            for event in std::mem::take(&mut node.deferred) {
                self.plan(self.now_ns, event);
            }
        }
    }

    fn pause(&mut self, number: usize, begins: bool) {
        let node = &mut self.nodes[number];
        if node.paused == 0 {
            node.paused_ns = self.now_ns;
        }
        node.paused = if begins { node.paused + 1 } else { node.paused - 1 };
        if node.paused == 0 {
            node.resumed_ns = self.now_ns;
            for event in std::mem::take(&mut node.deferred) {
                self.plan(self.now_ns, event);
            }
        }
    }

    /// A process ends: what it had under way is known to nobody.
    fn crash(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if !node.up {
            return;
        }
        // What a life lost is known once the log has that life.
        node.keeps_data |= node.entered;
        (node.up, node.life, node.down_since_ns) = (false, node.life + 1, self.now_ns);
        node.deferred.clear();
        for client in 0..CLIENTS {
            if let Some((_, at, _)) = self.clients.clients[client].waiting
                && at == number
            {
                let begun = self.clients.clients[client].begun;
                self.tell(client, begun, Told::Unknown);
            }
        }
        self.look_around();
    }

    fn restart(&mut self, number: usize, stood_still: bool) {
        if self.nodes[number].up {
            return;
        }
        if stood_still {
            // To the tick, and some ticks that were never saved.
            let lost_ms = (self.now_ns - self.nodes[number].down_since_ns) / MS + self.random.u64(..40);
            self.nodes[number].clock_error_ms -= lost_ms as i64;
        }
        let (run, seed) = (self.random.u64(1..), self.random.u64(..));
        let (view, replica) = (self.nodes[number].view.clone(), self.nodes[number].replica);
        self.nodes[number].restart(run, seed, Timestamp(self.now_ns));
        if Sink::<BUG>::DEVIATION == Deviation::ClockReused {
            // It does not wait to be given another writer's number.
            let node = &mut self.nodes[number];
            (node.view, node.replica) = (view, replica);
            let writer = WriterId::new(u32::from(node.number.0), 0).expect("few are started");
            node.coordinator.become_writer(writer);
            node.coordinator.adopt(Arc::new(node.view.clone()), &mut self.sink);
        }
        self.count.memories_lost += u64::from(!self.nodes[number].keeps_data);
        self.consult(number, TopologyLog::handle_timeout);
        let life = self.nodes[number].life;
        self.plan(self.now_ns, Event::Enter { node: number, life });
        self.look_around();
    }
}
