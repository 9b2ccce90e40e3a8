//! Recovery: how a node that came back without its data gets it from the other replicas, before it counts again.
//!
//! Invariants: a node is whole when, of each range that it holds, so many of the other replicas have handed over all
//! they have that every write that a majority acknowledged in its life before is among it; each of them under the epoch
//! of its present life or a later one, under which nothing counts that it said before. What comes is merged, so the
//! order of sources and pages makes no difference, nor does a page that comes twice. A source whose link is lost begins
//! again, and so does every source when others are to hold a key than before. One page of a source is under way at a
//! time.
//!
//! With N replicas and majorities of W, N-W+1 others suffice; if fewer count, because others lost their data too, all
//! that do are enough: what is lost then is lost, and the topology log counts it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::ring::Ring;
use crate::cluster::view::View;
use crate::message::peer::{Fetch, OperationId};
use crate::types::{Epoch, NodeNumber, Timestamp, Token, WallTime};

/// What tells its pages, and refusals of them, from answers to a coordinator's operations, of which there are fewer.
const SLOT: u32 = 1 << 30;

/// How far a source is.
#[derive(Clone, Copy, Debug)]
struct Source {
    /// Where it goes on; `None`: it has handed over everything.
    next: Option<Token>,
    /// The page that is under way, and when it was asked for.
    asked: Option<(u32, Timestamp)>,
    /// It is left alone until then, for its clients' sake.
    rests_until: Timestamp,
}

/// What is left of a page once its cells are merged.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// What it was asked for with.
    pub operation: OperationId,
    /// Where to go on; `None`: this was the last one.
    pub next: Option<Token>,
    /// The latest time that the source has stored or promised anything for.
    pub latest: WallTime,
}

/// The recovery of one node's present life.
#[derive(Debug)]
pub struct Recovery {
    /// The nodes that hold anything that the own node lacks, in this epoch.
    others: (Epoch, Vec<NodeNumber>),
    /// Who holds what, and is to: what sources hand over depends on it.
    rings: Option<(Arc<Ring>, Option<Arc<Ring>>)>,
    sources: BTreeMap<NodeNumber, Source>,
    rounds: u32,
    /// The latest time that a source has stored or promised anything for.
    heard: WallTime,
    /// How long a page may take before it is asked for again.
    patience: Duration,
    /// How long a source is left alone between two pages.
    pause: Duration,
}

impl Recovery {
    /// One that has nothing yet.
    #[must_use]
    pub fn new(patience: Duration, pause: Duration) -> Self {
        Self {
            others: (Epoch::default(), Vec::new()),
            rings: None,
            sources: BTreeMap::new(),
            rounds: 0,
            heard: WallTime(0),
            patience,
            pause,
        }
    }

    /// Asks every source for its next page that can be asked and has none under way.
    pub fn go_on(&mut self, now: Timestamp, view: &View, mut ask: impl FnMut(NodeNumber, Fetch)) {
        if self.others.0 != view.epoch {
            self.others = (view.epoch, others(view));
            let rings = Some((Arc::clone(&view.ring), view.next_ring.clone()));
            if self.rings != rings {
                // Who handed over everything that was asked for then may have more that is asked for now.
                self.sources.clear();
                self.rings = rings;
            }
        }
        for &node in &self.others.1 {
            if !view.is_reachable(node) || !view.counts(node) {
                continue;
            }
            let source = self.sources.entry(node).or_insert(Source {
                next: Some(Token(0)),
                asked: None,
                rests_until: now,
            });
            let Some(from) = source.next else { continue };
            if now < source.rests_until || source.asked.is_some_and(|(_, at)| now < at.after(self.patience)) {
                continue;
            }
            self.rounds = self.rounds.wrapping_add(1);
            source.asked = Some((self.rounds, now));
            let operation = OperationId { slot: SLOT, round: self.rounds };
            ask(node, Fetch { operation, epoch: view.epoch, from });
        }
    }

    /// Takes note of a page whose cells have been merged.
    pub fn page(&mut self, now: Timestamp, from: NodeNumber, page: &Received) {
        let Some(source) = self.sources.get_mut(&from) else { return };
        let Received { operation, next, latest } = *page;
        if source.asked.is_some_and(|(round, _)| round == operation.round) {
            self.heard = self.heard.max(latest);
            *source = Source { next, asked: None, rests_until: now.after(self.pause) };
        }
    }

    /// The latest time that a source has stored or promised anything for: what was promised before is no later.
    #[must_use]
    pub fn heard(&self) -> WallTime {
        self.heard
    }

    /// Whether a page is the one that was asked for last: others may be of a process that has ended since.
    #[must_use]
    pub fn awaits(&self, from: NodeNumber, operation: OperationId) -> bool {
        let source = self.sources.get(&from);
        source.is_some_and(|source| source.asked.is_some_and(|(round, _)| round == operation.round))
    }

    /// A source whose link was lost begins again, unless it has handed over everything.
    pub fn link_lost(&mut self, node: NodeNumber) {
        self.sources.retain(|&source, state| source != node || state.next.is_none());
    }

    /// When it wants to be looked at again, if a page takes long or a source rests.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let waits = |source: &Source| match source.asked {
            Some((_, at)) => at.after(self.patience),
            None => source.rests_until,
        };
        self.sources.values().filter(|source| source.next.is_some()).map(waits).min()
    }

    /// How much of what its sources have has come, from 0 to 1: each hands over one arc of the ring after the other.
    #[must_use]
    pub fn share(&self) -> f64 {
        let of = |source: &Source| source.next.map_or(1.0, |next| next.0 as f64 / u64::MAX as f64);
        let sources = self.others.1.len().max(1);
        self.sources.values().map(of).sum::<f64>() / sources as f64
    }

    /// Sources that have handed over everything.
    #[must_use]
    pub fn finished(&self) -> usize {
        self.sources.values().filter(|source| source.next.is_none()).count()
    }

    /// Whether the node has all that it takes to count again, as far as it has gone on in this epoch.
    #[must_use]
    pub fn is_whole(&self, view: &View) -> bool {
        if self.others.0 != view.epoch {
            return false;
        }
        let done = |node: &&NodeNumber| self.sources.get(node).is_some_and(|source| source.next.is_none());
        view.holders_of_what_is_lacking().into_iter().all(|list| {
            let others = || list.iter().filter(|&&node| node != view.own && view.counts(node));
            // What it holds itself it need not get.
            let own = usize::from(view.counts(view.own) && list.contains(&view.own));
            others().filter(done).count() >= (view.ring.sources() - own).min(others().count())
        })
    }
}

fn others(view: &View) -> Vec<NodeNumber> {
    let holders = view.holders_of_what_is_lacking().into_iter().flatten();
    let mut nodes: Vec<NodeNumber> = holders.copied().filter(|&node| node != view.own).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ring::{Member, Ring};
    use crate::types::Zone;
    use std::num::NonZeroUsize;
    use std::sync::Arc;

    fn view(nodes: u16, recovering: &[u16]) -> View {
        let numbers = || (1..=nodes).map(NodeNumber);
        let member = |node| Member { node, seat: node, zone: Zone(0), virtual_nodes: 8 };
        let members: Vec<Member> = numbers().map(member).collect();
        let ring = Ring::new(&members, NonZeroUsize::new(3).unwrap(), 7);
        let mut view = View::new(Epoch(4), Arc::new(ring), NodeNumber(1), numbers());
        view.set_recovering(recovering.iter().copied().map(NodeNumber));
        view
    }

    fn ask(recovery: &mut Recovery, now: u64, view: &View) -> Vec<(u16, Fetch)> {
        let mut asked = Vec::new();
        recovery.go_on(Timestamp(now), view, |node, fetch| asked.push((node.0, fetch)));
        asked
    }

    fn page(recovery: &mut Recovery, now: u64, from: u16, operation: OperationId, next: Option<Token>) {
        let received = Received { operation, next, latest: WallTime(now) };
        recovery.page(Timestamp(now), NodeNumber(from), &received);
    }

    #[test]
    fn both_others_of_three_hand_over_everything() {
        let view = view(3, &[1]);
        let mut recovery = Recovery::new(Duration::from_nanos(100), Duration::from_nanos(5));
        let asked = ask(&mut recovery, 0, &view);
        assert_eq!(asked.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [2, 3]);
        assert!(asked.iter().all(|(_, fetch)| fetch.from == Token(0) && fetch.epoch == Epoch(4)));
        assert!(ask(&mut recovery, 50, &view).is_empty(), "one page at a time");
        page(&mut recovery, 50, 2, asked[0].1.operation, Some(Token(9)));
        assert!(ask(&mut recovery, 54, &view).is_empty(), "it rests");
        let more = ask(&mut recovery, 60, &view);
        assert_eq!((more.len(), more[0].0, more[0].1.from), (1, 2, Token(9)));
        page(&mut recovery, 60, 2, asked[0].1.operation, None);
        assert!(!recovery.is_whole(&view), "a page that comes late says nothing");
        page(&mut recovery, 60, 2, more[0].1.operation, None);
        assert!(!recovery.is_whole(&view));
        page(&mut recovery, 60, 3, asked[1].1.operation, Some(Token(5)));
        recovery.link_lost(NodeNumber(3));
        recovery.link_lost(NodeNumber(2));
        let again = ask(&mut recovery, 70, &view);
        assert_eq!((again.len(), again[0].0, again[0].1.from), (1, 3, Token(0)), "it begins again");
        assert_eq!(ask(&mut recovery, 170, &view).len(), 1, "what takes long is asked for again");
        let last = recovery.rounds;
        page(&mut recovery, 60, 3, OperationId { slot: SLOT, round: last }, None);
        assert!(recovery.is_whole(&view));
    }

    #[test]
    fn who_has_lost_everything_too_is_not_waited_for() {
        let mut recovery = Recovery::new(Duration::from_nanos(100), Duration::from_nanos(5));
        let nobody = view(3, &[1, 2, 3]);
        assert!(!recovery.is_whole(&nobody), "it has not looked yet");
        assert!(
            ask(&mut recovery, 0, &nobody).is_empty() && recovery.is_whole(&nobody),
            "nobody has anything"
        );
        let view = view(3, &[1, 3]);
        assert!(!recovery.is_whole(&view));
        let asked = ask(&mut recovery, 0, &view);
        assert_eq!((asked.len(), asked[0].0), (1, 2));
        page(&mut recovery, 60, 2, asked[0].1.operation, None);
        assert!(recovery.is_whole(&view));
    }
}
