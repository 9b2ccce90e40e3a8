//! Agreement on one key: what a change costs that nobody disturbs, and that sixteen proposers who do not know of each
//! other all get on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use annulus::cluster::coordinator::{ClientTag, Coordinator, Decided, Decision, Order, Orders, Question};
use annulus::cluster::replica::{Replica, Standing};
use annulus::cluster::ring::{Member, Ring};
use annulus::cluster::view::View;
use annulus::config::{CoordinatorConfig, ShardCount, StoreConfig};
use annulus::history::Ask;
use annulus::hybrid_clock::HybridClock;
use annulus::message::Outcome;
use annulus::message::peer::{Inquiry, OperationId, Proposal, Task};
use annulus::protocol::Limits;
use annulus::protocol::frame::{Split, split_frame};
use annulus::protocol::peer::{PeerMessage, decode_peer, encode_answer, encode_inquiry};
use annulus::store::Store;
use annulus::types::{Epoch, NodeNumber, Timestamp, WallTime, WriterId, Zone};

use crate::changes::{self, Changed};

const REPLICAS: u16 = 3;
const WALL: WallTime = WallTime(1_700_000_000_000);

/// What a coordinator ordered.
#[derive(Default)]
struct Sink {
    sent: Vec<(NodeNumber, Vec<u8>)>,
    promises_asked: u64,
    /// Those of them that were to tell the value too.
    whole_promises_asked: u64,
    acceptances_asked: u64,
    /// What was told; none if it is not known whether it was done.
    told: Vec<Option<Changed>>,
}

impl Orders for Sink {
    fn order(&mut self, order: Order<'_>) {
        match order {
            Order::Send { to, inquiry } => {
                let Inquiry { task, .. } = inquiry;
                self.promises_asked += u64::from(matches!(task, Task::Prepare { .. }));
                self.whole_promises_asked += u64::from(matches!(task, Task::Prepare { whole: true, .. }));
                self.acceptances_asked += u64::from(matches!(task, Task::Accept { .. }));
                let mut bytes = Vec::new();
                encode_inquiry(&inquiry, &mut bytes);
                self.sent.push((to, bytes));
            }
            Order::Told { reply, .. } => self.told.push(Some(changes::read(reply))),
            Order::Reply { outcome: Outcome::Unknown { .. }, .. } => self.told.push(None),
            Order::Reply { outcome, .. } => panic!("{outcome:?}"),
            Order::Propose { .. } => unreachable!("everybody proposes"),
        }
    }

    fn decide(&mut self, question: &Question<'_>, decision: &mut Decision) -> Decided {
        changes::decide(question, decision)
    }
}

/// Three replicas, and proposers beside them.
struct Table {
    stores: Vec<Store>,
    proposers: Vec<(Coordinator, Sink)>,
    /// When bytes arrive: at a replica, or back at a proposer.
    planned: BinaryHeap<Reverse<(u64, u64)>>,
    packets: std::collections::BTreeMap<u64, (bool, usize, usize, Vec<u8>)>,
    random: fastrand::Rng,
    sequence: u64,
    now_ns: u64,
}

impl Table {
    fn new(proposers: u16, seed: u64) -> Self {
        let numbers = || (0..REPLICAS).map(NodeNumber);
        let member = |node| Member { node, seat: node, zone: Zone(0), virtual_nodes: 4 };
        let members: Vec<Member> = numbers().map(member).collect();
        let ring = Arc::new(Ring::new(&members, NonZeroUsize::new(3).expect("not zero"), 7));
        let shards = ShardCount::new(2).expect("a power of two");
        let config = StoreConfig { shards, hash_seed: 7, memory_bytes_max: None };
        let proposer = |number: u16| {
            let view = View::new(Epoch(1), Arc::clone(&ring), NodeNumber(100 + number), numbers());
            let writer = WriterId::new(u32::from(number) + 1, 0).expect("few");
            let config = CoordinatorConfig::default();
            let seed = seed * 100 + u64::from(number);
            let coordinator = Coordinator::new(Arc::new(view), HybridClock::new(writer), config, seed);
            (coordinator, Sink::default())
        };
        Self {
            stores: (0..REPLICAS).map(|_| Store::new(&config)).collect(),
            proposers: (0..proposers).map(proposer).collect(),
            planned: BinaryHeap::new(),
            packets: std::collections::BTreeMap::new(),
            random: fastrand::Rng::with_seed(seed),
            sequence: 0,
            now_ns: 0,
        }
    }

    fn wall(&self) -> WallTime {
        WallTime(WALL.0 + self.now_ns / 1_000_000)
    }

    fn propose(&mut self, proposer: usize, ask: Ask) {
        let change = changes::bytes_of(ask, None);
        let operation = OperationId { slot: 0, round: 0 };
        let (epoch, key, remaining_ms) = (Epoch(1), &b"key"[..], 60_000);
        let proposal = Proposal { operation, epoch, remaining_ms, key, change: Some(&change) };
        let (wall, hash) = (self.wall(), self.stores[0].hash(key));
        let (coordinator, sink) = &mut self.proposers[proposer];
        coordinator.observe(Timestamp(self.now_ns), wall);
        coordinator.propose(ClientTag(0), hash, &proposal, sink);
        self.carry_out(proposer);
    }

    fn carry_out(&mut self, proposer: usize) {
        for (to, bytes) in std::mem::take(&mut self.proposers[proposer].1.sent) {
            self.send(true, usize::from(to.0), proposer, bytes);
        }
    }

    fn send(&mut self, to_replica: bool, to: usize, from: usize, bytes: Vec<u8>) {
        self.sequence += 1;
        let at_ns = self.now_ns + self.random.u64(40_000..160_000);
        self.planned.push(Reverse((at_ns, self.sequence)));
        self.packets.insert(self.sequence, (to_replica, to, from, bytes));
    }

    /// Lets the next thing happen: something arrives, or somebody is to be looked at.
    fn step(&mut self) {
        let due = |(coordinator, _): &(Coordinator, Sink)| coordinator.next_timeout().map(|Timestamp(ns)| ns);
        let timer = (0..self.proposers.len())
            .filter_map(|number| Some((due(&self.proposers[number])?, number)))
            .min();
        let arrival = self.planned.peek().map(|&Reverse((at_ns, _))| at_ns);
        if let Some((at_ns, number)) =
            timer.filter(|(at_ns, _)| arrival.is_none_or(|arrival| *at_ns < arrival))
        {
            self.now_ns = at_ns;
            let wall = self.wall();
            let (coordinator, sink) = &mut self.proposers[number];
            coordinator.observe(Timestamp(at_ns), wall);
            coordinator.handle_timeout(Timestamp(at_ns), sink);
            return self.carry_out(number);
        }
        let Some(Reverse((at_ns, sequence))) = self.planned.pop() else { return };
        self.now_ns = at_ns;
        let (to_replica, to, from, bytes) = self.packets.remove(&sequence).expect("it was sent");
        let limits = Limits::default();
        let Ok(Split::Frame(frame)) = split_frame(&bytes, &limits) else { panic!("it was encoded") };
        let wall = self.wall();
        match decode_peer(frame, &limits).expect("it was encoded") {
            PeerMessage::Inquiry(inquiry) if to_replica => {
                let (drift_max, ceiling) = (Duration::from_millis(500), WallTime(u64::MAX));
                let standing = Standing::Active;
                let replica = Replica { epoch: Epoch(1), standing, drift_max, ceiling, stopped_ms: 0 };
                let mut answer = Vec::new();
                replica.serve(&inquiry, &self.stores[to], wall, |said| encode_answer(&said, &mut answer));
                self.send(false, from, to, answer);
            }
            PeerMessage::Answer(answer) => {
                let (coordinator, sink) = &mut self.proposers[to];
                coordinator.observe(Timestamp(at_ns), wall);
                coordinator.answer(NodeNumber(from as u16), &answer, sink);
                self.carry_out(to);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_change_that_nobody_disturbs_takes_one_round_trip() {
    const CHANGES: u64 = 1_000;
    let mut table = Table::new(1, 1);
    for number in 1..=CHANGES {
        table.propose(0, Ask::Increment(1));
        while table.proposers[0].1.told.len() < number as usize {
            table.step();
        }
    }
    let sink = &table.proposers[0].1;
    assert_eq!(sink.told.last(), Some(&Some(Changed::Holds(CHANGES))));
    println!(
        "{CHANGES} increments: {} promises and {} acceptances asked for",
        sink.promises_asked, sink.acceptances_asked
    );
    // The first is prepared at all three; each that follows waits for nothing but acceptances. A replica that was
    // overtaken is asked to promise the next ballot, behind the reply.
    assert_eq!(sink.whole_promises_asked, 1, "a round that begins by preparing asks for the value");
}

#[test]
fn sixteen_proposers_of_one_key_all_get_on() {
    const PROPOSERS: u16 = 16;
    const EACH: usize = 50;
    let mut worst_ns = 0;
    for seed in 0..10 {
        let mut table = Table::new(PROPOSERS, seed);
        let mut began_ns = [0; PROPOSERS as usize];
        (0..usize::from(PROPOSERS)).for_each(|number| table.propose(number, Ask::Increment(1)));
        let mut told = [0; PROPOSERS as usize];
        while told.iter().any(|told| *told < EACH) {
            table.step();
            for number in 0..usize::from(PROPOSERS) {
                if table.proposers[number].1.told.len() > told[number] {
                    worst_ns = worst_ns.max(table.now_ns - began_ns[number]);
                    told[number] += 1;
                    began_ns[number] = table.now_ns;
                    if told[number] < EACH {
                        table.propose(number, Ask::Increment(1));
                    }
                }
            }
            assert!(table.now_ns < 3_600_000_000_000, "nobody gets on any more: {told:?}");
        }
        let outcomes = || table.proposers.iter().flat_map(|(_, sink)| &sink.told);
        let (done, unknown) =
            (outcomes().flatten().count(), outcomes().filter(|told| told.is_none()).count());
        let mut seen: Vec<u64> = outcomes()
            .flatten()
            .map(|told| match told {
                Changed::Holds(number) => *number,
                other => panic!("{other:?}"),
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), done, "no two were told the same number");
        let highest = seen.last().copied().unwrap_or(0) as usize;
        assert!((done..=done + unknown).contains(&highest), "{highest} of {done} and {unknown}");
        if seed == 0 {
            println!("{done} done, {unknown} unknown, in {} ms", table.now_ns / 1_000_000);
        }
    }
    println!(
        "the longest wait of {} increments: {} ms",
        usize::from(PROPOSERS) * EACH * 10,
        worst_ns / 1_000_000
    );
    assert!(worst_ns < 30_000_000_000, "{worst_ns}");
}
