//! Why it proves nothing that a node holds what others handed over to it: the shortest story that shows it, told with
//! real stores and a real coordinator, once as it must be and once with that counted.
//!
//! Three nodes hold `u`. A proposer has `v` accepted at the first alone. Another, promised by the second and third,
//! which hold `u`, has `b`, made of `u`, accepted at the third alone. Now a fourth takes the second's place, and is
//! handed what the first and the second hold: two of three, as many as it takes. First and fourth have `v`, a majority;
//! but `v` was never agreed on, and `b` outranks it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use annulus::cluster::coordinator::{
    Action, Ask, ClientTag, Coordinator, Decided, Decision, Order, Orders, Question,
};
use annulus::cluster::deviation::Deviation;
use annulus::cluster::replica::{Cells, Replica, Standing};
use annulus::cluster::ring::{Member, Ring};
use annulus::cluster::view::View;
use annulus::config::{CoordinatorConfig, ShardCount, StoreConfig};
use annulus::hybrid_clock::HybridClock;
use annulus::message::peer::{Answer, Cell, Content, Verdict};
use annulus::message::{Outcome, Reply};
use annulus::protocol::Limits;
use annulus::protocol::frame::{Split, split_frame};
use annulus::protocol::peer::{PeerMessage, decode_peer, encode_answer, encode_inquiry};
use annulus::store::Store;
use annulus::types::{Epoch, Level, NodeNumber, Stamp, Timestamp, Version, WallTime, WriterId, Zone};

const KEY: &[u8] = b"key";
const WALL: WallTime = WallTime(1_700_000_000_000);

struct Sink<const COUNTS: bool> {
    sent: Vec<(NodeNumber, Vec<u8>)>,
    told: Vec<Vec<u8>>,
}

impl<const COUNTS: bool> Orders for Sink<COUNTS> {
    const DEVIATION: Deviation = if COUNTS { Deviation::HearsayCounted } else { Deviation::None };

    fn order(&mut self, order: Order<'_>) {
        match order {
            Order::Send { to, inquiry } => {
                let mut bytes = Vec::new();
                encode_inquiry(&inquiry, &mut bytes);
                self.sent.push((to, bytes));
            }
            Order::Reply { outcome: Outcome::Done(Reply::Value { value, .. }), .. } => {
                self.told.push(value.into());
            }
            _ => panic!("the reader proposes for the key itself, and what it reads is there"),
        }
    }

    fn decide(&mut self, _: &Question<'_>, _: &mut Decision) -> Decided {
        unreachable!("nobody changes anything")
    }
}

fn version(milliseconds_ago: u64) -> Version {
    let stamp = Stamp::last_of(WallTime(WALL.0 - milliseconds_ago));
    Version { stamp, writer: WriterId::new(1, 0).expect("few") }
}

fn cell(milliseconds_ago: u64, value: &[u8]) -> Cell<'_> {
    Cell { version: version(milliseconds_ago), content: Content::Value { value, expires_at: None } }
}

fn store() -> Store {
    let shards = ShardCount::new(2).expect("a power of two");
    Store::new(&StoreConfig { shards, hash_seed: 7, memory_bytes_max: None })
}

fn promises(store: &Store, milliseconds_ago: u64) {
    assert!(store.prepare(KEY, version(milliseconds_ago), |found| found.is_ok()));
}

/// Reads at the fourth node, when it reaches the first alone and then the third alone.
fn read_twice<const COUNTS: bool>() -> Vec<Vec<u8>> {
    let (first, second, third, fourth) = (store(), store(), store(), store());
    for store in [&first, &second, &third] {
        Cells::merge(store, KEY, cell(400, b"u"), WALL).expect("there is room");
    }
    promises(&first, 300);
    promises(&second, 300);
    first.accept(KEY, cell(300, b"v"), None, WALL).expect("there is room");
    promises(&second, 200);
    promises(&third, 200);
    third.accept(KEY, cell(200, b"b"), None, WALL).expect("there is room");
    for source in [&first, &second] {
        source.inspect(source.hash(KEY), KEY, |held| {
            let held = held.expect("it is there");
            fourth.take_over(fourth.hash(KEY), KEY, held, WALL).expect("there is room");
        });
    }
    let heard = WallTime(WALL.0 - 200);
    fourth.raise_fence(Stamp::last_of(heard));

    let numbers = [1, 2, 3].map(NodeNumber);
    let members = numbers.map(|node| Member { node, seat: node, zone: Zone(0), virtual_nodes: 4 });
    let ring = Arc::new(Ring::new(&members, NonZeroUsize::new(3).expect("not zero"), 7));
    let list: Vec<NodeNumber> = ring.preference_list(fourth.hash(KEY).token()).to_vec();
    let stores = [&fourth, &first, &third];
    let view = |reached: NodeNumber| {
        let mut view = View::new(Epoch(1), Arc::clone(&ring), list[0], [reached]);
        view.set_hearsay([(list[0], heard)]);
        Arc::new(view)
    };
    let writer = WriterId::new(2, 0).expect("few");
    let config = CoordinatorConfig::default();
    let mut coordinator = Coordinator::new(view(list[1]), HybridClock::new(writer), config, 1);
    coordinator.set_ceiling(WallTime(u64::MAX));
    let mut sink = Sink::<COUNTS> { sent: Vec::new(), told: Vec::new() };
    let replica = Replica {
        epoch: Epoch(1),
        standing: Standing::Active,
        drift_max: Duration::from_millis(500),
        ceiling: WallTime(u64::MAX),
        stopped_ms: 0,
    };
    for (round, reached) in [list[1], list[2]].into_iter().enumerate() {
        coordinator.observe(Timestamp(1), WALL);
        coordinator.adopt(view(reached), &mut sink);
        let hash = fourth.hash(KEY);
        let (client, level, action) = (ClientTag(round as u64), Level::Linearizable, Action::Get);
        coordinator.begin(Timestamp(1), &Ask { client, key: KEY, hash, level, action }, &mut sink);
        while let Some((to, bytes)) = sink.sent.pop() {
            let limits = Limits::default();
            let Ok(Split::Frame(frame)) = split_frame(&bytes, &limits) else { panic!("it was encoded") };
            let Ok(PeerMessage::Inquiry(inquiry)) = decode_peer(frame, &limits) else { panic!("it is one") };
            let place = list.iter().position(|node| *node == to).expect("it holds the key");
            let mut answer = Vec::new();
            replica.serve(&inquiry, stores[place], WALL, |said| encode_answer(&said, &mut answer));
            let Ok(Split::Frame(frame)) = split_frame(&answer, &limits) else { panic!("it was encoded") };
            let Ok(PeerMessage::Answer(answer)) = decode_peer(frame, &limits) else { panic!("it is one") };
            let refused = matches!(answer, Answer { verdict: Verdict::Refused(_), .. });
            assert!(!refused, "{answer:?}");
            coordinator.answer(to, &answer, &mut sink);
        }
    }
    sink.told
}

#[test]
fn what_was_handed_over_is_agreed_on_before_it_is_told() {
    assert_eq!(read_twice::<false>(), [b"v", b"v"], "the first read has v agreed on, above b");
}

#[test]
fn what_was_handed_over_and_counts_is_read_and_then_lost() {
    assert_eq!(read_twice::<true>(), [b"v", b"b"], "b was made of u: nobody had v when it was");
}
