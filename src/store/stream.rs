//! Handing over what a part of the ring holds, a page at a time, in the order of the tokens, while it changes.
//!
//! Invariant: a cell that is there from the first page to the last is visited, whatever it holds: values, marks of
//! removal and of expiry. A page locks one shard after another, each only while its cells are visited.

use crate::message::peer::Cell as PeerCell;
use crate::store::Store;
use crate::store::cell::Cell;
use crate::store::replica::describe;
use crate::types::Token;

/// Shards that one page locks at most, so that a page of which nothing is wanted stays short.
const SHARDS_PER_PAGE: usize = 256;

impl Store {
    /// Drops whatever lies at tokens that are not its `own` in some of the shards; returns where to go on, `None` at
    /// the end.
    pub fn drop_foreign(&self, first: usize, shards: usize, own: impl Fn(Token) -> bool) -> Option<usize> {
        let end = self.table.shards().min(first + shards);
        for shard in first..end {
            let mut foreign: Vec<Box<[u8]>> = Vec::new();
            self.table.for_each(shard, |cells| {
                foreign.extend(cells.filter(|(token, _)| !own(*token)).map(|(_, cell)| cell.key().into()));
            });
            for key in foreign {
                let entry = self.table.entry(self.hash(&key), &key);
                let there = entry.cell().map(|cell| (cell.version().stamp, cell.death().is_some()));
                if let Some((stamp, is_dead)) = there {
                    self.remove(entry, stamp);
                    self.note_dropped(is_dead);
                }
            }
        }
        (end < self.table.shards()).then_some(end)
    }

    /// Visits the cells from `from` on whose tokens are wanted, until `visit` has enough; those of one token are never
    /// parted. Returns where to go on, `None` at the end of the ring.
    pub fn stream(
        &self,
        from: Token,
        wants: impl Fn(Token) -> bool,
        mut visit: impl FnMut(&[u8], PeerCell<'_>) -> bool,
    ) -> Option<Token> {
        let first = self.table.shard_of(from);
        for shard in first..self.table.shards().min(first + SHARDS_PER_PAGE) {
            let mut next = None;
            self.table.for_each(shard, |cells| {
                let wanted = |(token, _): &(Token, &Cell)| *token >= from && wants(*token);
                let mut cells: Vec<(Token, &Cell)> = cells.filter(wanted).collect();
                cells.sort_unstable_by_key(|&(token, _)| token);
                let mut enough_at = None;
                for (token, cell) in cells {
                    if enough_at.is_some_and(|enough_at| enough_at < token) {
                        next = Some(token);
                        break;
                    }
                    if !visit(cell.key(), describe(cell)) {
                        enough_at.get_or_insert(token);
                    }
                }
                if next.is_none() && enough_at.is_some() {
                    next = Some(self.table.first_token(shard + 1));
                }
            });
            if next.is_some() {
                // Behind the last shard the ring ends.
                return next.filter(|next| next.0 != 0);
            }
        }
        let behind = first + SHARDS_PER_PAGE;
        (behind < self.table.shards()).then(|| self.table.first_token(behind))
    }
}
