//! A cell: version, key and value of one entry, in ONE allocation behind a thin pointer.
//!
//! Invariant: the header says how long the allocation is and where key and value lie in it; both are written
//! before the cell can be seen and, for a cell that can be shared, never changed afterwards. A cell is changed in
//! place only through `&mut`, which the table gives out under a shard's exclusive lock.
//!
//! ```text
//! header 16 | wide: references, lengths 16 | expires_at 8 | key | value
//!             only if long                   only if set
//! ```
//! It knows nothing of hashes, locks or accounting.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use crate::types::{Stamp, Version, WallTime, WriterId};

/// Values up to this many bytes are copied out under the shard's lock; longer ones are shared by reference.
pub(crate) const INLINE_VALUE_BYTES_MAX: usize = 1024;

/// Keys up to this many bytes have their length in the header.
const NARROW_KEY_BYTES_MAX: usize = u8::MAX as usize;

const ALIGNMENT: usize = 8;
const WIDE: u8 = 1;
const EXPIRES: u8 = 2;
const REMOVED: u8 = 4;
const OUTLIVED: u8 = 8;

/// Low bit of the pointer: the cell may expire. A sweep reads it without touching the cell.
const EXPIRES_TAG: usize = 1;
/// Low bit of the pointer: the cell holds no value. With neither bit set it is live at any time.
const DEAD_TAG: usize = 2;
const TAGS: usize = EXPIRES_TAG | DEAD_TAG;
const _: () = assert!(TAGS < ALIGNMENT);

/// Why a cell holds no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    /// The key was removed.
    Removed,
    /// The value of the cell's very version has expired.
    Outlived,
}

#[repr(C, align(8))]
struct Header {
    stamp: u64,
    writer: u32,
    flags: u8,
    key_bytes: u8,
    value_bytes: u16,
}

#[repr(C, align(8))]
struct Wide {
    references: AtomicU32,
    key_bytes: u32,
    value_bytes: u32,
    reserved: u32,
}

const HEADER_BYTES: usize = size_of::<Header>();
const WIDE_BYTES: usize = size_of::<Wide>();
const EXPIRY_BYTES: usize = size_of::<u64>();
const _: () = assert!(HEADER_BYTES == 16 && WIDE_BYTES == 16);
const _: () = assert!(INLINE_VALUE_BYTES_MAX <= u16::MAX as usize);

/// Where the parts of a cell lie.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    wide: bool,
    expires: bool,
    key_bytes: usize,
    value_bytes: usize,
}

impl Shape {
    #[inline]
    fn new(key_bytes: usize, value_bytes: usize, expires: bool) -> Self {
        let wide = key_bytes > NARROW_KEY_BYTES_MAX || value_bytes > INLINE_VALUE_BYTES_MAX;
        Self { wide, expires, key_bytes, value_bytes }
    }

    #[inline]
    const fn expiry_offset(self) -> usize {
        HEADER_BYTES + if self.wide { WIDE_BYTES } else { 0 }
    }

    #[inline]
    const fn key_offset(self) -> usize {
        self.expiry_offset() + if self.expires { EXPIRY_BYTES } else { 0 }
    }

    #[inline]
    const fn value_offset(self) -> usize {
        self.key_offset() + self.key_bytes
    }

    #[inline]
    fn layout(self) -> Layout {
        let bytes = size_class_bytes(self.value_offset() + self.value_bytes);
        Layout::from_size_align(bytes, ALIGNMENT).expect("lengths of 32 bits stay below isize::MAX")
    }
}

/// Where mimalloc's classes change their steps, and the steps below and above.
const SMALL_BYTES_MAX: usize = 64;
const SMALL_STEP_BYTES: usize = 16;
const MEDIUM_BYTES_MAX: usize = 128 << 10;
const LARGE_STEP_BYTES: usize = 64 << 10;

/// The bytes that an allocator with four size classes a doubling takes for a request of `bytes`.
///
/// Asking for the whole class at once lets a value change its length within it without a new allocation.
#[inline]
const fn size_class_bytes(bytes: usize) -> usize {
    let step = if bytes <= SMALL_BYTES_MAX {
        SMALL_STEP_BYTES
    } else if bytes <= MEDIUM_BYTES_MAX {
        bytes.next_power_of_two() / 8
    } else {
        LARGE_STEP_BYTES
    };
    bytes.next_multiple_of(step)
}

/// Bytes that a cell of these lengths will be charged for.
#[inline]
pub(super) fn allocated_bytes(key_bytes: usize, value_bytes: usize, expires: bool) -> usize {
    Shape::new(key_bytes, value_bytes, expires).layout().size()
}

/// One entry.
pub(crate) struct Cell {
    tagged: NonNull<u8>,
}

// SAFETY: a cell owns its allocation; what is shared of it is either immutable or atomic.
unsafe impl Send for Cell {}
// SAFETY: as above; `&Cell` only reads, and writing needs `&mut Cell`.
unsafe impl Sync for Cell {}

impl Cell {
    /// Lays down a cell whose value is `kept` followed by `added`.
    pub(super) fn new(
        version: Version,
        expires_at: Option<WallTime>,
        key: &[u8],
        kept: &[u8],
        added: &[u8],
    ) -> Self {
        let shape = Shape::new(key.len(), kept.len() + added.len(), expires_at.is_some());
        let layout = shape.layout();
        // SAFETY: the layout is never empty: a header is in it.
        let Some(base) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: the allocation holds the whole shape, is aligned for its parts, and is ours alone until it is
        // returned; `shape` gives offsets within it, and the sources cannot overlap fresh memory.
        unsafe {
            base.cast::<Header>().write(Header {
                stamp: version.stamp.0,
                writer: version.writer.0,
                flags: if shape.wide { WIDE } else { 0 } | if shape.expires { EXPIRES } else { 0 },
                key_bytes: if shape.wide { 0 } else { shape.key_bytes as u8 },
                value_bytes: if shape.wide { 0 } else { shape.value_bytes as u16 },
            });
            if shape.wide {
                base.add(HEADER_BYTES).cast::<Wide>().write(Wide {
                    references: AtomicU32::new(1),
                    key_bytes: u32::try_from(shape.key_bytes).expect("keys are bounded far below 4 GiB"),
                    value_bytes: u32::try_from(shape.value_bytes).expect("values are bounded below 4 GiB"),
                    reserved: 0,
                });
            }
            if let Some(at) = expires_at {
                base.add(shape.expiry_offset()).cast::<u64>().write(at.0);
            }
            let value = base.add(shape.value_offset());
            base.add(shape.key_offset()).copy_from_nonoverlapping(pointer_to(key), key.len());
            value.copy_from_nonoverlapping(pointer_to(kept), kept.len());
            value.add(kept.len()).copy_from_nonoverlapping(pointer_to(added), added.len());
        }
        let tag = if shape.expires { EXPIRES_TAG } else { 0 };
        Self { tagged: base.map_addr(|address| address | tag) }
    }

    /// Lays down a cell without a value.
    pub(super) fn dead(version: Version, death: Death, key: &[u8]) -> Self {
        let mut cell = Self::new(version, None, key, &[], &[]);
        let flag = match death {
            Death::Removed => REMOVED,
            Death::Outlived => OUTLIVED,
        };
        // SAFETY: a header begins every cell, and this one was just made: nobody else can see it.
        unsafe { cell.base().cast::<Header>().as_mut() }.flags |= flag;
        cell.tagged = cell.tagged.map_addr(|address| address | DEAD_TAG);
        cell
    }

    /// Why it holds no value; `None` if it does.
    #[inline]
    pub(super) fn death(&self) -> Option<Death> {
        if self.tagged.addr().get() & DEAD_TAG == 0 {
            return None;
        }
        Some(if self.header().flags & REMOVED != 0 { Death::Removed } else { Death::Outlived })
    }

    /// Whether it holds a value that never expires, told from the pointer alone.
    #[inline]
    pub(super) fn lives_for_ever(&self) -> bool {
        self.tagged.addr().get() & TAGS == 0
    }

    #[inline]
    fn base(&self) -> NonNull<u8> {
        let untagged = |address: NonZeroUsize| {
            NonZeroUsize::new(address.get() & !TAGS).expect("an aligned allocation is not at 1")
        };
        self.tagged.map_addr(untagged)
    }

    /// Where the cell lies, to prefetch it.
    #[inline]
    pub(super) fn address(&self) -> usize {
        self.base().addr().get()
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: every cell begins with a header, and `&self` excludes a writer.
        unsafe { self.base().cast().as_ref() }
    }

    #[inline]
    fn wide(&self) -> &Wide {
        // SAFETY: called for wide cells only, where this part follows the header.
        unsafe { self.base().add(HEADER_BYTES).cast().as_ref() }
    }

    #[inline]
    fn shape(&self) -> Shape {
        let header = self.header();
        let expires = header.flags & EXPIRES != 0;
        if header.flags & WIDE == 0 {
            let (key_bytes, value_bytes) = (usize::from(header.key_bytes), usize::from(header.value_bytes));
            return Shape { wide: false, expires, key_bytes, value_bytes };
        }
        let wide = self.wide();
        Shape {
            wide: true,
            expires,
            key_bytes: wide.key_bytes as usize,
            value_bytes: wide.value_bytes as usize,
        }
    }

    #[inline]
    fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        // SAFETY: callers take offset and length from the cell's own shape, so the range was written by `new`.
        unsafe { std::slice::from_raw_parts(self.base().add(offset).as_ptr(), length) }
    }

    #[inline]
    pub(super) fn version(&self) -> Version {
        let header = self.header();
        Version { stamp: Stamp(header.stamp), writer: WriterId(header.writer) }
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        let shape = self.shape();
        self.bytes(shape.key_offset(), shape.key_bytes)
    }

    #[inline]
    pub(super) fn value(&self) -> &[u8] {
        let shape = self.shape();
        self.bytes(shape.value_offset(), shape.value_bytes)
    }

    /// Whether it may expire, told from the pointer alone.
    #[inline]
    pub(super) fn expires(&self) -> bool {
        self.tagged.addr().get() & EXPIRES_TAG != 0
    }

    #[inline]
    pub(super) fn expires_at(&self) -> Option<WallTime> {
        if !self.expires() {
            return None;
        }
        let offset = self.shape().expiry_offset();
        // SAFETY: the tag says that this aligned part was written.
        Some(WallTime(unsafe { self.base().add(offset).cast::<u64>().read() }))
    }

    /// Bytes it is charged for.
    #[inline]
    pub(super) fn allocated_bytes(&self) -> usize {
        self.shape().layout().size()
    }

    /// Gives the cell a new version, expiry and value (the first `kept_bytes` of its own, then `added`) where it
    /// lies; false, and nothing changed, if that needs another allocation or a reader may hold the cell.
    #[inline(always)]
    pub(super) fn change_in_place(
        &mut self,
        version: Version,
        expires_at: Option<WallTime>,
        kept_bytes: usize,
        added: &[u8],
    ) -> bool {
        let before = self.shape();
        assert!(kept_bytes <= before.value_bytes, "no more can be kept than there is");
        let after = Shape::new(before.key_bytes, kept_bytes + added.len(), expires_at.is_some());
        let fits = after.layout() == before.layout();
        if before.wide || after.wide || after.expires != before.expires || !fits || self.death().is_some() {
            return false;
        }
        let base = self.base();
        // SAFETY: `&mut self` and a narrow cell: nobody else can see it. Both shapes have the same layout and the
        // same offsets, so the writes stay within the allocation; `added` borrows from elsewhere.
        unsafe {
            let header = base.cast::<Header>().as_mut();
            header.stamp = version.stamp.0;
            header.writer = version.writer.0;
            header.value_bytes = after.value_bytes as u16;
            if let Some(at) = expires_at {
                base.add(after.expiry_offset()).cast::<u64>().write(at.0);
            }
            let tail = base.add(after.value_offset() + kept_bytes);
            tail.copy_from_nonoverlapping(pointer_to(added), added.len());
        }
        true
    }

    /// A handle that keeps a long value alive after the lock is gone; `None` for one short enough to copy.
    #[inline]
    pub(super) fn share(&self) -> Option<SharedCell> {
        let shape = self.shape();
        if !shape.wide || shape.value_bytes <= INLINE_VALUE_BYTES_MAX {
            return None;
        }
        let before = self.wide().references.fetch_add(1, Ordering::Relaxed);
        // One for each answer in flight, of over 1 KiB each: buffers have bounds far below.
        assert!(before < u32::MAX / 2, "two billion references to one value");
        Some(SharedCell(Self { tagged: self.tagged }))
    }
}

impl Drop for Cell {
    #[inline]
    fn drop(&mut self) {
        let shape = self.shape();
        if shape.wide {
            if self.wide().references.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            fence(Ordering::Acquire);
        }
        // SAFETY: the last owner, and the layout is the one it was allocated with: the lengths of a wide cell never
        // change, those of a narrow one only within the same layout.
        unsafe { dealloc(self.base().as_ptr(), shape.layout()) }
    }
}

/// A long value that outlives its place in the table. Immutable.
pub struct SharedCell(Cell);

impl SharedCell {
    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.0.value()
    }
}

impl std::fmt::Debug for SharedCell {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SharedCell({} bytes)", self.value().len())
    }
}

#[inline]
fn pointer_to(bytes: &[u8]) -> NonNull<u8> {
    NonNull::from(bytes).cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(stamp: u64) -> Version {
        Version { stamp: Stamp(stamp), writer: WriterId(7) }
    }

    #[test]
    fn holds_what_it_was_given_at_every_edge_of_its_shapes() {
        for key_bytes in [0, 1, 16, 255, 256, 4000] {
            for value_bytes in [0, 1, 64, 1023, 1024, 1025, 5000] {
                for expires_at in [None, Some(WallTime(77))] {
                    let (key, value) = (vec![b'k'; key_bytes], vec![b'v'; value_bytes]);
                    let (kept, added) = value.split_at(value_bytes / 3);
                    let cell = Cell::new(version(5), expires_at, &key, kept, added);
                    assert_eq!(cell.key(), key);
                    assert_eq!(cell.value(), value);
                    assert_eq!(cell.expires_at(), expires_at);
                    assert_eq!(cell.expires(), expires_at.is_some());
                    assert_eq!(cell.version(), version(5));
                    assert!(cell.allocated_bytes() >= HEADER_BYTES + key_bytes + value_bytes);
                    assert_eq!(cell.share().is_some(), value_bytes > 1024);
                }
            }
        }
    }

    #[test]
    fn a_dead_cell_tells_why_and_is_not_changed_in_place() {
        for death in [Death::Removed, Death::Outlived] {
            for key_bytes in [0, 16, 300] {
                let key = vec![b'k'; key_bytes];
                let mut cell = Cell::dead(version(9), death, &key);
                assert_eq!((cell.death(), cell.version()), (Some(death), version(9)));
                assert_eq!((cell.key(), cell.value()), (&key[..], &b""[..]));
                assert!(!cell.lives_for_ever() && !cell.expires());
                assert!(!cell.change_in_place(version(10), None, 0, b""));
            }
        }
        let cell = Cell::new(version(9), None, b"key", b"", b"");
        assert_eq!((cell.death(), cell.lives_for_ever()), (None, true));
    }

    #[test]
    fn changes_in_place_only_within_its_allocation() {
        let mut cell = Cell::new(version(1), None, b"key", b"", &[b'a'; 50]);
        assert!(cell.change_in_place(version(2), None, 0, &[b'b'; 52]));
        assert_eq!((cell.version(), cell.value()), (version(2), &[b'b'; 52][..]));
        assert!(cell.change_in_place(version(3), None, 50, b"cc"));
        assert_eq!(&cell.value()[48..], b"bbcc");
        assert!(!cell.change_in_place(version(4), None, 0, &[b'd'; 100]), "another size class");
        assert!(!cell.change_in_place(version(4), Some(WallTime(1)), 52, b""), "another shape");
        assert_eq!(cell.version(), version(3));
    }

    #[test]
    fn a_shared_value_outlives_its_cell() {
        let cell = Cell::new(version(1), None, b"key", b"", &[b'a'; 2000]);
        let shared = cell.share().unwrap();
        let again = cell.share().unwrap();
        drop(cell);
        drop(again);
        assert_eq!(shared.value(), &[b'a'; 2000]);
    }

    #[test]
    fn a_shared_value_is_not_changed_in_place() {
        let mut cell = Cell::new(version(1), None, b"key", b"", &[b'a'; 2000]);
        assert!(!cell.change_in_place(version(2), None, 0, &[b'b'; 2000]));
        assert_eq!(cell.value(), &[b'a'; 2000]);
    }

    #[test]
    fn size_classes_are_four_to_a_doubling() {
        let classes =
            [(1, 16), (64, 64), (65, 80), (96, 96), (97, 112), (129, 160), (257, 320), (8193, 10_240)];
        for (bytes, class) in classes {
            assert_eq!(size_class_bytes(bytes), class, "{bytes}");
        }
    }
}
