//! What nodes say to each other about many keys, to bytes and back: pages of cells that one hands over to another, the
//! keys that it has, and what asks for them.
//!
//! Invariant: a page is looked through whole before any of it is used, so that walking it cannot fail; its cells stand
//! as they came, one after the other: content, lengths of key and value, version, expiry if there is one, key, value.

use super::codec::{Malformed, Reader, version_bytes, wire_length};
use super::frame::{begin_frame, finish_frame};
use super::peer::{PeerMessage, content_of, kind_of, put_head, value_of};
use super::{Fault, Field, Limits};
use crate::message::peer::{Cell, Fetch, Kind, List, OperationId};
use crate::types::{Epoch, Stamp, Token, WallTime};

/// The numbers of the kinds.
pub(super) const FETCH: u8 = 9;
pub(super) const LIST: u8 = 10;
pub(super) const PAGE: u8 = 24;
pub(super) const LISTING: u8 = 25;

/// A page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page<'a> {
    /// What it was asked for with.
    pub operation: OperationId,
    /// Where to go on; `None`: this was the last one.
    pub next: Option<Token>,
    /// The latest time that the node has stored or promised anything for.
    pub latest: WallTime,
    /// Its cells.
    pub cells: Cells<'a>,
}

/// Keys that a node has, each with a cell whose value is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listing<'a> {
    /// What it was asked for with.
    pub operation: OperationId,
    /// The cursor to go on with; 0: these were the last ones.
    pub next: u64,
    /// How many keys the node has in all that hold a value.
    pub keys: u64,
    /// Some of them, and those that it knows to be removed or outlived.
    pub cells: Cells<'a>,
}

/// The cells of a page, still encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cells<'a>(&'a [u8]);

impl<'a> Cells<'a> {
    /// Each with its key.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Cell<'a>)> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || if reader.is_empty() { None } else { cell(&mut reader).ok() })
    }
}

/// Appends a frame with `fetch` to `out`.
pub fn encode_fetch(fetch: &Fetch, out: &mut Vec<u8>) {
    let start = begin_frame(out);
    put_head(FETCH, 0, 0, fetch.operation, out);
    out.extend_from_slice(&fetch.epoch.0.to_le_bytes());
    out.extend_from_slice(&fetch.from.0.to_le_bytes());
    finish_frame(start, 0, out);
}

/// Appends a frame with `list` to `out`.
pub fn encode_list(list: &List, out: &mut Vec<u8>) {
    let start = begin_frame(out);
    put_head(LIST, 0, 0, list.operation, out);
    out.extend_from_slice(&list.epoch.0.to_le_bytes());
    out.extend_from_slice(&list.cursor.to_le_bytes());
    out.extend_from_slice(&list.count.to_le_bytes());
    finish_frame(start, 0, out);
}

/// A page that is being written.
pub struct PageWriter<'o> {
    out: &'o mut Vec<u8>,
    frame: usize,
    next: usize,
    cells: usize,
}

impl<'o> PageWriter<'o> {
    /// Begins a page at the end of `out`.
    pub fn begin(operation: OperationId, latest: WallTime, out: &'o mut Vec<u8>) -> Self {
        Self::begin_kind(PAGE, operation, latest.0, out)
    }

    /// Begins a listing at the end of `out`, of a node that has so many keys.
    pub fn begin_listing(operation: OperationId, keys: u64, out: &'o mut Vec<u8>) -> Self {
        Self::begin_kind(LISTING, operation, keys, out)
    }

    fn begin_kind(kind: u8, operation: OperationId, number: u64, out: &'o mut Vec<u8>) -> Self {
        let frame = begin_frame(out);
        put_head(kind, 0, 0, operation, out);
        let next = out.len();
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&number.to_le_bytes());
        Self { frame, next, cells: out.len(), out }
    }

    /// Adds a cell.
    pub fn push(&mut self, key: &[u8], cell: &Cell<'_>) {
        self.push_with(key, cell, value_of(cell));
    }

    /// Adds a cell but for its value.
    pub fn push_key(&mut self, key: &[u8], cell: &Cell<'_>) {
        self.push_with(key, cell, &[]);
    }

    fn push_with(&mut self, key: &[u8], cell: &Cell<'_>, value: &[u8]) {
        let kind = cell.summary().kind;
        self.out.push(content_of(&kind));
        self.out.extend_from_slice(&wire_length(key.len()).to_le_bytes());
        self.out.extend_from_slice(&wire_length(value.len()).to_le_bytes());
        self.out.extend_from_slice(&version_bytes(cell.version));
        if let Kind::Value { expires_at: Some(at) } = kind {
            self.out.extend_from_slice(&at.0.to_le_bytes());
        }
        self.out.extend_from_slice(key);
        self.out.extend_from_slice(value);
    }

    /// Bytes of the cells so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.out.len() - self.cells
    }

    /// Ends the page, and says where to go on. No page but the last goes on at 0.
    pub fn finish(self, next: Option<Token>) {
        self.finish_listing(next.map_or(0, |next| next.0));
    }

    /// Ends the listing, and says with which cursor to go on; 0: it was the last.
    pub fn finish_listing(self, next: u64) {
        self.out[self.next..self.next + 8].copy_from_slice(&next.to_le_bytes());
        finish_frame(self.frame, 0, self.out);
    }
}

/// Reads what is about many keys.
pub(super) fn decode<'a>(
    kind: u8,
    operation: OperationId,
    mut reader: Reader<'a>,
    limits: &Limits,
) -> Result<PeerMessage<'a>, Malformed> {
    match kind {
        PAGE => return Ok(PeerMessage::Page(page(operation, reader, limits)?)),
        LISTING => return Ok(PeerMessage::Listing(listing(operation, reader, limits)?)),
        _ => {}
    }
    let epoch = Epoch(reader.u64(Field::Operands)?);
    let from = reader.u64(Field::Operands)?;
    let message = if kind == FETCH {
        PeerMessage::Fetch(Fetch { operation, epoch, from: Token(from) })
    } else {
        PeerMessage::List(List { operation, epoch, cursor: from, count: reader.u32(Field::Operands)? })
    };
    reader.end()?;
    Ok(message)
}

/// Reads what stands behind the head of a page.
fn page<'a>(operation: OperationId, mut reader: Reader<'a>, limits: &Limits) -> Result<Page<'a>, Malformed> {
    let next = Some(Token(reader.u64(Field::Operands)?)).filter(|next| next.0 != 0);
    let latest = WallTime(reader.u64(Field::Operands)?);
    // What has no stamp was never stored or promised, and nothing could be stored after it.
    if latest > Stamp(u64::MAX).wall() {
        return Err(Malformed::new(Field::Operands, Fault::Undefined));
    }
    Ok(Page { operation, next, latest, cells: cells(reader, limits)? })
}

/// Reads what stands behind the head of a listing.
fn listing<'a>(
    operation: OperationId,
    mut reader: Reader<'a>,
    limits: &Limits,
) -> Result<Listing<'a>, Malformed> {
    let (next, keys) = (reader.u64(Field::Operands)?, reader.u64(Field::Operands)?);
    let cells = cells(reader, limits)?;
    if cells.iter().any(|(_, cell)| !value_of(&cell).is_empty()) {
        return Err(Malformed::new(Field::Value, Fault::Misplaced));
    }
    Ok(Listing { operation, next, keys, cells })
}

fn cells<'a>(reader: Reader<'a>, limits: &Limits) -> Result<Cells<'a>, Malformed> {
    let cells = reader.rest();
    let mut walk = Reader::new(cells);
    while !walk.is_empty() {
        let (key, cell) = cell(&mut walk)?;
        if key.len() > limits.key_bytes_max as usize {
            return Err(Malformed::new(Field::Key, Fault::TooLarge));
        }
        if value_of(&cell).len() > limits.value_bytes_max as usize {
            return Err(Malformed::new(Field::Value, Fault::TooLarge));
        }
    }
    Ok(Cells(cells))
}

fn cell<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Cell<'a>), Malformed> {
    let content = reader.u8(Field::Header)?;
    let (key_bytes, value_bytes) = (reader.u32(Field::Key)?, reader.u32(Field::Value)?);
    let version = reader.version(Field::Version)?;
    let kind = kind_of(content, reader)?;
    let key = reader.bytes(key_bytes, Field::Key)?;
    let value = reader.bytes(value_bytes, Field::Value)?;
    let is_value = matches!(kind, Kind::Value { .. });
    if !is_value && !value.is_empty() {
        return Err(Malformed::new(Field::Value, Fault::Misplaced));
    }
    Ok((key, Cell { version, content: kind.with(value) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::peer::Content;
    use crate::protocol::frame::{Frame, Split, split_frame};
    use crate::protocol::peer::{PeerMessage, decode_peer};
    use crate::types::{Stamp, Version, WriterId};

    const OPERATION: OperationId = OperationId { slot: 0, round: 7 };

    fn cells() -> Vec<(Vec<u8>, Cell<'static>)> {
        let version = |stamp| Version { stamp: Stamp(stamp), writer: WriterId(3) };
        let value = |value: &'static [u8], expires_at| Content::Value { value, expires_at };
        let contents =
            [value(b"v", None), value(b"", Some(WallTime(9))), Content::Expired, Content::Tombstone];
        (1..)
            .zip(contents)
            .map(|(at, content)| (vec![b'k'; at], Cell { version: version(at as u64), content }))
            .collect()
    }

    fn encoded(next: Option<Token>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = PageWriter::begin(OPERATION, WallTime(6), &mut out);
        cells().iter().for_each(|(key, cell)| writer.push(key, cell));
        writer.finish(next);
        out
    }

    fn frame(bytes: &[u8]) -> Frame<'_> {
        match split_frame(bytes, &Limits::default()) {
            Ok(Split::Frame(frame)) => frame,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_page_comes_back_as_it_was() {
        for next in [None, Some(Token(5))] {
            let bytes = encoded(next);
            let Ok(PeerMessage::Page(page)) = decode_peer(frame(&bytes), &Limits::default()) else {
                panic!("it is a page")
            };
            assert_eq!((page.operation, page.next, page.latest), (OPERATION, next, WallTime(6)));
            let expected = cells();
            assert!(page.cells.iter().eq(expected.iter().map(|(key, cell)| (key.as_slice(), *cell))));
        }
    }

    #[test]
    fn a_page_of_a_time_that_no_version_has_is_an_error() {
        let read = |latest: u64| {
            let mut bytes = Vec::new();
            PageWriter::begin(OPERATION, WallTime(latest), &mut bytes).finish(None);
            decode_peer(frame(&bytes), &Limits::default()).map(|_| ()).map_err(|error| error.field)
        };
        assert_eq!(read((1 << 48) - 1), Ok(()));
        assert_eq!(read(1 << 48), Err(Field::Operands));
        assert_eq!(read(u64::MAX), Err(Field::Operands));
        assert_eq!(Stamp::last_of(WallTime((1 << 48) - 1)), Stamp(u64::MAX));
    }

    #[test]
    fn a_page_that_is_cut_off_or_holds_too_much_is_an_error() {
        let bytes = encoded(None);
        let limits = Limits { key_bytes_max: 3, ..Limits::default() };
        assert_eq!(decode_peer(frame(&bytes), &limits).unwrap_err().field, Field::Key);
        let mut cut = bytes.clone();
        cut.truncate(bytes.len() - 1);
        let length = (cut.len() as u32 - 4).to_le_bytes();
        cut[..4].copy_from_slice(&length);
        assert!(decode_peer(frame(&cut), &Limits::default()).is_err());
    }
}
