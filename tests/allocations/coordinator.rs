//! A coordinator that has done its like before allocates nothing for a get or a put: what an operation keeps of its key
//! and value goes into a buffer that an earlier one has left.

use std::num::NonZeroUsize;
use std::sync::Arc;

use annulus::cluster::coordinator::{Action, Ask, ClientTag, Coordinator, Order, Orders};
use annulus::cluster::ring::{Member, Ring};
use annulus::cluster::view::View;
use annulus::config::CoordinatorConfig;
use annulus::hybrid_clock::HybridClock;
use annulus::message::peer::{Answer, OperationId, Task, Verdict};
use annulus::types::{Epoch, KeyHash, Level, NodeNumber, Timestamp, WallTime, WriterId, Zone};

use crate::counting_allocator::allocated_bytes;

/// What was asked and is not answered yet, and how many replies came.
struct Replicas {
    asked: Vec<(NodeNumber, OperationId, bool)>,
    replies: u64,
}

impl Orders for Replicas {
    fn order(&mut self, order: Order<'_>) {
        match order {
            Order::Send { to, inquiry } => {
                let writes = matches!(inquiry.task, Task::Write(_) | Task::Repair(_));
                self.asked.push((to, inquiry.operation, writes));
            }
            Order::Reply { .. } => self.replies += 1,
            Order::Propose { .. } | Order::Told { .. } => unreachable!("nothing is agreed on here"),
        }
    }
}

pub(crate) fn a_coordinator_allocates_nothing() {
    let nodes = || (0..3).map(NodeNumber);
    let member = |node| Member { node, seat: node, zone: Zone(0), virtual_nodes: 16 };
    let members: Vec<Member> = nodes().map(member).collect();
    let ring = Arc::new(Ring::new(&members, NonZeroUsize::new(3).expect("not zero"), 1));
    let view = Arc::new(View::new(Epoch(1), ring, NodeNumber(0), nodes()));
    let clock = HybridClock::new(WriterId(1));
    let mut coordinator = Coordinator::new(view, clock, CoordinatorConfig::default(), 1);
    coordinator.observe(Timestamp::default(), WallTime(1_700_000_000_000));
    let mut replicas = Replicas { asked: Vec::with_capacity(64), replies: 0 };
    let mut run = |from: u64, count: u64| {
        for number in from..from + count {
            let (key, now) = (number.to_le_bytes(), Timestamp(number * 1_000_000));
            let put = Action::Put { value: &[7; 100], expires_at: None };
            let action = if number % 2 == 0 { Action::Get } else { put };
            let hash = KeyHash::of(&key, 1);
            let ask = Ask { client: ClientTag(number), key: &key, hash, level: Level::Quorum, action };
            coordinator.begin(now, &ask, &mut replicas);
            while let Some((node, operation, writes)) = replicas.asked.pop() {
                let verdict =
                    if writes { Verdict::Applied { existed: false } } else { Verdict::Summary(None) };
                coordinator.answer(node, &Answer { operation, verdict }, &mut replicas);
            }
            coordinator.handle_timeout(now, &mut replicas);
        }
    };
    run(0, 2_000);
    let bytes = allocated_bytes(|| run(2_000, 100_000));
    assert_eq!(bytes, 0, "100,000 operations allocated {bytes} bytes");
    assert_eq!(replicas.replies, 102_000);
}
