//! Messages that no node of the cluster can have sent: whatever they say, the machine goes on.
//!
//! Invariant: numbers lie near those that the machine knows, so that every check in front of the library is met from
//! both sides. What the machine comes to believe is not judged here: whoever speaks for a node can lie.

use std::panic::{AssertUnwindSafe, catch_unwind};

use annulus::cluster::topology::{Output, TopologyLog};
use annulus::message::consensus::{Change, Electorate, Entry, Image, Kind, Message, Role, Snapshot};
use annulus::message::topology::{Command, Setting, Topology};
use annulus::types::{NodeNumber, Timestamp};
use fastrand::Rng;

use crate::process::Process;
use crate::world::MS;

const SEEDS: u64 = 8_000;
const MESSAGES: u64 = 60;

const KINDS: [Kind; 10] = [
    Kind::Append,
    Kind::Appended,
    Kind::RequestPreVote,
    Kind::PreVote,
    Kind::RequestVote,
    Kind::Vote,
    Kind::Heartbeat,
    Kind::HeartbeatHeard,
    Kind::Snapshot,
    Kind::CampaignNow,
];

/// Numbers from about here on, or from anywhere.
fn near(random: &mut Rng, number: u64) -> u64 {
    match random.u8(..10) {
        0 => random.u64(..),
        1 => 0,
        _ => (number + random.u64(..6)).saturating_sub(3),
    }
}

fn some_node(random: &mut Rng) -> NodeNumber {
    NodeNumber(random.u16(..6))
}

fn some_nodes(random: &mut Rng) -> Vec<NodeNumber> {
    (0..random.usize(..4)).map(|_| some_node(random)).collect()
}

fn some_entries(random: &mut Rng, index: u64, term: u64) -> Vec<Entry> {
    let follows = random.u8(..8) > 0;
    let entry = |place: u64| {
        let change = match random.u8(..4) {
            0 => Change::Nothing,
            1 => {
                let roles = [Role::Voter, Role::Learner, Role::Gone];
                Change::Voters(
                    (0..random.usize(..3)).map(|_| (roles[random.usize(..3)], some_node(random))).collect(),
                )
            }
            _ => Change::Topology(Command::Set(Setting::DriftMaxMs(random.u32(1..1000)))),
        };
        let index = if follows { index.saturating_add(1 + place) } else { near(random, index) };
        Entry { term: if follows { term } else { near(random, term) }, index, change }
    };
    (0..4_u64).take(entries_count(index)).map(entry).collect()
}

/// As many as the index decides: some messages have none.
fn entries_count(index: u64) -> usize {
    (index % 4) as usize
}

fn some_message(random: &mut Rng, machine: &TopologyLog, own: NodeNumber, topology: &Topology) -> Message {
    let (applied, term) = (machine.applied(), machine.leadership().term);
    let index = near(random, applied);
    let log_term = near(random, term);
    let snapshot = Snapshot {
        index: near(random, applied),
        term: near(random, term),
        electorate: Electorate {
            voters: some_nodes(random),
            learners: some_nodes(random),
            voters_outgoing: if random.bool() { Vec::new() } else { some_nodes(random) },
            learners_next: if random.bool() { Vec::new() } else { some_nodes(random) },
            auto_leave: random.bool(),
        },
        topology: topology.clone(),
    };
    let kind = KINDS[random.usize(..KINDS.len())];
    Message {
        kind,
        from: some_node(random),
        to: if random.u8(..20) == 0 { some_node(random) } else { own },
        term: near(random, term),
        index,
        log_term,
        commit: near(random, applied),
        commit_term: near(random, term),
        reject: random.bool(),
        reject_hint: near(random, applied),
        request_snapshot: if random.u8(..4) == 0 { near(random, applied) } else { 0 },
        priority: random.i64(-2..3),
        context: vec![0; random.usize(..3)],
        entries: some_entries(random, index, log_term),
        snapshot: (kind == Kind::Snapshot || random.u8(..10) == 0).then_some(snapshot),
    }
}

/// Lets a machine hear nonsense, and time go by.
fn hear(seed: u64, image: &Image, own: NodeNumber) {
    let mut random = Rng::with_seed(seed);
    let mut machine = TopologyLog::new(image, own, seed, Timestamp(0));
    let mut orders: Vec<Output> = Vec::new();
    let mut now = Timestamp(0);
    for _ in 0..MESSAGES {
        now.0 += random.u64(..40) * MS;
        machine.handle_timeout(now, &mut orders);
        let message = some_message(&mut random, &machine, own, &image.snapshot.topology);
        machine.handle(now, &message, &mut orders);
        if random.u8(..8) == 0 {
            machine.ask(now, &Command::Set(Setting::DriftMaxMs(random.u32(1..1000))), &mut orders);
        }
        orders.clear();
    }
}

#[test]
fn what_nobody_can_have_said_ends_no_node() {
    let mut founder = Process::new(0, 1);
    founder.found(1);
    let (own, alone) = founder.disk.expect("it has been founded");
    let voters = |voters: &[u16]| {
        let mut image = alone.clone();
        image.snapshot.electorate.voters = voters.iter().copied().map(NodeNumber).collect();
        image
    };
    let newcomer = Image::admitted(alone.snapshot.topology.clone());
    let images = [alone.clone(), voters(&[1, 2, 3]), voters(&[2, 3, 4]), newcomer];
    for (number, image) in images.iter().enumerate() {
        for seed in 0..SEEDS {
            let heard = catch_unwind(AssertUnwindSafe(|| hear(seed, image, own)));
            assert!(heard.is_ok(), "image {number}, seed {seed}: the machine ends");
        }
    }
}
