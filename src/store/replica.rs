//! The store as a replica: cells that come with their version, those that hold no value among them.
//!
//! Invariant: of two cells of a key the one with the higher rank stays, whatever the order in which they come and
//! however often, so that merging is idempotent and commutative; a removed or outlived key leaves a cell that says so.
//! It does not know of epochs, levels, or who sends what.

use std::ops::DerefMut;

use std::sync::atomic::Ordering;

use crate::cluster::replica::{Accepted, Cells, Full, Merged};
use crate::message::peer::{Cell as PeerCell, Content, Rank};
use crate::store::cell::{self, Cell, Death};
use crate::store::memory::OutOfMemory;
use crate::store::table::{Entry, Shard};
use crate::store::{Store, charged, is_live};
use crate::types::{KeyHash, Version, WallTime};

impl Cells for Store {
    fn inspect<R>(&self, key: &[u8], read: impl FnOnce(Option<PeerCell<'_>>) -> R) -> R {
        Store::inspect(self, self.hash(key), key, read)
    }

    fn merge(&self, key: &[u8], cell: PeerCell<'_>, now: WallTime) -> Result<Merged, Full> {
        Store::merge(self, self.hash(key), key, cell, now).map_err(|OutOfMemory| Full)
    }

    fn prepare<R>(
        &self,
        key: &[u8],
        ballot: Version,
        read: impl FnOnce(Result<Option<PeerCell<'_>>, Version>) -> R,
    ) -> R {
        let hash = self.hash(key);
        let entry = self.table.entry(hash, key);
        let present = entry.cell().map(Cell::version).filter(|present| *present >= ballot);
        let promised = self.promises.binding(hash).filter(|promised| *promised > ballot);
        if let Some(by) = present.max(promised) {
            return read(Err(by));
        }
        self.promises.give(hash, ballot);
        read(Ok(entry.cell().map(describe)))
    }

    fn accept(
        &self,
        key: &[u8],
        cell: PeerCell<'_>,
        next: Option<Version>,
        now: WallTime,
    ) -> Result<Accepted, Full> {
        let hash = self.hash(key);
        let entry = self.table.entry(hash, key);
        let present = entry.cell().map(Cell::version);
        if present == Some(cell.version) {
            let rides = next.is_some_and(|next| self.promises.is_promised(hash, next));
            return Ok(Accepted::Stored { rides });
        }
        if let Some(by) = present.max(self.promises.binding(hash)).filter(|by| *by > cell.version) {
            return Ok(Accepted::Superseded { by });
        }
        if !self.promises.is_promised(hash, cell.version) {
            return Ok(Accepted::NotPromised);
        }
        let promise = || match next {
            Some(next) => self.promises.give(hash, next),
            None => self.promises.redeem(hash),
        };
        self.put(entry, key, cell, now, promise).map_err(|OutOfMemory| Full)?;
        Ok(Accepted::Stored { rides: next.is_some() })
    }
}

impl Store {
    /// Lends the key's cell to `read`, whatever it holds and expired or not, under the shard's shared lock.
    #[inline]
    pub fn inspect<R>(&self, hash: KeyHash, key: &[u8], read: impl FnOnce(Option<PeerCell<'_>>) -> R) -> R {
        self.table.read(hash, key, |cell| read(cell.map(describe)))
    }

    /// Keeps `cell` if it ranks above what is there.
    ///
    /// # Errors
    /// [`OutOfMemory`] if that needs memory beyond the limit; then nothing was changed.
    #[inline]
    pub fn merge(
        &self,
        hash: KeyHash,
        key: &[u8],
        cell: PeerCell<'_>,
        now: WallTime,
    ) -> Result<Merged, OutOfMemory> {
        let binding = || self.promises.binding(hash);
        self.keep(hash, key, cell, now, binding)
    }

    /// Keeps `cell` if it ranks above what is there, whatever was promised: only as long as it is known to prove
    /// nothing that this replica has it.
    ///
    /// # Errors
    /// [`OutOfMemory`] if that needs memory beyond the limit; then nothing was changed.
    pub fn take_over(
        &self,
        hash: KeyHash,
        key: &[u8],
        cell: PeerCell<'_>,
        now: WallTime,
    ) -> Result<Merged, OutOfMemory> {
        self.keep(hash, key, cell, now, || None)
    }

    #[inline]
    fn keep(
        &self,
        hash: KeyHash,
        key: &[u8],
        cell: PeerCell<'_>,
        now: WallTime,
        binding: impl FnOnce() -> Option<Version>,
    ) -> Result<Merged, OutOfMemory> {
        let entry = self.table.entry(hash, key);
        if let Some(present) = entry.cell() {
            let by = rank(present);
            if by >= cell.rank() {
                let stored = Merged::Stored { existed: false };
                return Ok(if by == cell.rank() { stored } else { Merged::Superseded { by } });
            }
        }
        if let Some(ballot) = binding().filter(|ballot| *ballot > cell.version) {
            return Ok(Merged::Promised { ballot });
        }
        let existed = self.put(entry, key, cell, now, || ())?;
        Ok(Merged::Stored { existed })
    }

    /// Counts a cell that dies, or a dead one that something takes the place of.
    fn note_death(&self, was_dead: bool, is_dead: bool) {
        match (was_dead, is_dead) {
            (false, true) => _ = self.dead.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.dead.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }

    /// Forgets a dead cell that was taken out.
    pub(super) fn note_dropped(&self, was_dead: bool) {
        self.note_death(was_dead, false);
    }

    /// Puts `cell` in the place of what is there, and calls `sure` under the same lock if there is memory for it;
    /// returns whether a value was there that had not expired.
    fn put<G: DerefMut<Target = Shard>>(
        &self,
        mut entry: Entry<'_, G>,
        key: &[u8],
        cell: PeerCell<'_>,
        now: WallTime,
        sure: impl FnOnce(),
    ) -> Result<bool, OutOfMemory> {
        let existed = entry.cell().is_some_and(|present| is_live(present, now));
        let (value, expires_at, death) = match cell.content {
            Content::Value { value, expires_at } => (value, expires_at, None),
            Content::Expired => (&[][..], None, Some(Death::Outlived)),
            Content::Tombstone => (&[][..], None, Some(Death::Removed)),
        };
        if death.is_none()
            && let Some(present) = entry.cell_mut()
            && present.change_in_place(cell.version, expires_at, 0, value)
        {
            sure();
            return Ok(existed);
        }
        let before = entry.cell().map_or(0, charged);
        let needed = cell::allocated_bytes(key.len(), value.len(), expires_at.is_some()) as i64 - before;
        let growth = entry.growth_bytes();
        self.memory.charge(needed + growth)?;
        sure();
        self.note_death(entry.cell().is_some_and(|present| present.death().is_some()), death.is_some());
        let (replaced, grown) = entry.put(match death {
            Some(death) => Cell::dead(cell.version, death, key),
            None => Cell::new(cell.version, expires_at, key, &[], value),
        });
        self.memory.release(growth - grown);
        drop(replaced);
        Ok(existed)
    }
}

#[inline]
fn rank(cell: &Cell) -> Rank {
    Rank { version: cell.version(), expired: cell.death() == Some(Death::Outlived) }
}

#[inline]
pub(super) fn describe(cell: &Cell) -> PeerCell<'_> {
    let content = match cell.death() {
        None => Content::Value { value: cell.value(), expires_at: cell.expires_at() },
        Some(Death::Outlived) => Content::Expired,
        Some(Death::Removed) => Content::Tombstone,
    };
    PeerCell { version: cell.version(), content }
}
