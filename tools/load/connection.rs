//! One connection of the generator: a socket, requests under way, the bytes of them that are not written or not parsed.
//!
//! Invariant: what a connection holds is bounded by the requests under way and one partial reply. Buffers are
//! reused: in steady state nothing is allocated. It does not choose keys, read a clock, count, or decide when to send.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::ops::Range;
use std::time::Instant;

use mio::net::TcpStream;
use thiserror::Error;

use crate::dialect::{Dialect, Malformed, Reply};
use crate::distribution::Stream;

/// Bytes asked of a socket at once, unless less is wanted.
const READ_BYTES_MAX: usize = 256 * 1024;

/// The connection is of no use any more. The target's fault, or that of the way to it.
#[derive(Debug, Error)]
pub(crate) enum Broken {
    #[error("the target closed a connection")]
    Closed,
    #[error("a connection failed: {0}")]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a reply came that nothing asked for")]
    Unasked,
    #[error("a reply is longer than {0} bytes")]
    TooLong(usize),
    #[error("no reply for {0} ms")]
    Silent(u128),
}

/// What a read found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    /// The socket was empty.
    Nothing,
    /// Less than was asked for: the socket is empty now, unless the peer has closed and its end is still to be read.
    Short,
    /// All that was asked for: there may be more.
    Full,
}

/// Where replies are read into; one for all connections.
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    /// Room before each read for the start of a reply that an earlier read ended in.
    partial_bytes_max: usize,
    /// Bytes asked of a socket at once. A read that gives fewer has emptied it.
    read_bytes: usize,
    /// Bytes that the last read left here, with the partial reply before them.
    filled: usize,
}

impl ReadBuffer {
    /// Room for replies of `D` with values of `value_bytes_max` at most and `value_bytes_mean` on average; about
    /// `replies` are read at once, or all if `None`.
    pub(crate) fn new<D: Dialect>(
        value_bytes_max: usize,
        value_bytes_mean: f64,
        replies: Option<usize>,
    ) -> Self {
        // A line of a key and a few numbers stands around the value in every protocol.
        let partial_bytes_max = value_bytes_max + 64 * 1024;
        let reply_bytes = value_bytes_mean as usize + D::REPLY_OVERHEAD_BYTES;
        let read_bytes = replies.map_or(READ_BYTES_MAX, |replies| READ_BYTES_MAX.min(replies * reply_bytes));
        Self { bytes: vec![0; partial_bytes_max + read_bytes], partial_bytes_max, read_bytes, filled: 0 }
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

/// When an operation was due, and when it was sent; the same in a closed loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
}

impl Times {
    /// Due when it is sent.
    pub(crate) const fn both(at: Instant) -> Self {
        Self { due: at, sent: at }
    }
}

/// A request whose reply has not come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnderWay {
    pub(crate) times: Times,
    /// The key's index.
    pub(crate) index: u64,
    /// The operation's place in the mix.
    pub(crate) place: usize,
    /// Whether this only reads what the operation is then to write.
    pub(crate) writes_next: bool,
}

/// One connection.
pub(crate) struct Connection<D> {
    pub(crate) socket: TcpStream,
    pub(crate) dialect: D,
    pub(crate) stream: Stream,
    /// The target's place among all.
    pub(crate) target: usize,
    /// The indexes that are still this connection's to preload.
    pub(crate) to_preload: Range<u64>,
    /// Requests encoded and not yet written in full.
    pub(crate) output: Vec<u8>,
    written: usize,
    /// The start of a reply that the last read ended in.
    partial: Vec<u8>,
    /// Requests without a reply, by their number from `first` on. Answered ones behind an older one are `None`.
    under_way: VecDeque<Option<UnderWay>>,
    first: u32,
    /// How many of them have no reply.
    pub(crate) outstanding: usize,
    /// When a reply last came, or the first request went out after a silence that was due.
    pub(crate) heard_at: Instant,
}

impl<D: Dialect> Connection<D> {
    /// A connection over `socket`, which was greeted, to the target in the place `target`.
    pub(crate) fn new(socket: TcpStream, dialect: D, stream: Stream, target: usize, now: Instant) -> Self {
        Self {
            socket,
            dialect,
            stream,
            target,
            to_preload: 0..0,
            output: Vec::new(),
            written: 0,
            partial: Vec::new(),
            under_way: VecDeque::new(),
            first: 0,
            outstanding: 0,
            heard_at: now,
        }
    }

    /// Notes a request that was encoded. Its bytes have still to be flushed.
    pub(crate) fn push(&mut self, under_way: UnderWay) {
        if self.outstanding == 0 {
            self.heard_at = under_way.times.sent;
        }
        self.outstanding += 1;
        self.under_way.push_back(Some(under_way));
    }

    /// Gives the last `count` requests other times: those of a batch are sent once the last is encoded.
    pub(crate) fn stamp(&mut self, count: usize, times: Times) {
        let from = self.under_way.len() - count;
        self.under_way.range_mut(from..).flatten().for_each(|under_way| under_way.times = times);
        if count == self.outstanding {
            self.heard_at = times.sent;
        }
    }

    /// Those whose reply will never come.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &UnderWay> {
        self.under_way.iter().flatten()
    }

    /// Writes what is not written yet, as far as the kernel takes it.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        while self.written < self.output.len() {
            match self.socket.write(&self.output[self.written..]) {
                Ok(0) => return Err(Broken::Closed),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        // Behind a connection that is never quite written, what was would pile up.
        self.output.drain(..self.written);
        self.written = 0;
        Ok(())
    }

    /// Reads once. What `buffer` then holds is to be given to [`answer`](Self::answer) and [`keep`](Self::keep).
    pub(crate) fn read(&mut self, buffer: &mut ReadBuffer) -> Result<Read, Broken> {
        let kept = self.partial.len();
        buffer.bytes[..kept].copy_from_slice(&self.partial);
        let room = &mut buffer.bytes[kept..kept + buffer.read_bytes];
        loop {
            match self.socket.read(room) {
                Ok(0) => return Err(Broken::Closed),
                Ok(read) => {
                    buffer.filled = kept + read;
                    return Ok(if read == buffer.read_bytes { Read::Full } else { Read::Short });
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Read::Nothing),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The reply at the start of `bytes`, if it is whole, and what it answers.
    #[inline]
    pub(crate) fn answer(&mut self, bytes: &[u8]) -> Result<Option<(Reply, UnderWay)>, Broken> {
        let Some(reply) = self.dialect.reply(bytes)? else { return Ok(None) };
        let at = reply.answers.map_or(0, |number| number.wrapping_sub(self.first) as usize);
        let answered = self.under_way.get_mut(at).and_then(Option::take).ok_or(Broken::Unasked)?;
        while let Some(None) = self.under_way.front() {
            self.under_way.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        self.outstanding -= 1;
        Ok(Some((reply, answered)))
    }

    /// Keeps the start of a reply that is not whole, for the next read.
    pub(crate) fn keep(&mut self, rest: &[u8], buffer: &ReadBuffer) -> Result<(), Broken> {
        if rest.len() > buffer.partial_bytes_max {
            return Err(Broken::TooLong(buffer.partial_bytes_max));
        }
        self.partial.clear();
        self.partial.extend_from_slice(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::dialect::{Native, Outcome, Request, Resp};
    use crate::distribution::{Distribution, Shape};

    fn connection<D: Dialect>(dialect: D) -> (Connection<D>, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket =
            TcpStream::from_std(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let stream = Distribution::new(Shape::Uniform, 1).stream(0, 0, 1);
        (Connection::new(socket, dialect, stream, 0, Instant::now()), listener.accept().unwrap().0)
    }

    fn request(index: u64) -> UnderWay {
        let now = Instant::now();
        UnderWay { times: Times { due: now, sent: now }, index, place: 0, writes_next: false }
    }

    #[test]
    fn what_a_read_ends_in_is_kept_for_the_next() {
        let (mut connection, mut peer) = connection(Resp::default());
        let mut buffer = ReadBuffer::new::<Resp>(0, 0.0, None);
        connection.push(request(7));
        peer.write_all(b"$3\r\na").unwrap();
        assert_eq!(connection.read(&mut buffer).unwrap(), Read::Short);
        assert!(connection.answer(buffer.filled()).unwrap().is_none());
        connection.keep(buffer.filled(), &buffer).unwrap();
        peer.write_all(b"bc\r\n+OK\r\n").unwrap();
        connection.read(&mut buffer).unwrap();
        let (reply, answered) = connection.answer(buffer.filled()).unwrap().unwrap();
        assert_eq!((reply.outcome, answered.index, connection.outstanding), (Outcome::Hit, 7, 0));
        assert!(matches!(connection.answer(&buffer.filled()[reply.bytes..]), Err(Broken::Unasked)));
    }

    #[test]
    fn replies_find_their_requests_in_any_order() {
        let (mut connection, _peer) = connection(Native::default());
        let greeting = annulus::protocol::preamble::Greeting::Welcome { authentication_required: false };
        let welcome = annulus::protocol::preamble::encode_greeting(greeting);
        connection.dialect.reply(&welcome).unwrap().unwrap();
        for index in 0..4 {
            connection.dialect.encode(Request::Get { key: b"k" }, &mut connection.output);
            connection.push(request(100 + index));
        }
        let mut answer = |number: u32| {
            let mut bytes = Vec::new();
            annulus::protocol::client::encode_absent(annulus::message::RequestId(number), &mut bytes);
            let answer = connection.answer(&bytes).map(|answer| answer.unwrap().1.index);
            (answer.ok(), connection.outstanding)
        };
        assert_eq!(answer(2), (Some(102), 3));
        assert_eq!(answer(2), (None, 3), "no request is answered twice");
        assert_eq!(answer(0), (Some(100), 2));
        assert_eq!(answer(9), (None, 2), "nor is one that was not sent");
        assert_eq!(answer(3), (Some(103), 1));
        assert_eq!(answer(1), (Some(101), 0));
        assert!(connection.under_way.is_empty() && connection.first == 4);
    }

    #[test]
    fn a_batch_is_timed_from_when_its_last_request_was_encoded() {
        let (mut connection, _peer) = connection(Resp::default());
        connection.push(request(0));
        connection.push(request(1));
        let times = Times { due: Instant::now(), sent: Instant::now() };
        connection.stamp(1, times);
        let sent: Vec<bool> = connection.lost().map(|under_way| under_way.times.sent == times.sent).collect();
        assert_eq!(sent, [false, true]);
    }
}
