//! Clients that walk round the ring, through whichever node answers, and what they must have seen.
//!
//! Invariant: they draw from randomness of their own, but what they send goes over the same network as everything else.
//! A walk that a node does not go on with goes on through another, from the same cursor.

use std::collections::BTreeSet;

use annulus::cluster::walk::{Heard, Sighting, Walk};
use annulus::history::{Answer as Told, Ask, KeyHistory, Operation, Outcome};
use annulus::message::peer::{Answer, Cell, List, OperationId, Verdict};
use annulus::protocol::page::{Listing, PageWriter, encode_list};
use annulus::protocol::peer::encode_answer;
use annulus::types::Level;

use crate::agenda::Event;
use crate::clients::Clients;
use crate::network::REPEATED_WITHIN_NS;
use crate::node::Sink;
use crate::service::name_of;
use crate::world::{MS, World};

/// Walkers of a run.
pub(crate) const WALKERS: usize = 2;

/// What tells listings from other answers.
pub(crate) const SLOT: u32 = 1 << 29;

/// Keys of a page: few, so that walks take long.
const PAGE_KEYS: u32 = 12;

/// How often a walker looks, how long it is patient with nodes, and how long with the one that it asks.
const LOOK_NS: u64 = 20 * MS;
const PATIENCE_NS: u64 = 100 * MS;
const PAGE_NS_MAX: u64 = 1000 * MS;

/// A walk that has ended.
pub(crate) struct Walked {
    began_ns: u64,
    ended_ns: u64,
    seen: BTreeSet<Vec<u8>>,
}

/// A client that walks.
pub(crate) struct Walker {
    random: fastrand::Rng,
    /// Through which node's life, and since when it waits for the page.
    node: usize,
    life: u32,
    asked_ns: u64,
    round: u32,
    walk: Option<Walk>,
    cursor: u64,
    began_ns: u64,
    seen: BTreeSet<Vec<u8>>,
}

impl Walker {
    pub(crate) fn new(seed: u64, number: usize) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed.wrapping_mul(WALKERS as u64).wrapping_add(number as u64)),
            node: 0,
            life: 0,
            asked_ns: 0,
            round: 0,
            walk: None,
            cursor: 0,
            began_ns: 0,
            seen: BTreeSet::new(),
        }
    }
}

impl<const BUG: usize> World<BUG> {
    /// A walker looks whether it can go on.
    pub(crate) fn walk_on(&mut self, walker: usize) {
        let now_ns = self.now_ns;
        let state = &mut self.walkers[walker];
        let node = &self.nodes[state.node];
        let gone = !node.up || node.life != state.life || now_ns > state.asked_ns + PAGE_NS_MAX;
        let outdated = state.walk.as_ref().is_some_and(|walk| walk.is_outdated(&node.view));
        if state.walk.is_none() && state.cursor == 0 {
            (state.began_ns, state.seen) = (now_ns, BTreeSet::new());
        }
        if state.walk.is_none() || gone {
            let up: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.nodes[node].up).collect();
            if !up.is_empty() {
                let node = up[self.walkers[walker].random.usize(..up.len())];
                self.turn_page(walker, node);
            }
        } else if outdated {
            self.turn_page(walker, self.walkers[walker].node);
        } else {
            self.conclude(walker);
        }
        // Beside the looks that answers bring: one that waits for nothing looks again as well.
        if !self.healing {
            self.plan(now_ns + LOOK_NS, Event::Walk { walker });
        }
    }

    /// Asks through a node for the next page.
    fn turn_page(&mut self, walker: usize, node: usize) {
        let state = &mut self.walkers[walker];
        let view = &self.nodes[node].view;
        let walk = Walk::begin(view, state.cursor);
        state.round += 1;
        (state.node, state.life, state.asked_ns) = (node, self.nodes[node].life, self.now_ns);
        let operation = OperationId { slot: SLOT + walker as u32, round: state.round };
        let list = List { operation, epoch: view.epoch, cursor: state.cursor, count: PAGE_KEYS };
        let asked = walk.asked().to_vec();
        state.walk = Some(walk);
        for other in asked {
            let mut bytes = Vec::new();
            encode_list(&list, &mut bytes);
            let other = self.index_of(other).expect("it is in the topology");
            let life = self.nodes[other].life;
            self.send(node, other, life, bytes, Some(REPEATED_WITHIN_NS));
        }
    }

    /// A node tells which keys it has.
    pub(crate) fn list(&mut self, number: usize, asker: usize, asker_life: u32, list: &List) {
        let node = &self.nodes[number];
        let mut bytes = Vec::new();
        if let Some(obstacle) = node.replica.refuses(list.epoch, None) {
            let verdict = Verdict::Refused(obstacle);
            encode_answer(&Answer { operation: list.operation, verdict }, &mut bytes);
        } else {
            let mut listing = PageWriter::begin_listing(list.operation, 0, &mut bytes);
            let holds = |token| node.view.holds(node.number, token);
            let page = node.store.list(list.cursor, list.count as usize, holds, |key, cell| {
                listing.push_key(key, &cell);
                true
            });
            listing.finish_listing(page.next);
        }
        self.send(number, asker, asker_life, bytes, Some(REPEATED_WITHIN_NS));
    }

    /// A node hears which keys another has, or that it does not tell.
    pub(crate) fn hear_listing(
        &mut self,
        number: usize,
        from: usize,
        operation: OperationId,
        listing: Option<&Listing<'_>>,
    ) {
        let walker = (operation.slot - SLOT) as usize;
        let (from, store) = (self.nodes[from].number, &self.nodes[number].store);
        let state = &mut self.walkers[walker];
        if (state.node, state.life, state.round) != (number, self.nodes[number].life, operation.round) {
            return;
        }
        let Some(walk) = &mut state.walk else { return };
        match listing {
            None => walk.give_up(from),
            Some(listing) => {
                let sighting = |(key, cell): (&[u8], Cell<'_>)| Sighting {
                    token: store.hash(key).token(),
                    key: key.into(),
                    rank: cell.rank(),
                    kind: cell.summary().kind,
                };
                let sightings = listing.cells.iter().map(sighting).collect();
                walk.hear(from, Heard { next: listing.next, keys: listing.keys, sightings });
            }
        }
        self.conclude(walker);
    }

    fn conclude(&mut self, walker: usize) {
        let state = &mut self.walkers[walker];
        let node = &self.nodes[state.node];
        let impatient = self.now_ns > state.asked_ns + PATIENCE_NS;
        let Some(walk) = &mut state.walk else { return };
        if walk.is_outdated(&node.view) {
            return;
        }
        match walk.conclude::<Sink<BUG>>(&node.view, impatient, node.wall) {
            None => {}
            // It tries again, through whichever node.
            Some(Err(_)) => state.walk = None,
            Some(Ok(page)) => {
                state.seen.extend(page.keys.into_iter().map(Vec::from));
                (state.walk, state.cursor) = (None, page.next);
                if page.next == 0 {
                    let seen = std::mem::take(&mut state.seen);
                    self.walked.push(Walked { began_ns: state.began_ns, ended_ns: self.now_ns, seen });
                    self.count.walks += 1;
                } else {
                    let node = state.node;
                    self.turn_page(walker, node);
                }
            }
        }
    }
}

/// What a walk has missed that was there all the while, or seen that was not.
pub(crate) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    let lasts = |key: &KeyHistory<'_>| Clients::fleeting().all(|fleeting| fleeting != key.key);
    world.history().keys().filter(lasts).find_map(|key| {
        world.walked.iter().find_map(|walked| {
            let Walked { began_ns, ended_ns, seen } = walked;
            let is_seen = seen.contains(name_of(key.key).as_slice());
            let wrong = match is_there(&key, *began_ns, *ended_ns)? {
                true if !is_seen => "misses what was there all the while",
                false if is_seen => "sees what was removed before",
                _ => return None,
            };
            Some(format!("a walk from {began_ns} to {ended_ns} {wrong}: key {}", key.key.0))
        })
    })
}

/// Whether a key was there, or not, from one time to another; `None` if the history does not tell.
fn is_there(key: &KeyHistory<'_>, from_ns: u64, to_ns: u64) -> Option<bool> {
    let sure = |operation: &&Operation| {
        let done = matches!(operation.outcome, Outcome::Done { answer, .. } if answer != Told::NotMet);
        done && operation.level != Level::One && operation.returned_at <= from_ns
    };
    let removes = |operation: &&Operation| matches!(operation.ask, Ask::Remove { .. });
    let stores = |operation: &&Operation| !removes(operation) && operation.ask != Ask::Read;
    // Those that may have had an effect after `last` took its own, before the walk ended.
    let may_undo = |last: &Operation, operation: &&Operation| {
        let nothing =
            matches!(operation.outcome, Outcome::Refused | Outcome::Done { answer: Told::NotMet, .. });
        let before = sure(operation) && operation.returned_at < last.invoked_at;
        !nothing && !before && operation.invoked_at < to_ns
    };
    let settled = |one: &dyn Fn(&&Operation) -> bool, other: &dyn Fn(&&Operation) -> bool| {
        let last = key.operations.iter().filter(|it| one(it) && sure(it)).max_by_key(|it| it.invoked_at);
        last.is_some_and(|last| !key.operations.iter().filter(|it| other(it)).any(|it| may_undo(last, &it)))
    };
    if settled(&stores, &removes) {
        return Some(true);
    }
    settled(&removes, &stores).then_some(false)
}
