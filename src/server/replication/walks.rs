//! What is about all keys of the cluster: SCAN, KEYS, DBSIZE, RANDOMKEY, FLUSHALL.
//!
//! Invariant: a worker goes at most one page further with each walk in a turn, so that the largest is in nobody's way.
//! What a page is and when it is whole is decided by [`Walk`]; a key that is to go is removed as DEL does.

use slab::Slab;

use crate::cluster::replica::Replica;
use crate::cluster::view::View;
use crate::cluster::walk::{Heard, Page, Sighting, TooFew, Walk};
use crate::config::recovery::PAGE_BYTES;
use crate::config::turn;
use crate::message::peer::{Answer, List, OperationId, Verdict};
use crate::message::{Outcome, Refusal, RequestId};
use crate::protocol::client::PageWriter as NativePageWriter;
use crate::protocol::page::{Listing, PageWriter, encode_list};
use crate::protocol::peer::{PeerMessage, encode_answer};
use crate::protocol::resp::{RespVersion, reply};
use crate::server::commands::Wanted;
use crate::server::engine::Shared;
use crate::server::replication::outbox::{Outbox, Waiter, Waiting};
use crate::server::replication::requests::{Want, change};
use crate::server::replication::{Replication, next_message};
use crate::store::Store;
use crate::types::{Level, NodeNumber, Timestamp, Token, WallTime};

/// What tells listings from answers to a coordinator's operations, of which there are fewer.
pub(super) const SLOT: u32 = 1 << 29;

/// Keys of a page that nobody said a number for.
const PAGE_KEYS: u32 = 512;

/// Keys that RANDOMKEY draws from.
const DRAWN_FROM: u32 = 32;

/// What a walk is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// A page of keys over RESP.
    Scan(Wanted),
    /// A page of keys over the native protocol.
    NativeScan { id: RequestId, count: u32 },
    /// How many there are.
    Count,
    /// All that match.
    Keys { pattern: Box<[u8]>, found: Vec<u8>, count: usize },
    /// One of them; whether the walk has begun again at 0.
    Random { version: RespVersion, turned: bool },
    /// None are to be left: how many removals are under way, whether one failed.
    Flush { missing: usize, failed: bool },
}

impl Purpose {
    fn page_keys(&self) -> u32 {
        match self {
            Self::Scan(wanted) => u32::try_from(wanted.count).unwrap_or(u32::MAX),
            Self::NativeScan { count, .. } => (*count).clamp(1, turn::PAGE_KEYS_MAX as u32),
            Self::Count => 0,
            Self::Random { .. } => DRAWN_FROM,
            Self::Keys { .. } | Self::Flush { .. } => PAGE_KEYS,
        }
    }
}

/// A walk under way.
struct Task {
    waiter: Waiter,
    purpose: Purpose,
    walk: Walk,
    /// Tells its pages from those of walks that had its slot before.
    round: u32,
    /// When its page was asked for, last and first.
    asked: Timestamp,
    since: Timestamp,
    /// Where to go on when what is under way has been done.
    next: Option<u64>,
}

/// One worker's walks.
#[derive(Default)]
pub(super) struct Walks {
    tasks: Slab<Task>,
    rounds: u32,
    /// Those that may have come to something.
    ready: Vec<usize>,
}

/// Appends the listing that another node wants to `out`.
fn list(list: &List, holds: impl Fn(Token) -> bool, store: &Store, out: &mut Vec<u8>) {
    let mut listing = PageWriter::begin_listing(list.operation, store.live_len() as u64, out);
    if list.count == 0 {
        return listing.finish_listing(0);
    }
    let count = (list.count as usize).min(turn::PAGE_KEYS_MAX);
    let page = store.list(list.cursor, count, holds, |key, cell| {
        listing.push_key(key, &cell);
        listing.bytes() < PAGE_BYTES
    });
    listing.finish_listing(page.next);
}

/// The same, if this node may tell; else why not.
pub(super) fn list_for(asks: &List, replica: &Replica, view: &View, store: &Store, out: &mut Vec<u8>) {
    if let Some(obstacle) = replica.refuses(asks.epoch, None) {
        let answer = Answer { operation: asks.operation, verdict: Verdict::Refused(obstacle) };
        return encode_answer(&answer, out);
    }
    list(asks, |token| view.holds(view.own, token), store, out);
}

impl Walks {
    /// Whether there is something to go on with.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes in the keys that a node has.
    pub(super) fn hear(&mut self, node: NodeNumber, listing: &Listing<'_>, store: &Store) {
        let Some((slot, task)) = self.asked(listing.operation) else { return };
        let sighting = |(key, cell): (&[u8], crate::message::peer::Cell<'_>)| Sighting {
            token: store.hash(key).token(),
            key: key.into(),
            rank: cell.rank(),
            kind: cell.summary().kind,
        };
        let sightings = listing.cells.iter().map(sighting).collect();
        task.walk.hear(node, Heard { next: listing.next, keys: listing.keys, sightings });
        self.ready.push(slot);
    }

    /// Takes note that a node does not tell.
    pub(super) fn refused(&mut self, node: NodeNumber, operation: OperationId) {
        if let Some((slot, task)) = self.asked(operation) {
            task.walk.give_up(node);
            self.ready.push(slot);
        }
    }

    /// Takes note that a node cannot be heard.
    pub(super) fn link_lost(&mut self, node: NodeNumber) {
        for (slot, task) in &mut self.tasks {
            task.walk.give_up(node);
            self.ready.push(slot);
        }
    }

    /// Looks at all of them, because time has passed.
    pub(super) fn look_at_all(&mut self) {
        self.ready.extend(self.tasks.iter().map(|(slot, _)| slot));
    }

    fn asked(&mut self, operation: OperationId) -> Option<(usize, &mut Task)> {
        let slot = operation.slot.checked_sub(SLOT)? as usize;
        let task = self.tasks.get_mut(slot).filter(|task| task.round == operation.round)?;
        Some((slot, task))
    }

    /// Takes note of what became of the removal of a key.
    pub(super) fn removed(&mut self, slot: usize, done: bool) {
        if let Some(Task { purpose: Purpose::Flush { missing, failed }, .. }) = self.tasks.get_mut(slot) {
            *missing = missing.saturating_sub(1);
            *failed |= !done;
            self.ready.push(slot);
        }
    }
}

impl Replication {
    /// Begins a walk at `cursor`.
    pub(crate) fn begin_walk(&mut self, shared: &Shared, waiter: Waiter, purpose: Purpose, cursor: u64) {
        let walk = Walk::begin(&self.view, cursor);
        let task =
            Task { waiter, purpose, walk, round: 0, asked: waiter.begun, since: waiter.begun, next: None };
        let slot = self.walks.tasks.insert(task);
        self.turn_page(shared, slot, cursor, waiter.begun);
    }

    /// Asks for a page.
    fn turn_page(&mut self, shared: &Shared, slot: usize, cursor: u64, now: Timestamp) {
        self.walks.rounds = self.walks.rounds.wrapping_add(1);
        let round = self.walks.rounds;
        let Some(task) = self.walks.tasks.get_mut(slot) else { return };
        let again = task.next.is_none() && task.walk.cursor() == cursor;
        task.since = if again { task.since } else { now };
        (task.walk, task.round, task.asked, task.next) = (Walk::begin(&self.view, cursor), round, now, None);
        let operation = OperationId { slot: SLOT + slot as u32, round };
        let (epoch, count) = (self.view.epoch, task.purpose.page_keys());
        let asks = List { operation, epoch, cursor, count };
        let own = self.view.own;
        for &node in task.walk.asked().iter().filter(|node| **node != own) {
            encode_list(&asks, &mut self.outbox.staged[usize::from(node.0)]);
        }
        if task.walk.asked().contains(&own) {
            let mut listing = Vec::new();
            list(&asks, |token| self.view.holds(own, token), &shared.store, &mut listing);
            if let Some((PeerMessage::Listing(listing), _)) = next_message(&listing, &self.limits) {
                self.walks.hear(own, &listing, &shared.store);
            }
        }
        self.walks.ready.push(slot);
    }

    /// Goes on with each walk that can, by one page.
    pub(super) fn go_on_walking(&mut self, shared: &Shared, now: Timestamp, wall: WallTime) {
        for (slot, done) in std::mem::take(&mut self.outbox.removed) {
            self.walks.removed(slot, done);
        }
        let mut ready = std::mem::take(&mut self.walks.ready);
        ready.sort_unstable();
        ready.dedup();
        for slot in ready {
            self.look_at_walk(shared, slot, now, wall);
        }
    }

    fn look_at_walk(&mut self, shared: &Shared, slot: usize, now: Timestamp, wall: WallTime) {
        let Some(task) = self.walks.tasks.get_mut(slot) else { return };
        if let Some(next) = task.next {
            return match task.purpose {
                Purpose::Flush { missing: 0, failed: false } if next != 0 => {
                    self.turn_page(shared, slot, next, now);
                }
                Purpose::Flush { missing: 0, failed } => self.end_flush(slot, failed),
                _ => {}
            };
        }
        if task.walk.is_outdated(&self.view) {
            let cursor = task.walk.cursor();
            return self.turn_page(shared, slot, cursor, now);
        }
        let impatient = now > task.asked.after(super::LOOK_AROUND);
        let overdue = now.nanos_since(task.since) > u64::from(self.coordinator.timeout_ms()) * 1_000_000;
        match task.walk.conclude::<Outbox>(&self.view, impatient, wall) {
            Some(Ok(page)) => self.take_page(shared, slot, &page, now),
            None if !overdue => {}
            Some(Err(TooFew)) if impatient && !overdue => {
                let cursor = task.walk.cursor();
                self.turn_page(shared, slot, cursor, now);
            }
            Some(Err(TooFew)) if !overdue => {}
            None | Some(Err(TooFew)) => {
                let message = "too few of those who hold a part of the keys can be reached";
                self.refuse_walk(slot, message);
            }
        }
    }

    fn refuse_walk(&mut self, slot: usize, message: &str) {
        let Some(task) = self.walks.tasks.try_remove(slot) else { return };
        let refused = Outcome::Refused { reason: Refusal::Unavailable, message };
        self.outbox.reply(task.waiter, &refused);
    }

    fn end_flush(&mut self, slot: usize, failed: bool) {
        if failed {
            return self.refuse_walk(slot, "some keys could not be removed; others were: try again");
        }
        self.finish_walk(slot, reply::ok);
    }

    /// Tells the client, and forgets the walk.
    fn finish_walk(&mut self, slot: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(task) = self.walks.tasks.try_remove(slot) else { return };
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.outbox.tell(task.waiter, &bytes);
    }

    /// Does with a page what its walk is for.
    fn take_page(&mut self, shared: &Shared, slot: usize, page: &Page, now: Timestamp) {
        let Some(task) = self.walks.tasks.get_mut(slot) else { return };
        let bytes_max = shared.limits.output_bytes_max;
        let next = match &mut task.purpose {
            Purpose::Scan(wanted) => {
                let reply = scan_reply(wanted, page);
                return self.finish_walk(slot, |out| out.extend_from_slice(&reply));
            }
            Purpose::NativeScan { id, .. } => {
                let id = *id;
                return self.finish_walk(slot, |out| write_native(id, page, out));
            }
            Purpose::Count => return self.finish_walk(slot, |out| reply::integer(out, page.total as i64)),
            Purpose::Random { version, turned } => match page.keys.as_slice() {
                [] if page.next != 0 => page.next,
                [] if !*turned => {
                    *turned = true;
                    0
                }
                [] => {
                    let version = *version;
                    return self.finish_walk(slot, |out| reply::null(out, version));
                }
                keys => {
                    let drawn = &keys[fastrand::usize(..keys.len())];
                    return self.finish_walk(slot, |out| reply::bulk(out, drawn));
                }
            },
            Purpose::Keys { pattern, found, count } => {
                for key in page.keys.iter().filter(|key| crate::operation::glob::matches(pattern, key)) {
                    reply::bulk(found, key);
                    *count += 1;
                }
                if found.len() > bytes_max {
                    return self.refuse_walk(slot, "so many keys do not fit an answer: ask with SCAN");
                }
                if page.next == 0 {
                    let (found, count) = (std::mem::take(found), *count);
                    return self.finish_walk(slot, |out| {
                        reply::array_head(out, count);
                        out.extend_from_slice(&found);
                    });
                }
                page.next
            }
            Purpose::Flush { missing, .. } => {
                *missing = page.keys.len();
                task.next = Some(page.next);
                self.walks.ready.push(slot);
                return self.remove_all(shared, slot, &page.keys, now);
            }
        };
        self.turn_page(shared, slot, next, now);
    }

    /// Has keys removed as DEL does.
    fn remove_all(&mut self, shared: &Shared, slot: usize, keys: &[Box<[u8]>], now: Timestamp) {
        for key in keys {
            let want = Want::Change(change(RespVersion::default(), &[b"DEL", key]));
            let hash = shared.store.hash(key);
            let waiting = Waiting::Walk { slot, begun: now };
            self.begin(shared, waiting, key, hash, Level::Linearizable, &want);
        }
    }
}

fn scan_reply(wanted: &Wanted, page: &Page) -> Vec<u8> {
    let matching: Vec<_> = page.keys.iter().filter(|key| wanted.wants(key)).collect();
    let mut out = Vec::new();
    reply::array_head(&mut out, 2);
    reply::bulk(&mut out, itoa::Buffer::new().format(page.next).as_bytes());
    reply::array_head(&mut out, matching.len());
    matching.iter().for_each(|key| reply::bulk(&mut out, key));
    out
}

fn write_native(id: RequestId, page: &Page, out: &mut Vec<u8>) {
    let mut writer = NativePageWriter::begin(id, out);
    page.keys.iter().for_each(|key| writer.push(key, out));
    writer.finish(page.next, out);
}
