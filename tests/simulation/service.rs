//! What clients ask of nodes, and what they are told.
//!
//! Invariant: whoever asks is told once, and what it asked; a client that waits for a node that is up and was not
//! paused is told in the end.

use annulus::cluster::coordinator::{Action, Ask as Request, ClientTag};
use annulus::history::{Ask, Key};
use annulus::types::{Level, Timestamp, WallTime};

use crate::agenda::Event;
use crate::changes;
use crate::clients::Wish;
use crate::node::Told;
use crate::world::{HEALED_NS, MS, REPLY_NS_MAX, World};

impl<const BUG: usize> World<BUG> {
    /// Lets a client do what it does next.
    pub(crate) fn go_on(&mut self, client: usize) {
        if self.healing || self.clients.clients[client].waiting.is_some() {
            return;
        }
        // Most of the time a client stays with its node.
        let home = client % self.nodes.len();
        let node = if self.random.u8(..4) > 0 { home } else { self.random.usize(..self.nodes.len()) };
        if !self.nodes[node].up {
            let later_ns = self.now_ns + self.random.u64(MS..20 * MS);
            return self.plan(later_ns, Event::Client { client });
        }
        let wish = self.clients.wish(&mut self.random);
        self.ask(client, node, wish);
    }

    pub(crate) fn ask(&mut self, client: usize, number: usize, wish: Wish) {
        let begun = self.clients.begin(client, number, wish, self.now_ns);
        self.trace.note(self.now_ns, &[4, client as u64, number as u64], || {
            format!("client {client} asks node {number}: {wish:?}")
        });
        self.plan(self.now_ns + REPLY_NS_MAX, Event::Impatient { client, begun });
        let node = &mut self.nodes[number];
        let wall = node.observe(self.now_ns);
        let expires_at = (wish.lives_ms > 0).then_some(WallTime(wall.0 + wish.lives_ms));
        let key = name_of(wish.key);
        let value;
        let change;
        let action = match wish.ask {
            Ask::Read => Action::Get,
            ask if wish.level == Level::Linearizable => {
                change = changes::bytes_of(ask, expires_at);
                Action::Change { change: &change }
            }
            Ask::Write { value: number, .. } => {
                value = number.to_le_bytes();
                Action::Put { value: &value, expires_at }
            }
            Ask::Remove { .. } => Action::Remove,
            _ => Action::Get,
        };
        let tag = ClientTag((client as u64) << 32 | begun);
        let hash = node.store.hash(&key);
        let request = Request { client: tag, key: &key, hash, level: wish.level, action };
        node.coordinator.begin(Timestamp(self.now_ns), &request, &mut self.sink);
        self.carry_out(number);
    }

    /// Tells a client what became of its operation, if it still waits for that.
    pub(crate) fn tell(&mut self, client: usize, begun: u64, told: Told) {
        let state = &self.clients.clients[client];
        if state.begun != begun || state.waiting.is_none() {
            return self.complain(format!("client {client} is told twice, or what it did not ask"));
        }
        self.trace.note(self.now_ns, &[5, client as u64], || format!("client {client} is told {told:?}"));
        if let (Told::Written(version), Some((_, node, _))) = (&told, state.waiting)
            && version.stamp.wall() > self.nodes[node].ceiling
        {
            let why = format!("node {node} issued {version:?}");
            self.beyond_ceiling.get_or_insert(why);
        }
        match &told {
            Told::Refused => self.count.refused += 1,
            Told::Unknown => self.count.unknown += 1,
            Told::Written(_) | Told::Changed(_) | Told::Value(..) | Told::Nothing => self.count.done += 1,
        }
        if !self.clients.finish(client, told, self.now_ns) {
            self.complain(format!("client {client} is told what it did not ask"));
        }
        let next_ns = self.now_ns + self.random.u64(..self.think_ns_max);
        self.plan(next_ns, Event::Client { client });
    }

    /// A client has waited long: unless its node was paused meanwhile, that is a fault of ours.
    pub(crate) fn doubt(&mut self, client: usize, begun: u64) {
        let state = &self.clients.clients[client];
        if state.begun == begun
            && let Some((_, node, _)) = state.waiting
        {
            self.complain(format!("client {client} hears nothing from node {node}, which is up"));
        }
    }

    /// Asks for something in a world that is whole: it must be done.
    pub(crate) fn serve_healed(&mut self, client: usize, wish: Wish) {
        let node = self.random.usize(..self.nodes.len());
        let (done_before, deadline_ns) = (self.count.done, self.now_ns + HEALED_NS);
        self.ask(client, node, wish);
        while self.clients.clients[client].waiting.is_some() && self.now_ns < deadline_ns {
            self.step();
        }
        if self.count.done == done_before {
            self.complain(format!("{wish:?} at node {node} is not done though nothing is wrong any more"));
        }
    }
}

/// The bytes of a key.
pub(crate) fn name_of(key: Key) -> [u8; 8] {
    key.0.to_le_bytes()
}
