//! What is sent next: the plan of a stage, and the requests that it comes down to.
//!
//! Invariant: a connection is given no more than its pipeline has room for, and in steady state nothing is allocated.
//! When a stage begins and ends is not decided here, nor is anything sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::connection::{Connection, Times, UnderWay};
use crate::dialect::{Dialect, Request};
use crate::inserts::Inserts;
use crate::keys::KeyText;
use crate::mix::{Mix, Operation};
use crate::sending::Sending;
use crate::settings::Settings;

/// Pipeline while preloading, at least.
const PRELOAD_PIPELINE_MIN: usize = 64;

/// What connections are given to send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: let what is under way come home.
    Drain,
    /// Every key of the key space once, each connection its part.
    Preload,
    /// Operations as they are drawn.
    Mix,
    /// The same, as many of them as the budget of all threads has.
    MixOf,
}

/// What all threads draw from.
pub(crate) struct Shared {
    pub(crate) inserts: Inserts,
    /// Operations left to a plan that has so many and no more.
    pub(crate) budget: AtomicU64,
}

impl Shared {
    /// Takes up to `wanted` operations, and returns how many there were.
    fn take(&self, wanted: usize) -> usize {
        let left = |left: u64| Some(left.saturating_sub(wanted as u64));
        let (Ok(before) | Err(before)) = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        usize::try_from(before).unwrap_or(usize::MAX).min(wanted)
    }
}

/// Encodes requests by plan.
pub(crate) struct Requests<'a> {
    settings: &'a Settings,
    mix: &'a Mix,
    shared: &'a Shared,
    keys: KeyText,
    counters: KeyText,
    pub(crate) plan: Plan,
}

impl<'a> Requests<'a> {
    /// Requests of `mix`, which may be another than the settings'.
    pub(crate) fn new(settings: &'a Settings, mix: &'a Mix, shared: &'a Shared) -> Self {
        let (keys, counters) = (settings.key_text.clone(), settings.counter_text.clone());
        Self { settings, mix, shared, keys, counters, plan: Plan::Drain }
    }

    /// Whether the plan draws more operations.
    pub(crate) fn more(&self) -> bool {
        match self.plan {
            Plan::Drain | Plan::Preload => false,
            Plan::Mix => true,
            Plan::MixOf => self.shared.budget.load(Ordering::Relaxed) > 0,
        }
    }

    /// Takes an operation from the budget, if there is one to keep.
    pub(crate) fn take(&self) -> bool {
        self.plan != Plan::MixOf || self.shared.take(1) == 1
    }

    /// Encodes what `connection` is to send now in a closed loop, and returns how many requests; 0 if it must wait or
    /// the plan is done.
    pub(crate) fn fill<D: Dialect>(&mut self, connection: &mut Connection<D>) -> usize {
        let pipeline = self.settings.load.pipeline;
        let sending = self.settings.sending;
        let batch = match self.plan {
            Plan::Drain => 0,
            Plan::Preload => {
                let left = connection.to_preload.end - connection.to_preload.start;
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                room(sending, connection.outstanding, pipeline.max(PRELOAD_PIPELINE_MIN)).min(left)
            }
            Plan::Mix => room(sending, connection.outstanding, pipeline),
            Plan::MixOf => match room(sending, connection.outstanding, pipeline) {
                0 => 0,
                room => self.shared.take(room),
            },
        };
        if batch == 0 {
            return 0;
        }
        // Until the batch is encoded and its time is known.
        let encoding = Times::both(connection.heard_at);
        for _ in 0..batch {
            match self.plan {
                Plan::Preload => self.preload(connection, encoding),
                _ => self.draw(connection, encoding),
            }
        }
        connection.stamp(batch, Times::both(Instant::now()));
        batch
    }

    fn preload<D: Dialect>(&mut self, connection: &mut Connection<D>, times: Times) {
        let index = connection.to_preload.start;
        connection.to_preload.start += 1;
        self.write(connection, UnderWay { times, index, place: 0, writes_next: false });
    }

    /// Encodes an operation as it is drawn.
    pub(crate) fn draw<D: Dialect>(&mut self, connection: &mut Connection<D>, times: Times) {
        let stream = &mut connection.stream;
        let place = self.mix.draw(&mut stream.rng);
        let operation = self.mix.operations()[place];
        let index = match operation {
            Operation::Insert => self.shared.inserts.take(),
            _ => stream.next_index(&self.settings.distribution, self.shared.inserts.answered()),
        };
        let mut under_way = UnderWay { times, index, place, writes_next: false };
        let at = self.settings.load.first_key + index;
        let request = match operation {
            Operation::Set | Operation::Insert => return self.write(connection, under_way),
            Operation::Get => Request::Get { key: self.keys.of(at) },
            Operation::ReadModifyWrite => {
                under_way.writes_next = true;
                Request::Get { key: self.keys.of(at) }
            }
            Operation::Delete => Request::Delete { key: self.keys.of(at) },
            Operation::Increment => Request::Increment { key: self.counters.of(at) },
        };
        connection.dialect.encode(request, &mut connection.output);
        connection.push(under_way);
    }

    /// Encodes the write of an operation that has read what it is to write.
    pub(crate) fn write_read<D: Dialect>(&mut self, connection: &mut Connection<D>, read: UnderWay) {
        self.write(connection, UnderWay { writes_next: false, ..read });
    }

    fn write<D: Dialect>(&mut self, connection: &mut Connection<D>, under_way: UnderWay) {
        let key = self.keys.of(self.settings.load.first_key + under_way.index);
        let value = self.settings.values.draw(&mut connection.stream.rng);
        connection.dialect.encode(Request::Set { key, value }, &mut connection.output);
        connection.push(under_way);
    }

    /// Notes that an operation is over, answered or not.
    #[inline]
    pub(crate) fn settle(&self, over: &UnderWay) {
        if self.plan != Plan::Preload && self.mix.operations()[over.place] == Operation::Insert {
            self.shared.inserts.settle(over.index);
        }
    }
}

/// Parts in which a window moves on. Replies that were written at once would otherwise be read and refilled at once,
/// and a window would be a batch.
const WINDOW_PARTS: usize = 4;

/// Replies to read at once with a pipeline of so many; `None` for all that are there.
pub(crate) const fn replies_per_read(sending: Sending, pipeline: usize) -> Option<usize> {
    match sending {
        Sending::Batch => None,
        Sending::Window => Some(pipeline.div_ceil(WINDOW_PARTS)),
    }
}

/// Requests that a connection may send now, with so many `outstanding` of a pipeline of `limit`.
const fn room(sending: Sending, outstanding: usize, limit: usize) -> usize {
    match sending {
        Sending::Batch if outstanding > 0 => 0,
        Sending::Batch | Sending::Window => limit.saturating_sub(outstanding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_for_the_last_reply_and_a_window_for_none() {
        let rooms = |sending| [0, 1, 15, 16].map(|outstanding| room(sending, outstanding, 16));
        assert_eq!(rooms(Sending::Batch), [16, 0, 0, 0]);
        assert_eq!(rooms(Sending::Window), [16, 15, 1, 0]);
        // What a phase with a longer pipeline left under way.
        assert_eq!(room(Sending::Window, 64, 16), 0);
    }

    #[test]
    fn a_budget_is_spent_once() {
        let shared = Shared { inserts: Inserts::from(0), budget: AtomicU64::new(10) };
        assert_eq!([4, 4, 4, 4].map(|wanted| shared.take(wanted)), [4, 4, 2, 0]);
    }
}
