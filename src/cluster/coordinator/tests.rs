//! Three replicas, clients and a network that loses, delays, repeats and reorders: what replies may claim.
//!
//! The replicas are maps here; everything else is what a node runs. A run is a function of its seed, which every
//! failure names.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::*;
use crate::cluster::replica::{Accepted, Cells, Full, Merged, Replica, Standing};
use crate::cluster::ring::{Member, Ring};
use crate::message::Reply;
use crate::message::peer::{Cell, Content, Inquiry, OperationId, Rank, Task};
use crate::types::{Epoch, Version, WriterId, Zone};

/// A cell that owns its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kept {
    rank: Rank,
    /// `None`: removed.
    value: Option<u64>,
}

#[derive(Default)]
struct Map(RefCell<BTreeMap<Vec<u8>, Kept>>);

/// Values are numbers, so that a map can own them.
fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().unwrap())
}

impl Cells for Map {
    fn inspect<R>(&self, key: &[u8], read: impl FnOnce(Option<Cell<'_>>) -> R) -> R {
        let kept = self.0.borrow().get(key).copied();
        let bytes = kept.and_then(|kept| kept.value).map(u64::to_le_bytes);
        read(kept.map(|kept| Cell {
            version: kept.rank.version,
            content: match &bytes {
                Some(value) => Content::Value { value, expires_at: None },
                None => Content::Tombstone,
            },
        }))
    }

    fn merge(&self, key: &[u8], cell: Cell<'_>, _now: WallTime) -> Result<Merged, Full> {
        let mut map = self.0.borrow_mut();
        let existed = match map.get(key) {
            Some(kept) if kept.rank > cell.rank() => return Ok(Merged::Superseded { by: kept.rank }),
            Some(kept) => kept.value.is_some(),
            None => false,
        };
        let value = match cell.content {
            Content::Value { value, .. } => Some(number(value)),
            Content::Expired | Content::Tombstone => None,
        };
        map.insert(key.to_vec(), Kept { rank: cell.rank(), value });
        Ok(Merged::Stored { existed })
    }

    fn prepare<R>(
        &self,
        _key: &[u8],
        _ballot: Version,
        _read: impl FnOnce(Result<Option<Cell<'_>>, Version>) -> R,
    ) -> R {
        unreachable!("nothing is agreed on here")
    }

    fn accept(
        &self,
        _key: &[u8],
        _cell: Cell<'_>,
        _next: Option<Version>,
        _now: WallTime,
    ) -> Result<Accepted, Full> {
        unreachable!("nothing is agreed on here")
    }
}

/// What is on its way.
#[derive(Clone)]
enum Packet {
    /// To a replica, from a coordinator.
    Inquiry { to: usize, from: usize, operation: OperationId, key: Vec<u8>, task: OwnedTask },
    /// To a coordinator.
    Answer { to: usize, from: usize, operation: OperationId, verdict: OwnedVerdict },
}

#[derive(Clone)]
enum OwnedTask {
    Read,
    ReadVersion,
    Write(Kept),
    Repair(Kept),
}

#[derive(Clone)]
enum OwnedVerdict {
    Cell(Option<Kept>),
    Other(Verdict<'static>),
}

fn own(cell: &Cell<'_>) -> Kept {
    let value = match cell.content {
        Content::Value { value, .. } => Some(number(value)),
        Content::Expired | Content::Tombstone => None,
    };
    Kept { rank: cell.rank(), value }
}

fn lend(kept: Kept, bytes: &mut [u8; 8]) -> Cell<'_> {
    let content = match kept.value {
        Some(value) => {
            *bytes = value.to_le_bytes();
            Content::Value { value: bytes, expires_at: None }
        }
        None => Content::Tombstone,
    };
    Cell { version: kept.rank.version, content }
}

/// What a client was told, and between which steps it was waiting.
#[derive(Clone, Debug)]
struct Told {
    key: u8,
    wrote: Option<u64>,
    begun: u64,
    ended: u64,
    /// The version written or read, and the value read; `None` in place of a reply that is not `Done`.
    done: Option<(Version, Option<u64>)>,
}

struct World {
    random: fastrand::Rng,
    step: u64,
    coordinators: Vec<Coordinator>,
    maps: Vec<Map>,
    packets: Vec<Packet>,
    waiting: BTreeMap<u64, Told>,
    told: Vec<Told>,
    /// One packet in so many is lost, and as many are sent twice; 0: none.
    faults: u32,
}

const NODES: usize = 3;

impl World {
    fn new(seed: u64, faults: u32) -> Self {
        let members: Vec<Member> = (0..NODES as u16)
            .map(|node| Member {
                node: NodeNumber(node),
                seat: NodeNumber(node),
                zone: Zone(0),
                virtual_nodes: 8,
            })
            .collect();
        let ring = Arc::new(Ring::new(&members, NonZeroUsize::new(3).unwrap(), 1));
        let coordinator = |node: u16| {
            let nodes = (0..NODES as u16).map(NodeNumber);
            let view = View::new(Epoch(1), Arc::clone(&ring), NodeNumber(node), nodes);
            let clock = HybridClock::new(WriterId(u32::from(node)));
            Coordinator::new(Arc::new(view), clock, CoordinatorConfig::default(), seed ^ u64::from(node))
        };
        Self {
            random: fastrand::Rng::with_seed(seed),
            step: 0,
            coordinators: (0..NODES as u16).map(coordinator).collect(),
            maps: (0..NODES).map(|_| Map::default()).collect(),
            packets: Vec::new(),
            waiting: BTreeMap::new(),
            told: Vec::new(),
            faults,
        }
    }

    fn now(&self) -> Timestamp {
        // A step is a hundred microseconds.
        Timestamp(self.step * 100_000)
    }

    /// Lets a coordinator act and carries out its orders.
    fn with(&mut self, node: usize, act: impl FnOnce(&mut Coordinator, &mut dyn FnMut(Order<'_>))) {
        let (mut sent, mut replies) = (Vec::new(), Vec::new());
        act(&mut self.coordinators[node], &mut |order| match order {
            Order::Send { to, inquiry } => {
                let task = match inquiry.task {
                    Task::Read => OwnedTask::Read,
                    Task::ReadVersion => OwnedTask::ReadVersion,
                    Task::Write(cell) => OwnedTask::Write(own(&cell)),
                    Task::Repair(cell) => OwnedTask::Repair(own(&cell)),
                    Task::Prepare { .. } | Task::Accept { .. } => unreachable!("nothing is agreed on here"),
                };
                let (operation, key) = (inquiry.operation, inquiry.key.to_vec());
                sent.push(Packet::Inquiry { to: usize::from(to.0), from: node, operation, key, task });
            }
            Order::Reply { client, outcome } => {
                let done = match outcome {
                    Outcome::Done(Reply::Written { version }) => Some((version, None)),
                    Outcome::Done(Reply::Value { version, value, .. }) => {
                        Some((version, Some(number(value))))
                    }
                    Outcome::Done(_) => Some((Version::default(), None)),
                    Outcome::Refused { .. } | Outcome::Unknown { .. } => None,
                };
                replies.push((client.0, done));
            }
            Order::Propose { .. } | Order::Told { .. } => unreachable!("nothing is agreed on here"),
        });
        for packet in sent {
            self.send(packet);
        }
        for (client, done) in replies {
            let told = self.waiting.remove(&client).expect("one reply to each operation");
            self.told.push(Told { ended: self.step, done, ..told });
        }
    }

    fn send(&mut self, packet: Packet) {
        let unlucky = |random: &mut fastrand::Rng, faults: u32| faults > 0 && random.u32(..faults) == 0;
        if unlucky(&mut self.random, self.faults) {
            return;
        }
        if unlucky(&mut self.random, self.faults) {
            self.packets.push(packet.clone());
        }
        self.packets.push(packet);
    }

    fn begin(&mut self, client: u64, level: Level) {
        let (node, key) = (self.random.usize(..NODES), self.random.u8(..2));
        let wrote = self.random.bool().then_some(client);
        let value = client.to_le_bytes();
        let action = match wrote {
            Some(_) => Action::Put { value: &value, expires_at: None },
            None => Action::Get,
        };
        self.waiting.insert(client, Told { key, wrote, begun: self.step, ended: 0, done: None });
        let (now, client) = (self.now(), ClientTag(client));
        let ask = Ask { client, key: &[key], hash: KeyHash(u64::from(key)), level, action };
        self.with(node, |coordinator, out| coordinator.begin(now, &ask, &mut |order: Order<'_>| out(order)));
    }

    /// Delivers a packet, any of those on their way.
    fn deliver(&mut self) {
        if self.packets.is_empty() {
            return;
        }
        let index = self.random.usize(..self.packets.len());
        match self.packets.swap_remove(index) {
            Packet::Inquiry { to, from, operation, key, task } => {
                let mut bytes = [0; 8];
                let task = match task {
                    OwnedTask::Read => Task::Read,
                    OwnedTask::ReadVersion => Task::ReadVersion,
                    OwnedTask::Write(kept) => Task::Write(lend(kept, &mut bytes)),
                    OwnedTask::Repair(kept) => Task::Repair(lend(kept, &mut bytes)),
                };
                let inquiry = Inquiry { operation, epoch: Epoch(1), remaining_ms: 1000, key: &key, task };
                let replica = Replica {
                    epoch: Epoch(1),
                    standing: Standing::Active,
                    drift_max: Duration::from_secs(1),
                    ceiling: WallTime(u64::MAX),
                    stopped_ms: 0,
                };
                let verdict =
                    replica.serve(&inquiry, &self.maps[to], WallTime(0), |answer| match answer.verdict {
                        Verdict::Cell(cell) => OwnedVerdict::Cell(cell.as_ref().map(own)),
                        Verdict::Summary(summary) => OwnedVerdict::Other(Verdict::Summary(summary)),
                        Verdict::Applied { existed } => OwnedVerdict::Other(Verdict::Applied { existed }),
                        Verdict::Superseded { by } => OwnedVerdict::Other(Verdict::Superseded { by }),
                        Verdict::Refused(obstacle) => OwnedVerdict::Other(Verdict::Refused(obstacle)),
                        Verdict::Accepted { .. } | Verdict::Told(_) => unreachable!("nobody asked"),
                    });
                self.send(Packet::Answer { to: from, from: to, operation, verdict });
            }
            Packet::Answer { to, from, operation, verdict } => {
                let mut bytes = [0; 8];
                let verdict = match verdict {
                    OwnedVerdict::Cell(kept) => Verdict::Cell(kept.map(|kept| lend(kept, &mut bytes))),
                    OwnedVerdict::Other(verdict) => verdict,
                };
                let answer = Answer { operation, verdict };
                let from = NodeNumber(from as u16);
                self.with(to, |coordinator, out| {
                    coordinator.answer(from, &answer, &mut |order: Order<'_>| out(order));
                });
            }
        }
    }

    /// Steps until every operation has been replied to.
    fn run(&mut self, operations: u64, level: Level) {
        let mut begun = 0;
        while begun < operations || !self.waiting.is_empty() {
            self.step += 1;
            if begun < operations && self.random.u8(..4) == 0 {
                self.begin(begun, level);
                begun += 1;
            }
            // As many as are asked for again, lest the waiting ones grow without end.
            (0..3).for_each(|_| self.deliver());
            let now = self.now();
            for node in 0..NODES {
                self.with(node, |coordinator, out| {
                    coordinator.handle_timeout(now, &mut |order: Order<'_>| out(order));
                });
            }
            assert!(self.step < 10_000_000, "an operation is never replied to: {:?}", self.waiting);
        }
    }
}

/// What quorums promise: a read that begins after another operation on its key was done sees its version or a higher
/// one, a write that does so has a higher one, and what is seen was written by somebody who had begun.
fn check(told: &[Told], seed: u64) {
    let writer = |value: u64| told.iter().find(|other| other.wrote == Some(value));
    for later in told {
        let Some((version, value)) = later.done else { continue };
        if let Some(value) = value {
            let writer = writer(value).unwrap_or_else(|| panic!("seed {seed}: {value} was never written"));
            assert!(
                writer.begun <= later.ended && writer.key == later.key,
                "seed {seed}: {later:?} {writer:?}"
            );
        }
        for before in told.iter().filter(|before| before.key == later.key && before.ended < later.begun) {
            let Some((earlier, _)) = before.done else { continue };
            let in_order = if later.wrote.is_some() { version > earlier } else { version >= earlier };
            assert!(in_order, "seed {seed}: {later:?} does not come after {before:?}");
        }
    }
}

#[test]
fn quorum_reads_see_what_was_done_before_and_never_go_back() {
    let mut done = 0;
    for seed in 0..600 {
        let mut world = World::new(seed, [0, 3, 12][seed as usize % 3]);
        world.run(60, Level::Quorum);
        check(&world.told, seed);
        done += world.told.iter().filter(|told| told.done.is_some()).count();
        if seed % 3 == 0 {
            assert!(world.told.iter().all(|told| told.done.is_some()), "seed {seed}: nothing was lost");
        }
    }
    assert!(done > 30_000, "{done} of 36000 were done");
}

#[test]
fn whoever_has_answered_all_has_nothing_under_way() {
    for seed in 0..50 {
        let mut world = World::new(seed, 8);
        world.run(40, Level::All);
        check(&world.told, seed);
        while !world.packets.is_empty() {
            world.deliver();
        }
        // What lingers to repair ends at its deadline at the latest.
        world.step += 20_000;
        let now = world.now();
        for node in 0..NODES {
            world.with(node, |coordinator, out| {
                coordinator.handle_timeout(now, &mut |order: Order<'_>| out(order));
            });
            assert_eq!(world.coordinators[node].under_way(), 0, "seed {seed}");
        }
    }
}

#[test]
fn an_operation_that_cannot_be_done_is_refused_and_one_that_may_have_been_is_unknown() {
    let mut world = World::new(1, 0);
    let mut outcomes = Vec::new();
    let mut view = (*world.coordinators[0].view).clone();
    view.set_reachable(NodeNumber(1), false);
    view.set_reachable(NodeNumber(2), false);
    let coordinator = &mut world.coordinators[0];
    let put = Action::Put { value: &[0; 8], expires_at: None };
    let ask = Ask { client: ClientTag(1), key: b"k", hash: KeyHash(1), level: Level::Quorum, action: put };
    let mut keep = |order: Order<'_>| {
        if let Order::Reply { outcome, .. } = order {
            outcomes.push(match outcome {
                Outcome::Refused { reason, .. } => Some(reason),
                _ => None,
            });
        }
    };
    // Nobody answers, and then the deadline comes: somebody may have applied it.
    coordinator.begin(Timestamp(0), &ask, &mut keep);
    coordinator.handle_timeout(Timestamp(2_000_000_000), &mut keep);
    // A majority cannot even be asked.
    coordinator.adopt(Arc::new(view), &mut keep);
    coordinator.begin(Timestamp(0), &ask, &mut keep);
    let linearizable = Ask { level: Level::Linearizable, ..ask };
    coordinator.begin(Timestamp(0), &linearizable, &mut keep);
    assert_eq!(outcomes, [None, Some(Refusal::Unavailable), Some(Refusal::Unavailable)]);
}

#[test]
fn who_came_back_without_its_data_is_told_what_another_has_applied_and_counts_for_nothing() {
    let mut world = World::new(1, 0);
    let mut view = (*world.coordinators[0].view).clone();
    view.set_recovering([NodeNumber(2)]);
    let (mut sent, mut replies) = (Vec::new(), 0);
    let mut keep = |order: Order<'_>| match order {
        Order::Send { to, inquiry } => sent.push((to.0, inquiry.operation)),
        Order::Reply { outcome, .. } => {
            assert!(matches!(outcome, Outcome::Done(Reply::Written { .. })), "{outcome:?}");
            replies += 1;
        }
        Order::Propose { .. } | Order::Told { .. } => unreachable!("nothing is agreed on here"),
    };
    let coordinator = &mut world.coordinators[0];
    coordinator.adopt(Arc::new(view), &mut keep);
    let put = Action::Put { value: &[0; 8], expires_at: None };
    let ask = Ask { client: ClientTag(1), key: b"k", hash: KeyHash(1), level: Level::Quorum, action: put };
    coordinator.begin(Timestamp(0), &ask, &mut keep);
    assert_eq!(sent.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [1], "a write that is refused is nowhere");
    let operation = sent[0].1;
    let applied = Answer { operation, verdict: Verdict::Applied { existed: false } };
    let mut keep = |order: Order<'_>| match order {
        Order::Send { to, .. } => sent.push((to.0, operation)),
        _ => replies += 1,
    };
    coordinator.answer(NodeNumber(1), &applied, &mut keep);
    coordinator.answer(NodeNumber(2), &applied, &mut keep);
    assert_eq!((sent.iter().map(|(to, _)| *to).collect::<Vec<_>>(), replies), (vec![1, 0, 2], 0));
    let mut keep = |order: Order<'_>| {
        let Order::Reply { outcome, .. } = order else { return };
        assert!(matches!(outcome, Outcome::Done(Reply::Written { .. })), "{outcome:?}");
        replies += 1;
    };
    coordinator.answer(NodeNumber(0), &applied, &mut keep);
    assert_eq!(replies, 1, "two that count have applied it");
}
