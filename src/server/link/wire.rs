//! Bytes to and from another node: a socket, what was read of it and not understood yet, what it has not taken yet.
//!
//! Invariant: what is sent leaves in order and whole, or the wire is broken and used no more; both buffers are bounded,
//! and give back what a burst made of them. It knows of frames, and of nothing that is in them.

use std::io::{self, ErrorKind, Read, Write};

use mio::event::Event;
use mio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

use crate::config::link::{
    KEEPALIVE_AFTER, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, KEPT_BYTES_MAX, OUTPUT_BYTES_MAX, TURN_BYTES,
    UNCONFIRMED_MAX,
};
use crate::protocol::Limits;
use crate::protocol::frame::{Frame, Split, split_frame};

/// Room for one read.
const READ_BYTES: usize = 64 << 10;

/// One end of a link.
pub(crate) struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    /// Bytes of `input` that were used.
    used: usize,
    output: Vec<u8>,
    /// Bytes of `output` that the socket took.
    written: usize,
    /// The socket may hold bytes.
    readable: bool,
    /// The other end has closed, so that a short read does not mean an empty socket.
    read_closed: bool,
}

/// Frames that are looked at together.
pub(crate) const TOGETHER_MAX: usize = 32;

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Without these, what is left of a link to a machine that has vanished would stay: the one is for a link on
        // which nothing is said, the other for what was said and is not confirmed. A kernel that refuses is no reason
        // to do without the link.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
        let socket = SockRef::from(&stream);
        let _ = socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_RETRIES));
        #[cfg(target_os = "linux")]
        let _ = socket.set_tcp_user_timeout(Some(UNCONFIRMED_MAX));
        Self {
            stream,
            input: Vec::new(),
            used: 0,
            output: Vec::new(),
            written: 0,
            readable: false,
            read_closed: false,
        }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The socket, if nothing was read of it that was not used.
    pub(crate) fn into_stream(self) -> Option<TcpStream> {
        (self.used == self.input.len() && self.output.is_empty()).then_some(self.stream)
    }

    /// Notes what an event says.
    pub(crate) fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_error();
        self.read_closed |= event.is_read_closed();
    }

    /// Whether there is more to read than one turn takes.
    pub(crate) fn has_more(&self) -> bool {
        self.readable
    }

    /// Where to append what is to be sent.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Puts `bytes` behind what is to be sent, and leaves an empty buffer in their place.
    pub(crate) fn send(&mut self, bytes: &mut Vec<u8>) {
        if self.output.is_empty() {
            std::mem::swap(&mut self.output, bytes);
        } else {
            self.output.append(bytes);
        }
    }

    /// Bytes that the socket has not taken.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.output.len() - self.written
    }

    /// Takes in what the socket holds, about as much as a turn may; returns how many bytes.
    ///
    /// # Errors
    /// The kernel's, or that the other end has closed. What came before it can still be used.
    pub(crate) fn receive(&mut self) -> io::Result<usize> {
        let before = self.input.len();
        while self.readable && self.input.len() - before < TURN_BYTES {
            let length = self.input.len();
            self.input.resize(length + READ_BYTES, 0);
            let result = self.stream.read(&mut self.input[length..]);
            self.input.truncate(length + result.as_ref().map_or(0, |count| *count));
            match result {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.readable = count == READ_BYTES || self.read_closed,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.input.len() - before)
    }

    /// The first `N` bytes, if they are here.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.input[self.used..].first_chunk()?;
        self.used += N;
        Some(bytes)
    }

    /// Lends each whole frame to `use_frame`, until one is refused.
    ///
    /// # Errors
    /// What `use_frame` says, or that there is something that is no frame. The link is to be closed.
    pub(crate) fn frames<E: From<crate::protocol::ProtocolError>>(
        &mut self,
        limits: &Limits,
        mut use_frame: impl FnMut(Frame<'_>, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            match split_frame(&self.input[self.used..], limits)? {
                Split::Incomplete { .. } => break,
                Split::Frame(frame) => {
                    self.used += frame.bytes_total();
                    use_frame(frame, &mut self.output)?;
                }
            }
        }
        self.forget_used();
        Ok(())
    }

    /// Lends the whole frames, [`TOGETHER_MAX`] at a time at most that what they need can be fetched ahead, until one
    /// is refused.
    ///
    /// # Errors
    /// What `use_frames` says, or that there is something that is no frame. The link is to be closed.
    pub(crate) fn frames_together<E: From<crate::protocol::ProtocolError>>(
        &mut self,
        limits: &Limits,
        mut use_frames: impl FnMut(&[Option<Frame<'_>>], &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let (mut frames, mut count) = ([None; TOGETHER_MAX], 0);
            while count < TOGETHER_MAX
                && let Split::Frame(frame) = split_frame(&self.input[self.used..], limits)?
            {
                self.used += frame.bytes_total();
                frames[count] = Some(frame);
                count += 1;
            }
            if count == 0 {
                break;
            }
            use_frames(&frames[..count], &mut self.output)?;
        }
        self.forget_used();
        Ok(())
    }

    fn forget_used(&mut self) {
        self.input.drain(..std::mem::take(&mut self.used));
        if self.input.is_empty() {
            self.input.shrink_to(KEPT_BYTES_MAX);
        }
    }

    /// Gives the socket what it takes.
    ///
    /// # Errors
    /// The kernel's, or that too much is waiting.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.waiting_bytes() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other("too many bytes wait to be sent"));
        }
        if self.written == self.output.len() {
            self.output.clear();
            self.output.shrink_to(KEPT_BYTES_MAX);
            self.written = 0;
        } else if self.written > KEPT_BYTES_MAX {
            self.output.drain(..std::mem::take(&mut self.written));
        }
        Ok(())
    }
}
