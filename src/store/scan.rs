//! Walking the store in token order, a page at a time, while it changes.
//!
//! Invariant: a key that is there from the first page to the last is returned at least once. The cursor is a
//! place on the ring, so it survives every change of the table, and any node could go on from it. One page reads
//! one shard after another and locks each only while its own keys are copied out.

use crate::cluster::walk::CURSOR_SHIFT;
use crate::message::peer::Cell as PeerCell;
use crate::store::cell::Cell;
use crate::store::replica::describe;
use crate::store::{Store, View, is_live};
use crate::types::{Token, WallTime};

const CURSOR_END: u64 = 1 << (u64::BITS - CURSOR_SHIFT);

/// Shards that one page locks at most, so that a page over a store that was emptied stays short.
const SHARDS_PER_PAGE: usize = 256;

/// Where to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// The next page's cursor; 0 when the ring has been walked.
    pub next: u64,
    /// Cells visited.
    pub visited: usize,
}

impl Store {
    /// Visits about `count` cells (at least 1, if there are any in reach) from `cursor` on; 0 begins. `visit` says
    /// whether it wants more.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        now: WallTime,
        mut visit: impl FnMut(View<'_>) -> bool,
    ) -> Page {
        self.walk(cursor, count, |_, cell| is_live(cell, now), |cell| visit(View(cell)))
    }

    /// Visits about `count` cells from `cursor` on whose tokens are wanted, whatever they hold.
    pub fn list(
        &self,
        cursor: u64,
        count: usize,
        wants: impl Fn(Token) -> bool,
        mut visit: impl FnMut(&[u8], PeerCell<'_>) -> bool,
    ) -> Page {
        self.walk(cursor, count, |token, _| wants(token), |cell| visit(cell.key(), describe(cell)))
    }

    /// Visits about `count` of the cells from `cursor` on that `wants` wants.
    fn walk(
        &self,
        cursor: u64,
        count: usize,
        wants: impl Fn(Token, &Cell) -> bool,
        mut visit: impl FnMut(&Cell) -> bool,
    ) -> Page {
        let mut page = Page { next: cursor.min(CURSOR_END), visited: 0 };
        let mut enough = false;
        let mut visit = |cell: &Cell| {
            enough |= !visit(cell);
            !enough
        };
        for _ in 0..SHARDS_PER_PAGE {
            page.next = self.skip_vacant(page.next);
            if page.next == CURSOR_END || page.visited >= count.max(1) {
                break;
            }
            let wanted = count.max(1) - page.visited;
            let (next, visited, more) = self.walk_shard(page.next, wanted, &wants, &mut visit);
            page = Page { next, visited: page.visited + visited };
            if !more {
                break;
            }
        }
        if page.next == CURSOR_END { Page { next: 0, ..page } } else { page }
    }

    /// Visits the `wanted` cells that come next behind `place`, a point of the ring, and around its end; all of them,
    /// each once, if there are fewer. A few more where many share one page's last place.
    pub fn scan_around(&self, place: u64, wanted: usize, now: WallTime, mut visit: impl FnMut(View<'_>)) {
        let start = place >> CURSOR_SHIFT;
        let mut visited = 0;
        for (from, end) in [(start, CURSOR_END), (0, start)] {
            let mut cursor = from;
            while cursor < end && visited < wanted {
                let page = self.scan(cursor, wanted - visited, now, |view| {
                    if self.hash(view.key()).token().0 >> CURSOR_SHIFT < end {
                        visited += 1;
                        visit(view);
                    }
                    true
                });
                cursor = if page.next == 0 { CURSOR_END } else { page.next };
            }
        }
    }

    /// The beginning of the next shard that has slots, if the cursor's has none.
    fn skip_vacant(&self, cursor: u64) -> u64 {
        let mut cursor = cursor;
        while cursor < CURSOR_END && self.table.is_vacant(self.shard_at(cursor)) {
            cursor = self.shard_end(self.shard_at(cursor));
        }
        cursor
    }

    fn shard_at(&self, cursor: u64) -> usize {
        self.table.shard_of(Token(cursor << CURSOR_SHIFT))
    }

    /// The cursor behind a shard's arc.
    fn shard_end(&self, shard: usize) -> u64 {
        if shard + 1 == self.table.shards() {
            return CURSOR_END;
        }
        self.table.first_token(shard + 1).0 >> CURSOR_SHIFT
    }

    /// Visits the `wanted` cells of the cursor's shard that come next and that it `wants`, fewer if `visit` has enough,
    /// and those that share the last one's place. Returns where to go on, how many it visited, and whether more are
    /// wanted.
    fn walk_shard(
        &self,
        cursor: u64,
        wanted: usize,
        wants: &impl Fn(Token, &Cell) -> bool,
        visit: &mut impl FnMut(&Cell) -> bool,
    ) -> (u64, usize, bool) {
        let shard = self.shard_at(cursor);
        let (mut visited, mut more) = (0, true);
        let mut next = self.shard_end(shard);
        self.table.for_each(shard, |cells| {
            let mut places: Vec<_> = cells
                .filter(|&(token, cell)| token.0 >> CURSOR_SHIFT >= cursor && wants(token, cell))
                .map(|(token, cell)| (token.0 >> CURSOR_SHIFT, cell))
                .collect();
            if places.len() > wanted {
                let (_, &mut (last, _), _) =
                    places.select_nth_unstable_by_key(wanted - 1, |&(place, _)| place);
                places.retain(|&(place, _)| place <= last);
                next = last + 1;
            }
            places.sort_unstable_by_key(|&(place, _)| place);
            let mut last = u64::MAX;
            for (place, cell) in places {
                if place > last {
                    next = last + 1;
                    break;
                }
                visited += 1;
                if !visit(cell) {
                    (last, more) = (place, false);
                }
            }
        });
        (next, visited, more)
    }
}
