//! One connection of the floor: drains its socket, answers, writes once a turn.
//!
//! Invariant: a connection with output that the kernel did not take is not read from, so what it holds is bounded
//! by one read and one turn's output; the large buffers are the loop's and shared by all connections.
//! It does not know the event loop, and it does not tell why a peer was closed.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;

use crate::canned::{Canned, OUTPUT_HIGH_WATER_BYTES};

/// Bytes asked of a socket at once. A read that gives fewer has emptied it.
const READ_BYTES: usize = 64 * 1024;
/// Room before a read for the start of a request that an earlier read ended in. Longer requests are refused.
const PARTIAL_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The buffers of the loop, lent to the connection whose turn it is.
pub(crate) struct Scratch {
    canned: Canned,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new(canned: Canned) -> Self {
        Self {
            canned,
            input: vec![0; PARTIAL_BYTES_MAX + READ_BYTES],
            output: Vec::with_capacity(2 * OUTPUT_HIGH_WATER_BYTES),
        }
    }
}

/// The peer is gone or sent what has not the shape: close.
#[derive(Debug)]
pub(crate) struct Closed;

/// One client.
pub(crate) struct Connection {
    socket: TcpStream,
    /// Bytes that arrived and are not answered: the start of a request, or what a full output left over.
    partial: Vec<u8>,
    /// Output that the kernel did not take.
    pending: Vec<u8>,
    /// The socket may hold unread bytes: no short read since the last readable event.
    readable: bool,
    /// The peer has closed its end: a short read does not prove that nothing follows.
    hung_up: bool,
    /// Everything that the peer sent was read: close once it has its replies.
    finished: bool,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            partial: Vec::new(),
            pending: Vec::new(),
            readable: false,
            hung_up: false,
            finished: false,
        }
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Does what an event makes possible: writes what is pending, then reads, answers and writes until drained.
    pub(crate) fn turn(
        &mut self,
        readable: bool,
        hung_up: bool,
        scratch: &mut Scratch,
    ) -> Result<(), Closed> {
        self.readable |= (readable || hung_up) && !self.finished;
        self.hung_up |= hung_up;
        if !self.pending.is_empty() {
            let written = write(&mut self.socket, &self.pending)?;
            self.pending.drain(..written);
        }
        while self.pending.is_empty() && (self.readable || !self.partial.is_empty()) {
            scratch.output.clear();
            let progress = self.fill_and_answer(scratch)?;
            self.flush(&scratch.output)?;
            if !progress {
                break;
            }
        }
        if self.finished && self.pending.is_empty() { Err(Closed) } else { Ok(()) }
    }

    /// Reads until a short read and answers what is whole. True if another round could find more to do.
    fn fill_and_answer(&mut self, scratch: &mut Scratch) -> Result<bool, Closed> {
        let Scratch { canned, input, output } = scratch;
        let mut filled = self.partial.len();
        input[..filled].copy_from_slice(&self.partial);
        self.partial.clear();
        let mut taken = 0;
        loop {
            taken += canned.answer(&input[taken..filled], output).map_err(|_| Closed)?;
            if output.len() >= OUTPUT_HIGH_WATER_BYTES || !self.readable {
                break;
            }
            input.copy_within(taken..filled, 0);
            filled -= taken;
            taken = 0;
            if filled > PARTIAL_BYTES_MAX {
                return Err(Closed);
            }
            let read = self.read(&mut input[filled..filled + READ_BYTES])?;
            filled += read;
        }
        self.partial.extend_from_slice(&input[taken..filled]);
        Ok(output.len() >= OUTPUT_HIGH_WATER_BYTES)
    }

    fn read(&mut self, room: &mut [u8]) -> Result<usize, Closed> {
        loop {
            match self.socket.read(room) {
                Ok(0) => {
                    self.readable = false;
                    self.finished = true;
                    return Ok(0);
                }
                Ok(read) => {
                    self.readable = read == room.len() || self.hung_up;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(0);
                }
                Err(_) => return Err(Closed),
            }
        }
    }

    fn flush(&mut self, output: &[u8]) -> Result<(), Closed> {
        if !output.is_empty() {
            let written = write(&mut self.socket, output)?;
            self.pending.extend_from_slice(&output[written..]);
        }
        Ok(())
    }
}

/// Writes what the kernel takes and returns how much that was.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize, Closed> {
    loop {
        match socket.write(bytes) {
            Ok(written) => return Ok(written),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => return Ok(0),
                _ => return Err(Closed),
            },
        }
    }
}
