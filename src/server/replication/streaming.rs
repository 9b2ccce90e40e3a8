//! Handing over what another node lost, and getting back what this one did.
//!
//! Invariant: a page is handed over when every worker of this node has finished a turn under the epoch that it was
//! asked under, so that nothing is acknowledged afterwards that counts in an epoch before; one worker of a node that
//! recovers asks for pages, and merges them.

use crate::cluster::recovery::{Received, Recovery};
use crate::cluster::replica::{Replica, Standing};
use crate::cluster::view::View;
use crate::config::recovery::{PAGE_BYTES, PATIENCE, PAUSE};
use crate::message::peer::{Answer, Fetch, Obstacle, Verdict};
use crate::protocol::page::{Page, PageWriter, encode_fetch};
use crate::protocol::peer::encode_answer;
use crate::server::control;
use crate::server::happened::Happening;
use crate::server::replication::Replication;
use crate::server::roster::Roster;
use crate::store::Store;
use crate::types::{Epoch, NodeNumber, Timestamp, WallTime};

/// Appends the page that `asker` wants to `out`, or why it does not get it.
pub(super) fn hand_over(
    asker: NodeNumber,
    fetch: &Fetch,
    roster: &Roster,
    replica: &Replica,
    view: &View,
    store: &Store,
    out: &mut Vec<u8>,
) {
    let too_early = || (roster.adopted() < fetch.epoch).then_some(Obstacle::NotServing);
    if let Some(obstacle) = replica.refuses(fetch.epoch, None).or_else(too_early) {
        let verdict = Verdict::Refused(obstacle);
        return encode_answer(&Answer { operation: fetch.operation, verdict }, out);
    }
    let mut page = PageWriter::begin(fetch.operation, roster.wanted(), out);
    let wants = |token| view.holds(asker, token);
    let next = store.stream(fetch.from, wants, |key, cell| {
        page.push(key, &cell);
        page.bytes() < PAGE_BYTES
    });
    page.finish(next);
}

/// A recovery, and what it has brought.
pub(super) struct Recovering {
    pub(super) machine: Recovery,
    /// The movement that it is for, if it is for one.
    filling: Option<Epoch>,
    cells: u64,
}

impl Recovering {
    /// Whether it wants to be looked at.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.machine.next_timeout().is_none_or(|at| at <= now)
    }

    /// Merges a page, if it is the one that was asked for.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        from: NodeNumber,
        page: &Page<'_>,
        roster: &Roster,
        store: &Store,
        wall: WallTime,
    ) {
        if !self.machine.awaits(from, page.operation) {
            return;
        }
        let latest = page.cells.iter().map(|(_, cell)| cell.version.stamp.wall()).max();
        if let Some(latest) = latest.filter(|latest| *latest > roster.ceiling()) {
            // It is asked for again, when so much is on disk.
            return roster.want(latest);
        }
        for (key, cell) in page.cells.iter() {
            if store.take_over(store.hash(key), key, cell, wall).is_err() {
                return tracing::error!(
                    "this node cannot recover: its memory limit is reached, raise --memory-max"
                );
            }
            self.cells += 1;
        }
        let Page { operation, next, latest, .. } = *page;
        roster.want(latest);
        self.machine.page(now, from, &Received { operation, next, latest });
        roster.happened.note(Happening::PageMerged);
        roster.happened.note_recovery(self.cells, self.machine.share());
    }
}

impl Replication {
    /// Begins to recover, or has no more reason to.
    pub(super) fn consider_recovery(&mut self, now: Timestamp, filling: Option<Epoch>) {
        // What was brought by a movement that was called off is not what the next one brings.
        if self.recovery.as_ref().is_some_and(|recovering| recovering.filling != filling) {
            self.recovery = None;
        }
        let fills = filling.is_some() && self.replica.standing == Standing::Active;
        if !(fills || self.replica.standing == Standing::Recovering) || self.index != 0 {
            self.recovery = None;
            return;
        }
        let machine = || Recovery::new(PATIENCE, PAUSE);
        self.recovery.get_or_insert_with(|| Recovering { machine: machine(), filling, cells: 0 });
        self.go_on_recovering(now);
    }

    /// Asks for the pages that can be asked for.
    pub(super) fn fetch(&mut self, now: Timestamp) {
        let Some(recovering) = &mut self.recovery else { return };
        let staged = &mut self.outbox.staged;
        let ask = |node: NodeNumber, fetch| encode_fetch(&fetch, &mut staged[usize::from(node.0)]);
        recovering.machine.go_on(now, &self.view, ask);
    }

    /// Goes on when pages have come.
    pub(super) fn go_on_recovering(&mut self, now: Timestamp) {
        self.fetch(now);
        self.report_if_whole();
    }

    fn report_if_whole(&mut self) {
        let Some(recovering) = &self.recovery else { return };
        if recovering.machine.is_whole(&self.view) {
            tracing::info!("this node has what it lacked: {} cells came", recovering.cells);
            self.roster.happened.note_recovery(recovering.cells, 1.0);
            let (heard, filling) = (recovering.machine.heard(), recovering.filling);
            // If the control thread has too much to do, it is told again when something changes.
            let _ = self.roster.control.send(control::Message::Whole { heard, filling });
        }
    }
}
