//! What waits to be written to a client: bytes, and long values by reference in between.
//!
//! Invariant: bytes leave in the order in which they were put, each once, whatever the socket takes at a time. Long
//! values are never copied here. It knows no protocol.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};

use crate::store::SharedCell;

/// Slices handed to the kernel at once.
const SLICES_MAX: usize = 32;

/// A buffer that grew beyond this is not kept for the next turn.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// Written bytes are not worth moving the rest for before they are this many.
const COMPACTED_BYTES_MIN: usize = 64 << 10;

/// Long values for which room is kept.
const KEPT_SHARED_MAX: usize = 64;

/// A long value and the place among the bytes where it stands.
struct Shared {
    before: usize,
    cell: SharedCell,
}

/// Waiting output.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    /// Bytes of `bytes` that were written.
    bytes_written: usize,
    shared: VecDeque<Shared>,
    /// Bytes of the first shared value that were written.
    shared_written: usize,
    /// Bytes of all shared values, the written part of the first included.
    shared_bytes: usize,
}

impl Output {
    /// Where to append.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts a long value after what is there.
    pub(crate) fn share(&mut self, cell: SharedCell) {
        self.shared_bytes += cell.value().len();
        self.shared.push_back(Shared { before: self.bytes.len(), cell });
    }

    /// Where the end is, to come back to with [`Output::rewind`].
    #[inline]
    pub(crate) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), shared: self.shared.len() }
    }

    /// Takes back what was put since the mark, none of which may have been written.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        for dropped in self.shared.drain(mark.shared..) {
            self.shared_bytes -= dropped.cell.value().len();
        }
    }

    /// Bytes not yet written.
    #[inline]
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.bytes_written + self.shared_bytes - self.shared_written
    }

    /// Bytes of the long values that wait.
    pub(crate) fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    /// Memory that it holds: its own, and that of the values it keeps alive.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.shared.capacity() * size_of::<Shared>() + self.shared_bytes
    }

    /// Writes what the socket takes; returns the bytes that it took. A full socket is no error.
    ///
    /// # Errors
    /// Whatever else the socket says; the connection is of no more use then.
    #[inline]
    pub(crate) fn write_to(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        let mut total = 0;
        while self.waiting_bytes() > 0 {
            let (offered, result) = if self.shared.is_empty() {
                let rest = &self.bytes[self.bytes_written..];
                (rest.len(), socket.write(rest))
            } else {
                self.write_slices(socket)
            };
            match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.advance(written);
                    total += written;
                    if written < offered {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.waiting_bytes() == 0 {
            self.reset();
        } else if self.bytes_written >= COMPACTED_BYTES_MIN.max(self.bytes.len() / 2) {
            self.compact();
        }
        Ok(total)
    }

    fn write_slices(&self, socket: &mut impl Write) -> (usize, io::Result<usize>) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (mut count, mut offered, mut from) = (0, 0, self.bytes_written);
        let mut skip = self.shared_written;
        let mut add = |slice| {
            slices[count] = IoSlice::new(slice);
            count += 1;
            offered += slice.len();
        };
        // Each shared value takes two slices, the bytes before it and itself; the last slice is for the tail.
        for shared in self.shared.iter().take(SLICES_MAX / 2 - 1) {
            add(&self.bytes[from..shared.before]);
            add(&shared.cell.value()[skip..]);
            (from, skip) = (shared.before, 0);
        }
        if self.shared.len() < SLICES_MAX / 2 {
            add(&self.bytes[from..]);
        }
        (offered, socket.write_vectored(&slices[..count]))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.shared.front() {
            let bytes = (first.before - self.bytes_written).min(written);
            self.bytes_written += bytes;
            written -= bytes;
            let rest = first.cell.value().len() - self.shared_written;
            if self.bytes_written < first.before || written < rest {
                self.shared_written += written;
                return;
            }
            written -= rest;
            self.shared_bytes -= first.cell.value().len();
            self.shared_written = 0;
            self.shared.pop_front();
        }
        self.bytes_written += written;
    }

    /// Drops what was written, so that a reader who never catches up does not make it grow for ever. As much was
    /// written as is moved, at least.
    #[cold]
    fn compact(&mut self) {
        self.bytes.drain(..self.bytes_written);
        for shared in &mut self.shared {
            shared.before -= self.bytes_written;
        }
        self.bytes_written = 0;
    }

    fn reset(&mut self) {
        self.bytes.clear();
        self.bytes_written = 0;
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.shared.shrink_to(KEPT_SHARED_MAX);
    }
}

/// A place in an output.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    bytes: usize,
    shared: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConfig;
    use crate::hybrid_clock::HybridClock;
    use crate::operation::{Effect, NewValue};
    use crate::store::Store;
    use crate::types::{WallTime, WriterId};

    /// A socket that takes a few bytes and is full every other time.
    struct Slow {
        taken: Vec<u8>,
        portion: usize,
        full: bool,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.full = !self.full;
            if self.full {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.portion);
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
            let bytes: Vec<u8> = bytes.take(self.portion).collect();
            self.write(&bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn long_value(store: &Store, byte: u8) -> SharedCell {
        let (key, hash) = ([byte], store.hash(&[byte]));
        let value = [byte; 2000];
        let effect = Effect::Store { value: NewValue::Bytes(&value), expires_at: None };
        store.update(hash, &key, &mut HybridClock::new(WriterId(0)), |_| (effect, ())).unwrap();
        store.get(hash, &key, WallTime(0), |view| view.unwrap().share().unwrap())
    }

    #[test]
    fn everything_leaves_in_order_whatever_the_socket_takes() {
        let store = Store::new(&StoreConfig::default());
        for portion in [1, 7, 1999, 2000, 2001, 100_000] {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for round in 0..40u8 {
                output.bytes().extend_from_slice(&[b'<', round]);
                expected.extend_from_slice(&[b'<', round]);
                if round % 3 != 0 {
                    output.share(long_value(&store, round));
                    expected.extend_from_slice(&[round; 2000]);
                }
            }
            let mut socket = Slow { taken: Vec::new(), portion, full: false };
            let mut written = 0;
            while output.waiting_bytes() > 0 {
                assert_eq!(output.waiting_bytes(), expected.len() - written);
                written += output.write_to(&mut socket).unwrap();
            }
            assert!(socket.taken == expected, "portions of {portion}");
            assert_eq!((written, output.shared_bytes), (expected.len(), 0));
        }
    }

    #[test]
    fn rewinding_takes_back_what_was_put() {
        let store = Store::new(&StoreConfig::default());
        let mut output = Output::default();
        output.bytes().extend_from_slice(b"kept");
        let mark = output.mark();
        output.bytes().extend_from_slice(b"not");
        output.share(long_value(&store, 1));
        output.rewind(mark);
        assert_eq!(output.waiting_bytes(), 4);
    }
}
