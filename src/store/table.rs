//! The table: cells in the shards of a DashMap, reached by a hash that was computed once.
//!
//! Invariant: an operation locks one shard, once; one that must see several keys at once locks theirs in order. A shard
//! is an arc of the ring: the bits that choose it are the top bits of the token. Prefetching touches no lock where
//! it only guesses (`prefetch_slot`), so its guesses are never trusted. It does not know what expiry, conditions or
//! memory limits mean.
#![allow(unsafe_code)]

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::mem;
use std::ops::DerefMut;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use dashmap::{DashMap, RwLock, RwLockWriteGuard, SharedValue};
use hashbrown::raw::{Bucket, RawTable};

use crate::store::cell::Cell;
use crate::types::{KeyHash, Stamp, TAG_BITS, Token};

type Element = (Cell, SharedValue<()>);
pub(super) type Shard = RawTable<Element>;

/// Bytes of a slot and its control byte.
pub(super) const SLOT_BYTES: usize = size_of::<Element>() + 1;
const _: () = assert!(size_of::<Element>() == 8);

/// A shard that holds fewer than 1/16 of its slots gives memory back, if it has more slots than this.
const SHRINK_BUCKETS_MIN: usize = 64;

const CACHE_LINE_BYTES: usize = 64;

/// A hasher that is never asked: every access brings its hash along. DashMap wants one by type.
#[derive(Default)]
pub(super) struct NoHasher(u64);

impl Hasher for NoHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = KeyHash::of(bytes, self.0).0;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Hash for Cell {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.key());
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Cell {}

/// Where a shard's slots lie and how many there are, packed: to prefetch them and to skip a shard that has none.
/// Never dereferenced.
#[derive(Default)]
struct Hint(AtomicU64);

/// Bits of a hint that hold the logarithm of the number of buckets.
const HINT_LOG_BITS: u32 = 6;

impl Hint {
    fn publish(&self, shard: &Shard) {
        let address = shard.data_end().addr().get() as u64;
        self.0
            .store(address << HINT_LOG_BITS | u64::from(shard.buckets().trailing_zeros()), Ordering::Release);
    }

    /// The address of the control bytes, which the slots precede, and the mask of bucket numbers.
    #[inline]
    fn guess(&self) -> (usize, usize) {
        let packed = self.0.load(Ordering::Acquire);
        let log = (packed & ((1 << HINT_LOG_BITS) - 1)) as u32;
        ((packed >> HINT_LOG_BITS) as usize, (1usize << log) - 1)
    }
}

pub(super) struct Table {
    map: DashMap<Cell, (), BuildHasherDefault<NoHasher>>,
    hints: Box<[Hint]>,
    /// Cells of each shard that may expire, so that a sweep skips the others.
    expiring: Box<[AtomicU32]>,
    /// The highest stamp of what was removed from each shard: a key that returns gets a higher one.
    floors: Box<[AtomicU64]>,
    seed: u64,
    shard_shift: u32,
}

impl Table {
    /// A table of `shards` shards, a power of two above 1.
    pub(super) fn new(shards: usize, seed: u64) -> Self {
        assert!(shards.is_power_of_two() && shards > 1, "config.rs sees to it");
        let hasher = BuildHasherDefault::default();
        Self {
            map: DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher, shards),
            hints: (0..shards).map(|_| Hint::default()).collect(),
            expiring: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            floors: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            seed,
            shard_shift: u64::BITS - shards.trailing_zeros(),
        }
    }

    pub(super) fn shards(&self) -> usize {
        self.hints.len()
    }

    /// The shard of a token: its top bits, which are the bits that DashMap itself would choose by.
    #[inline]
    pub(super) fn shard_of(&self, token: Token) -> usize {
        (token.0 >> self.shard_shift) as usize
    }

    /// Whether a shard has no slots and so no cells, told without its lock: what was put before this call was seen.
    #[inline]
    pub(super) fn is_vacant(&self, shard: usize) -> bool {
        self.hints[shard].guess().1 == 0
    }

    /// The first token of a shard's arc.
    pub(super) fn first_token(&self, shard: usize) -> Token {
        Token((shard as u64) << self.shard_shift)
    }

    #[inline]
    fn lock(&self, shard: usize) -> &RwLock<Shard> {
        &self.map.shards()[shard]
    }

    /// First step of a batch: asks for the lines of the shard and of the likely slot. Takes no lock.
    #[inline]
    pub(super) fn prefetch_slot(&self, hash: KeyHash) {
        let shard = self.shard_of(hash.token());
        prefetch(std::ptr::from_ref(self.lock(shard)).addr());
        let (control, mask) = self.hints[shard].guess();
        let bucket = hash.0 as usize & mask;
        prefetch(control.wrapping_add(bucket));
        prefetch(control.wrapping_sub((bucket + 1) * size_of::<Element>()));
        prefetch(control.wrapping_sub((bucket + 8) * size_of::<Element>()));
    }

    /// Second step, when the slots have arrived: asks for the lines of the cell.
    #[inline]
    pub(super) fn prefetch_cell(&self, hash: KeyHash) {
        let shard = self.lock(self.shard_of(hash.token())).read();
        if let Some((cell, _)) = shard.get(hash.0, |_| true) {
            let address = cell.address();
            drop(shard);
            prefetch(address);
            prefetch(address + CACHE_LINE_BYTES);
        }
    }

    /// Lends the key's cell to `read` under the shard's shared lock.
    #[inline]
    pub(super) fn read<R>(&self, hash: KeyHash, key: &[u8], read: impl FnOnce(Option<&Cell>) -> R) -> R {
        // All lines at once, instead of the slots' after the shard's: costs nothing where a batch did so before.
        self.prefetch_slot(hash);
        let shard = self.lock(self.shard_of(hash.token())).read();
        read(shard.get(hash.0, |(cell, _)| cell.key() == key).map(|(cell, _)| cell))
    }

    /// The key's place, under the shard's exclusive lock until it is dropped.
    #[inline]
    pub(super) fn entry(&self, hash: KeyHash, key: &[u8]) -> Entry<'_> {
        self.prefetch_slot(hash);
        let index = self.shard_of(hash.token());
        Entry::find(self, self.lock(index).write(), index, hash, key)
    }

    /// The exclusive locks of the shards of `hashes`, taken in the shards' order so that two callers never wait for
    /// each other. The one way to hold more than one.
    pub(super) fn lock_all(&self, hashes: impl Iterator<Item = KeyHash>) -> Locked<'_> {
        let mut indexes: Vec<usize> = hashes.map(|hash| self.shard_of(hash.token())).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let shards = indexes.into_iter().map(|index| (index, self.lock(index).write())).collect();
        Locked { table: self, shards }
    }

    /// Lends each cell of a shard, with its token, under the shared lock.
    pub(super) fn for_each<'t>(
        &'t self,
        index: usize,
        visit: impl FnOnce(&mut dyn Iterator<Item = (Token, &Cell)>) + 't,
    ) {
        let shard = self.lock(index).read();
        // SAFETY: the table is neither changed nor dropped while the shared lock is held, which outlives `visit`.
        let cells = unsafe { shard.iter().map(|bucket| &bucket.as_ref().0) };
        visit(&mut cells.map(|cell| (KeyHash::of(cell.key(), self.seed).token(), cell)));
    }

    /// Removes the cells of a shard that may expire and for which `gone` holds; returns the slots looked at, the
    /// cells removed and the change in bytes.
    pub(super) fn sweep(&self, index: usize, gone: impl Fn(&Cell) -> bool) -> Swept {
        if self.expiring[index].load(Ordering::Relaxed) == 0 {
            return Swept { slots: 0, cells: 0, bytes: 0 };
        }
        let mut shard = self.lock(index).write();
        let mut swept = Swept { slots: shard.buckets(), cells: 0, bytes: 0 };
        // SAFETY: the exclusive lock is held; erasing the bucket just yielded is allowed while iterating, and an
        // erased element is dropped once, here.
        unsafe {
            for bucket in shard.iter() {
                let cell = &bucket.as_ref().0;
                if cell.expires() && gone(cell) {
                    swept.cells += 1;
                    self.raise_floor(index, cell.version().stamp);
                    swept.bytes -= signed(cell.allocated_bytes());
                    shard.erase(bucket);
                }
            }
        }
        self.expiring[index].fetch_sub(swept.cells, Ordering::Relaxed);
        swept.bytes += self.shrink_if_sparse(index, &mut shard);
        swept
    }

    /// Takes a whole shard's cells out at once; the caller drops them outside the lock, at its leisure.
    pub(super) fn take(&self, index: usize) -> Taken {
        let mut shard = self.lock(index).write();
        let table_bytes = table_bytes(&shard);
        // SAFETY: the table is unchanged while it is iterated, under the exclusive lock.
        let stamps = unsafe { shard.iter().map(|bucket| bucket.as_ref().0.version().stamp) };
        if let Some(highest) = stamps.max() {
            self.raise_floor(index, highest);
        }
        let cells = mem::replace(&mut *shard, RawTable::new());
        self.hints[index].publish(&shard);
        self.expiring[index].store(0, Ordering::Relaxed);
        Taken { cells, table_bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.map.shards().iter().map(|shard| shard.read().len()).sum()
    }

    /// Remembers the stamp of something removed. Called under the shard's exclusive lock, which orders it.
    fn raise_floor(&self, index: usize, stamp: Stamp) {
        self.floors[index].fetch_max(stamp.0, Ordering::Relaxed);
    }

    fn shrink_if_sparse(&self, index: usize, shard: &mut Shard) -> i64 {
        let before = shard.buckets();
        if before <= SHRINK_BUCKETS_MIN || shard.len() * 16 > before {
            return 0;
        }
        let bytes = table_bytes(shard);
        shard.shrink_to(shard.len() * 2, |(cell, _)| KeyHash::of(cell.key(), self.seed).0);
        self.hints[index].publish(shard);
        signed(table_bytes(shard)) - signed(bytes)
    }
}

/// What a sweep of one shard did.
pub(super) struct Swept {
    pub(super) slots: usize,
    pub(super) cells: u32,
    pub(super) bytes: i64,
}

/// The former content of a shard.
pub(super) struct Taken {
    cells: Shard,
    table_bytes: usize,
}

impl Taken {
    pub(super) fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Bytes that go free when it is dropped.
    pub(super) fn bytes(&self) -> i64 {
        // SAFETY: the table is owned and unchanged while it is iterated.
        let cells: usize =
            unsafe { self.cells.iter().map(|bucket| bucket.as_ref().0.allocated_bytes()).sum() };
        signed(cells + self.table_bytes)
    }
}

/// Several shards, locked at once.
pub(super) struct Locked<'t> {
    table: &'t Table,
    /// In the order of their indexes.
    shards: Vec<(usize, RwLockWriteGuard<'t, Shard>)>,
}

impl Locked<'_> {
    /// The key's place; its shard must be among those locked.
    pub(super) fn entry(&mut self, hash: KeyHash, key: &[u8]) -> Entry<'_, &mut Shard> {
        let index = self.table.shard_of(hash.token());
        let at = self.shards.binary_search_by_key(&index, |(index, _)| *index);
        let (_, shard) = &mut self.shards[at.expect("locked by the caller")];
        Entry::find(self.table, &mut **shard, index, hash, key)
    }
}

/// A key's place in its shard, whether or not a cell is there. Holds the shard's lock, or borrows from who does.
pub(super) struct Entry<'t, G = RwLockWriteGuard<'t, Shard>> {
    table: &'t Table,
    shard: G,
    index: usize,
    hash: KeyHash,
    bucket: Option<Bucket<Element>>,
}

impl<'t, G: DerefMut<Target = Shard>> Entry<'t, G> {
    #[inline]
    fn find(table: &'t Table, shard: G, index: usize, hash: KeyHash, key: &[u8]) -> Self {
        let bucket = shard.find(hash.0, |(cell, _)| cell.key() == key);
        Self { table, shard, index, hash, bucket }
    }

    #[inline]
    pub(super) fn cell(&self) -> Option<&Cell> {
        // SAFETY: the bucket was found under the lock still held, and any change consumes the entry.
        self.bucket.as_ref().map(|bucket| unsafe { &bucket.as_ref().0 })
    }

    #[inline]
    pub(super) fn cell_mut(&mut self) -> Option<&mut Cell> {
        // SAFETY: as in `cell`; the lock is exclusive and `&mut self` excludes a second borrow.
        self.bucket.as_ref().map(|bucket| unsafe { &mut bucket.as_mut().0 })
    }

    /// Bytes by which the table itself may grow if a cell is put here.
    ///
    /// hashbrown doubles a table that has no free slot left, unless so many of its slots are only marked deleted that
    /// it can tidy them up where they are; a slot so marked may also serve as it is.
    #[inline]
    pub(super) fn growth_bytes(&self) -> i64 {
        if self.bucket.is_some() || self.shard.len() < self.shard.capacity() {
            return 0;
        }
        let buckets = self.shard.buckets();
        let full = if buckets < 8 { buckets - 1 } else { buckets / 8 * 7 };
        if self.shard.len() < full / 2 {
            return 0;
        }
        signed(if buckets == 1 { 4 } else { 2 * buckets } * SLOT_BYTES) - signed(table_bytes(&self.shard))
    }

    /// Puts `cell` here and returns the one that was, with the bytes by which the table grew.
    #[inline]
    pub(super) fn put(mut self, cell: Cell) -> (Option<Cell>, i64) {
        let expiring = i32::from(cell.expires()) - i32::from(self.cell().is_some_and(Cell::expires));
        self.count_expiring(expiring);
        if let Some(present) = self.cell_mut() {
            return (Some(mem::replace(present, cell)), 0);
        }
        let before = table_bytes(&self.shard);
        let seed = self.table.seed;
        let element = (cell, SharedValue::new(()));
        self.shard.insert(self.hash.0, element, |(cell, _)| KeyHash::of(cell.key(), seed).0);
        let growth = signed(table_bytes(&self.shard)) - signed(before);
        if growth != 0 {
            self.table.hints[self.index].publish(&self.shard);
        }
        (None, growth)
    }

    /// The highest stamp that the key may have had: its cell's, or that of whatever was removed from its shard.
    #[inline]
    pub(super) fn last_stamp(&self) -> Stamp {
        match self.cell() {
            Some(cell) => cell.version().stamp,
            None => Stamp(self.table.floors[self.index].load(Ordering::Relaxed)),
        }
    }

    /// Removes the cell, if there is one, at `stamp`, and returns it with the change in the table's bytes.
    #[inline]
    pub(super) fn remove(mut self, stamp: Stamp) -> (Option<Cell>, i64) {
        self.table.raise_floor(self.index, stamp);
        let Some(bucket) = self.bucket.take() else { return (None, 0) };
        // SAFETY: the bucket was found under the lock still held.
        let ((cell, _), _) = unsafe { self.shard.remove(bucket) };
        self.count_expiring(-i32::from(cell.expires()));
        let change = self.table.shrink_if_sparse(self.index, &mut self.shard);
        (Some(cell), change)
    }

    #[inline]
    fn count_expiring(&self, change: i32) {
        if change != 0 {
            // Wraps for -1, and never goes below zero: each cell that is taken off was counted when it was put.
            self.table.expiring[self.index].fetch_add(change as u32, Ordering::Relaxed);
        }
    }
}

/// Bytes that a shard's slots and control bytes take; one that never held a cell has one bucket, a static.
#[inline]
fn table_bytes(shard: &Shard) -> usize {
    if shard.buckets() == 1 { 0 } else { shard.buckets() * SLOT_BYTES }
}

#[inline]
fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("less than the address space")
}

/// Asks the processor for the line at `address`, which need not be valid.
#[inline]
fn prefetch(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch of any address, mapped or not, has no effect that a program can see.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}

// The bits that a table of 2^57 buckets or fewer reads, and those of its tag, leave the shard's bits in between.
const _: () = assert!(TAG_BITS == 7);
