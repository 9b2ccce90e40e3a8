//! One connection of the generator: a socket, requests under way, the bytes of them that are not written or not parsed.
//!
//! Invariant: what a connection holds is bounded by the requests under way and one partial reply. Buffers are
//! reused: in steady state nothing is allocated. It does not choose keys, read a clock, count, or decide when to send.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::Instant;

use mio::net::TcpStream;
use thiserror::Error;

use crate::dialect::{Dialect, Malformed, Outcome};
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
}

impl ReadBuffer {
    /// Room for replies of `D` with a value of `value_bytes`; about `replies` are read at once, or all if `None`.
    pub(crate) fn new<D: Dialect>(value_bytes: usize, replies: Option<usize>) -> Self {
        // A line of a key and a few numbers stands around the value in every protocol.
        let partial_bytes_max = value_bytes + 64 * 1024;
        let reply_bytes = value_bytes + D::REPLY_OVERHEAD_BYTES;
        let read_bytes = replies.map_or(READ_BYTES_MAX, |replies| READ_BYTES_MAX.min(replies * reply_bytes));
        Self { bytes: vec![0; partial_bytes_max + read_bytes], partial_bytes_max, read_bytes }
    }
}

/// When a request was due, and when it was sent; the same in a closed loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
}

/// One connection.
pub(crate) struct Connection<D> {
    pub(crate) socket: TcpStream,
    pub(crate) dialect: D,
    pub(crate) stream: Stream,
    /// Requests encoded and not yet written in full.
    pub(crate) output: Vec<u8>,
    written: usize,
    /// The start of a reply that the last read ended in.
    partial: Vec<u8>,
    /// Requests sent or encoded whose replies have not come.
    pub(crate) outstanding: usize,
    /// Replies to come that belong to the greeting and count for nothing.
    greeting: usize,
    /// When the requests under way were due and sent, oldest first, and how many at once.
    sent: VecDeque<(Times, usize)>,
}

impl<D: Dialect> Connection<D> {
    /// A connection over `socket` that has said its greeting, or will with its first batch.
    pub(crate) fn new(socket: TcpStream, mut dialect: D, stream: Stream) -> Self {
        let mut output = Vec::new();
        let greeting = dialect.greet(&mut output);
        Self {
            socket,
            dialect,
            stream,
            output,
            written: 0,
            partial: Vec::new(),
            outstanding: 0,
            greeting,
            sent: VecDeque::new(),
        }
    }

    /// Notes that `requests` more are under way. Their bytes may still have to be flushed.
    pub(crate) fn sent(&mut self, requests: usize, times: Times) {
        self.outstanding += requests;
        self.sent.push_back((times, requests));
    }

    /// Takes `answered` requests off those under way, and gives how many of them were sent when to `seen`. Replies are
    /// taken to come in the order of their requests; where they do not, latencies are swapped among requests under way.
    pub(crate) fn answered(&mut self, mut answered: usize, mut seen: impl FnMut(Times, usize)) {
        while answered > 0 {
            let (at, requests) = self.sent.front_mut().expect("what is answered was noted when it was sent");
            let taken = answered.min(*requests);
            seen(*at, taken);
            answered -= taken;
            *requests -= taken;
            if *requests == 0 {
                self.sent.pop_front();
            }
        }
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

    /// Reads once and gives each whole reply, with its bytes, to `seen`.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut ReadBuffer,
        mut seen: impl FnMut(Outcome, &D, &[u8]),
    ) -> Result<Read, Broken> {
        let kept = self.partial.len();
        buffer.bytes[..kept].copy_from_slice(&self.partial);
        let room = &mut buffer.bytes[kept..kept + buffer.read_bytes];
        let read = loop {
            match self.socket.read(room) {
                Ok(0) => return Err(Broken::Closed),
                Ok(read) => break read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Read::Nothing),
                Err(error) => return Err(error.into()),
            }
        };
        let taken = self.parse(&buffer.bytes[..kept + read], &mut seen)?;
        let rest = &buffer.bytes[taken..kept + read];
        if rest.len() > buffer.partial_bytes_max {
            return Err(Broken::TooLong(buffer.partial_bytes_max));
        }
        self.partial.clear();
        self.partial.extend_from_slice(rest);
        Ok(if read == buffer.read_bytes { Read::Full } else { Read::Short })
    }

    fn parse(&mut self, bytes: &[u8], seen: &mut impl FnMut(Outcome, &D, &[u8])) -> Result<usize, Broken> {
        let mut taken = 0;
        while let Some(reply) = self.dialect.reply(&bytes[taken..])? {
            let end = taken + reply.bytes;
            if self.greeting > 0 && reply.outcome != Outcome::Error {
                self.greeting -= 1;
            } else {
                self.outstanding = self.outstanding.checked_sub(1).ok_or(Broken::Unasked)?;
                seen(reply.outcome, &self.dialect, &bytes[taken..end]);
            }
            taken = end;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::dialect::Reply;
    use crate::distribution::{Distribution, Shape};

    /// Replies are `h` (hit) or `e` (error) and a line end; connections open with `hello`, which has a reply.
    #[derive(Clone)]
    struct Greeting;

    impl Dialect for Greeting {
        const REPLY_OVERHEAD_BYTES: usize = 2;

        fn greet(&mut self, output: &mut Vec<u8>) -> usize {
            output.extend_from_slice(b"hello");
            1
        }

        fn encode_get(&mut self, _key: &[u8], output: &mut Vec<u8>) {
            output.push(b'g');
        }

        fn encode_set(&mut self, _key: &[u8], _value: &[u8], output: &mut Vec<u8>) {
            output.push(b's');
        }

        fn reply(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
            let outcome = if bytes.first() == Some(&b'e') { Outcome::Error } else { Outcome::Hit };
            Ok((bytes.len() >= 2).then_some(Reply { bytes: 2, outcome }))
        }
    }

    fn connection() -> (Connection<Greeting>, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket =
            TcpStream::from_std(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let stream = Distribution::new(Shape::Uniform, 1, 1.0).stream(0, 0, 1);
        (Connection::new(socket, Greeting, stream), listener.accept().unwrap().0)
    }

    #[test]
    fn a_greeting_goes_first_and_its_reply_counts_for_nothing() {
        let (mut connection, mut peer) = connection();
        connection.dialect.encode_get(b"", &mut connection.output);
        connection.outstanding = 1;
        connection.flush().unwrap();
        let mut sent = [0; 6];
        peer.read_exact(&mut sent).unwrap();
        assert_eq!(&sent, b"hellog");

        // The reply to the greeting and half of the next, then its other half.
        peer.write_all(b"h\nh").unwrap();
        let mut seen = 0;
        let mut buffer = ReadBuffer::new::<Greeting>(0, None);
        assert_eq!(connection.receive(&mut buffer, |_, _, _| seen += 1).unwrap(), Read::Short);
        assert_eq!((seen, connection.outstanding), (0, 1));
        peer.write_all(b"\n").unwrap();
        connection.receive(&mut buffer, |_, _, reply| assert_eq!(reply, b"h\n")).unwrap();
        assert_eq!(connection.outstanding, 0);

        peer.write_all(b"h\n").unwrap();
        assert!(matches!(connection.receive(&mut buffer, |_, _, _| ()), Err(Broken::Unasked)));
    }

    #[test]
    fn replies_are_timed_from_the_oldest_send_on() {
        let (mut connection, _peer) = connection();
        let first = Instant::now();
        let second = first + std::time::Duration::from_millis(1);
        connection.sent(2, Times { due: first, sent: first });
        connection.sent(3, Times { due: second, sent: second });
        assert_eq!(connection.outstanding, 5);
        let mut seen = Vec::new();
        connection.answered(1, |at, requests| seen.push((at, requests)));
        connection.answered(3, |at, requests| seen.push((at, requests)));
        connection.answered(1, |at, requests| seen.push((at, requests)));
        let seen: Vec<_> = seen.into_iter().map(|(times, count)| (times.due, count)).collect();
        assert_eq!(seen, [(first, 1), (first, 1), (second, 2), (second, 1)]);
        assert!(connection.sent.is_empty());
    }

    #[test]
    fn a_greeting_that_is_refused_is_an_error_reply() {
        let (mut connection, mut peer) = connection();
        connection.outstanding = 1;
        peer.write_all(b"e\n").unwrap();
        let mut seen = Vec::new();
        connection
            .receive(&mut ReadBuffer::new::<Greeting>(0, None), |outcome, _, _| seen.push(outcome))
            .unwrap();
        assert_eq!(seen, [Outcome::Error]);
    }
}
